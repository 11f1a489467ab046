// SPDX-License-Identifier: BSD-3-Clause
#include "training/runs.hpp"

#include <algorithm>
#include <cmath>
#include <functional>

#include "base/text.hpp"

namespace zelos {
namespace {

[[noreturn]] void fail(const std::string& what) { throw Error(ZELOS_E_ARGUMENT, "training set: " + what); }

/// "ell = 30", "sigma8"
std::string position(const RunOutput& run, int64_t index) {
  std::string text;
  for (size_t a = run.axes.size(); a-- > 0;) {
    const int64_t n = static_cast<int64_t>(run.axes[a].size()), i = index % n;
    index /= n;
    const std::string here = run.labels.empty() ? run.axis_names[a] + " = " + to_text(run.axes[a][i]) : run.labels[i];
    text = text.empty() ? here : here + ", " + text;
  }
  return text;
}

void check_values(const Spec& spec, const TrainingRuns& runs, const RunOutput& run) {
  int64_t size = 1;
  for (const auto& axis : run.axes) size *= static_cast<int64_t>(axis.size());
  std::vector<char> used(size, 1);
  if (run.name == "derived") {
    for (size_t i = 0; i < run.labels.size(); ++i) {
      used[i] = std::find(spec.derived.begin(), spec.derived.end(), run.labels[i]) != spec.derived.end();
      for (const auto& feature : spec.features) {
        const auto quantity = feature.second.find("emulated");
        if (quantity != feature.second.end() && *quantity == run.labels[i]) used[i] = 1;
      }
    }
  }
  for (int64_t i = 0; i < runs.n_points * size; ++i) {
    if (std::isfinite(run.values[i]) || !used[i % size]) continue;
    fail("output " + run.name + ", point " + std::to_string(i / size) + ", " + position(run, i % size) +
         ": expected a finite number, found " + to_text(run.values[i]));
  }
}

}  // namespace

void check_shape(const RunOutput& run) {
  const std::string where = "output " + run.name + ": ";
  if (run.axes.empty() || run.axes.size() > 2)
    fail(where + "expected 1 or 2 axes, found " + std::to_string(run.axes.size()));
  if (run.axis_names.size() != run.axes.size()) {
    fail(where + "expected " + std::to_string(run.axes.size()) + " names of axes, found " +
         std::to_string(run.axis_names.size()));
  }
  if (!run.labels.empty() && (run.axes.size() != 1 || run.labels.size() != run.axes[0].size())) {
    fail(where + "expected one axis with " + std::to_string(run.labels.size()) + " points for its labels, found " +
         std::to_string(run.axes.size()) + " with " + std::to_string(run.axes[0].size()));
  }
  for (size_t a = 0; a < run.axes.size(); ++a) {
    const std::vector<double>& x = run.axes[a];
    const bool finite = std::all_of(x.begin(), x.end(), [](double v) { return std::isfinite(v); });
    if (x.empty() || !finite || std::adjacent_find(x.begin(), x.end(), std::greater_equal<>()) != x.end()) {
      fail(where + "axis '" + run.axis_names[a] + "': expected at least one value, finite and ascending");
    }
  }
}

void check_runs(const Spec& spec, const TrainingRuns& runs) {
  if (runs.n_points < 4) fail("expected at least 4 points, found " + std::to_string(runs.n_points));
  if (runs.parameters == nullptr) fail("no parameters");
  const int64_t d = static_cast<int64_t>(spec.parameters.size());
  for (int64_t i = 0; i < runs.n_points * d; ++i) {
    if (std::isfinite(runs.parameters[i])) continue;
    fail("point " + std::to_string(i / d) + ", parameter " + spec.parameters[i % d].name +
         ": expected a finite number, found " + to_text(runs.parameters[i]));
  }
  for (size_t i = 0; i < runs.outputs.size(); ++i) {
    const RunOutput& run = runs.outputs[i];
    for (size_t j = 0; j < i; ++j) {
      if (runs.outputs[j].name == run.name) fail("output " + run.name + " is there twice");
    }
    check_shape(run);
    if (run.values == nullptr) fail("output " + run.name + ": no values");
    const bool trained = run.name == "derived" || std::any_of(spec.outputs.begin(), spec.outputs.end(),
                                                              [&](const OutputSpec& o) { return o.name == run.name; });
    if (trained) check_values(spec, runs, run);
  }
}

}  // namespace zelos
