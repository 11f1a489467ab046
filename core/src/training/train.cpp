// SPDX-License-Identifier: BSD-3-Clause
// train.cpp: spec and runs -> artifact.
//
// The order is that of the runtime: features first (an emulated feature is used as emulated, so that its error is part
// of what the outputs learn), then outputs in the spec's order.
#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "artifact/container.hpp"
#include "base/text.hpp"
#include "region/region.hpp"
#include "runtime/model.hpp"
#include "training/field.hpp"
#include "training/probes.hpp"
#include "training/regression.hpp"
#include "training/runs.hpp"
#include "zelos/training.hpp"

namespace zelos {
namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;
using nlohmann::json;

class Trainer {
 public:
  Trainer(const Spec& spec, const TrainingRuns& runs, const TrainOptions& options)
      : spec_(spec), runs_(runs), options_(options), regression_(options, spec.training.seed) {}

  artifact::Contents run() {
    check_runs(spec_, runs_);
    describe();
    add_parameters();
    plan_progress();
    for (const auto& [name, options] : spec_.features) pending_features_[name] = options;
    while (!pending_features_.empty()) add_ready_features();
    for (const OutputSpec& output : spec_.outputs) {
      if (output.name != "derived") add_output(output);
    }
    if (!spec_.derived.empty()) add_derived();
    add_region();
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

  void plan_progress() { regression_.expect(count_regressions()); }

  int64_t count_regressions() const {
    int64_t n = spec_.derived.empty() ? 0 : 1;
    for (const auto& feature : spec_.features) n += feature.second.contains("emulated") ? 1 : 0;
    for (const OutputSpec& output : spec_.outputs) {
      n += std::max<int64_t>(1, std::count_if(output.transforms.begin(), output.transforms.end(),
                                              [](const TransformSpec& t) { return t.name == "pca"; }));
    }
    return n;
  }

  // --- features
  // ---------------------------------------------------------------------------------------------------------

  void add_ready_features() {
    for (auto it = pending_features_.begin(); it != pending_features_.end(); ++it) {
      const auto of = it->second.value("of", std::vector<std::string>{});
      const bool ready = std::all_of(of.begin(), of.end(), [&](const auto& name) { return features_.has(name); });
      if (!ready) continue;
      add_feature(it->first, it->second, of);
      pending_features_.erase(it);
      return;
    }
    throw Error(ZELOS_E_ARGUMENT, "feature '" + pending_features_.begin()->first +
                                      "': it needs a parameter or feature that is not defined (or needs itself)");
  }

  void add_feature(const std::string& name, const json& options, const std::vector<std::string>& of) {
    json description{{"name", name}, {"of", of}};
    const std::string where = "feature '" + name + "'";
    if (options.contains("log") && !options["log"].is_boolean()) {
      throw Error(ZELOS_E_ARGUMENT, where + ": log: expected true or false, found " + options["log"].dump());
    }
    if (options.value("log", false)) {
      check_keys(options, {"log", "of"}, where);
      if (of.size() != 1) throw Error(ZELOS_E_ARGUMENT, "feature '" + name + "': log expects one name in 'of'");
      description["type"] = "log";
      const VectorXd x = features_.column(of[0]);
      if (!(x.minCoeff() > 0))
        throw Error(ZELOS_E_NUMERIC, "feature '" + name + "': log of a value that is not positive");
      features_.add(name, x.array().log().matrix());
    } else if (options.contains("coefficients")) {
      check_keys(options, {"coefficients", "constant", "of"}, where);
      const auto coefficients = options["coefficients"].get<std::vector<double>>();
      const double constant = options.value("constant", 0.0);
      if (coefficients.size() != of.size()) {
        throw Error(ZELOS_E_ARGUMENT, "feature '" + name + "': expected as many coefficients as names in 'of'");
      }
      description["type"] = "linear";
      description["coefficients"] = coefficients;
      description["constant"] = constant;
      VectorXd sum = VectorXd::Constant(runs_.n_points, constant);
      for (size_t i = 0; i < of.size(); ++i) sum += coefficients[i] * features_.column(of[i]);
      features_.add(name, sum);
    } else if (options.contains("emulated")) {
      check_keys(options, {"emulated", "of", "logarithmic", "type", "params", "replaces"}, where);
      add_emulated_feature(name, options, of, &description);
    } else {
      throw Error(ZELOS_E_ARGUMENT,
                  "feature '" + name + "': expected one of the keys log (true), coefficients, emulated");
    }
    document()["features"].push_back(description);
  }

  void add_emulated_feature(const std::string& name, const json& options, const std::vector<std::string>& of,
                            json* description) {
    const std::string quantity = options["emulated"].get<std::string>();
    const VectorXd truth = derived_column(quantity, "feature '" + name + "'");
    const bool logarithmic = options.value("logarithmic", true);
    if (logarithmic && !(truth.minCoeff() > 0)) {
      throw Error(ZELOS_E_NUMERIC, "feature '" + name + "': " + quantity + " is not positive; set logarithmic: false");
    }
    const MatrixXd y = logarithmic ? MatrixXd(truth.array().log().matrix()) : MatrixXd(truth);
    EmulatorFunction function{options.value("type", "polynomial"), options.value("params", json::object())};
    // Errors of a scalar feature count relative to its own spread.
    const double spread = std::sqrt((y.array() - y.mean()).square().mean());
    const json block = regression_.fit("feature " + name, function, features_, of, y,
                                       VectorXd::Constant(1, 1e-6 * spread), "features/" + name, &contents_);
    VectorXd emulated = regression_.predict(block, "features/" + name, features_, contents_).col(0);
    if (logarithmic) emulated = emulated.array().exp().matrix();
    (*description)["type"] = "emulated";
    (*description)["log"] = logarithmic;
    (*description)["quantity"] = quantity;
    (*description)["block"] = block;
    (*description)["largest_relative_error"] = ((emulated - truth).array() / truth.array()).abs().maxCoeff();
    features_.add(name, emulated);
    if (options.contains("replaces")) add_solvable(quantity, name, options["replaces"].get<std::string>());
  }

  void add_solvable(const std::string& quantity, const std::string& feature, const std::string& parameter) {
    for (const ParameterSpec& p : spec_.parameters) {
      if (p.name != parameter) continue;
      // The box, widened as the design was: the verdict, not the solver, says what lies outside.
      const double margin = spec_.training.margin * (p.hi - p.lo);
      document()["solvable"].push_back({{"name", quantity},
                                        {"feature", feature},
                                        {"parameter", parameter},
                                        {"min", p.lo - margin},
                                        {"max", p.hi + margin}});
      return;
    }
    throw Error(ZELOS_E_ARGUMENT,
                "feature '" + feature + "': it replaces '" + parameter + "', which is not a parameter");
  }

  const RunOutput& run_output(const std::string& name) const { return find_run(runs_, name); }

  VectorXd derived_column(const std::string& label, const std::string& who) const {
    const RunOutput& derived = run_output("derived");
    const auto found = std::find(derived.labels.begin(), derived.labels.end(), label);
    if (found == derived.labels.end()) {
      throw Error(ZELOS_E_ARGUMENT,
                  who + ": the code gives no derived quantity '" + label + "'" + did_you_mean(label, derived.labels));
    }
    const int64_t n = runs_.n_points, m = static_cast<int64_t>(derived.labels.size());
    const Eigen::Map<const Eigen::Matrix<double, -1, -1, Eigen::RowMajor>> values(derived.values, n, m);
    return values.col(found - derived.labels.begin());
  }

  // --- outputs
  // ----------------------------------------------------------------------------------------------------------

  void add_output(const OutputSpec& output) {
    const RunOutput& run = run_output(output.name);
    if (!output.unit.empty() && output.unit != run.unit) {
      throw Error(ZELOS_E_ARGUMENT, "output " + output.name + ": unit: the runs are in '" + run.unit + "', found '" +
                                        output.unit + "'; nothing is converted");
    }
    add(run, run.unit, output.transforms, output.features, output.emulator_fn ? *output.emulator_fn : spec_.emulator_fn,
        output.n_weights);
  }

  void add_derived() {
    const RunOutput& all = run_output("derived");
    RunOutput chosen = all;
    chosen.labels.clear();
    chosen.label_units.clear();
    chosen.axes = {{}};
    derived_values_.resize(runs_.n_points, static_cast<int64_t>(spec_.derived.size()));
    for (size_t i = 0; i < spec_.derived.size(); ++i) {
      derived_values_.col(i) = derived_column(spec_.derived[i], "derived");
      const auto at = std::find(all.labels.begin(), all.labels.end(), spec_.derived[i]) - all.labels.begin();
      chosen.labels.push_back(spec_.derived[i]);
      chosen.label_units.push_back(at < static_cast<int64_t>(all.label_units.size()) ? all.label_units[at] : "");
      chosen.axes[0].push_back(static_cast<double>(i));
    }
    chosen.values = derived_values_.data();
    std::vector<TransformSpec> transforms;
    EmulatorFunction function = spec_.emulator_fn;
    std::vector<std::string> inputs;
    for (const OutputSpec& output : spec_.outputs) {
      if (output.name != "derived") continue;
      transforms = output.transforms;
      inputs = output.features;
      if (output.emulator_fn) function = *output.emulator_fn;
    }
    if (transforms.empty()) {
      if (derived_values_.minCoeff() > 0) transforms.push_back({"log", json::object()});
      transforms.push_back({"pca", json{{"whiten", json{{"sigma", 1e-5}}}, {"rotate", false}}});
    }
    add(chosen, "", transforms, inputs, function, 0);
  }

  void add(const RunOutput& run, const std::string& unit, const std::vector<TransformSpec>& transforms,
           const std::vector<std::string>& inputs, const EmulatorFunction& function, int64_t n_weights) {
    json description{{"name", run.name},          {"unit", unit},
                     {"units", run.label_units},  {"axes", json::array()},
                     {"segments", json::array()}, {"point_transforms", json::array()}};
    const std::string path = "outputs/" + run.name;
    Field field(run, runs_.n_points);
    for (size_t a = 0; a < run.axes.size(); ++a) {
      const Coordinate coordinate = field.axes()[a].coordinate;
      const char* text = coordinate == Coordinate::log     ? "log"
                         : coordinate == Coordinate::log1p ? "log1p"
                         : coordinate == Coordinate::label ? "label"
                                                           : "linear";
      json axis{{"name", run.axis_names[a]},
                {"unit", a < run.axis_units.size() ? run.axis_units[a] : ""},
                {"coordinate", text}};
      if (coordinate == Coordinate::label) axis["labels"] = run.labels;
      description["axes"].push_back(axis);
      put_vector(path + "/axis/" + run.axis_names[a],
                 Eigen::Map<const VectorXd>(run.axes[a].data(), run.axes[a].size()));
    }
    std::vector<TransformSpec> segments;
    bool after_log = false;
    for (const TransformSpec& t : transforms) {
      if (t.name == "pca") {
        segments.push_back(t);
        continue;
      }
      if (!segments.empty())
        throw Error(ZELOS_E_ARGUMENT, path + ": transform '" + t.name + "' stands after pca; pca is last");
      description["point_transforms"].push_back(
          field.apply(t, features_, after_log, [&](const std::string& other) -> const RunOutput& {
            if (trained_.count(other) == 0) {
              throw Error(ZELOS_E_ARGUMENT, path + ": transform '" + t.name + "' refers to output '" + other +
                                                "', which does not stand before it in the spec");
            }
            return run_output(other);
          }));
      after_log = after_log || t.name == "log";
    }
    if (segments.empty()) segments.push_back({"pca", json::object()});
    double truncation = 0;
    int64_t covered = 0;
    for (size_t i = 0; i < segments.size(); ++i) {
      const std::string segment_path = path + "/segment" + std::to_string(i);
      json options = segments[i].options;
      if (n_weights > 0 && !options.contains("weights")) options["weights"] = n_weights;
      SegmentFit fit = field.fit_segment(options, features_, segment_path);
      if (fit.description["first"] != covered) {
        throw Error(ZELOS_E_ARGUMENT, segment_path + ": its range should begin with point " + std::to_string(covered) +
                                          " of the axis, found " + fit.description["first"].dump() +
                                          ": segments follow each other without gap or overlap");
      }
      covered += fit.description["size"].get<int64_t>();
      std::vector<std::string> names = options.value("features", inputs);
      if (names.empty()) {
        for (const ParameterSpec& p : spec_.parameters) names.push_back(p.name);
      }
      EmulatorFunction segment_function = function;
      if (options.contains("emulator_fn")) {
        segment_function.type = options["emulator_fn"].value("type", function.type);
        segment_function.params = options["emulator_fn"].value("params", json::object());
      }
      const json block = regression_.fit(run.name + (segments.size() > 1 ? " " + std::to_string(i + 1) : ""),
                                         segment_function, features_, names, fit.weights,
                                         VectorXd::Ones(fit.weights.cols()), segment_path + "/block0", &contents_);
      fit.description["blocks"] = json::array({block});
      put_vector(segment_path + "/mean", fit.mean);
      put_basis(segment_path + "/block0/basis", fit.basis);
      if (fit.breakpoints.size() > 0) put_vector(segment_path + "/breakpoints", fit.breakpoints);
      truncation += fit.truncation_error;
      description["segments"].push_back(fit.description);
    }
    if (covered != static_cast<int64_t>(run.axes[0].size())) {
      throw Error(ZELOS_E_ARGUMENT, path + ": the ranges of its pca cover " + std::to_string(covered) + " of " +
                                        std::to_string(run.axes[0].size()) + " points of the axis");
    }
    description["truncation_error"] = truncation;
    trained_.insert(run.name);
    document()["outputs"].push_back(description);
  }

  void put_vector(const std::string& path, const VectorXd& v) {
    artifact::Array a;
    a.shape = {v.size()};
    a.data = AlignedBuffer(v.size());
    std::copy(v.data(), v.data() + v.size(), a.data.begin());
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
    if (spec_.region.hull == "ellipsoid") {
      const int64_t d = static_cast<int64_t>(spec_.parameters.size());
      const Eigen::Map<const Eigen::Matrix<double, -1, -1, Eigen::RowMajor>> x(runs_.parameters, runs_.n_points, d);
      VectorXd center;
      MatrixXd metric;
      double radius = 0;
      Region::fit_ellipsoid(x, spec_.region.margin, &center, &metric, &radius);
      put_vector("region/center", center);
      artifact::Array a;
      a.shape = {d, d};
      a.data = AlignedBuffer(d * d);
      std::copy(metric.data(), metric.data() + d * d, a.data.begin());
      contents_.arrays["region/metric"] = std::move(a);
      region["radius"] = radius;
    } else if (spec_.region.hull != "box") {
      throw Error(ZELOS_E_ARGUMENT,
                  "region: hull '" + spec_.region.hull + "' is not available; expected box or ellipsoid");
    }
    document()["region"] = region;
  }

  const Spec& spec_;
  const TrainingRuns& runs_;
  const TrainOptions& options_;
  RegressionRunner regression_;
  FeatureTable features_;
  std::map<std::string, json> pending_features_;
  std::set<std::string> trained_;
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
