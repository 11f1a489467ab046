// SPDX-License-Identifier: BSD-3-Clause
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "base/sha256.hpp"
#include "zelos/spec.hpp"

namespace {

using nlohmann::json;
using zelos::Stage;

const std::filesystem::path kSpecs = std::filesystem::path(ZELOS_SOURCE_DIR) / "tests/unit/specs";

std::string file_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE(file);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// A valid spec with lines to add at its end.
std::string with_lines(const std::string& lines) {
  return "name: CAMB_x\n"
         "parameters: {H0: [50, 90]}\n"
         "outputs: {Pk: {k: [1e-4, 1]}}\n"
         "emulator_fn: {type: polynomial}\n" +
         lines;
}

std::string error_of(const std::string& text, const std::vector<std::string>& overrides = {}) {
  try {
    zelos::with_overrides(text, "f.yaml", overrides);
  } catch (const zelos::Error& error) {
    CHECK(error.status() == ZELOS_E_ARGUMENT);
    return error.what();
  }
  return "";
}

json extra_args_of(const std::string& yaml) {
  return zelos::parse_spec(with_lines("config: {extra_args: " + yaml + "}\n"), "f.yaml").config.extra_args;
}

}  // namespace

TEST_CASE("the founding design's text is understood with and without indentation", "[spec]") {
  const zelos::Spec flat = zelos::read_spec(kSpecs / "design_flat.yaml");
  CHECK(flat.name == "CAMB_linear_matter_power");
  CHECK(flat.author == "EiffL");
  CHECK(flat.container == "eiffl/CAMB:v0.1");
  CHECK(flat.config.code == "camb");
  CHECK(flat.config.ini == "config.ini");
  CHECK(flat.emulator_fn.type == "neural_network");
  CHECK(flat.emulator_fn.params == json({{"n_layers", 5}, {"layer_size", 128}}));
  CHECK(flat.training.type == "RMSE_minimization");
  CHECK(flat.training.params == json({{"optimizer", "ADAM"}}));
  REQUIRE(flat.parameters.size() == 2);
  CHECK(flat.parameters[0].name == "Omega_b");
  CHECK(flat.parameters[0].lo == 0.01);
  CHECK(flat.parameters[0].hi == 0.05);
  CHECK(flat.parameters[1].name == "w0");
  CHECK(flat.parameters[1].lo == -3);
  CHECK(flat.parameters[1].hi == -0.3);
  REQUIRE(flat.outputs.size() == 1);
  CHECK(flat.outputs[0].name == "linear_matter_power");
  REQUIRE(flat.outputs[0].axes.size() == 2);
  CHECK(flat.outputs[0].axes[0].name == "k");
  CHECK(flat.outputs[0].axes[0].min == 1e-4);
  CHECK(flat.outputs[0].axes[0].max == 1e2);
  CHECK(flat.outputs[0].axes[1].name == "z");
  CHECK(flat.outputs[0].axes[1].min == 0);
  CHECK(flat.outputs[0].axes[1].max == 10);

  for (const char* file : {"design_nested.yaml", "design_maps.yaml"}) {
    const zelos::Spec other = zelos::read_spec(kSpecs / file);
    CHECK(zelos::to_json(other) == zelos::to_json(flat));
    CHECK(zelos::stage_key(other, Stage::train) == zelos::stage_key(flat, Stage::train));
  }
}

TEST_CASE("flat lists keep several outputs and a section's own keys apart", "[spec]") {
  const zelos::Spec spec = zelos::parse_spec(
      "name: CLASS_two\n"
      "emulator_fn:\n- type: gp\n- params:\n- a: 1\n"
      "training:\n- params:\n- rate: 0.1\n- n: 50\n"
      "parameters:\n- H0: [50, 90]\n"
      "outputs:\n- A:\n- k: [1, 2]\n- unit: Mpc\n- B:\n- z: [0, 1]\n",
      "f.yaml");
  CHECK(spec.config.code == "classy");
  CHECK(spec.training.params == json({{"rate", 0.1}}));
  CHECK(spec.training.n == 50);
  REQUIRE(spec.outputs.size() == 2);
  CHECK(spec.outputs[0].unit == "Mpc");
  CHECK(spec.outputs[0].axes.size() == 1);
  CHECK(spec.outputs[1].axes.at(0).name == "z");
}

