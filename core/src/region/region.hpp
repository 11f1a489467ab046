// SPDX-License-Identifier: BSD-3-Clause
// region.hpp: where an emulator may be trusted: box and training hull. One place, asked before any family.
#pragma once

#include <Eigen/Dense>
#include <limits>
#include <string>
#include <vector>

#include "zelos/emulator.hpp"

namespace zelos {

class Region {
 public:
  Region() = default;
  Region(std::vector<std::string> names, std::vector<double> lower, std::vector<double> upper);

  /// Adds the ellipsoid (x - center)^T A (x - center) <= radius^2.
  void set_ellipsoid(Eigen::VectorXd center, Eigen::MatrixXd metric, double radius);
  /// The ellipsoid with the metric of the points' covariance that holds them all, its radius times 1 + margin.
  static void fit_ellipsoid(const Eigen::Ref<const Eigen::MatrixXd>& points, double margin, Eigen::VectorXd* center,
                            Eigen::MatrixXd* metric, double* radius);

  /// Bounds are inclusive; NaN and infinities are `not_finite`. No allocation for a point inside.
  Verdict check(const double* x) const;
  /// The box alone, for one parameter.
  Verdict check_parameter(size_t index, double x) const;

  /// Largest predicted error that is allowed; infinite if the artifact sets none.
  double tolerance = std::numeric_limits<double>::infinity();

 private:
  std::vector<std::string> names_;
  std::vector<double> lower_, upper_;
  bool has_ellipsoid_ = false;
  Eigen::VectorXd center_;
  Eigen::MatrixXd metric_;
  double radius_ = 0;
};

}  // namespace zelos
