// SPDX-License-Identifier: BSD-3-Clause
// Training: the same bytes again, resumed or not; what can't be trained on is named; nothing is
// left behind.
#include <catch2/catch.hpp>
#include <cmath>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "artifact/container.hpp"
#include "failure.hpp"
#include "toy.hpp"
#include "zelos/error.hpp"

namespace {

using zelos::RunOutput;
using zelos::TrainOptions;

/// The error of training `spec` on runs after `edit`; nothing is left in the artifact's folder.
std::string training_failure(const std::string& spec, const std::function<void(toy::Runs&)>& edit,
                             zelos_status expected = ZELOS_E_ARGUMENT) {
  const toy::TemporaryFolder folder;
  const zelos::Spec parsed = zelos::parse_spec(spec, "toy.yaml");
  toy::Runs runs(parsed, 40);
  edit(runs);
  const std::string message = failure(expected, [&] { zelos::train(parsed, runs.view, folder / "a.h5", {}); });
  CHECK(std::filesystem::is_empty(folder.path()));
  return message;
}

/// What is said of the spec before there is a run.
std::string failure_without_runs(const std::string& spec) {
  const zelos::Spec parsed = zelos::parse_spec(spec, "toy.yaml");
  toy::Runs runs(parsed, 4);
  for (RunOutput& o : runs.view.outputs) o.values = nullptr;
  return failure(ZELOS_E_ARGUMENT, [&] { zelos::check_training(parsed, runs.view.outputs); });
}

RunOutput& output(toy::Runs& runs, const std::string& name) {
  for (RunOutput& o : runs.view.outputs) {
    if (o.name == name) return o;
  }
  throw std::out_of_range(name);
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

/// With a step at H0 = 68.
const char* const kJump = R"(
name: jump
config: {code: formulas}
parameters: {omch2: [0.11, 0.13], H0: RANGE}
features: {above: {step: 68, of: [H0]}}
outputs: {Hubble: {features: [omch2, H0, above], transforms: [log, {pca: {weights: 3, whiten: {sigma: 1.0e-4}}}]}}
emulator_fn: {type: FAMILY}
training: {n: 60}
)";

}  // namespace

TEST_CASE("the same spec, runs and seed give the same file", "[training]") {
  const toy::TemporaryFolder folder;
  TrainOptions threads;
  threads.n_threads = 3;
  toy::train(toy::kSpec, 160, folder / "again.h5", threads);
  const std::string again = toy::slurp(folder / "again.h5"), first = toy::slurp(toy::artifact());
  CHECK((again == first));
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
  toy::train(replaced(toy::kSpec, "seed: 5", "seed: 6"), 160, folder / "other.h5");
  CHECK_FALSE((toy::slurp(folder / "other.h5") == first));
}

TEST_CASE("a training that is stopped and resumed, at any stage, ends in the same file", "[training]") {
  const std::string whole = toy::slurp(toy::artifact());
  const toy::TemporaryFolder folder;
  TrainOptions options;
  options.checkpoint_folder = folder / "checkpoints";
  std::filesystem::create_directory(options.checkpoint_folder);
  double stop_at = 0.05;
  std::vector<double> fractions;
  std::string last_stage;
  options.progress = [&](const std::string& stage, double fraction, const std::string&) {
    fractions.push_back(fraction);
    last_stage = stage;
    return fraction < stop_at;
  };
  for (; stop_at < 1; stop_at += 0.19) {
    CAPTURE(stop_at);
    const std::string message =
        failure(ZELOS_E_CANCELLED, [&] { toy::train(toy::kSpec, 160, folder / "a.h5", options); });
    CHECK_THAT(message, Catch::Contains(last_stage));
    CHECK_FALSE(std::filesystem::exists(folder / "a.h5"));
    CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
  }
  options.progress = nullptr;
  toy::train(toy::kSpec, 160, folder / "a.h5", options);
  CHECK((toy::slurp(folder / "a.h5") == whole));
  // Once more from finished checkpoints.
  toy::train(toy::kSpec, 160, folder / "b.h5", options);
  CHECK((toy::slurp(folder / "b.h5") == whole));
  for (const double f : fractions) CHECK((f >= 0 && f <= 1));
}