TEST_CASE("every key of a spec arrives in its place", "[spec]") {
  const zelos::Spec spec = zelos::read_spec(kSpecs / "full.yaml");
  const json expected = json::parse(R"({
    "name": "CAMB_lcdm", "version": "2.1", "author": "A. N. Author",
    "description": "Lensed spectra and matter power\n",
    "container": "registry.example.org/camb:2.0.5",
    "config": {"code": "camb", "version": "2.0.5", "ini": "planck.ini",
      "extra_args": {"lens_potential_accuracy": 8, "kmax": 10.0, "dark_energy_model": "ppf",
        "halofit_version": "mead2020", "bbn_predictor": "012", "nonlinear": true,
        "redshifts": [0, 0.5, 2.0], "nothing": null,
        "accuracy": {"AccuracyBoost": 1.5, "nested": {"a": 1, "b": "off"}}},
      "fixed": {"mnu": 0.06, "nnu": 3.044, "omk": 0, "w": -1, "wa": 0}},
    "parameters": [
      {"name": "ombh2", "range": [0.018, 0.027], "latex": "\\Omega_b h^2", "unit": "1"},
      {"name": "H0", "range": [50, 90], "latex": "", "unit": ""},
      {"name": "ln10^{10}A_s", "range": [2.7, 3.4], "latex": "", "unit": ""}],
    "limits": [{"name": "ombh2+H0", "of": ["H0", "ombh2"], "coefficients": [0.01, -1], "range": [0.4, 1]}],
    "outputs": [
      {"name": "Cl.tt", "unit": "muK2", "n_weights": 40, "features": ["theta_star", "ombh2"],
       "emulator_fn": {"type": "polynomial", "params": {"degree": 4}},
       "transforms": [{"name": "amplitude", "options": {}},
                      {"name": "theta_stretch", "options": {"fiducial": 1.04}},
                      {"name": "whiten", "options": {}}, {"name": "pca", "options": {}}],
       "axes": [{"name": "ell", "min": 2, "max": 4000, "n": 0, "spacing": "", "values": []}]},
      {"name": "Pk.linear", "unit": "", "n_weights": 0, "features": [], "emulator_fn": null,
       "transforms": [],
       "axes": [{"name": "k", "min": 1e-4, "max": 100, "n": 300, "spacing": "log", "values": []},
                {"name": "z", "min": 0, "max": 10, "n": 4, "spacing": "",
                 "values": [0, 0.5, 1, 10]}]},
      {"name": "age", "unit": "", "n_weights": 0, "features": [], "emulator_fn": null,
       "transforms": [], "axes": []}],
    "derived": ["sigma8", "S8", "z_*", "100*theta_s"],
    "features": {"theta_star": {"of": ["ombh2", "H0"], "family": "polynomial"}},
    "emulator_fn": {"type": "gaussian_process",
                    "params": {"trend": 2, "shared": true, "groups": [[0, 1], [2]]}},
    "training": {"type": "marginal_likelihood", "params": {"tolerance": 1e-6}, "n": 1500,
      "validation": 300, "seed": 7, "design": "latin_hypercube", "hull": "ellipsoid",
      "margin": 0.1, "threads": 2},
    "region": {"hull": "ellipsoid", "margin": 0.02, "tolerance": 0.1},
    "accuracy": {"delta_chi2_median": 0.1, "Pk_99": 1e-3, "derived_99": 1e-4}})");
  CHECK(json::diff(expected, zelos::to_json(spec)) == json::array());
  CHECK(spec.text == file_text(kSpecs / "full.yaml"));
}

TEST_CASE("defaults are those of the header", "[spec]") {
  const zelos::Spec spec = zelos::parse_spec(with_lines(""), "f.yaml");
  CHECK(spec.version == "1.0.0");
  CHECK(spec.training.n == 1000);
  CHECK(spec.training.validation == 200);
  CHECK(spec.training.design == "sobol");
  CHECK(spec.region.hull == "box");
  CHECK_FALSE(spec.region.tolerance);
  CHECK(zelos::to_json(spec)["config"]["extra_args"] == json::object());
}

