// SPDX-License-Identifier: BSD-3-Clause
// cubic_spline.hpp: cubic B-splines on arbitrary breakpoints (de Boor, A Practical Guide to Splines, 1978).
#pragma once

#include <Eigen/Dense>
#include <Eigen/SparseCore>
#include <cstdint>
#include <vector>

namespace zelos {

/// A spline space: sum_i c_i B_i(x). Beyond the ends the first and last pieces go on.
class CubicSpline {
 public:
  /// All cubic splines with these breakpoints (ascending, >= 2): size() = n + 2.
  static CubicSpline on_breakpoints(std::vector<double> breakpoints);
  /// The space that interpolates at these nodes, not-a-knot at both ends: size() = n. Fewer than 4 nodes: the
  /// polynomial of degree n - 1 through them.
  static CubicSpline through_nodes(const std::vector<double>& nodes);

  int64_t size() const { return static_cast<int64_t>(knots_.size()) - degree_ - 1; }
  int degree() const { return degree_; }
  const std::vector<double>& breakpoints() const { return breakpoints_; }

  /// Values of the degree + 1 basis functions that belong to the piece at x, the first of which has the returned index.
  int64_t basis(double x, double values[4]) const;
  /// design(i, j) = B_j(x_i).
  Eigen::SparseMatrix<double> design(const std::vector<double>& x) const;
  /// Coefficients (size() x columns) of the splines through y (one row per x, square system).
  Eigen::MatrixXd interpolate(const std::vector<double>& x, const Eigen::MatrixXd& y) const;
  /// Least-squares coefficients with weights on the rows of y.
  Eigen::MatrixXd fit(const std::vector<double>& x, const Eigen::MatrixXd& y, const Eigen::VectorXd& weights) const;

 private:
  CubicSpline(int degree, std::vector<double> breakpoints);
  int degree_;
  std::vector<double> breakpoints_, knots_;
};

}  // namespace zelos
