// SPDX-License-Identifier: BSD-3-Clause
// field.hpp: one output at all training points, on its way from the code's numbers to PCA weights.
#pragma once

#include <Eigen/Dense>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/model.hpp"
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
  double truncation_error = 0;  ///< mean over the points of the squared whitened residual
};

class Field {
 public:
  Field(const RunOutput& run, int64_t n_points);

  const std::vector<AxisModel>& axes() const { return axes_; }

  /// Applies a point transform to all values; returns its description for the artifact.
  nlohmann::json apply(const TransformSpec& transform, const FeatureTable& features, bool after_log,
                       const std::function<const RunOutput&(const std::string&)>& find_output);

  /// Options of `pca`: range [first, last]; weights (how many; default: as many as leave a mean squared whitened
  /// residual of 0.01); rotate (false: every value is its own weight); whiten ("cosmic_variance", {cosmic_variance:
  /// last useful multipole}, "none", "standardise", {sigma: s} or {relative: r}, r times the mean); stretch {feature,
  /// reference, full}; knots [[start, spacing], ...].
  SegmentFit fit_segment(const nlohmann::json& options, const FeatureTable& features, const std::string& name) const;

 private:
  std::string name_;
  std::vector<AxisModel> axes_;
  Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> values_;  ///< points x native
};

/// Throws Error(ZELOS_E_ARGUMENT) at a key that is not known, with the nearest that is.
void check_keys(const nlohmann::json& options, const std::vector<std::string>& known, const std::string& where);

}  // namespace zelos
