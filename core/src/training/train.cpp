// SPDX-License-Identifier: BSD-3-Clause
// train.cpp: spec and runs -> artifact.
//
// The order is that of the runtime: features first (an emulated feature is used as emulated, so that its error is part
// of what the outputs learn), then outputs in the spec's order.
#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "artifact/container.hpp"
#include "base/text.hpp"
#include "region/region.hpp"
#include "runtime/model.hpp"
#include "training/field.hpp"
#include "training/plan.hpp"
#include "training/probes.hpp"
#include "training/regression.hpp"
#include "training/runs.hpp"
#include "zelos/training.hpp"

namespace zelos {
namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;
using nlohmann::json;

const char* to_string(Coordinate coordinate) {
  switch (coordinate) {
    case Coordinate::log:
      return "log";
    case Coordinate::log1p:
      return "log1p";
    case Coordinate::label:
      return "label";
    case Coordinate::linear:
      break;
  }
  return "linear";
}

class Trainer {
 public:
  Trainer(const Spec& spec, const TrainingRuns& runs, const TrainOptions& options)
      : spec_(spec), runs_(runs), options_(options), regression_(options, spec.training.seed) {}

  artifact::Contents run() {
    check_runs(spec_, runs_);
    const TrainingPlan plan = plan_training(spec_, runs_.outputs);
    describe();
    add_parameters();
    add_region();
    regression_.expect(count_regressions(plan));
    for (const FeaturePlan& feature : plan.features) add_feature(feature);
    for (const OutputPlan& output : plan.outputs) {
      if (output.run.name == "derived") {
        add_derived(output);
      } else {
        add_output(output);
      }
    }
    return std::move(contents_);
  }

 private:
  json& document() { return contents_.document; }

  void describe() {
    document() = {{"name", spec_.name},          {"version", spec_.version},
                  {"author", spec_.author},      {"description", spec_.description},
                  {"spec", spec_.text},          {"fixed", json::object()},
                  {"parameters", json::array()}, {"features", json::array()},
                  {"outputs", json::array()},    {"solvable", json::array()},
                  {"accuracy", json::object()},  {"provenance", json::object()}};
    for (const auto& [name, value] : spec_.config.fixed) document()["fixed"][name] = value;
    if (options_.provenance != nullptr) document()["provenance"] = *options_.provenance;
  }

  void add_parameters() {
    const int64_t n = runs_.n_points, d = static_cast<int64_t>(spec_.parameters.size());
    const Eigen::Map<const Eigen::Matrix<double, -1, -1, Eigen::RowMajor>> x(runs_.parameters, n, d);
    for (int64_t j = 0; j < d; ++j) {
      const ParameterSpec& p = spec_.parameters[j];
      document()["parameters"].push_back(
          {{"name", p.name}, {"unit", p.unit}, {"latex", p.latex}, {"min", p.lo}, {"max", p.hi}});
      features_.add(p.name, x.col(j));
    }
  }

  static int64_t count_regressions(const TrainingPlan& plan) {
    int64_t n = 0;
    for (const FeaturePlan& feature : plan.features) n += feature.kind == FeaturePlan::Kind::emulated ? 1 : 0;
    for (const OutputPlan& output : plan.outputs) n += static_cast<int64_t>(output.segments.size());
    return n;
  }

  // --- features ----------------------------------------------------------------------------------------------------

  void add_feature(const FeaturePlan& plan) {
    json description{{"name", plan.name}, {"of", plan.of}};
    switch (plan.kind) {
      case FeaturePlan::Kind::logarithm: {
        description["type"] = "log";
        const VectorXd x = features_.column(plan.of[0]);
        if (!(x.minCoeff() > 0)) {
          throw Error(ZELOS_E_NUMERIC, "feature '" + plan.name + "': log of a value that is not positive");
        }
        features_.add(plan.name, x.array().log().matrix());
        break;
      }
      case FeaturePlan::Kind::linear: {
        description["type"] = "linear";
        description["coefficients"] = plan.coefficients;
        description["constant"] = plan.constant;
        VectorXd sum = VectorXd::Constant(runs_.n_points, plan.constant);
        for (size_t i = 0; i < plan.of.size(); ++i) sum += plan.coefficients[i] * features_.column(plan.of[i]);
        features_.add(plan.name, sum);
        break;
      }
      case FeaturePlan::Kind::step:
        add_step(plan, &description);
        break;
      case FeaturePlan::Kind::emulated:
        add_emulated_feature(plan, &description);
        break;
      case FeaturePlan::Kind::background:
        add_background_feature(plan, &description);
        break;
    }
    document()["features"].push_back(description);
  }