TEST_CASE("the region is no wider than the design, and by default the same", "[spec]") {
  const auto hull = [](const std::string& lines) { return zelos::parse_spec(with_lines(lines), "f.yaml").region.hull; };
  CHECK(hull("training: {hull: ellipsoid}\n") == "ellipsoid");
  CHECK(hull("training: {hull: ellipsoid}\nregion: {margin: 0.1}\n") == "ellipsoid");
  CHECK(hull("region: {hull: ellipsoid}\n") == "ellipsoid");
  CHECK(hull("region: {hull: convex}\ntraining: {hull: ellipsoid}\n") == "convex");
  CHECK(hull("region: {hull: cells, margin: 0.5}\n") == "cells");
  CHECK_THAT(error_of(with_lines("region: {hull: box}\ntraining: {hull: ellipsoid}\n")),
             Catch::Contains("region.hull") && Catch::Contains("training.hull"));
  CHECK(hull("training: {hull: convex}\n") == "convex");
  CHECK_THAT(error_of(with_lines("region: {hull: box}\ntraining: {hull: convex}\n")),
             Catch::Contains("region.hull") && Catch::Contains("training.hull"));
  CHECK_THAT(error_of(with_lines("training: {hull: cells}\n")), Catch::Contains("training.hull"));
  CHECK_THAT(error_of(with_lines("region: {hull: sphere}\n")),
             Catch::Contains("region.hull") && Catch::Contains("sphere"));
}

TEST_CASE("scalars have the types that people mean", "[spec]") {
  CHECK(extra_args_of("{a: 2e-9, b: 10., c: .5, d: -3, e: +4, f: 1E+2}").dump() ==
        R"({"a":2e-09,"b":10.0,"c":0.5,"d":-3,"e":4,"f":100.0})");
  CHECK(extra_args_of("{a: 012, b: 1_000, c: off, d: yes, e: 1e, f: 0x10, g: '2', h: 1.2.3}") ==
        json::parse(R"({"a":"012","b":"1_000","c":"off","d":"yes","e":"1e","f":"0x10","g":"2",
                        "h":"1.2.3"})"));
  CHECK(extra_args_of("{a: true, b: False, c: 'true', d: ~, e: null}") ==
        json::parse(R"({"a":true,"b":false,"c":"true","d":null,"e":null})"));
  CHECK(extra_args_of("{a: 9223372036854775807}").dump() == R"({"a":9223372036854775807})");
  for (const char* bad : {"{a: .nan}", "{a: -.inf}", "{a: 1e999}", "{a: NaN}"}) {
    CHECK_THAT(error_of(with_lines("config: {extra_args: " + std::string(bad) + "}\n")),
               Catch::Contains("config.extra_args.a: expected a finite number"));
  }
}

TEST_CASE("a bad spec is refused where it is wrong, and the message says what to write", "[spec]") {
  const std::string mark = "# expect: ";
  int checked = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kSpecs / "bad")) {
    const std::string text = file_text(entry.path());
    REQUIRE(text.compare(0, mark.size(), mark) == 0);
    const std::string expected = text.substr(mark.size(), text.find('\n') - mark.size());
    INFO(entry.path().filename());
    const std::string error = error_of(text);
    if (expected.find(':') != std::string::npos) {
      CHECK_THAT(error, Catch::StartsWith("f.yaml:" + expected));
    } else {
      CHECK_THAT(error, Catch::Contains(expected));
    }
    ++checked;
  }
  CHECK(checked >= 15);
}

