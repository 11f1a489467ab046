// SPDX-License-Identifier: BSD-3-Clause
// resample.hpp: between the native points of an axis.
#pragma once

#include <Eigen/Dense>
#include <vector>

#include "runtime/model.hpp"

namespace zelos {

/// Whether all wanted points, ascending, are among those that there are, ascending too.
bool includes(const std::vector<double>& have, const std::vector<double>& wanted);

/// Rows of `field`, one for each point of `have`, at points that are among them.
Eigen::MatrixXd pick(const std::vector<double>& have, const std::vector<double>& wanted, const Eigen::MatrixXd& field);

/// Rows of `field`, one for each native point of the axis -> rows at the wanted points, ascending and within its range:
/// those of native points as they are, else a cubic spline over the axis' coordinate.
Eigen::MatrixXd resample(const AxisModel& axis, const std::vector<double>& wanted, const Eigen::MatrixXd& field);

}  // namespace zelos
