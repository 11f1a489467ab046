// SPDX-License-Identifier: BSD-3-Clause
/// The spec: the YAML text that defines an emulator, as typed values.
///
/// Two notations are understood, and may be mixed: plain maps, and lists of one-key maps
/// (`parameters: [{Omega_b: [0.01, 0.05]}]`) at every level. In the list notation the entries after
/// an empty `params:` belong to it unless they are keys of the section itself, and the entries of
/// `outputs` after an output without a value belong to that output, so that a text whose
/// indentation was lost means what it meant before.
///
/// Scalars: `2e-9`, `10.`, `.5` are numbers; `012`, `1_000`, `yes`, `off` and everything in quotes
/// are text; `true` and `false` are booleans; `null`, `~` and nothing are empty.
///
/// Limits: 1 MiB of UTF-8 without NUL, one document, nesting 32, 100,000 nodes; no anchors, aliases
/// or tags. Whatever does not fit the specification throws zelos::Error with ZELOS_E_ARGUMENT and
/// one line `file:line:column: key.path: expected ..., found ...`; lines and columns count from 1,
/// columns in bytes. Nothing is printed, and no file is read but the one that is named.
///
/// All functions are pure apart from that and may be called from many threads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "zelos/error.hpp"
#include "zelos/export.hpp"

namespace zelos {

/// The physics code that is emulated and the settings it runs with.
struct CodeConfig {
  std::string code;     ///< "camb", "classy", or the driver's name as the spec has it; never empty
  std::string version;  ///< the version the runs must be made with; "" = whatever is installed
  std::string ini;      ///< path of the code's own settings file as written in the spec; "" = none
  nlohmann::json extra_args = nlohmann::json::object();  ///< handed to the driver as it stands
  std::map<std::string, double> fixed;                   ///< physics held fixed: name -> value; no name of a parameter
};

/// An input of the emulator. lo < hi, both finite.
struct ParameterSpec {
  std::string name;
  double lo = 0;
  double hi = 0;
  std::string latex;
  std::string unit;
};

/// A linear combination of parameters that is kept within a range, in the design as in the region. lo < hi.
struct LimitSpec {
  std::string name;
  std::vector<std::string> of;       ///< parameters, each once
  std::vector<double> coefficients;  ///< of each
  double lo = 0;
  double hi = 0;
};

/// A coordinate of an output. min < max, both finite, whichever way round the spec had them.
struct AxisSpec {
  std::string name;
  double min = 0;
  double max = 0;
  std::int64_t n = 0;          ///< number of points; 0 = the driver's choice
  std::string spacing;         ///< "linear", "log" (then min > 0) or "" = the driver's choice
  std::vector<double> values;  ///< the points themselves, ascending, n of them; empty if not given
};

/// A map between the code's numbers and what is regressed on, with its options (a JSON object).
struct TransformSpec {
  std::string name;
  nlohmann::json options = nlohmann::json::object();
};

/// What regresses: the family's name without the prefix `zelos.emulators.`, and its parameters.
struct EmulatorFunction {
  std::string type;
  nlohmann::json params = nlohmann::json::object();
};

struct OutputSpec {
  std::string name;
  std::vector<AxisSpec> axes;                   ///< in the spec's order; empty = a scalar, or the driver's own axes
  std::vector<TransformSpec> transforms;        ///< applied first to last
  std::vector<std::string> features;            ///< inputs of this output; empty = the parameters
  std::optional<EmulatorFunction> emulator_fn;  ///< in place of the spec's own
  std::int64_t n_weights = 0;                   ///< number of PCA weights; 0 = chosen in training
  std::string unit;                             ///< the runs' own, or "": nothing is converted
};

struct TrainingSpec {
  // Recorded, not used: what a family is told stands in EmulatorFunction::params.
  std::string type = "RMSE_minimization";
  nlohmann::json params = nlohmann::json::object();

