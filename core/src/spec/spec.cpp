// SPDX-License-Identifier: BSD-3-Clause
#include "zelos/spec.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <set>
#include <tuple>

#include "../base/text.hpp"
#include "node.hpp"
#include "normalise.hpp"

namespace zelos {
namespace spec {
namespace {

using Names = std::vector<std::string>;

const Names kDesignHulls = {"box", "ellipsoid", "convex"};
const Names kHulls = {"box", "ellipsoid", "convex", "cells"};
const Names kDesigns = {"sobol", "latin_hypercube"};
const Names kSpacings = {"linear", "log"};
constexpr std::int64_t kMostRuns = 100000000;
constexpr std::int64_t kMostPoints = 10000000;

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool has_letter(const std::string& text) { return std::any_of(text.begin(), text.end(), is_letter); }

bool made_of(const std::string& text, std::string_view others) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return is_letter(c) || is_digit(c) || others.find(c) != std::string_view::npos;
  });
}

std::string lower_case(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

std::string number_text(double value) { return nlohmann::json(value).dump(); }

class Reader {
 public:
  explicit Reader(const Sources& sources) : sources_(sources) {}

  Spec read(Node& root) {
    if (root.kind == Node::Kind::null) sources_.fail(root.at, "", "the spec is empty");
    need_map(root, "");
    check_keys(root, "", keys_of_spec());
    Spec spec;
    spec.name = emulator_name(required(root, "", "name"));
    if (const Node* node = root.find("version")) spec.version = version(*node, "version");
    if (const Node* node = root.find("author")) spec.author = text(*node, "author");
    if (const Node* node = root.find("description")) spec.description = text(*node, "description");
    if (const Node* node = root.find("container")) spec.container = container(*node);
    spec.parameters = parameters(required(root, "", "parameters"));
    if (Node* node = root.find("limits")) spec.limits = limits(*node, spec.parameters);
    spec.config = config(root.find("config"), spec);
    if (spec.config.code.empty()) {
      const Node* node = root.find("config");
      sources_.fail(node == nullptr ? root.at : node->at, "config.code",
                    "expected the code's name, found none in config, container or name (CAMB, CLASS "
                    "or classy)");
    }
    spec.outputs = outputs(required(root, "", "outputs"));
    if (const Node* node = root.find("derived")) spec.derived = names(*node, "derived");
    if (Node* node = root.find("features")) spec.features = features(*node);
    spec.emulator_fn = emulator_fn(required(root, "", "emulator_fn"), "emulator_fn");
    if (Node* node = root.find("training")) spec.training = training(*node);
    spec.region.hull = spec.training.hull;
    if (Node* node = root.find("region")) spec.region = region(*node, spec);
    if (Node* node = root.find("accuracy")) spec.accuracy = accuracy(*node);
    return spec;
  }

 private:
  [[noreturn]] void fail_type(const Node& node, const std::string& path, const std::string& expected) const {
    sources_.fail(node.at, path, "expected " + expected + ", found " + describe(node));
  }

  void need_map(Node& node, const std::string& path) const {
    if (make_map(node, path, sources_)) return;
    for (const Node& item : node.items) {
      if (item.kind == Node::Kind::map) {
        sources_.fail(item.at, path,
                      "expected a map or a list of one-key maps, found a list with an entry of " +
                          std::to_string(item.items.size()) + " keys or with other entries");
      }
    }
    fail_type(node, path, "a map");
  }

  void optional_map(Node& node, const std::string& path) const {
    if (node.kind == Node::Kind::null) node.kind = Node::Kind::map;
    if (node.kind == Node::Kind::sequence && node.items.empty()) node.kind = Node::Kind::map;
    need_map(node, path);
  }

  void check_keys(const Node& map, const std::string& path, const Names& valid) const {
    for (const Key& key : map.keys) {
      if (std::find(valid.begin(), valid.end(), key.text) == valid.end()) {
        sources_.fail(key.at, child_path(path, key.text),
                      "unknown key" + did_you_mean(key.text, valid) + " (valid keys: " + join(valid, ", ") + ")");
      }
    }
  }

  Node& required(Node& map, const std::string& path, const std::string& key) const {
    Node* node = map.find(key);
    if (node == nullptr) sources_.fail(map.at, path, "expected the key '" + key + "', found none");
    return *node;
  }

  std::string text(const Node& node, const std::string& path) const {
    if (node.kind != Node::Kind::scalar || number_of(node)) fail_type(node, path, "text");
    return node.text;
  }

  /// Text that may look like a number: `version: 1.6`.
  std::string literal(const Node& node, const std::string& path, const std::string& expected) const {
    if (node.kind != Node::Kind::scalar) fail_type(node, path, expected);
    return node.text;
  }

  std::string version(const Node& node, const std::string& path) const {
    const std::string found = literal(node, path, "a version");
    if (!made_of(found, "._+-")) fail_type(node, path, "a version of letters, digits, '.', '_', '+', '-'");
    return found;
  }

  std::string emulator_name(const Node& node) const {
    constexpr std::size_t kLongestName = 128;
    const std::string found = text(node, "name");
    if (!made_of(found, "_-") || found[0] == '-' || found.size() > kLongestName) {
      fail_type(node, "name", "letters, digits, '_' and '-', at most 128, not beginning with '-'");
    }
    return found;
  }

  std::string container(const Node& node) const {
    const std::string found = text(node, "container");
    if (!made_of(found, "._+-:/@")) fail_type(node, "container", "an image reference");
    return found;
  }

  /// Names of quantities as CAMB, CLASS and Cobaya have them: `ln10^{10}A_s`, `100*theta_s`,
  /// `Cl.tt`.
  void check_name(const std::string& name, const Position& at, const std::string& path) const {
    constexpr std::size_t kLongestName = 128;
    if (!made_of(name, "_.^{}*+/()-") || !has_letter(name) || name.size() > kLongestName) {
      sources_.fail(
          at, path,
          "expected a name of letters, digits and _.^{}*+/()- with a letter in it, found '" + excerpt(name) + "'");
    }
  }

  std::string name(const Node& node, const std::string& path) const {
    const std::string found = text(node, path);
    check_name(found, node.at, path);
    return found;
  }

  Names names(const Node& node, const std::string& path) const {
    if (node.kind != Node::Kind::sequence) fail_type(node, path, "a list of names");
    Names found;
    std::set<std::string> seen;
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      const std::string item_path = path + "[" + std::to_string(i) + "]";
      found.push_back(name(node.items[i], item_path));
      if (!seen.insert(found.back()).second) {
        sources_.fail(node.items[i].at, item_path, "'" + found.back() + "' is given twice");
      }
    }
    return found;
  }

  double number(const Node& node, const std::string& path) const {
    const std::optional<Number> found = number_of(node);
    if (!found) fail_type(node, path, "a number");
    if (!found->finite) fail_type(node, path, "a finite number");
    return found->value;
  }

  double number_in(const Node& node, const std::string& path, double lo, double hi) const {
    const double value = number(node, path);
    if (value < lo || value > hi) {
      fail_type(node, path, "a number from " + number_text(lo) + " to " + number_text(hi));
    }
    return value;
  }

  double positive(const Node& node, const std::string& path) const {
    const double value = number(node, path);
    if (value <= 0) fail_type(node, path, "a number > 0");
    return value;
  }

  std::int64_t whole_number(const Node& node, const std::string& path, std::int64_t lo, std::int64_t hi) const {
    constexpr double kExactBelow = 9007199254740992.0;
    const std::string expected = "a whole number from " + std::to_string(lo) + " to " + std::to_string(hi);
    const std::optional<Number> found = number_of(node);
    if (!found || !found->finite) fail_type(node, path, expected);
    std::int64_t value = 0;
    if (found->integer) {
      value = *found->integer;
    } else if (std::abs(found->value) < kExactBelow && found->value == std::trunc(found->value)) {
      value = static_cast<std::int64_t>(found->value);
    } else {
      fail_type(node, path, expected);
    }
    if (value < lo || value > hi) fail_type(node, path, expected);
    return value;
  }

  std::string choice(const Node& node, const std::string& path, const Names& valid) const {
    if (node.kind != Node::Kind::scalar || std::find(valid.begin(), valid.end(), node.text) == valid.end()) {
      const std::string hint = node.kind == Node::Kind::scalar ? did_you_mean(node.text, valid) : std::string();
      sources_.fail(node.at, path, "expected one of " + join(valid, ", ") + ", found " + describe(node) + hint);
    }
    return node.text;
  }

  nlohmann::json free_form(Node& node, const std::string& path) const {
    if (is_list_of_entries(node)) make_map(node, path, sources_);
    switch (node.kind) {
      case Node::Kind::null:
        return nullptr;
      case Node::Kind::sequence: {
        nlohmann::json list = nlohmann::json::array();
        for (std::size_t i = 0; i < node.items.size(); ++i) {
          list.push_back(free_form(node.items[i], path + "[" + std::to_string(i) + "]"));
        }
        return list;
      }
      case Node::Kind::map: {
        nlohmann::json map = nlohmann::json::object();
        for (std::size_t i = 0; i < node.items.size(); ++i) {
          map[node.keys[i].text] = free_form(node.items[i], child_path(path, node.keys[i].text));
        }
        return map;
      }
      case Node::Kind::scalar:
        break;
    }
    if (const std::optional<Number> found = number_of(node)) {
      if (!found->finite) fail_type(node, path, "a finite number");
      return found->integer ? nlohmann::json(*found->integer) : nlohmann::json(found->value);
    }
    if (!node.quoted && (node.text == "true" || node.text == "True" || node.text == "TRUE")) return true;
    if (!node.quoted && (node.text == "false" || node.text == "False" || node.text == "FALSE")) {
      return false;
    }
    return node.text;
  }

  nlohmann::json free_map(Node& node, const std::string& path) const {
    optional_map(node, path);
    return free_form(node, path);
  }

  static std::string code_named_in(const std::string& text) {
    std::string token;
    for (const char c : text + " ") {
      if (is_letter(c) || is_digit(c)) {
        token += c;
        continue;
      }
      const std::string code = known_code(token);
      if (!code.empty()) return code;
      token.clear();
    }
    return "";
  }

  static std::string known_code(const std::string& name) {
    const std::string lower = lower_case(name);
    if (lower == "camb") return "camb";
    return lower == "class" || lower == "classy" ? "classy" : "";
  }

  CodeConfig config(Node* node, const Spec& spec) const {
    static const Names kKeys = {"code", "version", "extra_args", "ini", "fixed"};
    CodeConfig config;
    if (node != nullptr) {
      optional_map(*node, "config");
      check_keys(*node, "config", kKeys);
      if (const Node* code = node->find("code")) {
        config.code = name(*code, "config.code");
        if (!known_code(config.code).empty()) config.code = known_code(config.code);
      }
      if (const Node* found = node->find("version")) config.version = version(*found, "config.version");
      if (const Node* ini = node->find("ini")) {
        config.ini = literal(*ini, "config.ini", "the path of the code's settings file");
        if (config.ini.empty()) fail_type(*ini, "config.ini", "the path of the code's settings file");
      }
      if (Node* args = node->find("extra_args")) {
        config.extra_args = free_map(*args, "config.extra_args");
      }
      if (Node* fixed = node->find("fixed")) config.fixed = fixed_values(*fixed, spec);
    }
    if (config.code.empty()) config.code = code_named_in(spec.container);
    if (config.code.empty()) config.code = code_named_in(spec.name);
    return config;
  }

  std::map<std::string, double> fixed_values(Node& node, const Spec& spec) const {
    optional_map(node, "config.fixed");
    std::map<std::string, double> fixed;
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      const Key& key = node.keys[i];
      const std::string path = child_path("config.fixed", key.text);
      check_name(key.text, key.at, path);
      for (const ParameterSpec& parameter : spec.parameters) {
        if (parameter.name == key.text) {
          sources_.fail(key.at, path,
                        "expected a name that is not one of the parameters, found '" + key.text + "', which is varied");
        }
      }
      fixed[key.text] = number(node.items[i], path);
    }
    return fixed;
  }

  std::pair<double, double> range(const Node& node, const std::string& path) const {
    if (node.kind != Node::Kind::sequence || node.items.size() != 2) {
      fail_type(node, path, "a range [lo, hi]");
    }
    const std::pair<double, double> range = {number(node.items[0], path + "[0]"), number(node.items[1], path + "[1]")};
    return range;
  }

  std::vector<ParameterSpec> parameters(Node& node) const {
    static const Names kKeys = {"range", "latex", "unit"};
    need_map(node, "parameters");
    if (node.items.empty()) fail_type(node, "parameters", "at least one parameter");
    std::vector<ParameterSpec> parameters;
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      ParameterSpec parameter;
      parameter.name = node.keys[i].text;
      std::string path = child_path("parameters", parameter.name);
      check_name(parameter.name, node.keys[i].at, path);
      Node* bounds = &node.items[i];
      if (make_map(*bounds, path, sources_)) {
        Node& map = *bounds;
        check_keys(map, path, kKeys);
        if (const Node* latex = map.find("latex")) {
          parameter.latex = literal(*latex, child_path(path, "latex"), "text");
        }
        if (const Node* unit = map.find("unit")) {
          parameter.unit = literal(*unit, child_path(path, "unit"), "text");
        }
        bounds = &required(map, path, "range");
        path = child_path(path, "range");
      }
      std::tie(parameter.lo, parameter.hi) = range(*bounds, path);
      if (!(parameter.lo < parameter.hi)) {
        sources_.fail(bounds->at, path,
                      "empty range: expected lo < hi, found [" + number_text(parameter.lo) + ", " +
                          number_text(parameter.hi) + "]");
      }
      parameters.push_back(std::move(parameter));
    }
    return parameters;
  }

  std::vector<OutputSpec> outputs(Node& node) const {
    need_map(node, "outputs");
    if (node.items.empty()) fail_type(node, "outputs", "at least one output");
    std::vector<OutputSpec> outputs;
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      const std::string path = child_path("outputs", node.keys[i].text);
      check_name(node.keys[i].text, node.keys[i].at, path);
      outputs.push_back(output(node.keys[i].text, node.items[i], path));
    }
    return outputs;
  }

  OutputSpec output(const std::string& name, Node& node, const std::string& path) const {
    OutputSpec output;
    output.name = name;
    if (node.kind != Node::Kind::null && !make_map(node, path, sources_)) {
      fail_type(node, path, "a map of axes (k: [1e-4, 10])");
    }
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      const Key& key = node.keys[i];
      Node& value = node.items[i];
      const std::string key_path = child_path(path, key.text);
      if (key.text == "transforms") {
        output.transforms = transforms(value, key_path);
      } else if (key.text == "features") {
        output.features = names(value, key_path);
      } else if (key.text == "emulator_fn") {
        output.emulator_fn = emulator_fn(value, key_path);
      } else if (key.text == "n_weights") {
        output.n_weights = whole_number(value, key_path, 1, kMostPoints);
      } else if (key.text == "unit") {
        output.unit = literal(value, key_path, "text");
      } else {
        check_name(key.text, key.at, key_path);
        output.axes.push_back(axis(key, value, key_path));
      }
    }
    return output;
  }

  AxisSpec axis(const Key& key, Node& node, const std::string& path) const {
    AxisSpec axis;
    axis.name = key.text;
    if (make_map(node, path, sources_)) {
      axis_from_map(axis, node, path);
      return axis;
    }
    const bool is_list = node.kind == Node::Kind::sequence && node.items.size() >= 2;
    if (!is_list || !number_of(node.items[0])) {
      sources_.fail(node.at, path,
                    "expected an axis: [first, last], {min, max, n, spacing} or a list of ascending "
                    "values; found " +
                        describe(node) + did_you_mean(key.text, keys_of_output()));
    }
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      axis.values.push_back(number(node.items[i], path + "[" + std::to_string(i) + "]"));
    }
    if (axis.values.size() == 2) {
      axis.min = std::min(axis.values[0], axis.values[1]);
      axis.max = std::max(axis.values[0], axis.values[1]);
      axis.values.clear();
      check_not_empty(axis, node, path);
      return axis;
    }
    for (std::size_t i = 1; i < axis.values.size(); ++i) {
      if (!(axis.values[i - 1] < axis.values[i])) {
        sources_.fail(node.items[i].at, path + "[" + std::to_string(i) + "]",
                      "expected ascending values, found " + number_text(axis.values[i]) + " after " +
                          number_text(axis.values[i - 1]));
      }
    }
    axis.min = axis.values.front();
    axis.max = axis.values.back();
    axis.n = static_cast<std::int64_t>(axis.values.size());
    return axis;
  }

  void axis_from_map(AxisSpec& axis, Node& node, const std::string& path) const {
    static const Names kKeys = {"min", "max", "n", "spacing"};
    check_keys(node, path, kKeys);
    axis.min = number(required(node, path, "min"), child_path(path, "min"));
    axis.max = number(required(node, path, "max"), child_path(path, "max"));
    check_not_empty(axis, node, path);
    if (const Node* n = node.find("n")) {
      axis.n = whole_number(*n, child_path(path, "n"), 2, kMostPoints);
    }
    if (const Node* spacing = node.find("spacing")) {
      axis.spacing = choice(*spacing, child_path(path, "spacing"), kSpacings);
      if (axis.spacing == "log" && axis.min <= 0) {
        sources_.fail(spacing->at, child_path(path, "spacing"),
                      "expected min > 0 for log spacing, found " + number_text(axis.min));
      }
    }
  }

  void check_not_empty(const AxisSpec& axis, const Node& node, const std::string& path) const {
    if (axis.min < axis.max) return;
    sources_.fail(node.at, path,
                  "empty range: expected two different ends, min < max, found " + number_text(axis.min) + " and " +
                      number_text(axis.max));
  }

  std::vector<TransformSpec> transforms(Node& node, const std::string& path) const {
    std::vector<TransformSpec> transforms;
    if (node.kind != Node::Kind::sequence && node.kind != Node::Kind::map) {
      fail_type(node, path, "a list of names or one-key maps {name: {option: value}}");
    }
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      const std::string item_path = path + "[" + std::to_string(i) + "]";
      TransformSpec transform;
      Node& item = node.items[i];
      if (node.kind == Node::Kind::map) {
        transform = with_options(node.keys[i], item, path);
      } else if (item.kind == Node::Kind::map && item.items.size() == 1) {
        transform = with_options(item.keys[0], item.items[0], item_path);
      } else if (item.kind == Node::Kind::scalar) {
        transform.name = name(item, item_path);
      } else {
        fail_type(item, item_path, "a name or a one-key map {name: {option: value}}");
      }
      transforms.push_back(std::move(transform));
    }
    return transforms;
  }

  TransformSpec with_options(const Key& key, Node& options, const std::string& path) const {
    const std::string key_path = child_path(path, key.text);
    check_name(key.text, key.at, key_path);
    return {key.text, free_map(options, key_path)};
  }

  std::vector<LimitSpec> limits(Node& node, const std::vector<ParameterSpec>& parameters) const {
    static const Names kKeys = {"coefficients", "of", "range"};
    optional_map(node, "limits");
    Names known;
    for (const ParameterSpec& parameter : parameters) known.push_back(parameter.name);
    std::vector<LimitSpec> limits;
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      LimitSpec limit;
      limit.name = node.keys[i].text;
      const std::string path = child_path("limits", limit.name);
      check_name(limit.name, node.keys[i].at, path);
      need_map(node.items[i], path);
      check_keys(node.items[i], path, kKeys);
      const Node& of = required(node.items[i], path, "of");
      limit.of = names(of, child_path(path, "of"));
      for (std::size_t j = 0; j < limit.of.size(); ++j) {
        if (std::find(known.begin(), known.end(), limit.of[j]) != known.end()) continue;
        sources_.fail(of.items[j].at, child_path(path, "of"),
                      "expected a parameter, found '" + limit.of[j] + "'" + did_you_mean(limit.of[j], known));
      }
      const Node& coefficients = required(node.items[i], path, "coefficients");
      const std::string coefficients_path = child_path(path, "coefficients");
      if (coefficients.kind != Node::Kind::sequence || coefficients.items.size() != limit.of.size() ||
          limit.of.empty()) {
        fail_type(coefficients, coefficients_path, "a number for each parameter in 'of'");
      }
      for (const Node& coefficient : coefficients.items) {
        limit.coefficients.push_back(number(coefficient, coefficients_path));
      }
      const Node& ends = required(node.items[i], path, "range");
      std::tie(limit.lo, limit.hi) = range(ends, child_path(path, "range"));
      if (!(limit.lo < limit.hi)) {
        sources_.fail(
            ends.at, child_path(path, "range"),
            "empty range: expected lo < hi, found [" + number_text(limit.lo) + ", " + number_text(limit.hi) + "]");
      }
      limits.push_back(std::move(limit));
    }
    return limits;
  }

  std::map<std::string, nlohmann::json> features(Node& node) const {
    optional_map(node, "features");
    std::map<std::string, nlohmann::json> features;
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      const Key& key = node.keys[i];
      const std::string path = child_path("features", key.text);
      check_name(key.text, key.at, path);
      optional_map(node.items[i], path);
      if (const Node* of = node.items[i].find("of")) names(*of, child_path(path, "of"));
      features[key.text] = free_form(node.items[i], path);
    }
    return features;
  }

  EmulatorFunction emulator_fn(Node& node, const std::string& path) const {
    constexpr std::string_view kPrefix = "zelos.emulators.";
    need_map(node, path);
    check_keys(node, path, keys_of_emulator_fn());
    EmulatorFunction function;
    const Node& type = required(node, path, "type");
    function.type = text(type, child_path(path, "type"));
    if (function.type.compare(0, kPrefix.size(), kPrefix) == 0) function.type.erase(0, kPrefix.size());
    if (!made_of(function.type, "_./-") || !has_letter(function.type)) {
      fail_type(type, child_path(path, "type"), "the name of an emulator function");
    }
    if (Node* params = node.find("params")) {
      function.params = free_map(*params, child_path(path, "params"));
    }
    return function;
  }

  TrainingSpec training(Node& node) const {
    optional_map(node, "training");
    check_keys(node, "training", keys_of_training());
    TrainingSpec training;
    if (const Node* type = node.find("type")) training.type = name(*type, "training.type");
    if (Node* params = node.find("params")) training.params = free_map(*params, "training.params");
    if (const Node* n = node.find("n")) training.n = whole_number(*n, "training.n", 1, kMostRuns);
    if (const Node* n = node.find("validation")) {
      training.validation = whole_number(*n, "training.validation", 0, kMostRuns);
    }
    if (const Node* seed = node.find("seed")) {
      training.seed = whole_number(*seed, "training.seed", 0, std::numeric_limits<std::int64_t>::max());
    }
    if (const Node* design = node.find("design")) {
      training.design = choice(*design, "training.design", kDesigns);
    }
    if (const Node* hull = node.find("hull")) training.hull = choice(*hull, "training.hull", kDesignHulls);
    if (const Node* margin = node.find("margin")) {
      training.margin = number_in(*margin, "training.margin", 0, 1);
    }
    if (const Node* threads = node.find("threads")) {
      training.threads = whole_number(*threads, "training.threads", 0, 4096);
    }
    return training;
  }

  /// By default the region is where the design lies; it may be narrower, but not wider.
  RegionSpec region(Node& node, const Spec& spec) const {
    static const Names kKeys = {"hull", "margin", "tolerance", "box"};
    const std::string& design_hull = spec.training.hull;
    optional_map(node, "region");
    check_keys(node, "region", kKeys);
    RegionSpec region;
    region.hull = design_hull;
    if (const Node* hull = node.find("hull")) {
      region.hull = choice(*hull, "region.hull", kHulls);
      if (region.hull == "box" && design_hull != "box") {
        sources_.fail(hull->at, "region.hull",
                      "expected " + design_hull +
                          " as in training.hull, found box: its corners lie outside the "
                          "training points");
      }
    }
    if (const Node* margin = node.find("margin")) {
      region.margin = number_in(*margin, "region.margin", 0, 1);
    }
    if (const Node* tolerance = node.find("tolerance")) {
      region.tolerance = positive(*tolerance, "region.tolerance");
    }
    if (Node* box = node.find("box")) {
      if (region.hull != "convex") {
        sources_.fail(box->at, "region.box", "expected with hull: convex only, found " + region.hull);
      }
      region.box = held_box(*box, spec.parameters);
    }
    return region;
  }

  std::map<std::string, std::pair<double, double>> held_box(Node& node,
                                                            const std::vector<ParameterSpec>& parameters) const {
    constexpr std::size_t kMost = 10;  // 2^10 corners
    need_map(node, "region.box");
    Names known;
    for (const ParameterSpec& parameter : parameters) known.push_back(parameter.name);
    check_keys(node, "region.box", known);
    if (parameters.size() > kMost) {
      sources_.fail(node.at, "region.box", "expected at most 10 parameters, found " + std::to_string(known.size()));
    }
    std::map<std::string, std::pair<double, double>> box;
    for (const ParameterSpec& parameter : parameters) {
      const std::string path = child_path("region.box", parameter.name);
      const Node& ends = required(node, "region.box", parameter.name);
      const auto [lo, hi] = range(ends, path);
      if (!(parameter.lo <= lo && lo < hi && hi <= parameter.hi)) {
        sources_.fail(ends.at, path,
                      "expected lo < hi within the range of the parameter, [" + number_text(parameter.lo) + ", " +
                          number_text(parameter.hi) + "], found [" + number_text(lo) + ", " + number_text(hi) + "]");
      }
      box[parameter.name] = {lo, hi};
    }
    return box;
  }

  std::map<std::string, double> accuracy(Node& node) const {
    optional_map(node, "accuracy");
    std::map<std::string, double> accuracy;
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      const Key& key = node.keys[i];
      const std::string path = child_path("accuracy", key.text);
      check_name(key.text, key.at, path);
      accuracy[key.text] = positive(node.items[i], path);
    }
    return accuracy;
  }

  const Sources& sources_;
};

}  // namespace

