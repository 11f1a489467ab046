// SPDX-License-Identifier: BSD-3-Clause
// CAMB itself through zelos.h, from a program that is no Python: what comes back is what a CAMB run by hand gives. The
// emulator is trained on nonsense, so that a number of its own would be seen. Exits 77 (skipped) where the interpreter
// of ZELOS_PYTHON (default: python3) has no zelos or no camb.
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "zelos/abi/zelos.h"
#include "zelos/spec.hpp"
#include "zelos/training.hpp"

namespace {

constexpr int kSkipped = 77;
constexpr int kLmax = 300;

const char* const kSpec = R"(
name: nonsense
version: 1.0.0
config: {code: camb, version: "0", fixed: {ombh2: 0.0224, tau: 0.06, mnu: 0.06}, extra_args: {lmax: 300}}
parameters: {H0: [60, 80], logA: [3.0, 3.1]}
outputs: {Cl.tt: {transforms: [{pca: {weights: 1, whiten: none}}]}}
derived: [age]
emulator_fn: {type: polynomial, params: {degree: 1, variance: none}}
training: {n: 6, seed: 3, margin: 0}
)";

const char* const kByHand = R"(
import camb
p = camb.set_params(H0=90.0, As=1e-10 * 2.718281828459045**3.2, ombh2=0.0224, tau=0.06, mnu=0.06, lmax=300,
                    redshifts=[0.0], kmax=1.02, NonLinear=camb.model.NonLinear_lens)
r = camb.get_results(p)
tt = r.get_total_cls(CMB_unit='muK', raw_cl=True)[:, 0]
print(camb.__version__, *(repr(float(tt[l])) for l in (2, 30, 220, 300)), repr(float(r.get_derived_params()['age'])))
)";

std::string python() {
  const char* named = std::getenv("ZELOS_PYTHON");
  return named != nullptr && *named != '\0' ? named : "python3";
}

/// What the interpreter prints; "" if it fails.
std::string output_of(const std::string& program) {
  std::FILE* pipe = ::popen(("'" + python() + "' -c \"" + program + "\" 2>/dev/null").c_str(), "r");
  if (pipe == nullptr) return "";
  std::string text;
  std::array<char, 256> part;
  while (std::fgets(part.data(), part.size(), pipe) != nullptr) text += part.data();
  return ::pclose(pipe) == 0 ? text : "";
}

void train(const std::string& file) {
  const zelos::Spec spec = zelos::parse_spec(kSpec, "nonsense.yaml");
  zelos::TrainingRuns runs;
  runs.n_points = 6;
  const std::vector<double> points{60, 3.0, 80, 3.0, 60, 3.1, 80, 3.1, 70, 3.05, 65, 3.02};
  runs.parameters = points.data();
  std::vector<double> ell, nonsense, ages;
  for (int l = 2; l <= kLmax; ++l) ell.push_back(l);
  for (int i = 0; i < 6; ++i) {
    for (const double l : ell) nonsense.push_back(-l - points[2 * i]);
    ages.push_back(-points[2 * i]);
  }
  zelos::RunOutput tt, derived;
  tt.name = "Cl.tt", tt.unit = "muK^2";
  tt.axis_names = {"ell"}, tt.axis_units = {""}, tt.axes = {ell};
  tt.values = nonsense.data();
  derived.name = "derived";
  derived.axis_names = {"name"}, derived.axis_units = {""}, derived.axes = {{0}};
  derived.labels = {"age"}, derived.label_units = {"Gyr"};
  derived.values = ages.data();
  runs.outputs = {tt, derived};
  const nlohmann::json provenance = {{"code", "camb"},
                                     {"code_version", "0"},
                                     {"config", {{"ombh2", 0.0224}, {"tau", 0.06}, {"mnu", 0.06}, {"lmax", kLmax}}}};
  zelos::TrainOptions options;
  options.provenance = &provenance;
  zelos::train(spec, runs, file, options);
}

bool fails(const char* what, const zelos_error& error) {
  std::fprintf(stderr, "%s: %s\n", what, error.message);
  return false;
}

bool run(const std::string& artifact, const std::string& plugin, const std::string& by_hand) {
  zelos_error error{};
  error.struct_size = sizeof error;
  zelos_emulator* emulator = nullptr;
  zelos_query* query = nullptr;
  zelos_workspace* workspace = nullptr;
  zelos_fallback* fallback = nullptr;
  if (zelos_emulator_open(artifact.c_str(), nullptr, &emulator, &error) != ZELOS_OK) return fails("open", error);

  // Another version than that of the training: refused by name, unless the user takes it.
  zelos_fallback_options options{};
  options.struct_size = sizeof options;
  options.settings_json = R"({"threads": 1, "timeout": 300})";
  const std::string version = by_hand.substr(0, by_hand.find(' '));
  const zelos_status refused = zelos_fallback_open(emulator, plugin.c_str(), &options, &fallback, &error);
  const std::string expected = "version " + version + " here, 0 in training";
  if (refused != ZELOS_E_ARGUMENT || std::string(error.message).find(expected) == std::string::npos) {
    return fails(("expected a refusal that says '" + expected + "'").c_str(), error);
  }
  options.any_version = 1;
  if (zelos_fallback_open(emulator, plugin.c_str(), &options, &fallback, &error) != ZELOS_OK) {
    return fails("fallback", error);
  }

  const char* const names[] = {"H0", "logA"};
  const std::array<double, 4> ells{2, 30, 220, 300};
  const int64_t sizes[] = {4};
  const double* const axes[] = {ells.data()};
  const zelos_request requests[] = {{sizeof(zelos_request), "Cl.tt", sizes, axes},
                                    {sizeof(zelos_request), "derived", nullptr, nullptr}};
  if (zelos_query_create(emulator, 2, names, 2, requests, &query, &error) != ZELOS_OK) return fails("query", error);
  if (zelos_workspace_create(query, &workspace, &error) != ZELOS_OK) return fails("workspace", error);
  const double outside[] = {90.0, 3.2};
  std::array<double, 5> out{};
  zelos_source source = ZELOS_SOURCE_NONE;
  if (zelos_answer(query, fallback, outside, out.data(), workspace, nullptr, &source, &error) != ZELOS_OK) {
    return fails("answer", error);
  }
  bool good = source == ZELOS_SOURCE_FALLBACK;
  const char* at = by_hand.c_str() + version.size();
  for (const double value : out) {
    char* end = nullptr;
    const double truth = std::strtod(at, &end);
    at = end;
    const bool same = std::abs(value / truth - 1) < 1e-9;
    std::fprintf(same ? stdout : stderr, "%.12g, by hand %.12g\n", value, truth);
    good = good && same;
  }
  zelos_workspace_destroy(workspace);
  zelos_query_destroy(query);
  zelos_fallback_close(fallback);
  zelos_emulator_close(emulator);
  return good;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  try {
    if (output_of("import zelos.fallback.worker, camb; print(1)").empty()) {
      std::fprintf(stderr, "skipped: '%s' has no zelos or no camb (ZELOS_PYTHON names another)\n", python().c_str());
      return kSkipped;
    }
    const std::string by_hand = output_of(kByHand);
    if (by_hand.empty()) return 1;
    train(argv[1]);
    const bool good = run(argv[1], argv[2], by_hand);
    std::filesystem::remove(argv[1]);
    return good ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
