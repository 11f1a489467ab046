// SPDX-License-Identifier: BSD-3-Clause
// field.hpp: one output at all training points, on its way from the code's numbers to PCA weights.
#pragma once

#include <Eigen/Dense>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "training/plan.hpp"
#include "training/regression.hpp"
#include "zelos/training.hpp"

namespace zelos {

/// What a `pca` transform found on its segment of the first axis.
struct SegmentFit {
  nlohmann::json description;   ///< {"first", "size", "knots", "stretch", "whiten"}
  Eigen::VectorXd mean;         ///< field
  Eigen::MatrixXd basis;        ///< field x weights
  Eigen::VectorXd breakpoints;  ///< empty without knots
  Eigen::MatrixXd weights;      ///< points x weights, in units of the whitening
  Eigen::VectorXd truncation;   ///< squared whitened residual of each point, as if the PCA did not know it
};

/// inputs[kBackgroundInputs] at a training point.
void read_inputs(const BackgroundPlan& plan, const FeatureTable& features, int64_t run, double* inputs);

class Field {
 public:
  Field(const RunOutput& run, int64_t n_points);

  /// Applies a point transform to all values; returns its description for the artifact.
  nlohmann::json apply(const PointPlan& plan, const FeatureTable& features,
                       const std::function<const RunOutput&(const std::string&)>& find_output);

  SegmentFit fit_segment(const SegmentPlan& plan, const FeatureTable& features) const;

 private:
  std::vector<double> log_axis(const PointTransform& tilt) const;

  std::string name_;
  std::vector<std::vector<double>> axes_;
  Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> values_;  ///< points x native
};

}  // namespace zelos