  void add_step(const FeaturePlan& plan, json* description) {
    (*description)["type"] = "step";
    (*description)["at"] = plan.constant;
    const VectorXd above = (features_.column(plan.of[0]).array() > plan.constant).cast<double>();
    const auto n = static_cast<int64_t>(above.sum()), fewer = std::min(n, runs_.n_points - n);
    const auto least = static_cast<int64_t>(2 * (spec_.parameters.size() + 1));
    if (fewer > 0 && fewer < least) {
      throw Error(ZELOS_E_ARGUMENT, "feature '" + plan.name + "': of " + std::to_string(runs_.n_points) +
                                        " training points " + std::to_string(n) + " are above the step at " +
                                        plan.of[0] + " = " + to_text(plan.constant) + "; expected none, or " +
                                        std::to_string(least) + " at least, on either side");
    }
    features_.add(plan.name, above, true);
    if (fewer > 0) return;
    // Nothing is known beyond the step.
    const auto& p = *std::find_if(spec_.parameters.begin(), spec_.parameters.end(),
                                  [&](const ParameterSpec& other) { return other.name == plan.of[0]; });
    const double beyond = std::nextafter(plan.constant, std::numeric_limits<double>::infinity());
    LimitSpec end;
    end.name = p.name;
    end.of = plan.of;
    end.coefficients = {1.0};
    end.lo = n > 0 ? std::max(p.lo, beyond) : p.lo;
    end.hi = n > 0 ? p.hi : std::min(p.hi, plan.constant);
    add_limit(end);
  }

  void add_background_feature(const FeaturePlan& plan, json* description) {
    VectorXd values(runs_.n_points);
    for (int64_t i = 0; i < runs_.n_points; ++i) {
      double inputs[kBackgroundInputs];
      read_inputs(plan.inputs, features_, i, inputs);
      background(plan.background, inputs, &plan.z, 1, &values[i], nullptr);
      if (!std::isfinite(values[i])) {
        throw Error(ZELOS_E_NUMERIC, "feature '" + plan.name + "': not finite at training point " + std::to_string(i));
      }
    }
    (*description)["type"] = "background";
    (*description)["quantity"] = to_string(plan.background);
    (*description)["z"] = plan.z;
    (*description)["inputs"] = plan.inputs.description();
    features_.add(plan.name, values);
  }

  void add_emulated_feature(const FeaturePlan& plan, json* description) {
    const VectorXd truth = derived_column(plan.quantity, "feature '" + plan.name + "'");
    if (plan.logarithmic && !(truth.minCoeff() > 0)) {
      throw Error(ZELOS_E_NUMERIC,
                  "feature '" + plan.name + "': " + plan.quantity + " is not positive; set logarithmic: false");
    }
    MatrixXd y = plan.logarithmic ? MatrixXd(truth.array().log().matrix()) : MatrixXd(truth);
    if (!plan.amplitude.empty()) {
      y -= features_.column(plan.amplitude);
      (*description)["amplitude"] = plan.amplitude;
    }
    // Errors of a scalar feature count relative to its own spread.
    const double spread = std::sqrt((y.array() - y.mean()).square().mean());
    const std::string path = "features/" + plan.name;
    const json block = regression_.fit("feature " + plan.name, plan.function, features_, plan.of, y,
                                       VectorXd::Constant(1, 1e-6 * spread), path, &contents_);
    VectorXd emulated = regression_.predict(block, path, features_, contents_).col(0);
    if (!plan.amplitude.empty()) emulated += features_.column(plan.amplitude);
    if (plan.logarithmic) emulated = emulated.array().exp().matrix();
    (*description)["type"] = "emulated";
    (*description)["log"] = plan.logarithmic;
    (*description)["quantity"] = plan.quantity;
    (*description)["block"] = block;
    (*description)["largest_relative_error"] = ((emulated - truth).array() / truth.array()).abs().maxCoeff();
    features_.add(plan.name, emulated);
    if (!plan.replaces.empty()) add_solvable(plan);
  }

  void add_solvable(const FeaturePlan& plan) {
    for (const ParameterSpec& p : spec_.parameters) {
      if (p.name != plan.replaces) continue;
      // The box, widened as the design was: the verdict, not the solver, says what lies outside.
      const double margin = spec_.training.margin * (p.hi - p.lo);
      document()["solvable"].push_back({{"name", plan.quantity},
                                        {"feature", plan.name},
                                        {"parameter", p.name},
                                        {"min", p.lo - margin},
                                        {"max", p.hi + margin}});
    }
  }