TEST_CASE("checkpoints of other runs are not used", "[training]") {
  const toy::TemporaryFolder folder;
  TrainOptions options;
  options.checkpoint_folder = folder / "checkpoints";
  std::filesystem::create_directory(options.checkpoint_folder);
  toy::train(toy::kSmallSpec, 39, folder / "other.h5", options);
  toy::train(toy::kSmallSpec, 40, folder / "a.h5", options);
  CHECK((toy::slurp(folder / "a.h5") == toy::slurp(toy::small_artifact())));
}

TEST_CASE("a cancelled training leaves the old artifact", "[training]") {
  const toy::TemporaryFolder folder;
  { std::ofstream(folder / "a.h5") << "the old one"; }
  TrainOptions options;
  options.progress = [](const std::string&, double, const std::string&) { return false; };
  failure(ZELOS_E_CANCELLED, [&] { toy::train(toy::kSmallSpec, 40, folder / "a.h5", options); });
  CHECK(toy::slurp(folder / "a.h5") == "the old one");
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
}

TEST_CASE("numbers that are not finite are named by output, point and place", "[training]") {
  CHECK_THAT(
      training_failure(toy::kSmallSpec, [](toy::Runs& r) { r.values["Pk.linear"][7 * 80 + 5 * 3 + 2] = std::nan(""); }),
      Catch::Contains("Pk.linear") && Catch::Contains("point 7") && Catch::Contains("k = ") &&
          Catch::Contains("z = 1:") && Catch::Contains("nan"));
  CHECK_THAT(training_failure(toy::kSmallSpec, [](toy::Runs& r) { r.values["derived"][3 * 4 + 1] = HUGE_VAL; }),
             Catch::Contains("sigma8") && Catch::Contains("point 3") && Catch::Contains("inf"));
  CHECK_THAT(training_failure(toy::kSmallSpec, [](toy::Runs& r) { r.parameters[2 * 4 + 1] = std::nan(""); }),
             Catch::Contains("point 4") && Catch::Contains("logA"));
  CHECK_THAT(
      training_failure(
          toy::kSmallSpec, [](toy::Runs& r) { r.values["Pk.linear"][11 * 80] = -1; }, ZELOS_E_NUMERIC),
      Catch::Contains("Pk.linear") && Catch::Contains("point 11") && Catch::Contains("'log'") && Catch::Contains("-1"));
}

TEST_CASE("what the spec does not train may be anything", "[training]") {
  const toy::TemporaryFolder folder;
  const zelos::Spec spec = zelos::parse_spec(toy::kSmallSpec, "small.yaml");
  toy::Runs runs(spec, 40);
  runs.values["Cl.tt"][0] = std::nan("");
  runs.values["derived"][2] = std::nan("");  // zrei
  zelos::train(spec, runs.view, folder / "a.h5", {});
  CHECK((toy::slurp(folder / "a.h5") == toy::slurp(toy::small_artifact())));
}

TEST_CASE("runs of a wrong shape are refused", "[training]") {
  struct Case {
    std::function<void(toy::Runs&)> edit;
    std::vector<const char*> in_message;
  };
  const std::vector<Case> cases{
      {[](toy::Runs& r) { r.view.n_points = 3; }, {"4 points", "3"}},
      {[](toy::Runs& r) { r.view.n_points = -1; }, {"4 points", "-1"}},
      {[](toy::Runs& r) { r.view.parameters = nullptr; }, {"parameters"}},
      {[](toy::Runs& r) { output(r, "Pk.linear").values = nullptr; }, {"Pk.linear", "values"}},
      {[](toy::Runs& r) { output(r, "Pk.linear").name = "Pk.lin"; }, {"'Pk.linear'", "Pk.lin"}},
      {[](toy::Runs& r) { r.view.outputs.push_back(output(r, "Pk.linear")); }, {"Pk.linear", "twice"}},
      {[](toy::Runs& r) { output(r, "Pk.linear").axis_names.pop_back(); }, {"Pk.linear", "axes"}},
      {[](toy::Runs& r) { output(r, "Pk.linear").axes.clear(); }, {"Pk.linear", "axes"}},
      {[](toy::Runs& r) { output(r, "Pk.linear").axes.emplace_back(1, 0.0); }, {"Pk.linear", "3"}},
      {[](toy::Runs& r) { output(r, "Pk.linear").axes[1].clear(); }, {"Pk.linear", "'z'"}},
      {[](toy::Runs& r) { std::swap(output(r, "Pk.linear").axes[0][3], output(r, "Pk.linear").axes[0][4]); },
       {"Pk.linear", "'k'", "ascending"}},
      {[](toy::Runs& r) { output(r, "Pk.linear").axes[0][3] = std::nan(""); }, {"Pk.linear", "'k'"}},
      {[](toy::Runs& r) { output(r, "derived").labels.pop_back(); }, {"derived", "labels"}},
      {[](toy::Runs& r) { output(r, "derived").labels[1] = "sigma_8"; }, {"sigma8", "sigma_8"}}};
  for (const Case& c : cases) {
    const std::string message = training_failure(toy::kSmallSpec, c.edit);
    for (const char* part : c.in_message) CHECK_THAT(message, Catch::Contains(part));
  }
}

