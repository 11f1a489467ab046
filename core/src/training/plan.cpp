// SPDX-License-Identifier: BSD-3-Clause
#include "training/plan.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <set>

#include "base/text.hpp"
#include "training/regression.hpp"

namespace zelos {
namespace {

using nlohmann::json;

[[noreturn]] void fail(const std::string& what) { throw Error(ZELOS_E_ARGUMENT, what); }

void check_keys(const json& options, const std::vector<std::string>& known, const std::string& where) {
  for (const auto& [key, value] : options.items()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      fail(where + ": unknown key '" + key + "'" + did_you_mean(key, known) + " (known: " + join(known, ", ") + ")");
    }
  }
}

double number(const json& value, const std::string& where) {
  if (!value.is_number()) fail(where + ": expected a number, found " + value.dump());
  return value.get<double>();
}

double positive(const json& value, const std::string& where) {
  const double x = number(value, where);
  if (!(x > 0)) fail(where + ": expected a positive number, found " + value.dump());
  return x;
}

std::vector<std::string> names(const json& value, const std::string& where) {
  if (value.is_string()) return {value.get<std::string>()};
  const bool good =
      value.is_array() && std::all_of(value.begin(), value.end(), [](const json& v) { return v.is_string(); });
  if (!good) fail(where + ": expected a list of names, found " + value.dump());
  return value.get<std::vector<std::string>>();
}

EmulatorFunction function_of(const json& options, const EmulatorFunction& otherwise, const std::string& where) {
  if (!options.is_object()) fail(where + ": expected {type, params}, found " + options.dump());
  check_keys(options, {"type", "params"}, where);
  return {options.value("type", otherwise.type), options.value("params", json::object())};
}

/// Those of the field's names that the spec has, as parameters or fixed.
BackgroundPlan plan_background(const Spec& spec, const std::string& where) {
  BackgroundPlan plan;
  const auto has = [&](const std::string& name) {
    return std::any_of(spec.parameters.begin(), spec.parameters.end(), [&](const auto& p) { return p.name == name; });
  };
  // What a code takes where it is told nothing; ombh2, omch2 and H0 it has to be told.
  const std::map<std::string, double> defaults{{"omk", 0}, {"mnu", 0.06}, {"nnu", 3.044}, {"w", -1}, {"wa", 0}};
  for (int i = 0; i < kBackgroundInputs; ++i) {
    const std::string name = kBackgroundInputNames[i];
    const std::string synonym = name == "w" && has("w0") ? "w0" : name;
    const auto fixed = spec.config.fixed.find(name == "w" && spec.config.fixed.count("w0") != 0 ? "w0" : name);
    if (has(synonym)) {
      plan.name[i] = synonym;
    } else if (fixed != spec.config.fixed.end()) {
      plan.constant[i] = fixed->second;
    } else if (defaults.count(name) != 0) {
      plan.constant[i] = defaults.at(name);
    } else {
      fail(where + ": a background needs '" + name + "' among the parameters or in config.fixed");
    }
  }
  return plan;
}

BackgroundQuantity background_quantity(const json& value, const std::string& where) {
  BackgroundQuantity quantity{};
  if (value.is_string() && parse(value.get<std::string>(), &quantity)) return quantity;
  fail(where +
       ": expected one of Hubble, comoving_radial_distance, transverse_comoving_distance, angular_diameter_distance, "
       "electron_column, "
       "growth, growth_rate, found " +
       value.dump());
}

/// first, last: redshifts.
void check_background_z(BackgroundQuantity quantity, double first, double last, const std::string& where) {
  const bool grows = quantity == BackgroundQuantity::growth || quantity == BackgroundQuantity::growth_rate;
  if (first >= 0 && !(grows && last > kGrowthLargestZ)) return;
  fail(where + ": expected redshifts from 0 to " + (grows ? to_text(kGrowthLargestZ) : "any") + ", found " +
       to_text(first) + " to " + to_text(last));
}

// --- features ------------------------------------------------------------------------------------------------------

FeaturePlan plan_feature(const std::string& name, const json& options, const Spec& spec,
                         const std::vector<RunOutput>& runs) {
  FeaturePlan plan;
  plan.name = name;
  const std::string where = "feature '" + name + "'";
  if (options.contains("of")) plan.of = names(options["of"], where + ": of");
  if (options.contains("log") && !options["log"].is_boolean()) {
    fail(where + ": log: expected true or false, found " + options["log"].dump());
  }
  if (options.value("log", false)) {
    check_keys(options, {"log", "of"}, where);
    if (plan.of.size() != 1) fail(where + ": log expects one name in 'of'");
    plan.kind = FeaturePlan::Kind::logarithm;
  } else if (options.contains("coefficients")) {
    check_keys(options, {"coefficients", "constant", "of"}, where);
    for (const json& c : options["coefficients"]) plan.coefficients.push_back(number(c, where + ": coefficients"));
    if (options.contains("constant")) plan.constant = number(options["constant"], where + ": constant");
    if (plan.coefficients.size() != plan.of.size()) {
      fail(where + ": expected as many coefficients as names in 'of'");
    }
    plan.kind = FeaturePlan::Kind::linear;
  } else if (options.contains("step")) {
    check_keys(options, {"step", "of"}, where);
    const auto is_of = [&](const ParameterSpec& p) { return plan.of.size() == 1 && p.name == plan.of[0]; };
    if (std::none_of(spec.parameters.begin(), spec.parameters.end(), is_of)) {
      fail(where + ": step expects one parameter in 'of'");
    }
    plan.constant = number(options["step"], where + ": step");
    plan.kind = FeaturePlan::Kind::step;
  } else if (options.contains("emulated")) {
    check_keys(options, {"emulated", "of", "logarithmic", "type", "params", "replaces", "amplitude"}, where);
    plan.kind = FeaturePlan::Kind::emulated;
    plan.quantity = options["emulated"].get<std::string>();
    derived_index(find_run(runs, "derived"), plan.quantity, where);
    plan.logarithmic = options.value("logarithmic", true);
    plan.function = {options.value("type", "polynomial"), options.value("params", json::object())};
    if (plan.of.empty()) fail(where + ": emulated expects at least one name in 'of'");
    check_family(where, plan.function, plan.of);
    plan.amplitude = options.value("amplitude", "");
    if (!plan.amplitude.empty() && !plan.logarithmic) fail(where + ": an amplitude needs logarithmic: true");
    plan.replaces = options.value("replaces", "");
    const auto same = [&](const ParameterSpec& p) { return p.name == plan.replaces; };
    if (!plan.replaces.empty() && std::none_of(spec.parameters.begin(), spec.parameters.end(), same)) {
      fail(where + ": it replaces '" + plan.replaces + "', which is not a parameter");
    }
  } else if (options.contains("background")) {
    check_keys(options, {"background", "z"}, where);
    plan.kind = FeaturePlan::Kind::background;
    plan.background = background_quantity(options["background"], where + ": background");
    plan.inputs = plan_background(spec, where);
    plan.of = plan.inputs.names();
    plan.z = options.contains("z") ? number(options["z"], where + ": z") : 0;
    check_background_z(plan.background, plan.z, plan.z, where + ": z");
    const bool distance = plan.background != BackgroundQuantity::hubble &&
                          plan.background != BackgroundQuantity::growth &&
                          plan.background != BackgroundQuantity::growth_rate;
    if (distance && plan.z == 0) fail(where + ": z: a distance needs a redshift, found 0");
  } else {
    check_keys(options, {"log", "coefficients", "step", "emulated", "background", "of"}, where);
    fail(where + ": expected one of the keys log (true), coefficients, step, emulated, background");
  }
  return plan;
}

/// Names that features and outputs may refer to.
class Known {
 public:
  explicit Known(const Spec& spec) {
    for (const ParameterSpec& p : spec.parameters) names_.push_back(p.name);
  }
  void add(const std::string& name) {
    if (has(name)) fail("feature '" + name + "' is defined twice, or is the name of a parameter");
    names_.push_back(name);
  }
  bool has(const std::string& name) const { return std::find(names_.begin(), names_.end(), name) != names_.end(); }
  void check(const std::string& name, const std::string& where) const {
    if (!has(name)) fail(where + ": no parameter or feature '" + name + "'" + did_you_mean(name, names_));
  }

