// SPDX-License-Identifier: BSD-3-Clause
// plan.hpp: what a spec asks of a training, read and checked without any run: all that can be wrong in the options of
// features, transforms and families is found here, before the runs are made (check_training) as before they are used.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "runtime/model.hpp"
#include "transforms/point_transform.hpp"
#include "transforms/stretch.hpp"
#include "zelos/spec.hpp"
#include "zelos/training.hpp"

namespace zelos {

/// Inputs of a background: a parameter's name, or "" and a number.
struct BackgroundPlan {
  std::string name[kBackgroundInputs];
  double constant[kBackgroundInputs] = {};

  std::vector<std::string> names() const;
  nlohmann::json description() const;  ///< for the artifact
};

struct FeaturePlan {
  enum class Kind { logarithm, linear, step, emulated, background };
  std::string name;
  Kind kind = Kind::logarithm;
  std::vector<std::string> of;
  std::vector<double> coefficients;  ///< linear: of each of `of`
  double constant = 0;               ///< linear; step: where it is
  std::string quantity;              ///< emulated: among the derived quantities of the runs
  bool logarithmic = true;           ///< emulated: regressed on is the logarithm
  EmulatorFunction function;         ///< emulated
  std::string replaces;              ///< emulated: the parameter that is solved for, or ""
  std::string amplitude;             ///< emulated: the feature whose exponential divides it first, or ""
  BackgroundQuantity background = BackgroundQuantity::hubble;  ///< background
  BackgroundPlan inputs;                                       ///< background
  double z = 0;                                                ///< background
};

/// A point transform; its feature is a name still.
struct PointPlan {
  PointTransform transform{};
  std::string feature;              ///< or ""
  std::vector<std::string> others;  ///< outputs
  BackgroundPlan inputs;            ///< background
  nlohmann::json description;       ///< for the artifact
};

/// Units of the error that matters: y / sigma is regressed on.
struct Whitening {
  enum class Kind { cosmic_variance, standardise, relative, sigma, none };
  Kind kind = Kind::standardise;
  double value = 0;            ///< cosmic_variance: last useful multipole, 0 for no limit; relative, sigma: the number
  nlohmann::json description;  ///< as the spec has it
};

struct StretchPlan {
  std::string feature;
  std::optional<double> reference;  ///< default: the feature's mean
  Stretch stretch;
};

/// A `pca` transform: on one segment of the first axis.
struct SegmentPlan {
  int64_t first = 0, size = 0;  ///< points of the axis
  int64_t weights = 0;  ///< how many; 0: as many as leave a negligible residual, 0.01 where whitening is in errors
  bool rotate = true;   ///< false: every value is its own weight
  Whitening whitening;
  std::optional<StretchPlan> stretch;
  std::vector<double> breakpoints;  ///< of the knots; empty without
  std::vector<std::string> inputs;  ///< features
  EmulatorFunction function;
};

struct OutputPlan {
  RunOutput run;  ///< of "derived": the chosen labels alone
  std::string unit;
  std::vector<AxisModel> axes;
  std::vector<PointPlan> points;
  std::vector<SegmentPlan> segments;
  bool log_if_positive = false;  ///< transforms were left to the training: a logarithm, if the values allow
};

struct TrainingPlan {
  std::vector<FeaturePlan> features;  ///< each after those that it needs
  std::vector<OutputPlan> outputs;    ///< each after those that it refers to
};

/// Throws Error(ZELOS_E_ARGUMENT) that names output or feature, key, what was expected and what was found, with the
/// nearest name. runs: what the runs are; `values` are not looked at.
TrainingPlan plan_training(const Spec& spec, const std::vector<RunOutput>& runs);

/// The column of a derived quantity in the runs' "derived". Throws with the nearest name.
int64_t derived_index(const RunOutput& derived, const std::string& label, const std::string& who);

/// Throws Error(ZELOS_E_ARGUMENT) with the names that there are.
const RunOutput& find_run(const std::vector<RunOutput>& runs, const std::string& name);

}  // namespace zelos
