// SPDX-License-Identifier: BSD-3-Clause
// model.hpp: an artifact as the runtime sees it. Built once at opening, immutable afterwards.
#pragma once

#include <Eigen/Dense>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "artifact/container.hpp"
#include "region/region.hpp"
#include "transforms/point_transform.hpp"
#include "transforms/stretch.hpp"
#include "zelos/abi/zelos_plugin.h"
#include "zelos/emulator.hpp"

namespace zelos {

/// A trained family with its input scaling: y = f((x[inputs] - center) * scale).
class Regressor {
 public:
  Regressor(const zelos_family& family, const zelos_state& state, std::vector<int> inputs, const double* center,
            const double* scale, const std::string& name_for_messages);

  const std::vector<int>& inputs() const { return inputs_; }
  int64_t n_inputs() const { return static_cast<int64_t>(inputs_.size()); }
  int64_t n_outputs() const { return n_outputs_; }
  const char* family_id() const { return family_->id; }

  /// Doubles of scratch that the calls below need: scaled inputs, Jacobian, the family's own workspace.
  int64_t scratch_size() const;
  /// y[n_outputs]; jacobian (may be null) [n_outputs * n_inputs], with respect to the unscaled inputs.
  void evaluate(const double* features, double* y, double* jacobian, double* scratch) const;
  /// False where the family predicts no variance.
  bool variance(const double* features, double* variance, double* scratch) const;

 private:
  void scale_inputs(const double* features, double* x) const;
  struct Close {
    const zelos_family* family;
    void operator()(zelos_model* model) const { family->close(model); }
  };
  const zelos_family* family_;
  const zelos_uncertainty* variance_ = nullptr;
  std::unique_ptr<zelos_model, Close> model_;
  std::vector<int> inputs_;
  std::vector<double> center_, scale_;
  int64_t n_outputs_ = 0;
  int64_t workspace_doubles_ = 0;
  std::string name_;
};

/// A scalar function of the parameters and of the features before it. Features 0 .. d-1 are the parameters themselves.
struct Feature {
  enum class Kind { parameter, logarithm, linear, step, emulated, background };
  std::string name;
  Kind kind = Kind::parameter;
  std::vector<int> of;                   ///< feature indices
  std::vector<double> coefficients;      ///< linear: sum_i coefficients[i] f[of[i]] + constant
  double constant = 0;                   ///< linear; step: 1 where f[of[0]] is above it, else 0
  std::unique_ptr<Regressor> regressor;  ///< emulated: exp(regressor) if `exponential`
  bool exponential = false;
  int amplitude = -1;  ///< emulated: a feature that is added before the exponential
  double z = 0;        ///< background: ln of the quantity there
  BackgroundQuantity quantity = BackgroundQuantity::hubble;
  BackgroundSource source{};
};

/// How requested points on an axis relate to native ones.
enum class Coordinate { linear, log, log1p, label };

struct AxisModel {
  Output::Axis axis;
  Coordinate coordinate = Coordinate::linear;
  std::vector<double> mapped() const { return map(axis.values); }
  std::vector<double> map(const std::vector<double>& values) const;
};

/// One output. Each segment of its first axis has a field = mean + sum over blocks of basis * weights, on native points
/// or on spline coefficients, which is resampled to the requested points (with an optional stretch). Then the point
/// transforms are undone.
struct OutputModel {
  struct Block {
    Eigen::MatrixXd basis;  ///< field size x n_weights
    std::unique_ptr<Regressor> regressor;
  };
  struct Segment {
    std::vector<AxisModel> axes;  ///< native points of the field
    Eigen::VectorXd mean;         ///< field
    std::vector<Block> blocks;
    std::vector<double> breakpoints;  ///< not empty: the field is spline coefficients over the only axis
    std::optional<Stretch> stretch;
    int stretch_feature = -1;
    double stretch_reference = 1;
    int64_t n_weights() const;
  };
  const Output* description = nullptr;
  std::vector<AxisModel> axes;
  /// Ascending along axis 0; a requested point belongs to the last that begins before it.
  std::vector<Segment> segments;
  std::vector<PointTransform> point_transforms;  ///< in the order of training
  double truncation_error = 0;                   ///< expected delta chi^2 of what the PCA dropped

  int64_t n_weights() const;
};

struct SolvableParameter {
  std::string name;  ///< what may be given: "thetastar"
  int feature;       ///< the emulated feature that predicts it
  int parameter;     ///< the canonical parameter that is solved for
  double lower, upper;
};

struct Emulator::Impl {
  artifact::Opened opened;
  nlohmann::json info;
  std::string name, version;
  std::vector<Parameter> parameters;
  std::vector<Output> descriptions;
  std::vector<std::pair<std::string, double>> fixed;
  std::vector<std::pair<std::string, std::string>> solvable_names;
  std::vector<Feature> features;
  std::vector<OutputModel> outputs;
  std::vector<SolvableParameter> solvable;
  Region region;

  int output_index(const std::string& name) const;  ///< throws with the nearest name
  int feature_index(const std::string& name) const;
};

/// Document and arrays of an artifact -> model. Throws Error(ZELOS_E_FORMAT).
std::shared_ptr<const Emulator::Impl> load_model(artifact::Opened opened, const std::string& name_for_messages);

/// Re-evaluates the stored probe points. Throws Error(ZELOS_E_FORMAT) naming file, output and both numbers.
void verify_probes(const Emulator& emulator, const std::string& file);

}  // namespace zelos