TEST_CASE("a spec that can't be trained is refused where it is wrong", "[training]") {
  struct Case {
    const char *from, *to;
    std::vector<const char*> in_message;
  };
  const std::vector<Case> cases{
      {"- log\n      - amplitude: {feature: logA}\n      - tilt: {feature: ns, axis: k",
       "- log\n      - tilt: {feature: ns, axis: q",
       {"Pk.linear", "tilt", "'q'"}},
      {"tilt: {feature: ns, axis: k, pivot: 0.05}",
       "tilt: {feature: ns, axis: z, pivot: 0.05}",
       {"Pk.linear", "tilt", "'z'"}},
      {"{feature: logA}", "{feature: logAs}", {"logAs", "logA"}},
      {"{feature: logA}", "{featur: logA}", {"Pk.linear", "amplitude", "featur"}},
      {"ratio: {with: Pk.linear}", "ratio: {with: Hubble}", {"Pk.nonlinear", "Hubble", "before"}},
      {"correlation: {with: [Cl.tt, Cl.ee]}", "correlation: {with: [Cl.tt, Cl.te]}", {"Cl.te", "before"}},
      {"correlation: {with: [Cl.tt, Cl.ee]}", "correlation: {with: [Cl.tt]}", {"Cl.te", "two outputs"}},
      {"range: [30, 150]", "range: [31, 150]", {"Cl.tt", "pca 2"}},
      {"range: [30, 150]", "range: [29, 150]", {"Cl.tt", "pca 2"}},
      {"range: [30, 150]", "range: [30, 149]", {"Cl.tt", "148 of 149"}},
      {", knots: [[30, 4]]", "", {"Cl.tt", "stretch", "knots"}},
      {"knots: [[30, 4]]", "knots: [[31, 4]]", {"Cl.tt", "knots", "30"}},
      {"full: 90", "full: 149.99", {"Cl.tt", "monotone"}},
      {"whiten: {sigma: 1.0e-2}", "whiten: {sigma: -1}", {"Cl.te", "whiten"}},
      {"whiten: {sigma: 1.0e-2}", "whiten: {sigmas: 1}", {"Cl.te", "whiten"}},
      {"weights: 8, whiten", "weigths: 8, whiten", {"weigths", "weights"}},
      {"{log: true, of: [ombh2]}", "{log: true, of: [log_ombh2]}", {"log_ombh2"}},
      {"{log: true, of: [ombh2]}", "{log: false, of: [ombh2]}", {"log_ombh2", "log (true)"}},
      {"{log: true, of: [ombh2]}", "{log: 1, of: [ombh2]}", {"log_ombh2", "expected true or false"}},
      {"{log: true, of: [ombh2]}", "{log: true, of: [ombh2], offset: 1}", {"log_ombh2", "'offset'"}},
      {"{log: true, of: [ombh2]}", "{step: low, of: [ombh2]}", {"log_ombh2", "step", "low"}},
      {"{log: true, of: [ombh2]}", "{step: 0.02, of: [ombh2, omch2]}", {"log_ombh2", "step expects one parameter"}},
      {"{log: true, of: [ombh2]}", "{step: 0.02, of: [amplitude]}", {"log_ombh2", "step expects one parameter"}},
      {"{log: true, of: [ombh2]}", "{step: 0.02, log: false, of: [ombh2]}", {"log_ombh2", "'log'"}},
      {"{coefficients: [1, -2],",
       "{constants: 1, coefficients: [1, -2],",
       {"amplitude", "'constants'", "did you mean 'constant'"}},
      {"logarithmic: false, params",
       "logaritmic: false, params",
       {"zre", "'logaritmic'", "did you mean 'logarithmic'"}},
      {"  Hubble:\n", "  Hubble:\n    unit: 1/Mpc\n", {"Hubble", "km/s/Mpc", "1/Mpc", "unit"}},
      {"coefficients: [1, -2]", "coefficients: [1]", {"amplitude", "coefficients"}},
      {"background: transverse_", "background: tranverse_", {"log_distance", "tranverse_", "transverse_"}},
      {"z: 1090}", "z: 0}", {"log_distance", "z", "found 0"}},
      {"z: 1090}", "z: 1090, of: [H0]}", {"log_distance", "'of'"}},
      {"{background: {}}", "{background: {quantity: age}}", {"Hubble", "growth_rate", "age"}},
      {"{background: {}}", "{background: {power: two}}", {"Hubble", "power", "two"}},
      {"[{amplitude: {feature: logA}}, {tilt", "[{background: {quantity: growth}}, {tilt", {"flux", "no axis z"}},
      {"amplitude: inverse_distance", "amplitude: inverse_distanse", {"angle", "inverse_distanse", "inverse_distance"}},
      {"amplitude: inverse_distance",
       "logarithmic: false, amplitude: inverse_distance",
       {"angle", "logarithmic: true"}},
      {"emulated: zrei", "emulated: zreion", {"zre", "zreion", "zrei"}},
      {"replaces: H0", "replaces: H00", {"theta", "H00"}},
      {"knots: [[30, 4]]", "knots: [[30, -4]]", {"Cl.tt", "knots", "-4"}},
      {"knots: [[30, 4]]", "knots: 30", {"Cl.tt", "knots", "[[start, spacing], ...]"}},
      {"weights: 8, whiten", "weights: many, whiten", {"Cl.tt", "weights", "many"}},
      {"features: [log_omch2, logA, ns]", "features: [log_omch2, logA, n_s]", {"Pk.nonlinear", "'n_s'", "'ns'"}},
      {"gaussian_process, params: {max_iterations: 20",
       "gaussian_process, params: {max_iteration: 20",
       {"Pk.nonlinear", "max_iteration"}},
      {"groups: 1}", "groups: many}", {"Pk.nonlinear", "'groups'", "many"}},
      {"{degree: 4}", "{degree: -4}", {"zre", "'degree'", "-4"}},
      {"{degree: 4}", "{degree: 4, degree_weights: [1, 2, 3]}", {"zre", "'degree_weights'", "2 numbers"}},
      {"activation: tanh", "activation: than", {"signal", "activation", "than"}},
      {"gaussian_process, params: {max_iterations: 20",
       "gaussian_process, params: {terms: [[ombh], [H0]], max_iterations: 20",
       {"'ombh'", "none of its features"}},
      {"gaussian_process, params: {max_iterations: 20",
       "gaussian_process, params: {terms: [[logA, ns]], max_iterations: 20",
       {"Pk.nonlinear", "'terms'"}}};
  for (const Case& c : cases) {
    CAPTURE(c.from, c.to);
    const std::string text = replaced(toy::kSpec, c.from, c.to);
    const std::string message = training_failure(text, [](toy::Runs&) {});
    for (const char* part : c.in_message) CHECK_THAT(message, Catch::Contains(part));
    if (message.find("monotone") == std::string::npos) CHECK(failure_without_runs(text) == message);
  }
  CHECK_THAT(failure(ZELOS_E_MISSING,
                     [] {
                       const toy::TemporaryFolder folder;
                       toy::train(replaced(toy::kSmallSpec, "type: polynomial", "type: wavelet"), 40, folder / "a.h5");
                     }),
             Catch::Contains("wavelet"));
}

