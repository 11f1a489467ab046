// SPDX-License-Identifier: BSD-3-Clause
// resample.hpp: between the native points of an axis.
#pragma once

#include <Eigen/Dense>
#include <vector>

#include "runtime/model.hpp"

namespace zelos {

/// Rows of `field`, one for each native point of the axis -> rows at the wanted points, ascending and within its range:
/// those of native points as they are, else a cubic spline over the axis' coordinate.
Eigen::MatrixXd resample(const AxisModel& axis, const std::vector<double>& wanted, const Eigen::MatrixXd& field);

}  // namespace zelos