 private:
  std::vector<std::string> names_;
};

/// One of those that need each other, where all of `pending` wait for another.
std::string in_a_circle(const std::vector<FeaturePlan>& pending) {
  std::set<std::string> passed;
  const FeaturePlan* at = &pending.front();
  while (passed.insert(at->name).second) {
    at = &*std::find_if(pending.begin(), pending.end(), [at](const FeaturePlan& other) {
      return other.name == at->amplitude || std::find(at->of.begin(), at->of.end(), other.name) != at->of.end();
    });
  }
  return at->name;
}

/// Where a quantity jumps with the parameter that it replaces, a value of it has no solution, or two.
void check_replaced(const std::vector<FeaturePlan>& plans) {
  const auto jumps = [&](const auto& self, const FeaturePlan& plan, const std::string& parameter) -> bool {
    if (plan.kind == FeaturePlan::Kind::step) return plan.of[0] == parameter;
    return std::any_of(plans.begin(), plans.end(), [&](const FeaturePlan& other) {
      const bool used = other.name == plan.amplitude || std::count(plan.of.begin(), plan.of.end(), other.name) > 0;
      return used && self(self, other, parameter);
    });
  };
  for (const FeaturePlan& plan : plans) {
    if (!plan.replaces.empty() && jumps(jumps, plan, plan.replaces)) {
      fail("feature '" + plan.name + "': it replaces '" + plan.replaces + "', with which it jumps through a step");
    }
  }
}

std::vector<FeaturePlan> plan_features(const Spec& spec, const std::vector<RunOutput>& runs, Known* known) {
  std::vector<FeaturePlan> pending, plans;
  Known all(spec);
  for (const auto& [name, options] : spec.features) {
    pending.push_back(plan_feature(name, options, spec, runs));
    all.add(name);
  }
  for (const FeaturePlan& plan : pending) {
    for (const std::string& of : plan.of) all.check(of, "feature '" + plan.name + "'");
    if (!plan.amplitude.empty()) all.check(plan.amplitude, "feature '" + plan.name + "': amplitude");
  }
  while (!pending.empty()) {
    const auto ready = std::find_if(pending.begin(), pending.end(), [&](const FeaturePlan& plan) {
      return (plan.amplitude.empty() || known->has(plan.amplitude)) &&
             std::all_of(plan.of.begin(), plan.of.end(), [&](const auto& of) { return known->has(of); });
    });
    if (ready == pending.end()) fail("feature '" + in_a_circle(pending) + "': it needs itself");
    known->add(ready->name);
    plans.push_back(std::move(*ready));
    pending.erase(ready);
  }
  check_replaced(plans);
  return plans;
}

// --- outputs -------------------------------------------------------------------------------------------------------

std::vector<AxisModel> axes_of(const RunOutput& run) {
  std::vector<AxisModel> axes;
  for (size_t a = 0; a < run.axes.size(); ++a) {
    AxisModel model;
    model.axis.name = run.axis_names[a];
    model.axis.unit = a < run.axis_units.size() ? run.axis_units[a] : "";
    model.axis.values = run.axes[a];
    model.axis.labels = run.labels;
    const double front = run.axes[a].front();
    model.coordinate = !run.labels.empty()                    ? Coordinate::label
                       : model.axis.name == "k" && front > 0  ? Coordinate::log
                       : model.axis.name == "z" && front > -1 ? Coordinate::log1p
                                                              : Coordinate::linear;
    axes.push_back(std::move(model));
  }
  return axes;
}

PointPlan plan_tilt(const json& o, const std::vector<AxisModel>& axes, const std::string& where, PointPlan plan) {
  PointTransform& t = plan.transform;
  plan.description["offset"] = t.offset = o.value("offset", 1.0);
  plan.description["pivot"] = t.pivot = o.value("pivot", 0.05);
  const std::string axis = o.value("axis", axes[0].axis.name);
  t.axis = -1;
  for (size_t a = 0; a < axes.size(); ++a) {
    if (axes[a].axis.name == axis) t.axis = static_cast<int>(a);
  }
  if (t.axis < 0 || !(axes[t.axis].axis.values.front() > 0) || !(t.pivot > 0)) {
    fail(where + ": expected an axis of positive values and a positive pivot, found axis '" + axis + "' and pivot " +
         to_text(t.pivot));
  }
  plan.description["axis"] = t.axis;
  return plan;
}

PointPlan plan_background_transform(const json& o, const Spec& spec, const OutputPlan& output, const std::string& where,
                                    PointPlan plan) {
  check_keys(o, {"quantity", "power"}, where);
  PointTransform& t = plan.transform;
  t.kind = PointTransform::Kind::background;
  t.quantity = background_quantity(o.contains("quantity") ? o["quantity"] : json(output.run.name), where);
  if (o.contains("power")) t.power = number(o["power"], where + ": power");
  t.axis = -1;
  for (size_t a = 0; a < output.axes.size(); ++a) {
    if (output.axes[a].axis.name == "z") t.axis = static_cast<int>(a);
  }
  if (t.axis < 0) fail(where + ": the output has no axis z");
  const std::vector<double>& z = output.axes[t.axis].axis.values;
  check_background_z(t.quantity, z.front(), z.back(), where);
  plan.inputs = plan_background(spec, where);
  plan.description["quantity"] = to_string(t.quantity);
  plan.description["power"] = t.power;
  plan.description["axis"] = t.axis;
  plan.description["inputs"] = plan.inputs.description();
  return plan;
}

PointPlan plan_point(const TransformSpec& spec, const Spec& whole, const OutputPlan& output, bool after_log) {
  const std::string where = "output " + output.run.name + ": transform '" + spec.name + "'";
  const json& o = spec.options;
  PointPlan plan;
  PointTransform& t = plan.transform;
  plan.description = {{"type", spec.name}};
  if (spec.name == "log") {
    check_keys(o, {}, where);
    t.kind = PointTransform::Kind::log;
  } else if (spec.name == "arcsinh") {
    check_keys(o, {"scale"}, where);
    t.kind = PointTransform::Kind::arcsinh;
    plan.description["scale"] = t.scale = o.value("scale", 1.0);
  } else if (spec.name == "amplitude" || spec.name == "tilt") {
    const bool tilt = spec.name == "tilt";
    t.kind = tilt ? PointTransform::Kind::tilt : PointTransform::Kind::amplitude;
    if (tilt) {
      check_keys(o, {"feature", "offset", "pivot", "axis"}, where);
    } else {
      check_keys(o, {"feature"}, where);
    }
    plan.feature = o.value("feature", tilt ? "ns" : "amplitude");
    plan.description["feature"] = plan.feature;
    plan.description["logarithmic"] = t.logarithmic = after_log;
    if (tilt) plan = plan_tilt(o, output.axes, where, std::move(plan));
  } else if (spec.name == "ratio" || spec.name == "correlation") {
    const bool ratio = spec.name == "ratio";
    check_keys(o, {"with"}, where);
    t.kind = ratio ? PointTransform::Kind::ratio : PointTransform::Kind::correlation;
    if (o.contains("with")) plan.others = names(o["with"], where + ": with");
    if (plan.others.size() != (ratio ? 1U : 2U)) {
      fail(where + ": expected " + (ratio ? "one output" : "two outputs") + " in 'with'");
    }
    plan.description["other"] = plan.others;
  } else if (spec.name == "background") {
    plan.description["logarithmic"] = t.logarithmic = after_log;
    plan = plan_background_transform(o, whole, output, where, std::move(plan));
  } else {
    fail("output " + output.run.name + ": unknown transform '" + spec.name + "'" +
         did_you_mean(spec.name, {"log", "arcsinh", "amplitude", "tilt", "ratio", "correlation", "background", "pca"}));
  }
  return plan;
}

Whitening plan_whitening(const json& whiten, const std::string& where) {
  Whitening plan;
  plan.description = whiten;
  const auto one = [&](const char* key) { return whiten.is_object() && whiten.size() == 1 && whiten.contains(key); };
  if (whiten == "cosmic_variance") {
    plan.kind = Whitening::Kind::cosmic_variance;
  } else if (one("cosmic_variance")) {
    plan.kind = Whitening::Kind::cosmic_variance;
    plan.value = positive(whiten["cosmic_variance"], where + ": cosmic_variance");
  } else if (whiten == "standardise") {
    plan.kind = Whitening::Kind::standardise;
  } else if (whiten == "none") {
    plan.kind = Whitening::Kind::none;
  } else if (one("relative")) {
    plan.kind = Whitening::Kind::relative;
    plan.value = positive(whiten["relative"], where + ": relative");
  } else if (one("sigma")) {
    plan.kind = Whitening::Kind::sigma;
    plan.value = positive(whiten["sigma"], where + ": sigma");
  } else {
    fail(where +
         ": expected cosmic_variance, {cosmic_variance: last}, standardise, none, {sigma: ...} or {relative: ...}, "
         "found " +
         whiten.dump());
  }
  return plan;
}

/// [[start, spacing], ...]: each spacing holds up to the next start, the last one to the axis' end.
std::vector<double> breakpoints_of(const json& knots, double begin, double last, const std::string& where) {
  const std::string expected = where +
                               ": knots: expected [[start, spacing], ...] with rising starts and positive "
                               "spacings, found " +
                               knots.dump();
  std::vector<std::pair<double, double>> rows;
  if (!knots.is_array() || knots.empty()) fail(expected);
  for (const json& row : knots) {
    if (!row.is_array() || row.size() != 2 || !row[0].is_number() || !row[1].is_number()) fail(expected);
    rows.emplace_back(row[0].get<double>(), row[1].get<double>());
    if (!(rows.back().second > 0) || !(rows.back().first < last)) fail(expected);
    if (rows.size() > 1 && !(rows[rows.size() - 2].first < rows.back().first)) fail(expected);
  }
  std::vector<double> points;
  for (size_t i = 0; i < rows.size(); ++i) {
    const double end = i + 1 < rows.size() ? rows[i + 1].first : last;
    const int64_t n = std::max<int64_t>(1, std::llround((end - rows[i].first) / rows[i].second));
    for (int64_t j = 0; j < n; ++j) {
      points.push_back(rows[i].first + (end - rows[i].first) * static_cast<double>(j) / static_cast<double>(n));
    }
  }
  points.push_back(last);
  if (points.front() != begin) {
    fail(where + ": knots: expected to start at " + to_text(begin) + ", found " + to_text(points.front()));
  }
  return points;
}

void plan_range(const json& options, const std::vector<double>& axis, const std::string& where, SegmentPlan* plan) {
  plan->size = static_cast<int64_t>(axis.size());
  if (!options.contains("range")) return;
  const json& range = options["range"];
  if (!range.is_array() || range.size() != 2 || !range[0].is_number() || !range[1].is_number()) {
    fail(where + ": range: expected [first, last], found " + range.dump());
  }
  const auto begin = std::lower_bound(axis.begin(), axis.end(), range[0].get<double>());
  const auto end = std::upper_bound(begin, axis.end(), range[1].get<double>());
  plan->first = begin - axis.begin();
  plan->size = end - begin;
  if (plan->size < 1) fail(where + ": range: no point of the axis lies in it");
}

StretchPlan plan_stretch(const json& options, double front, double back, const std::string& where) {
  check_keys(options, {"feature", "reference", "full"}, where);
  StretchPlan plan;
  plan.feature = options.value("feature", "thetastar");
  if (options.contains("reference")) plan.reference = positive(options["reference"], where + ": reference");
  const double full = options.contains("full") ? positive(options["full"], where + ": full") : back * 0.6;
  plan.stretch = Stretch{front, full, back};
  return plan;
}

SegmentPlan plan_segment(const json& options, const OutputPlan& output, const std::string& where) {
  check_keys(options, {"range", "weights", "rotate", "whiten", "stretch", "knots", "features", "emulator_fn"}, where);
  const std::vector<double>& axis = output.axes[0].axis.values;
  SegmentPlan plan;
  plan_range(options, axis, where, &plan);
  const double front = axis[plan.first], back = axis[plan.first + plan.size - 1];
  if (options.contains("weights")) {
    if (!options["weights"].is_number_integer() || options["weights"].get<int64_t>() < 0) {
      fail(where + ": weights: expected an integer from 0, found " + options["weights"].dump());
    }
    plan.weights = options["weights"].get<int64_t>();
  }
  if (options.contains("rotate") && !options["rotate"].is_boolean()) {
    fail(where + ": rotate: expected true or false, found " + options["rotate"].dump());
  }
  plan.rotate = options.value("rotate", true);
  plan.whitening = plan_whitening(options.value("whiten", json("standardise")), where + ": whiten");
  if (options.contains("knots")) {
    if (output.axes.size() != 1) fail(where + ": knots need one axis");
    if (!plan.rotate) fail(where + ": knots: not together with rotate: false");
    plan.breakpoints = breakpoints_of(options["knots"], front, back, where);
  }
  if (options.contains("stretch")) {
    if (plan.breakpoints.empty()) fail(where + ": a stretch needs knots");
    plan.stretch = plan_stretch(options["stretch"], front, back, where + ": stretch");
  }
  return plan;
}

/// Derived quantities that the spec lists, as an output of their own.
RunOutput chosen_derived(const Spec& spec, const RunOutput& all) {
  RunOutput chosen = all;
  chosen.labels.clear();
  chosen.label_units.clear();
  chosen.axes = {{}};
  chosen.values = nullptr;
  for (size_t i = 0; i < spec.derived.size(); ++i) {
    const int64_t at = derived_index(all, spec.derived[i], "derived");
    chosen.labels.push_back(spec.derived[i]);
    chosen.label_units.push_back(at < static_cast<int64_t>(all.label_units.size()) ? all.label_units[at] : "");
    chosen.axes[0].push_back(static_cast<double>(i));
  }
  return chosen;
}

class OutputPlanner {
 public:
  OutputPlanner(const Spec& spec, const Known& known, OutputSpec output, OutputPlan plan)
      : spec_(spec), known_(known), output_(std::move(output)), plan_(std::move(plan)) {}