TEST_CASE("wrong types and values are refused", "[spec]") {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"author: [a]", "author: expected text, found a list"},
      {"author: 12", "author: expected text, found the number '12'"},
      {"derived: sigma8", "derived: expected a list of names"},
      {"derived: [a, b, a]", "derived[2]: 'a' is given twice"},
      {"derived: [12]", "derived[0]: expected text"},
      {"training: {n: 0}", "training.n: expected a whole number from 1"},
      {"training: {n: 1.5}", "training.n: expected a whole number"},
      {"training: {seed: -1}", "training.seed: expected a whole number from 0"},
      {"training: {margin: 1.01}", "training.margin: expected a number from 0.0 to 1.0"},
      {"training: [n, seed]", "training: expected a map, found a list"},
      {"training: [{n: 1, seed: 2}]", "training: expected a map or a list of one-key maps"},
      {"region: {tolerance: 0}", "region.tolerance: expected a number > 0"},
      {"accuracy: {Pk_99: small}", "accuracy.Pk_99: expected a number, found the text 'small'"},
      {"config: {fixed: {mnu: heavy}}", "config.fixed.mnu: expected a number"},
      {"config: {extra_arg: {}}", "config.extra_arg: unknown key; did you mean 'extra_args'?"},
      {"limits: {a: {of: [H0], coefficients: [1], range: [2, 1]}}", "limits.a.range: empty range"},
      {"limits: {a: {of: [H00], coefficients: [1], range: [1, 2]}}", "limits.a.of: expected a parameter, found 'H00'"},
      {"limits: {a: {of: [H0], coefficients: [1, 2], range: [1, 2]}}", "limits.a.coefficients: expected a number for"},
      {"limits: {a: {of: [H0], coefficients: [1]}}", "limits.a"},
      {"limits: {a: {of: [H0], coefficient: [1], range: [1, 2]}}", "did you mean 'coefficients'"},
      {"features: {f: {of: H0}}", "features.f.of: expected a list of names"},
      {"container: a b", "container: expected an image reference"},
      {"? [a]\n: 1", "expected a name as key, found a list"},
      {"*x : 1", "anchor"},
      {"{a: 1}: 2", "expected a name as key, found a map"},
      {"author: ! x", "YAML tags"},
      {"derived: !list [a]", "YAML tags"}};
  for (const auto& [line, expected] : cases) {
    INFO(line);
    CHECK_THAT(error_of(with_lines(line + "\n")), Catch::Contains(expected));
  }
  for (const char* axis :
       {"1", "[1]", "[]", "[a, b]", "[1, b]", "[1, 2, 2]", "[3, 2, 1]", "{min: 1}", "{min: 2, max: 1}",
        "{min: 1, max: 2, n: 1}", "{min: 1, max: 2, m: 3}", "{min: 0, max: 2, spacing: log}", "", "text"}) {
    INFO(axis);
    const std::string text =
        "name: CAMB_x\nparameters: {H0: [50, 90]}\nemulator_fn: {type: p}\n"
        "outputs: {Pk: {k: " +
        std::string(axis) + "}}\n";
    CHECK_THAT(error_of(text), Catch::Contains("outputs.Pk.k"));
  }
  for (const char* name : {"'a b'", "../x", "-x", "\"\"", "12", "~"}) {
    INFO(name);
    CHECK_THAT(error_of("name: " + std::string(name) +
                        "\nparameters: {H0: [50, 90]}\nemulator_fn: {type: p}\noutputs: {P: }\n"),
               Catch::StartsWith("f.yaml:1:7: name: expected "));
  }
  CHECK_THAT(error_of(""), Catch::Contains("empty"));
  CHECK_THAT(error_of("text"), Catch::Contains("expected a map, found the text"));
}

TEST_CASE("the code is taken from the container or the name", "[spec]") {
  const auto code = [](const std::string& head) {
    return zelos::parse_spec(head +
                                 "\nparameters: {H0: [50, 90]}\noutputs: {Pk: {k: [1e-4, 1]}}\n"
                                 "emulator_fn: {type: polynomial}\n",
                             "f.yaml")
        .config.code;
  };
  CHECK(code("name: my-class-pk") == "classy");
  CHECK(code("name: CLASS_x\ncontainer: eiffl/CAMB:v0.1") == "camb");
  CHECK(code("name: x\nconfig: {code: Classy}") == "classy");
  CHECK(code("name: CAMB\nconfig: {code: phoenix}") == "phoenix");
}