  const RunOutput& run_output(const std::string& name) const { return find_run(runs_.outputs, name); }

  VectorXd derived_column(const std::string& label, const std::string& who) const {
    const RunOutput& derived = run_output("derived");
    const int64_t n = runs_.n_points, m = static_cast<int64_t>(derived.labels.size());
    const Eigen::Map<const Eigen::Matrix<double, -1, -1, Eigen::RowMajor>> values(derived.values, n, m);
    return values.col(derived_index(derived, label, who));
  }

  // --- outputs -----------------------------------------------------------------------------------------------------

  void add_derived(const OutputPlan& plan) {
    OutputPlan filled = plan;
    derived_values_.resize(runs_.n_points, static_cast<int64_t>(plan.run.labels.size()));
    for (size_t i = 0; i < plan.run.labels.size(); ++i) {
      derived_values_.col(i) = derived_column(plan.run.labels[i], "derived");
    }
    filled.run.values = derived_values_.data();
    if (plan.log_if_positive && derived_values_.minCoeff() > 0) {
      PointPlan log;
      log.transform.kind = PointTransform::Kind::log;
      log.description = {{"type", "log"}};
      filled.points.push_back(std::move(log));
    }
    add_output(filled);
  }

  void add_output(const OutputPlan& plan) {
    const RunOutput& run = plan.run;
    json description{{"name", run.name},      {"unit", plan.unit},         {"units", run.label_units},
                     {"axes", json::array()}, {"segments", json::array()}, {"point_transforms", json::array()}};
    const std::string path = "outputs/" + run.name;
    for (const AxisModel& model : plan.axes) {
      const Output::Axis& a = model.axis;
      json axis{{"name", a.name}, {"unit", a.unit}, {"coordinate", to_string(model.coordinate)}};
      if (model.coordinate == Coordinate::label) axis["labels"] = a.labels;
      description["axes"].push_back(axis);
      put_vector(path + "/axis/" + a.name, Eigen::Map<const VectorXd>(a.values.data(), a.values.size()));
    }
    Field field(run, runs_.n_points);
    for (const PointPlan& point : plan.points) {
      description["point_transforms"].push_back(field.apply(
          point, features_, [&](const std::string& other) -> const RunOutput& { return run_output(other); }));
    }
    double truncation = 0;
    for (size_t i = 0; i < plan.segments.size(); ++i) {
      const SegmentPlan& segment = plan.segments[i];
      const std::string segment_path = path + "/segment" + std::to_string(i);
      SegmentFit fit = field.fit_segment(segment, features_);
      const json block = regression_.fit(run.name + (plan.segments.size() > 1 ? " " + std::to_string(i + 1) : ""),
                                         segment.function, features_, segment.inputs, fit.weights,
                                         VectorXd::Ones(fit.weights.cols()), segment_path + "/block0", &contents_);
      fit.description["blocks"] = json::array({block});
      put_vector(segment_path + "/mean", fit.mean);
      put_basis(segment_path + "/block0/basis", fit.basis);
      if (fit.breakpoints.size() > 0) put_vector(segment_path + "/breakpoints", fit.breakpoints);
      if (fit.truncation.size() > 0) {
        truncation += fit.truncation.mean();
        put_vector(segment_path + "/truncation", fit.truncation, Storage::float32);
      }
      description["segments"].push_back(fit.description);
    }
    description["truncation_error"] = truncation;
    document()["outputs"].push_back(description);
  }

  using Storage = artifact::Array::Storage;
  void put_vector(const std::string& path, const VectorXd& v, Storage storage = Storage::float64) {
    artifact::Array a;
    a.shape = {v.size()};
    a.data = AlignedBuffer(v.size());
    a.storage = storage;
    for (int64_t i = 0; i < v.size(); ++i) a.data[i] = storage == Storage::float32 ? static_cast<float>(v[i]) : v[i];
    contents_.arrays[path] = std::move(a);
  }
  void put_basis(const std::string& path, const MatrixXd& m) {
    artifact::Array a;
    a.shape = {m.rows(), m.cols()};
    a.data = AlignedBuffer(m.size());
    Eigen::Map<Eigen::Matrix<double, -1, -1, Eigen::RowMajor>>(a.data.data(), m.rows(), m.cols()) = m;
    // A basis of unit vectors, multiplied by weights known to 1e-3 at best: single precision is ample.
    a.storage = artifact::Array::Storage::float32;
    for (double& x : a.data) x = static_cast<float>(x);
    contents_.arrays[path] = std::move(a);
  }