  /// planned: what stands before it in the spec.
  OutputPlan run(const std::vector<OutputPlan>& planned) {
    plan_.axes = axes_of(plan_.run);
    const std::string where = "output " + plan_.run.name;
    std::vector<json> segments;
    bool after_log = false;
    for (const TransformSpec& t : output_.transforms) {
      if (t.name == "pca") {
        segments.push_back(t.options);
        continue;
      }
      plan_.points.push_back(plan_point(t, spec_, plan_, after_log));
      if (!segments.empty()) fail(where + ": transform '" + t.name + "' stands after pca; pca is last");
      check_references(plan_.points.back(), t, planned);
      after_log = after_log || t.name == "log";
    }
    if (segments.empty()) segments.push_back(json::object());
    for (size_t i = 0; i < segments.size(); ++i) {
      add_segment(segments[i], where + ": pca" + (segments.size() > 1 ? " " + std::to_string(i + 1) : ""));
    }
    if (covered_ != static_cast<int64_t>(plan_.run.axes[0].size())) {
      fail(where + ": the ranges of its pca cover " + std::to_string(covered_) + " of " +
           std::to_string(plan_.run.axes[0].size()) + " points of the axis");
    }
    return std::move(plan_);
  }

 private:
  void check_references(const PointPlan& point, const TransformSpec& t, const std::vector<OutputPlan>& planned) const {
    const std::string where = "output " + plan_.run.name + ": transform '" + t.name + "'";
    if (!point.feature.empty()) known_.check(point.feature, where);
    for (const std::string& other : point.others) {
      const auto found =
          std::find_if(planned.begin(), planned.end(), [&](const OutputPlan& p) { return p.run.name == other; });
      if (found == planned.end()) {
        std::vector<std::string> before;
        for (const OutputPlan& p : planned) before.push_back(p.run.name);
        fail(where + " refers to output '" + other + "', which does not stand before it in the spec" +
             did_you_mean(other, before));
      }
      if (found->run.axes != plan_.run.axes) fail(where + ": output " + other + " has other axes");
    }
  }

