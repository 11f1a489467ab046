// SPDX-License-Identifier: BSD-3-Clause
#include <algorithm>

#include "../base/sha256.hpp"
#include "zelos/spec.hpp"

namespace zelos {
namespace {

using nlohmann::json;

json to_json(const CodeConfig& config) {
  return {{"code", config.code},
          {"version", config.version},
          {"ini", config.ini},
          {"extra_args", config.extra_args},
          {"fixed", config.fixed}};
}

json to_json(const ParameterSpec& parameter) {
  return {{"name", parameter.name},
          {"range", json::array({parameter.lo, parameter.hi})},
          {"latex", parameter.latex},
          {"unit", parameter.unit}};
}

json to_json(const LimitSpec& limit) {
  return {{"name", limit.name},
          {"of", limit.of},
          {"coefficients", limit.coefficients},
          {"range", json::array({limit.lo, limit.hi})}};
}

json to_json(const AxisSpec& axis) {
  return {{"name", axis.name}, {"min", axis.min},         {"max", axis.max},
          {"n", axis.n},       {"spacing", axis.spacing}, {"values", axis.values}};
}

json to_json(const TransformSpec& transform) { return {{"name", transform.name}, {"options", transform.options}}; }

json to_json(const EmulatorFunction& function) { return {{"type", function.type}, {"params", function.params}}; }

json to_json(const OutputSpec& output);

template <typename T>
json list_of(const std::vector<T>& items) {
  json list = json::array();
  for (const T& item : items) list.push_back(to_json(item));
  return list;
}

template <typename T>
json or_null(const std::optional<T>& item) {
  return item ? json(*item) : json(nullptr);
}

json to_json(const OutputSpec& output) {
  return {{"name", output.name},
          {"axes", list_of(output.axes)},
          {"transforms", list_of(output.transforms)},
          {"features", output.features},
          {"emulator_fn", output.emulator_fn ? to_json(*output.emulator_fn) : json(nullptr)},
          {"n_weights", output.n_weights},
          {"unit", output.unit}};
}

json to_json(const TrainingSpec& training) {
  return {{"type", training.type},
          {"params", training.params},
          {"n", training.n},
          {"validation", training.validation},
          {"seed", training.seed},
          {"design", training.design},
          {"hull", training.hull},
          {"margin", training.margin},
          {"threads", training.threads}};
}

json to_json(const RegionSpec& region) {
  json all{{"hull", region.hull}, {"margin", region.margin}, {"tolerance", or_null(region.tolerance)}};
  for (const auto& [name, ends] : region.box) all["box"][name] = {ends.first, ends.second};
  return all;
}

}  // namespace

json to_json(const Spec& spec) {
  return {{"name", spec.name},
          {"version", spec.version},
          {"author", spec.author},
          {"description", spec.description},
          {"container", spec.container},
          {"config", to_json(spec.config)},
          {"parameters", list_of(spec.parameters)},
          {"limits", list_of(spec.limits)},
          {"outputs", list_of(spec.outputs)},
          {"derived", spec.derived},
          {"features", spec.features},
          {"emulator_fn", to_json(spec.emulator_fn)},
          {"training", to_json(spec.training)},
          {"region", to_json(spec.region)},
          {"accuracy", spec.accuracy}};
}

std::string stage_key(const Spec& spec, Stage stage) {
  const json all = to_json(spec);

  // A run gives the same whatever order its inputs and products are named in.
  std::vector<std::string> names;
  for (const ParameterSpec& parameter : spec.parameters) names.push_back(parameter.name);
  std::sort(names.begin(), names.end());
  json axes = json::object();
  for (const OutputSpec& output : spec.outputs) {
    // Every run gives all scalars of the code, whichever the spec lists.
    if (output.name != "derived") axes[output.name] = list_of(output.axes);
  }
  json parts = {{"container", spec.container}, {"config", all["config"]}, {"parameter_names", names}, {"axes", axes}};

  if (stage != Stage::runs) {
    json ranges = json::array();
    for (const ParameterSpec& parameter : spec.parameters) {
      ranges.push_back({parameter.name, parameter.lo, parameter.hi});
    }
    parts["ranges"] = ranges;
    parts["limits"] = all["limits"];
    for (const char* key : {"n", "seed", "design", "hull", "margin", "validation"}) {
      parts["design"][key] = all["training"][key];
    }
  }
  if (stage == Stage::train) {
    parts["emulator_fn"] = all["emulator_fn"];
    parts["training"] = all["training"];
    parts["training"].erase("threads");
    parts["outputs"] = all["outputs"];
    parts["derived"] = all["derived"];
    parts["features"] = all["features"];
    parts["region"] = all["region"];
  }
  const std::string text = parts.dump();
  return sha256_hex(text.data(), text.size());
}

}  // namespace zelos