TEST_CASE("limits hold before anything is expanded", "[spec]") {
  CHECK_THAT(error_of(with_lines("# " + std::string(1 << 20, 'x') + "\n")), Catch::Contains("at most 1048576 bytes"));
  const auto nested = [](std::size_t depth) {
    return "config: {extra_args: {a: " + std::string(depth, '[') + std::string(depth, ']') + "}}\n";
  };
  CHECK(error_of(with_lines(nested(29))).empty());
  CHECK_THAT(error_of(with_lines(nested(30))),
             Catch::Contains("config.extra_args.a: lists and maps nested more than 32 deep"));
  CHECK_FALSE(error_of(std::string(200000, '[')).empty());
  CHECK_FALSE(error_of("a: " + std::string(100000, '{')).empty());
  std::string dashes;
  for (int i = 0; i < 50; ++i) dashes += "- ";
  CHECK_THAT(error_of(dashes + "x\n"), Catch::Contains("nested more than 32 deep"));
  std::string many = "a: [";
  for (int i = 0; i < 100001; ++i) many += "1,";
  CHECK_THAT(error_of(many + "]\n"), Catch::Contains("more than 100000 YAML nodes"));

  CHECK_THAT(error_of(with_lines(std::string("author: a\0b\n", 12))),
             Catch::StartsWith("f.yaml:5:10: ") && Catch::Contains("NUL"));
  for (const char* bad : {"\xff", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82"}) {
    CHECK_THAT(error_of(with_lines("author: " + std::string(bad) + "\n")),
               Catch::StartsWith("f.yaml:5:9: ") && Catch::Contains("UTF-8"));
  }
  CHECK(zelos::parse_spec("\xEF\xBB\xBF" + with_lines("author: \xc3\x89\xe2\x82\xac\xf0\x9f\x98\x80\n"), "f.yaml")
            .author == "\xc3\x89\xe2\x82\xac\xf0\x9f\x98\x80");
}

TEST_CASE("every beginning of a spec is either a spec or a clean error", "[spec]") {
  for (const char* file : {"full.yaml", "design_flat.yaml"}) {
    const std::string text = file_text(kSpecs / file);
    for (std::size_t length = 0; length < text.size(); ++length) {
      try {
        zelos::parse_spec(text.substr(0, length), "f.yaml");
      } catch (const zelos::Error& error) {
        REQUIRE_THAT(error.what(), Catch::StartsWith("f.yaml:"));
      }
    }
  }
}

TEST_CASE("overrides set what they name in every notation", "[spec]") {
  for (const char* file : {"design_flat.yaml", "design_nested.yaml", "design_maps.yaml"}) {
    const std::string text = file_text(kSpecs / file);
    const zelos::Spec spec =
        zelos::with_overrides(text, file,
                              {"training.n=200", "training.params.optimizer=SGD", "emulator_fn.params.n_layers=[3, 4]",
                               "outputs.linear_matter_power.k={min: 1e-3, max: 1}", "parameters.w0=[-2, -0.5]",
                               "config.version=2.0.6", "region.hull=ellipsoid", "derived=[sigma8]", "training.n=300"});
    CHECK(spec.training.n == 300);
    CHECK(spec.training.params["optimizer"] == "SGD");
    CHECK(spec.emulator_fn.params == json({{"n_layers", {3, 4}}, {"layer_size", 128}}));
    CHECK(spec.outputs[0].axes[0].min == 1e-3);
    CHECK(spec.outputs[0].axes[1].max == 10);
    CHECK(spec.parameters[1].lo == -2);
    CHECK(spec.config.version == "2.0.6");
    CHECK(spec.config.ini == "config.ini");
    CHECK(spec.region.hull == "ellipsoid");
    CHECK(spec.derived == std::vector<std::string>{"sigma8"});
    CHECK(spec.text == text);
    CHECK(spec.overrides.size() == 9);
  }
  const zelos::Spec dotted =
      zelos::with_overrides(file_text(kSpecs / "full.yaml"), "f.yaml", {"outputs.Cl.tt.ell=[2, 3000]"});
  CHECK(dotted.outputs[0].axes[0].max == 3000);
}

TEST_CASE("a wrong override is named in the error", "[spec]") {
  const std::string text = with_lines("");
  CHECK_THAT(error_of(text, {"training.n=none"}),
             Catch::StartsWith("--set training.n=none: training.n: expected a whole number"));
  CHECK_THAT(error_of(text, {"training.nn=5"}), Catch::Contains("training.nn: unknown key"));
  CHECK_THAT(error_of(text, {"trainig.n=5"}), Catch::Contains("did you mean 'training'?"));
  CHECK_THAT(error_of(text, {"training.n"}), Catch::Contains("expected key.path=value"));
  CHECK_THAT(error_of(text, {"=5"}), Catch::Contains("expected key.path=value"));
  CHECK_THAT(error_of(text, {"training..n=5"}), Catch::Contains("between any two dots"));
  CHECK_THAT(error_of(text, {"name.x=5"}), Catch::Contains("expected a map to set 'x' in"));
  CHECK_THAT(error_of(text, {"training.n=[1"}), Catch::Contains("open bracket"));
  CHECK_THAT(error_of(text, {"training.n=&a 1"}), Catch::Contains("anchors"));
}

TEST_CASE("a stage's key changes with what the stage depends on, and with nothing else", "[spec]") {
  const std::string text = file_text(kSpecs / "full.yaml");
  const auto keys = [&](const std::vector<std::string>& overrides) {
    const zelos::Spec spec = zelos::with_overrides(text, "f.yaml", overrides);
    return std::vector<std::string>{zelos::stage_key(spec, Stage::runs), zelos::stage_key(spec, Stage::design),
                                    zelos::stage_key(spec, Stage::train)};
  };
  const std::vector<std::string> base = keys({});
  CHECK(std::set<std::string>(base.begin(), base.end()).size() == 3);
  for (const std::string& key : base) {
    CHECK(key.size() == 64);
    CHECK(key.find_first_not_of("0123456789abcdef") == std::string::npos);
  }
  const auto changed = [&](const std::string& override_text) {
    const std::vector<std::string> other = keys({override_text});
    std::string flags;
    for (std::size_t i = 0; i < 3; ++i) flags += other[i] == base[i] ? '-' : 'x';
    return flags;
  };
  for (const char* nothing : {"author=x", "description=x", "version=9", "accuracy.Pk_99=1e-2", "training.threads=1",
                              "name=CAMB_other", "training.n=1.5e3", "parameters.H0=[50.0, 9e1]"}) {
    INFO(nothing);
    CHECK(changed(nothing) == "---");
  }
  for (const char* train : {"training.params.tolerance=1e-7", "training.type=other", "emulator_fn.params.trend=1",
                            "outputs.Cl.tt.n_weights=20", "outputs.Cl.tt.transforms=[log]",
                            "features.theta_star.family=x", "region.margin=0", "outputs.Cl.tt.emulator_fn.type=x",
                            "derived=[sigma8]", "outputs.derived.transforms=[log]"}) {
    INFO(train);
    CHECK(changed(train) == "--x");
  }
  for (const char* design : {"training.n=1501", "training.seed=8", "training.design=sobol", "training.margin=0",
                             "training.validation=1", "parameters.H0=[51, 90]", "training.hull=box"}) {
    INFO(design);
    CHECK(changed(design) == "-xx");
  }
  for (const char* runs : {"config.extra_args.kmax=20", "config.version=2.0.6", "config.fixed.mnu=0", "config.ini=a",
                           "parameters.tau=[0, 1]", "outputs.Cl.tt.ell=[2, 3000]", "container=x"}) {
    INFO(runs);
    CHECK(changed(runs) == "xxx");
  }
}

TEST_CASE("files that can't be read are said to be so", "[spec]") {
  const auto status = [](const std::filesystem::path& path) {
    try {
      zelos::read_spec(path);
    } catch (const zelos::Error& error) {
      CHECK_THAT(error.what(), Catch::StartsWith(path.string()));
      return error.status();
    }
    return ZELOS_OK;
  };
  CHECK(status(kSpecs / "absent.yaml") == ZELOS_E_IO);
  CHECK(status(kSpecs) == ZELOS_E_IO);
}

TEST_CASE("the JSON schema lists the keys that the parser knows", "[spec]") {
  const json schema =
      json::parse(file_text(std::filesystem::path(ZELOS_SOURCE_DIR) / "configs/schema/zelos.schema.json"));
  const auto properties = [&](const std::string& pointer) {
    std::set<std::string> names;
    for (const auto& [name, value] : schema.at(json::json_pointer(pointer)).items()) names.insert(name);
    return names;
  };
  const auto known_to_parser = [](const std::string& text) {
    const std::string error = error_of(text);
    const std::string mark = "(valid keys: ";
    const std::size_t begin = error.find(mark);
    REQUIRE(begin != std::string::npos);
    std::set<std::string> names;
    std::string name;
    for (const char c : error.substr(begin + mark.size())) {
      if (c == ',' || c == ')') {
        names.insert(name);
        name.clear();
      } else if (c != ' ') {
        name += c;
      }
    }
    return names;
  };
  CHECK(properties("/properties") == known_to_parser("qqq: 1"));
  CHECK(schema["$defs"]["hull"]["enum"] == json({"box", "ellipsoid", "convex", "cells"}));
  CHECK(schema["$defs"]["design_hull"]["enum"] == json({"box", "ellipsoid", "convex"}));
  CHECK(properties("/$defs/training/properties") == known_to_parser(with_lines("training: {qqq: 1}")));
  CHECK(properties("/$defs/region/properties") == known_to_parser(with_lines("region: {qqq: 1}")));
  CHECK(properties("/$defs/code_config/properties") == known_to_parser(with_lines("config: {qqq: 1}")));
  CHECK(properties("/$defs/emulator_fn/properties") ==
        known_to_parser("name: CAMB\nparameters: {a: [1, 2]}\noutputs: {P: }\nemulator_fn: {qqq: 1}"));
  CHECK(properties("/$defs/parameter/properties") ==
        known_to_parser("name: CAMB\nparameters: {a: {qqq: 2}}\noutputs: {P: }\nemulator_fn: {type: p}"));
  CHECK(properties("/$defs/axis/properties") ==
        known_to_parser("name: CAMB\nparameters: {a: [1, 2]}\noutputs: {P: {k: {qqq: 1}}}"));
}