  void add_segment(const json& options, const std::string& where) {
    SegmentPlan segment = plan_segment(options, plan_, where);
    if (segment.first != covered_) {
      fail(where + ": its range should begin with point " + std::to_string(covered_) + " of the axis, found " +
           std::to_string(segment.first) + ": segments follow each other without gap or overlap");
    }
    covered_ += segment.size;
    if (segment.weights == 0) segment.weights = output_.n_weights;
    segment.inputs = options.contains("features") ? names(options["features"], where + ": features") : output_.features;
    if (segment.inputs.empty()) {
      for (const ParameterSpec& p : spec_.parameters) segment.inputs.push_back(p.name);
    }
    for (const std::string& input : segment.inputs) known_.check(input, where + ": features");
    segment.function = output_.emulator_fn ? *output_.emulator_fn : spec_.emulator_fn;
    if (options.contains("emulator_fn")) {
      segment.function = function_of(options["emulator_fn"], segment.function, where + ": emulator_fn");
    }
    check_family(where, segment.function, segment.inputs);
    if (segment.stretch) known_.check(segment.stretch->feature, where + ": stretch");
    plan_.segments.push_back(std::move(segment));
  }

  const Spec& spec_;
  const Known& known_;
  const OutputSpec output_;
  OutputPlan plan_;
  int64_t covered_ = 0;
};

}  // namespace

