// SPDX-License-Identifier: BSD-3-Clause
// training.hpp: from a spec and runs of the real code to an artifact.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "zelos/error.hpp"
#include "zelos/export.hpp"
#include "zelos/spec.hpp"

namespace zelos {

/// One output of the real code at all training points.
struct RunOutput {
  std::string name;  ///< as in the spec: "Cl.tt", "derived"
  std::string unit;
  std::vector<std::string> axis_names;  ///< "ell"; {"k", "z"}; "name"
  std::vector<std::string> axis_units;
  std::vector<std::vector<double>> axes;  ///< values of each axis, ascending; 0, 1, 2, ... for labels
  std::vector<std::string> labels;        ///< labels of a "name" axis
  std::vector<std::string> label_units;
  const double* values = nullptr;  ///< n_points * prod(axis sizes), row-major; not owned
};

struct TrainingRuns {
  int64_t n_points = 0;
  const double* parameters = nullptr;  ///< n_points * spec.parameters.size(), row-major; not owned
  std::vector<RunOutput> outputs;
};

struct TrainOptions {
  int n_threads = 1;
  std::filesystem::path checkpoint_folder;     ///< empty: no checkpoints; else resumed from what is there
  nlohmann::json const* provenance = nullptr;  ///< stored as it is
  /// stage ("Cl.tt"), fraction done of the whole in [0, 1], message; returns false to cancel.
  std::function<bool(const std::string&, double, const std::string&)> progress;
};

/// Whether the spec can be trained from such runs, as far as that can be said without one: names and options of
/// features, transforms and families. outputs: all that the runs will hold, without values. Throws
/// Error(ZELOS_E_ARGUMENT) as train would, which makes the same checks.
ZELOS_API void check_training(const Spec& spec, const std::vector<RunOutput>& outputs);

/// Trains every output and writes the artifact (atomically). Held-out accuracy is added later by attach_accuracy.
/// The same spec, runs, seed and machine give the same bytes, also when resumed from checkpoints.
/// Throws Error: ZELOS_E_ARGUMENT (spec and runs do not fit, a run is not finite: both are named), ZELOS_E_NUMERIC,
/// ZELOS_E_CANCELLED, ZELOS_E_IO; the artifact is then what it was before.
ZELOS_API void train(const Spec& spec, const TrainingRuns& runs, const std::filesystem::path& artifact,
                     const TrainOptions& options);

/// Rewrites an artifact with its measured accuracy (JSON object) and, if given, error calibration.
ZELOS_API void attach_accuracy(const std::filesystem::path& artifact, const nlohmann::json& accuracy);

}  // namespace zelos
