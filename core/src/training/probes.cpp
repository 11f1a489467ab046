// SPDX-License-Identifier: BSD-3-Clause
#include "training/probes.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "training/plan.hpp"

namespace zelos {
namespace {

using nlohmann::json;

constexpr int64_t kPoints = 3;      ///< of parameter space
constexpr int64_t kAxisPoints = 4;  ///< of each axis; all labels of a labelled one

/// What is asked of one output, and where the code's own numbers for it stand in a run.
struct Probe {
  Request request;
  const RunOutput* run;
  int64_t run_size = 1;              ///< values of one point
  std::vector<int64_t> run_indices;  ///< of the answer's values
  double worst = 0;                  ///< largest difference between code and emulator, relative

  Probe(const Output& output, const TrainingRuns& runs)
      : request{output.name, {}}, run(&find_run(runs.outputs, output.name)) {
    for (const auto& axis : run->axes) run_size *= static_cast<int64_t>(axis.size());
    run_indices = {0};
    for (size_t a = 0; a < output.axes.size(); ++a) {
      const Output::Axis& axis = output.axes[a];
      const int64_t n = static_cast<int64_t>(axis.values.size()), n_run = static_cast<int64_t>(run->axes[a].size());
      const int64_t m = axis.labels.empty() ? std::min(n, kAxisPoints) : n;
      std::vector<int64_t> in_run;
      request.axes.emplace_back();
      for (int64_t i = 0; i < m; ++i) {
        const int64_t native = m == 1 ? 0 : i * (n - 1) / (m - 1);
        request.axes.back().push_back(axis.values[native]);
        // The runs may hold more labels than the emulator.
        in_run.push_back(axis.labels.empty() ? native
                                             : std::find(run->labels.begin(), run->labels.end(), axis.labels[native]) -
                                                   run->labels.begin());
      }
      std::vector<int64_t> next;
      for (const int64_t outer : run_indices) {
        for (const int64_t inner : in_run) next.push_back(outer * n_run + inner);
      }
      run_indices = std::move(next);
    }
  }

  /// Appends the code's numbers at training point `point`; `answer` is the emulator's.
  void compare(int64_t point, const double* answer, std::vector<double>* truth) {
    const int64_t n = static_cast<int64_t>(run_indices.size());
    double largest = 0;
    for (int64_t j = 0; j < n; ++j) largest = std::max(largest, std::abs(answer[j]));
    for (int64_t j = 0; j < n; ++j) {
      const double real = run->values[point * run_size + run_indices[j]];
      truth->push_back(real);
      const double scale = run->labels.empty() ? largest : std::abs(answer[j]);
      if (real != answer[j]) worst = std::max(worst, std::abs(real - answer[j]) / scale);
    }
  }
};

void put(const std::string& path, const std::vector<double>& values, int64_t rows, artifact::Contents* contents) {
  artifact::Array a;
  a.shape = {rows, static_cast<int64_t>(values.size()) / rows};
  a.data = AlignedBuffer(values.size());
  std::copy(values.begin(), values.end(), a.data.begin());
  contents->arrays[path] = std::move(a);
}

}  // namespace

void add_probes(const Emulator& emulator, const TrainingRuns& runs, artifact::Contents* contents) {
  std::vector<std::string> names;
  for (const Parameter& p : emulator.parameters()) names.push_back(p.name);
  const int64_t d = static_cast<int64_t>(names.size());
  std::vector<Probe> probes;
  std::vector<Request> requests;
  for (const Output& output : emulator.outputs()) {
    probes.emplace_back(output, runs);
    requests.push_back(probes.back().request);
  }
  const Query query = emulator.query(names, requests);
  Workspace workspace = query.workspace();
  std::vector<double> points, values, truth, out(query.size());
  int64_t n_points = 0;
  for (int64_t i = 0; i < runs.n_points && n_points < kPoints; ++i) {
    const double* x = runs.parameters + i * d;
    if (!query.evaluate(x, out.data(), workspace).inside()) continue;
    ++n_points;
    points.insert(points.end(), x, x + d);
    values.insert(values.end(), out.begin(), out.end());
    for (size_t r = 0; r < probes.size(); ++r) probes[r].compare(i, out.data() + query.blocks()[r].offset, &truth);
  }
  if (n_points == 0) throw Error(ZELOS_E_ARGUMENT, "training set: no point lies inside the region");
  json outputs = json::array();
  for (const Probe& probe : probes) {
    outputs.push_back(
        {{"output", probe.request.output}, {"axes", probe.request.axes}, {"truth_tolerance", 3 * probe.worst + 1e-9}});
  }
  contents->document["probes"] = {{"outputs", outputs}};
  put("probes/parameters", points, n_points, contents);
  put("probes/values", values, n_points, contents);
  put("probes/truth", truth, n_points, contents);
}

}  // namespace zelos