TEST_CASE("a spec that can be trained is not refused before the runs", "[training]") {
  for (const char* text : {toy::kSpec, toy::kSmallSpec}) {
    const zelos::Spec spec = zelos::parse_spec(text, "toy.yaml");
    toy::Runs runs(spec, 4);
    for (RunOutput& o : runs.view.outputs) o.values = nullptr;
    CHECK_NOTHROW(zelos::check_training(spec, runs.view.outputs));
    runs.view.outputs[0].axes.clear();
    CHECK_THAT(failure(ZELOS_E_ARGUMENT, [&] { zelos::check_training(spec, runs.view.outputs); }),
               Catch::Contains("1 or 2 axes"));
  }
}

TEST_CASE("params that name features are those that give their positions", "[training]") {
  const std::string spec = replaced(toy::kSmallSpec, "{type: polynomial, params: {degree: 4, variance: posterior}}",
                                    "{type: gaussian_process, params: {terms: TERMS}}");
  const toy::TemporaryFolder folder;
  const zelos::Spec named = zelos::parse_spec(replaced(spec, "TERMS", "[[logA], [omch2]]"), "toy.yaml");
  const zelos::Spec placed = zelos::parse_spec(replaced(spec, "TERMS", "[[1], [0]]"), "toy.yaml");
  const toy::Runs runs(named, 40);
  zelos::train(named, runs.view, folder / "named.h5", {});
  zelos::train(placed, runs.view, folder / "placed.h5", {});
  const auto arrays = [&](const char* file) { return zelos::artifact::read(folder / file).contents.arrays; };
  const auto a = arrays("named.h5"), b = arrays("placed.h5");
  REQUIRE(a.size() == b.size());
  int terms = 0;
  for (const auto& [name, array] : a) {
    CAPTURE(name);
    CHECK(std::equal(array.data.begin(), array.data.end(), b.at(name).data.begin()));
    if (name.find("/model/terms") == std::string::npos) continue;
    ++terms;
    CHECK(std::vector<double>(array.data.begin(), array.data.begin() + 4) == std::vector<double>{0, 1, 1, 0});
  }
  CHECK(terms == 2);
}

