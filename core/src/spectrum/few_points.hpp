// SPDX-License-Identifier: BSD-3-Clause
/// few_points.hpp: predictions of many components from a few grid points.
#pragma once

#include "spectrum/weight_problem.hpp"

namespace zelos::spectrum {

/// The prediction at a point from n grid points: what dense_component gives for each component, but that several
/// components go side by side through one elimination, one in each lane of a register. `near` holds the points, on
/// their scales, and their weights; its kernel counts, but no gram and no mean: that is `trend`. False where a
/// covariance, or what determines the mean, is not positive definite.
bool predict_from_few(const WeightData& near, const Trend& trend, const Layout& layout, const Eigen::VectorXd& theta,
                      const Eigen::VectorXd& point, bool slopes, WeightProcess::Prediction& prediction);

}  // namespace zelos::spectrum