  void add_region() {
    json region{{"hull", spec_.region.hull}, {"tolerance", nullptr}};
    if (spec_.region.tolerance) region["tolerance"] = *spec_.region.tolerance;
    const int64_t d = static_cast<int64_t>(spec_.parameters.size());
    const Eigen::Map<const Eigen::Matrix<double, -1, -1, Eigen::RowMajor>> x(runs_.parameters, runs_.n_points, d);
    std::vector<double> lower, upper;
    for (const ParameterSpec& p : spec_.parameters) lower.push_back(p.lo), upper.push_back(p.hi);
    const auto hull = Hull::fit(spec_.region.hull, with_corners(x), lower, upper, spec_.region.margin);
    if (hull != nullptr) hull->store(&region, &contents_.arrays);
    document()["region"] = region;
    for (const LimitSpec& limit : spec_.limits) add_limit(limit);
  }

  void add_limit(const LimitSpec& limit) {
    document()["region"]["limits"].push_back({{"name", limit.name},
                                              {"of", limit.of},
                                              {"coefficients", limit.coefficients},
                                              {"min", limit.lo},
                                              {"max", limit.hi}});
  }

  /// The training points, and the corners of the box that the region is to hold.
  MatrixXd with_corners(const Eigen::Ref<const MatrixXd>& points) const {
    if (spec_.region.box.empty()) return points;
    const int64_t d = points.cols(), n = points.rows();
    MatrixXd all(n + (int64_t{1} << d), d);
    all.topRows(n) = points;
    for (int64_t j = 0; j < d; ++j) {
      const auto& [lo, hi] = spec_.region.box.at(spec_.parameters[static_cast<size_t>(j)].name);
      for (int64_t corner = 0; corner < int64_t{1} << d; ++corner) all(n + corner, j) = (corner >> j & 1) ? hi : lo;
    }
    return all;
  }

  const Spec& spec_;
  const TrainingRuns& runs_;
  const TrainOptions& options_;
  RegressionRunner regression_;
  FeatureTable features_;
  Eigen::Matrix<double, -1, -1, Eigen::RowMajor> derived_values_;
  artifact::Contents contents_;
};

struct Draft {
  explicit Draft(const std::filesystem::path& artifact) : path(artifact.string() + ".draft") {}
  ~Draft() {
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
  }
  const std::filesystem::path path;
};

/// A tolerance on an error that nobody predicts would let everything through.
void check_tolerance(const Emulator& emulator) {
  if (!std::isfinite(emulator.impl().region.tolerance)) return;
  std::vector<std::string> names;
  std::vector<double> center;
  for (const Parameter& p : emulator.parameters()) {
    names.push_back(p.name);
    center.push_back(0.5 * (p.min + p.max));
  }
  for (const Output& output : emulator.outputs()) {
    const Query query = emulator.query(names, {{output.name, {}}});
    Workspace workspace = query.workspace();
    double error = 0;
    query.predicted_error(center.data(), &error, workspace);
    if (std::isfinite(error)) continue;
    throw Error(ZELOS_E_ARGUMENT, "region: tolerance: output " + output.name + " predicts no error: its family '" +
                                      output.family + "' has none, or its variance is 'none'");
  }
}

}  // namespace

void check_training(const Spec& spec, const std::vector<RunOutput>& outputs) {
  for (const RunOutput& output : outputs) check_shape(output);
  plan_training(spec, outputs);
}

void train(const Spec& spec, const TrainingRuns& runs, const std::filesystem::path& artifact_path,
           const TrainOptions& options) {
  try {
    artifact::Contents contents = Trainer(spec, runs, options).run();
    {
      // The probes' stored answers are those of the file as a reader opens it.
      const Draft draft(artifact_path);
      artifact::write(draft.path, contents);
      const Emulator emulator = Emulator::open(draft.path, Emulator::Options{false});
      check_tolerance(emulator);
      add_probes(emulator, runs, &contents);
    }
    artifact::write(artifact_path, contents);
  } catch (const json::exception& e) {
    throw Error(ZELOS_E_ARGUMENT, spec.file_name + ": " + e.what());
  }
}

void attach_accuracy(const std::filesystem::path& artifact_path, const json& accuracy) {
  artifact::Opened opened = artifact::read(artifact_path);
  opened.contents.document["accuracy"] = accuracy;
  artifact::write(artifact_path, opened.contents);
}

}  // namespace zelos