TEST_CASE("a PCA of which nothing is said keeps what the regression could give", "[training]") {
  const toy::TemporaryFolder folder;
  toy::train(R"(
name: plain
config: {code: formulas}
parameters: {omch2: [0.11, 0.13], H0: [60, 75]}
outputs: {Hubble: {}}
emulator_fn: {type: polynomial}
training: {n: 40}
)",
             40, folder / "a.h5");
  const zelos::Emulator emulator = zelos::Emulator::open(folder / "a.h5");
  const zelos::Query query = emulator.query({"omch2", "H0"}, {{"Hubble", {}}});
  zelos::Workspace workspace = query.workspace();
  std::vector<double> out(query.size());
  toy::Point point = toy::interior(zelos::Emulator::open(toy::artifact()), 0);
  const std::vector<double>& z = toy::axis("z_fine");
  for (const double shift : {-0.4, 0.1, 0.45}) {
    const std::vector<double> varied{0.12 + 0.02 * shift, 67.5 + 15 * shift};
    std::copy(varied.begin(), varied.end(), point.begin() + 1);
    REQUIRE(query.evaluate(varied.data(), out.data(), workspace).inside());
    for (size_t i = 0; i < z.size(); ++i) CHECK(out[i] == Approx(toy::truth("Hubble", point, z[i])).epsilon(5e-5));
  }
}

TEST_CASE("a step that is a feature is followed on both sides, with the derivatives of each", "[training]") {
  const std::string text = replaced(kJump, "RANGE", "[60, 75]");
  const double jump = 1.003;
  for (const char* family : {"polynomial, params: {degree: 4}", "gaussian_process"}) {
    CAPTURE(family);
    const toy::TemporaryFolder folder;
    const zelos::Spec spec = zelos::parse_spec(replaced(text, "FAMILY", family), "jump.yaml");
    toy::Runs runs(spec, 60);
    const std::vector<double>& z = toy::axis("z_fine");
    std::vector<double>& values = runs.values.at("Hubble");
    for (size_t i = 0; i < values.size(); ++i) values[i] *= runs.parameters[i / z.size() * 2 + 1] > 68 ? jump : 1;
    zelos::train(spec, runs.view, folder / "a.h5", {});
    const zelos::Emulator emulator = zelos::Emulator::open(folder / "a.h5");
    const zelos::Query query = emulator.query({"omch2", "H0"}, {{"Hubble", {}}});
    zelos::Workspace workspace = query.workspace();
    std::vector<double> out(query.size()), jacobian(query.size() * 2);
    toy::Point point = toy::interior(zelos::Emulator::open(toy::artifact()), 0);
    for (const double h0 : {67.9, 67.9999, 68.0, 68.0001, 68.1, 72.0}) {
      const std::vector<double> x{0.1213, h0};
      std::copy(x.begin(), x.end(), point.begin() + 1);
      REQUIRE(query.jacobian(x.data(), out.data(), jacobian.data(), workspace).inside());
      toy::Point further = point;
      further[2] += 1e-5;
      for (size_t i = 0; i < z.size(); ++i) {
        const double size = h0 > 68 ? jump : 1, truth = size * toy::truth("Hubble", point, z[i]);
        const double slope = (size * toy::truth("Hubble", further, z[i]) - truth) / 1e-5;
        CAPTURE(h0, z[i]);
        CHECK(out[i] == Approx(truth).epsilon(1e-4));
        CHECK(jacobian[2 * i + 1] == Approx(slope).margin(0.02));
      }
    }
  }
}

