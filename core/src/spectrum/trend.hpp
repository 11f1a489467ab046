// SPDX-License-Identifier: BSD-3-Clause
/// trend.hpp: the polynomial mean of a process.
#pragma once

#include <Eigen/Dense>
#include <vector>

#include "zelos/spectrum.hpp"

namespace zelos::spectrum {

constexpr int kMaxTrendDegree = 3;

/// All monomials up to a total degree in the points scaled to [-1, 1], of each coordinate only the powers that its
/// values determine; none for a negative degree. ZELOS_E_ARGUMENT if there are not fewer of them than points.
class Trend {
 public:
  Trend(const RowMatrix& points, int degree);

  Eigen::Index size() const { return static_cast<Eigen::Index>(powers_.size()); }

  /// At a point; their derivatives by coordinate `by` if that is not negative.
  Eigen::VectorXd terms(const Eigen::VectorXd& point, Eigen::Index by = -1) const;

  /// (points, size())
  Eigen::MatrixXd matrix(const RowMatrix& points) const;

 private:
  Eigen::VectorXd centre_, half_;
  std::vector<std::vector<int>> powers_;
};

}  // namespace zelos::spectrum