const Names& keys_of_spec() {
  static const Names keys = {"name",     "version",     "author",   "description", "container",
                             "config",   "parameters",  "limits",   "outputs",     "derived",
                             "features", "emulator_fn", "training", "region",      "accuracy"};
  return keys;
}

const Names& keys_of_emulator_fn() {
  static const Names keys = {"type", "params"};
  return keys;
}

const Names& keys_of_training() {
  static const Names keys = {"type", "params", "n", "validation", "seed", "design", "hull", "margin", "threads"};
  return keys;
}

const Names& keys_of_output() {
  static const Names keys = {"transforms", "features", "emulator_fn", "n_weights", "unit"};
  return keys;
}

}  // namespace spec

Spec with_overrides(const std::string& text, const std::string& file_name, const std::vector<std::string>& overrides) {
  const spec::Sources sources(file_name, overrides);
  spec::Node root = spec::parse_tree(text, 0, sources);
  spec::normalise(root, sources);
  for (std::size_t i = 0; i < overrides.size(); ++i) {
    spec::apply_override(root, overrides[i], static_cast<std::uint32_t>(i + 1), sources);
    spec::normalise(root, sources);
  }
  Spec spec = spec::Reader(sources).read(root);
  spec.text = text;
  spec.file_name = file_name;
  spec.overrides = overrides;
  return spec;
}

Spec parse_spec(std::string_view text, const std::string& file_name) {
  return with_overrides(std::string(text), file_name, {});
}

Spec read_spec(const std::filesystem::path& path) {
  const std::string name = path.string();
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    throw Error(ZELOS_E_IO, name + ": expected a spec file, found a folder");
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(ZELOS_E_IO, name + ": can't read the spec");
  std::string text(spec::kMaxBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad()) throw Error(ZELOS_E_IO, name + ": can't read the spec");
  text.resize(static_cast<std::size_t>(file.gcount()));
  return parse_spec(text, name);
}

}  // namespace zelos