TEST_CASE("a step with few points on one side, or that a solved parameter goes through, is refused", "[training]") {
  const std::string text = replaced(toy::kSmallSpec, "outputs:\n  Pk.linear:\n",
                                    "features: {above: {step: AT, of: [logA]}}\noutputs:\n  Pk.linear:\n"
                                    "    features: [omch2, logA, above]\n");
  for (const char* at : {"2.92", "3.165"}) {
    CAPTURE(at);
    const std::string message = training_failure(replaced(text, "AT", at), [](toy::Runs&) {});
    CHECK_THAT(message, Catch::Contains("'above'") && Catch::Contains("or 6 at least") && Catch::Contains(at));
  }
  const std::string through = replaced(toy::kSpec, "theta: {emulated: thetastar, of: [log_ombh2, log_omch2, log_H0],",
                                       "fast: {step: 70, of: [H0]}\n  half: {coefficients: [0.5], of: [fast]}\n"
                                       "  theta: {emulated: thetastar, of: [log_ombh2, log_omch2, log_H0, half],");
  const std::string message = failure_without_runs(through);
  CHECK_THAT(message, Catch::Contains("'theta'") && Catch::Contains("'H0'") && Catch::Contains("step"));
}

TEST_CASE("where all training points are on one side of a step the region ends there", "[training]") {
  struct Side {
    const char* range;
    double inside, outside, lower, upper;
  };
  for (const char* family : {"polynomial", "gaussian_process", "neural_network, params: {epochs: 60}"}) {
    for (const Side& side : {Side{"[60, 67]", 67.5, 68.01, 60, 68}, Side{"[69, 75]", 68.5, 67.99, 68, 75}}) {
      CAPTURE(family, side.range);
      const toy::TemporaryFolder folder;
      const std::string spec = replaced(kJump, "FAMILY", family);
      const toy::Runs runs(zelos::parse_spec(replaced(spec, "RANGE", side.range), "jump.yaml"), 40);
      const zelos::Spec wide = zelos::parse_spec(replaced(spec, "RANGE", "[60, 75]"), "jump.yaml");
      zelos::train(wide, runs.view, folder / "a.h5", {});
      const zelos::Emulator emulator = zelos::Emulator::open(folder / "a.h5");
      const zelos::Query query = emulator.query({"omch2", "H0"}, {{"Hubble", {}}});
      zelos::Workspace workspace = query.workspace();
      std::vector<double> out(query.size());
      const std::vector<double> known{0.12, side.inside}, unknown{0.12, side.outside};
      REQUIRE(query.evaluate(known.data(), out.data(), workspace).inside());
      CHECK(out[0] == Approx(side.inside).epsilon(family[0] == 'n' ? 0.02 : 1e-4));
      const zelos::Verdict verdict = query.evaluate(unknown.data(), out.data(), workspace);
      CHECK(verdict.parameter == "H0");
      CHECK(verdict.lower == Approx(side.lower));
      CHECK(verdict.upper == Approx(side.upper));
    }
  }
}

TEST_CASE("accuracy is attached without changing an answer", "[training]") {
  const toy::TemporaryFolder folder;
  std::filesystem::copy_file(toy::small_artifact(), folder / "a.h5");
  zelos::attach_accuracy(folder / "a.h5", {{"Pk.linear", {{"p99", 1e-4}}}});
  const zelos::Emulator before = zelos::Emulator::open(toy::small_artifact()),
                        after = zelos::Emulator::open(folder / "a.h5");
  CHECK(after.info().at("accuracy").at("Pk.linear").at("p99") == 1e-4);
  CHECK(after.id() != before.id());
  const std::vector<double> point{0.12, 3.0};
  std::vector<double> a(80), b(80);
  for (const auto& [emulator, out] : {std::pair{&before, &a}, {&after, &b}}) {
    const zelos::Query query = emulator->query({"omch2", "logA"}, {{"Pk.linear", {}}});
    zelos::Workspace workspace = query.workspace();
    REQUIRE(query.evaluate(point.data(), out->data(), workspace).inside());
  }
  CHECK(a == b);
  CHECK_THAT(failure(ZELOS_E_IO, [&] { zelos::attach_accuracy(folder / "none.h5", nlohmann::json::object()); }),
             Catch::Contains("none.h5"));
}