  std::int64_t n = 1000;          ///< runs to train on, >= 1
  std::int64_t validation = 200;  ///< further runs, held out to measure the accuracy, >= 0
  std::int64_t seed = 1;          ///< >= 0
  std::string design = "sobol";   ///< or "latin_hypercube"
  std::string hull =
      "box";  ///< "box", "ellipsoid" (where the design lies), or "convex": a design in the box of which runs may fail
  double margin = 0.04;      ///< the design reaches this fraction of a range beyond its ends, [0, 1]
  std::int64_t threads = 0;  ///< 0 = all the machine's cores
};

/// Where the emulator answers.
struct RegionSpec {
  std::string hull = "box";  ///< "box", "ellipsoid", "convex" or "cells"; when read: TrainingSpec::hull by default
  double margin = 0;         ///< widening of the hull as a fraction of its size, [0, 1]
  std::optional<double> tolerance;  ///< largest predicted error, > 0; none = not asked
  /// hull "convex" only: parameter -> {lo, hi} of a box that the hull holds, all parameters or none. Its corners count
  /// as training points of the hull; what lies between them was found good when an emulator of the box was tested.
  std::map<std::string, std::pair<double, double>> box;
};

struct Spec {
  std::string name;               ///< letters, digits, '_', '-'; fit for a file's name
  std::string version = "1.0.0";  ///< of the emulator, not of the code
  std::string author;
  std::string description;
  std::string container;  ///< image reference; "" = none
  CodeConfig config;
  std::vector<ParameterSpec> parameters;  ///< in the spec's order, at least one
  std::vector<LimitSpec> limits;          ///< in the spec's order
  std::vector<OutputSpec> outputs;        ///< in the spec's order, at least one
  std::vector<std::string> derived;
  std::map<std::string, nlohmann::json> features;  ///< name -> options, a JSON object each
  EmulatorFunction emulator_fn;
  TrainingSpec training;
  RegionSpec region;
  std::map<std::string, double> accuracy;  ///< target's name -> value to reach, > 0

  std::string text;                    ///< the YAML as it was read
  std::string file_name;               ///< as given to parse_spec or read_spec
  std::vector<std::string> overrides;  ///< as given to with_overrides
};

/// Parses `text`; `file_name` is for messages only.
ZELOS_API Spec parse_spec(std::string_view text, const std::string& file_name);

/// Reads and parses a file. ZELOS_E_IO if it can't be read.
ZELOS_API Spec read_spec(const std::filesystem::path& path);

/// parse_spec after setting keys: each override is `key.path=value`, value in YAML
/// (`training.n=200`, `outputs.Pk.linear.k=[1e-4, 10]`). Where names have dots in them the longest
/// name that fits is taken. A key that is not there is added, if the specification knows it; a list
/// is set as a whole. Later overrides win.
ZELOS_API Spec with_overrides(const std::string& text, const std::string& file_name,
                              const std::vector<std::string>& overrides);

/// The canonical form, the same for every notation of the same spec: defaults filled in, keys
/// sorted, numbers as numbers. What has an order is a list: `parameters` of {name, range: [lo, hi],
/// latex, unit}, `outputs` of {name, axes: [{name, min, max, n, spacing, values}], transforms:
/// [{name, options}], features, emulator_fn (object or null), n_weights, unit}. The members text,
/// file_name and overrides are not in it.
ZELOS_API nlohmann::json to_json(const Spec& spec);

/// The steps of a build that are kept for later builds.
enum class Stage {
  runs,    ///< what a run of the code gives: code, container, settings, names, outputs' axes
  design,  ///< which runs are made: runs + ranges and training.{n, seed, design, hull, margin,
           ///< validation}
  train,   ///< the weights: design + emulator functions, training, transforms, features, region,
           ///< derived
};

/// SHA-256 in hex of the canonical JSON of the parts of the spec that a stage depends on. Equal
/// keys: the stage's result can be used again. The content of the file `config.ini` is not part of
/// the key, nor is the version of the installed code: who keeps results adds them.
ZELOS_API std::string stage_key(const Spec& spec, Stage stage);

}  // namespace zelos
