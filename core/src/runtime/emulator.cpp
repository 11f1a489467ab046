// SPDX-License-Identifier: BSD-3-Clause
#include <cmath>

#include "base/text.hpp"
#include "runtime/model.hpp"

namespace zelos {
namespace {

Emulator make_emulator(Emulator emulator, const std::string& file, const Emulator::Options& options) {
  if (!options.verify_probes) return emulator;
  try {
    verify_probes(emulator, file);
  } catch (const nlohmann::json::exception& e) {
    throw Error(ZELOS_E_FORMAT, file + ": probes: " + e.what());
  } catch (const Error& e) {
    if (e.status() == ZELOS_E_FORMAT) throw;
    throw Error(ZELOS_E_FORMAT, file + ": probes: " + e.what());
  }
  return emulator;
}

}  // namespace

Emulator Emulator::open(const std::filesystem::path& path, const Options& options) {
  return make_emulator(Emulator(load_model(artifact::read(path), path.string())), path.string(), options);
}

Emulator Emulator::open(const void* bytes, size_t size, const std::string& name_for_messages, const Options& options) {
  return make_emulator(Emulator(load_model(artifact::read(bytes, size, name_for_messages), name_for_messages)),
                       name_for_messages, options);
}

const std::string& Emulator::name() const { return impl_->name; }
const std::string& Emulator::version() const { return impl_->version; }
const std::string& Emulator::id() const { return impl_->opened.id; }
const std::vector<Parameter>& Emulator::parameters() const { return impl_->parameters; }
const std::vector<Output>& Emulator::outputs() const { return impl_->descriptions; }
const std::vector<std::pair<std::string, double>>& Emulator::fixed() const { return impl_->fixed; }
const std::vector<std::pair<std::string, std::string>>& Emulator::solvable() const { return impl_->solvable_names; }
const nlohmann::json& Emulator::info() const { return impl_->info; }

// Probes: at a few points, a few values of every output are stored twice, as the real code gave them and as the
// emulator did when it was packed. The second comparison catches a library that computes something else than it used
// to, the first a file whose arrays are not what their names and units say. The sums of a Gaussian process cancel, so
// that another instruction set, which rounds elsewhere, moves an answer by up to some 1e-9.
constexpr double kRounding = 1e-7;

void verify_probes(const Emulator& emulator, const std::string& file) {
  const Emulator::Impl& model = emulator.impl();
  const nlohmann::json& document = model.opened.contents.document;
  if (!document.contains("probes")) throw Error(ZELOS_E_FORMAT, file + ": the document lacks 'probes'");
  std::vector<std::string> names;
  for (const Parameter& p : emulator.parameters()) names.push_back(p.name);
  std::vector<Request> requests;
  std::vector<double> tolerances;
  for (const nlohmann::json& probe : document["probes"].at("outputs")) {
    requests.push_back(
        {probe.at("output").get<std::string>(), probe.at("axes").get<std::vector<std::vector<double>>>()});
    tolerances.push_back(probe.at("truth_tolerance").get<double>());
  }
  const auto find = [&](const char* path) -> const artifact::Array& {
    const auto found = model.opened.contents.arrays.find(path);
    if (found == model.opened.contents.arrays.end())
      throw Error(ZELOS_E_FORMAT, file + ": array '" + path + "' is missing");
    return found->second;
  };
  const artifact::Array &points = find("probes/parameters"), &values = find("probes/values"),
                        &truth = find("probes/truth");
  const Query query = emulator.query(names, requests);
  const int64_t n_points = points.shape.size() == 2 ? points.shape[0] : -1;
  const int64_t n = query.size(), d = query.n_parameters();
  if (n_points < 1 || points.shape[1] != d || values.shape != std::vector<int64_t>{n_points, n} ||
      truth.shape != values.shape) {
    throw Error(ZELOS_E_FORMAT, file + ": the probe arrays have wrong shapes");
  }
  Workspace workspace = query.workspace();
  std::vector<double> out(n);
  for (int64_t i = 0; i < n_points; ++i) {
    const Verdict verdict = query.evaluate(points.data.data() + i * d, out.data(), workspace);
    if (!verdict.inside())
      throw Error(ZELOS_E_FORMAT, file + ": a probe point is outside the region: " + to_string(verdict));
    for (size_t r = 0; r < requests.size(); ++r) {
      const int64_t first = query.blocks()[r].offset;
      const int64_t last = r + 1 < requests.size() ? query.blocks()[r + 1].offset : n;
      double scale = 0;
      for (int64_t j = first; j < last; ++j) scale = std::max(scale, std::abs(values.data[i * n + j]));
      for (int64_t j = first; j < last; ++j) {
        const double stored = values.data[i * n + j], real = truth.data[i * n + j];
        const bool labelled = !emulator.outputs()[model.output_index(requests[r].output)].axes[0].labels.empty();
        const double unit = labelled ? std::abs(stored) : scale;
        const auto fail = [&](const char* what, double expected) {
          throw Error(ZELOS_E_FORMAT, file + ": output " + requests[r].output + " fails its probe (" + what +
                                          "): expected " + to_text(expected) + ", found " + to_text(out[j]));
        };
        if (!(std::abs(out[j] - stored) <= kRounding * unit)) fail("stored answer", stored);
        if (!(std::abs(out[j] - real) <= tolerances[r] * unit)) fail("the real code's answer", real);
      }
    }
  }
}

}  // namespace zelos