std::vector<std::string> BackgroundPlan::names() const {
  std::vector<std::string> names;
  for (const std::string& n : name) {
    if (!n.empty()) names.push_back(n);
  }
  return names;
}

json BackgroundPlan::description() const {
  json inputs;
  for (int i = 0; i < kBackgroundInputs; ++i) {
    inputs[kBackgroundInputNames[i]] = name[i].empty() ? json(constant[i]) : json(name[i]);
  }
  return inputs;
}

TrainingPlan plan_training(const Spec& spec, const std::vector<RunOutput>& runs) {
  try {
    TrainingPlan plan;
    Known known(spec);
    plan.features = plan_features(spec, runs, &known);
    OutputSpec derived_spec;
    for (const OutputSpec& output : spec.outputs) {
      if (output.name == "derived") {
        derived_spec = output;
        continue;
      }
      OutputPlan begin;
      begin.run = find_run(runs, output.name);
      begin.unit = begin.run.unit;
      if (!output.unit.empty() && output.unit != begin.unit) {
        fail("output " + output.name + ": unit: the runs are in '" + begin.unit + "', found '" + output.unit +
             "'; nothing is converted");
      }
      plan.outputs.push_back(OutputPlanner(spec, known, output, std::move(begin)).run(plan.outputs));
    }
    if (!spec.derived.empty()) {
      OutputPlan begin;
      begin.run = chosen_derived(spec, find_run(runs, "derived"));
      if (derived_spec.transforms.empty()) {
        begin.log_if_positive = true;
        derived_spec.transforms.push_back({"pca", json{{"whiten", json{{"sigma", 1e-5}}}, {"rotate", false}}});
      }
      derived_spec.n_weights = 0;
      plan.outputs.push_back(OutputPlanner(spec, known, derived_spec, std::move(begin)).run(plan.outputs));
    }
    return plan;
  } catch (const json::exception& e) {
    throw Error(ZELOS_E_ARGUMENT, spec.file_name + ": " + e.what());
  }
}

int64_t derived_index(const RunOutput& derived, const std::string& label, const std::string& who) {
  const auto found = std::find(derived.labels.begin(), derived.labels.end(), label);
  if (found == derived.labels.end()) {
    fail(who + ": the code gives no derived quantity '" + label + "'" + did_you_mean(label, derived.labels));
  }
  return found - derived.labels.begin();
}

const RunOutput& find_run(const std::vector<RunOutput>& runs, const std::string& name) {
  std::vector<std::string> known;
  for (const RunOutput& output : runs) {
    if (output.name == name) return output;
    known.push_back(output.name);
  }
  fail("training set: the runs hold no output '" + name + "'" + did_you_mean(name, known) +
       " They hold: " + join(known, ", "));
}

}  // namespace zelos
