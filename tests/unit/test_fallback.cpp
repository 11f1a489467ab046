// SPDX-License-Identifier: BSD-3-Clause
// The real code behind an emulator: the physics that it is given, what it may differ in, what is counted and kept. The
// "code" is the template plugin, whose formulas are the toy's.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "base/sha256.hpp"
#include "fallback/cache.hpp"
#include "fallback/plugin.hpp"
#include "toy.hpp"
#include "zelos/error.hpp"
#include "zelos/fallback.hpp"

namespace fs = std::filesystem;
using nlohmann::json;
using zelos::Emulator;
using zelos::Fallback;
using zelos::Query;
using zelos::Verdict;
using zelos::fallback::Cache;
using zelos::fallback::Code;
using zelos::fallback::Point;

namespace {

const std::string kTemplate = ZELOS_TEST_FALLBACK_DIR "/good/zelos_fallback_formulas.so";
const std::string kPython = ZELOS_PYTHON_FALLBACK;
const std::string kFakeWorker = ZELOS_SOURCE_DIR "/tests/faults/workers/fake_worker.py";
const double kNs = 0.965;

/// What zelos_build would write of runs of the template.
json provenance() {
  const Point centre{{"omch2", 0.12}, {"logA", 3.05}};
  zelos::fallback::CodeSettings settings;
  settings.code = "formulas";
  settings.config_json = R"({"ns": 0.965})";
  settings.options_json = "{}";
  const Code code(zelos::fallback::find_plugin(kTemplate), settings,
                  {{"derived", "", "", {{"name", "", {0}, {"sigma8"}}}, {""}}});
  const std::string all = code.settings(centre);
  return {{"code", code.name()},     {"code_version", code.version()},
          {"config", {{"ns", kNs}}}, {"settings_at", {{"omch2", 0.12}, {"logA", 3.05}}},
          {"settings", all},         {"settings_sha256", zelos::sha256_hex(all.data(), all.size())}};
}

/// The small toy with this provenance.
Emulator emulator(const json& source) {
  const toy::TemporaryFolder folder;
  zelos::TrainOptions options;
  options.provenance = &source;
  toy::train(toy::kSmallSpec, 40, folder / "small.h5", options);
  return Emulator::open(folder / "small.h5");
}

const Emulator& small() {
  static const Emulator opened = emulator(provenance());
  return opened;
}

double truth(const std::string& output, double omch2, double log_a, double x, double y = 0, double ns = kNs) {
  return toy::truth(output, {0.0225, omch2, 70, 0.06, log_a, ns}, x, y);
}

struct Refusal {
  zelos_status status;
  std::string message;
  bool says(const std::string& part) const { return message.find(part) != std::string::npos; }
};

template <class Action>
Refusal refusal(Action&& action) {
  try {
    action();
  } catch (const zelos::Error& e) {
    return {e.status(), e.what()};
  }
  return {ZELOS_OK, "no error"};
}

std::vector<double> ask(const Fallback& fallback, const Query& query, const std::vector<double>& values) {
  std::vector<double> out(static_cast<size_t>(query.size()), -77);
  fallback.evaluate(query, values.data(), out.data());
  return out;
}

const std::vector<std::vector<double>> kOffGrid{{0.0023, 0.1, 0.77}, {0.25, 1, 2.5}};

}  // namespace

TEST_CASE("fallback: it answers the requests of a query at the physics of the point", "[fallback]") {
  const Fallback fallback = Fallback::open(small(), kTemplate);
  CHECK(fallback.code() == "formulas");
  CHECK(fallback.version() == "1");
  CHECK(fallback.differences().empty());
  struct Case {
    std::vector<std::string> names;
    std::vector<double> values;
    double omch2, log_a, ns;
  };
  const Case cases[] = {
      {{"omch2", "logA"}, {0.2, 3.7}, 0.2, 3.7, kNs},
      {{"logA", "omega_cdm"}, {3.0, 0.12}, 0.12, 3.0, kNs},  // inside, if it is asked there
      {{"omch2", "As"}, {0.05, 1e-10 * std::exp(2.5)}, 0.05, 2.5, kNs},
      {{"omch2", "logA", "n_s"}, {0.12, 3.0, 0.9}, 0.12, 3.0, 0.9},  // physics that the training held
      {{"omch2", "logA", "ns"}, {0.3, 3.0, kNs}, 0.3, 3.0, kNs},
  };
  for (const Case& c : cases) {
    const Query query = small().query(c.names, {{"derived", {}}, {"Pk.linear", kOffGrid}, {"Pk.linear", {}}});
    const std::vector<double> out = ask(fallback, query, c.values);
    INFO(c.names[1] << ", " << c.omch2 << " " << c.log_a << " " << c.ns);
    CHECK(out[0] == Approx(truth("derived", c.omch2, c.log_a, 1)).epsilon(1e-12));
    size_t at = 1;
    for (const auto& axes : {kOffGrid, {toy::axis("k"), toy::axis("z")}}) {
      for (const double k : axes[0]) {
        for (const double z : axes[1]) {
          CHECK(out[at++] == Approx(truth("Pk.linear", c.omch2, c.log_a, k, z, c.ns)).epsilon(1e-12));
        }
      }
    }
    CHECK(at == out.size());
  }
}

TEST_CASE("fallback: canonical parameters are those given, and what was solved for is as the code says", "[fallback]") {
  const Fallback known = Fallback::open(small(), kTemplate);
  const Query query = small().query({"As", "omch2"}, {{"derived", {}}});
  const double values[] = {2e-9, 0.2};
  double out = 0, parameters[2] = {};
  known.evaluate(query, values, &out, {}, parameters);
  CHECK(parameters[0] == 0.2);
  CHECK(parameters[1] == Approx(std::log(20)).epsilon(1e-14));

  // A code that says 1 to everything, H0 included.
  const toy::TemporaryFolder folder;
  const json source = {{"code", "formulas"}, {"code_version", "1"}};
  zelos::TrainOptions options;
  options.provenance = &source;
  toy::train(toy::kSpec, 160, folder / "toy.h5", options);
  const Emulator emulator = Emulator::open(folder / "toy.h5");
  const Fallback ones = Fallback::open(emulator, ZELOS_TEST_FALLBACK_DIR "/bad/ones.so");
  const Query solves = emulator.query({"ombh2", "omch2", "thetastar", "tau", "logA", "ns"}, {{"derived", {}}});
  const double point[] = {0.03, 0.12, 0.0104, 0.2, 3, 0.96};
  double derived[3] = {}, all[6] = {};
  ones.evaluate(solves, point, derived, {}, all);
  CHECK((derived[0] == 1 && derived[1] == 1 && derived[2] == 1));
  CHECK(std::vector<double>(all, all + 6) == std::vector<double>{0.03, 0.12, 1, 0.2, 3, 0.96});
}

TEST_CASE("fallback: a code, version or settings that are not those of the training are refused",
          "[fallback][faults]") {
  json other = provenance();
  other["code"] = "camb";
  Refusal answer = refusal([&] { Fallback::open(emulator(other), kTemplate); });
  INFO(answer.message);
  CHECK((answer.status == ZELOS_E_ARGUMENT && answer.says("was trained on 'camb'")));
  Fallback::Options any;
  any.any_version = true;
  CHECK(refusal([&] { Fallback::open(emulator(other), kTemplate, any); }).says("was trained on 'camb'"));

  other = provenance();
  other["code_version"] = "2";
  const std::string here = other["settings"];
  other["settings"] = here.substr(0, here.find("ns")) + "ns = 0.9\n";
  other["settings_sha256"] = std::string(64, '0');
  const Emulator trained_otherwise = emulator(other);
  answer = refusal([&] { Fallback::open(trained_otherwise, kTemplate); });
  CHECK(answer.status == ZELOS_E_ARGUMENT);
  CHECK(answer.says("fallback 'formulas' is not the code that small emulates"));
  CHECK(answer.says("version 1 here, 2 in training"));
  CHECK(answer.says("settings: 'ns = 0.96499999999999997' here, 'ns = 0.9' in training"));
  const Fallback loose = Fallback::open(trained_otherwise, kTemplate, any);
  CHECK(loose.differences().size() == 2);

  other = provenance();
  other["config"]["h"] = 0.7;
  answer = refusal([&] { Fallback::open(emulator(other), kTemplate); });
  CHECK((answer.status == ZELOS_E_ARGUMENT && answer.says("settings: expected")));
  answer = refusal([&] { Fallback::open(emulator(json::object()), kTemplate); });
  CHECK(answer.says("was trained on an unknown code"));
  any.settings = R"({"workers": 2})";
  CHECK(refusal([&] { Fallback::open(small(), kTemplate, any); }).says("options: expected none"));
}

TEST_CASE("fallback: a point that it can't answer leaves the numbers untouched and is counted", "[fallback][faults]") {
  const Fallback fallback = Fallback::open(small(), kTemplate);
  const Query query = small().query({"omch2", "logA"}, {{"derived", {}}});
  double out = -77;
  const auto fails = [&](double omch2, const Verdict& why = {}) {
    const double values[] = {omch2, 3};
    return refusal([&] { fallback.evaluate(query, values, &out, why); });
  };
  Verdict box;
  box.reason = Verdict::Reason::box;
  box.parameter = "omch2";
  Refusal answer = fails(-0.1, box);
  CHECK((answer.status == ZELOS_E_NUMERIC && answer.says("omch2 = -0.1") && answer.says("at omch2=-0.1, logA=3")));
  for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    answer = fails(bad);
    CHECK((answer.status == ZELOS_E_OUTSIDE && answer.says("omch2")));
  }
  const double negative[] = {0.2, -1e-9};
  const Query amplitude = small().query({"omch2", "As"}, {{"derived", {}}});
  answer = refusal([&] { fallback.evaluate(amplitude, negative, &out); });
  INFO(answer.message);
  CHECK(answer.status == ZELOS_E_OUTSIDE);
  CHECK(answer.says("'logA' is"));
  CHECK(out == -77);
  const Emulator twin = emulator(provenance());
  answer = refusal([&] { ask(fallback, twin.query({"omch2", "logA"}, {{"derived", {}}}), {0.2, 3}); });
  CHECK((answer.status == ZELOS_E_ARGUMENT && answer.says("another emulator")));

  Verdict hull;
  hull.reason = Verdict::Reason::hull;
  const double values[] = {0.2, 3};
  fallback.evaluate(query, values, &out, hull);
  CHECK(out == Approx(truth("derived", 0.2, 3, 1)).epsilon(1e-12));
  const Fallback::Statistics s = fallback.statistics();
  CHECK((s.points == 5 && s.runs == 1 && s.failed == 4 && s.repeated == 0 && s.from_cache == 0 && s.seconds > 0));
  CHECK(s.reasons == std::map<std::string, int64_t>{{"omch2", 1}, {"hull", 1}});
  CHECK(s.last_failure.find("nan") != std::string::npos);
}

TEST_CASE("fallback: outputs of one point that are asked for one after the other cost one run", "[fallback]") {
  const Fallback fallback = Fallback::open(small(), kTemplate);
  const std::vector<std::string> names{"omch2", "logA"};
  const Query derived = small().query(names, {{"derived", {}}});
  const Query native = small().query(names, {{"Pk.linear", {{}, {1}}}});
  const Query finer = small().query(names, {{"Pk.linear", kOffGrid}});
  const double expected = truth("derived", 0.2, 3, 1);
  for (int round = 0; round < 2; ++round) {
    CHECK(ask(fallback, derived, {0.2, 3})[0] == Approx(expected).epsilon(1e-12));
    CHECK(ask(fallback, native, {0.2, 3})[0] ==
          Approx(truth("Pk.linear", 0.2, 3, toy::axis("k")[0], 1)).epsilon(1e-12));
  }
  CHECK(fallback.statistics().runs == 1);
  CHECK(fallback.statistics().repeated == 3);
  ask(fallback, finer, {0.2, 3});
  CHECK(fallback.statistics().runs == 2);
  ask(fallback, derived, {0.21, 3});
  CHECK(fallback.statistics().runs == 3);
}

TEST_CASE("fallback: on other axes than the training's the code runs with the settings of the training, in every order",
          "[fallback][cache]") {
  const std::string plugin = ZELOS_TEST_FALLBACK_DIR "/bad/redshifts.so";
  const Point centre{{"omch2", 0.12}, {"logA", 3.05}};
  zelos::fallback::CodeSettings formulas;
  formulas.code = "formulas";
  json source = provenance();
  source["settings"] = Code(zelos::fallback::find_plugin(plugin), formulas, small().outputs()).settings(centre);
  const std::string text = source["settings"];
  source["settings_sha256"] = zelos::sha256_hex(text.data(), text.size());
  const Emulator trained = emulator(source);
  const std::vector<std::string> names{"omch2", "logA"};
  const Query native = trained.query(names, {{"derived", {}}, {"Pk.linear", {}}});
  const Query other = trained.query(names, {{"derived", {}}, {"Pk.linear", kOffGrid}, {"Pk.linear", {{}, {0.25}}}});
  const auto n = static_cast<double>(toy::axis("z").size());
  const auto power = [&](double k, double z) { return n * (2 + std::cos(50 * std::log(k))) / (1 + z); };

  const toy::TemporaryFolder folder;
  Fallback::Options options;
  std::vector<std::vector<double>> answers;
  for (const bool native_first : {true, false}) {
    options.cache = folder / (native_first ? "first" : "second");
    const Fallback fallback = Fallback::open(trained, plugin, options);
    std::vector<double> on_native, on_other;
    if (native_first) on_native = ask(fallback, native, {0.2, 3});
    on_other = ask(fallback, other, {0.2, 3});
    if (!native_first) on_native = ask(fallback, native, {0.2, 3});
    CHECK(fallback.statistics().runs == (native_first ? 2 : 1));
    answers.push_back(on_native);
    answers.push_back(on_other);
    CHECK((on_native[0] == n && on_other[0] == n));
    size_t at = 1;
    // Of the wavenumbers, which change no setting, the code is asked: no spline follows this cosine.
    for (const double k : kOffGrid[0]) {
      for (const double z : kOffGrid[1]) CHECK(on_other[at++] == Approx(power(k, z)).epsilon(1e-12));
    }
    for (const double k : toy::axis("k")) CHECK(on_other[at++] == Approx(power(k, 0.25)).epsilon(1e-12));
    CHECK(at == on_other.size());
    CHECK(on_native[2] == Approx(power(toy::axis("k")[0], toy::axis("z")[1])).epsilon(1e-14));
    zelos::read_cache(options.cache, [&](const zelos::CachedAnswer& kept) {
      CHECK(kept.settings_sha256 == source["settings_sha256"].get<std::string>());
      CHECK(kept.outputs[0].axes[1].values == toy::axis("z"));
    });
  }
  CHECK(answers[0] == answers[2]);
  CHECK(answers[1] == answers[3]);
}

TEST_CASE("fallback: many threads may ask at once", "[fallback]") {
  const Fallback fallback = Fallback::open(small(), kTemplate);
  const Query query = small().query({"omch2", "logA"}, {{"derived", {}}, {"Pk.linear", kOffGrid}});
  std::vector<std::thread> threads;
  std::vector<int> wrong(6, 0);
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {
        const double omch2 = 0.2 + 0.01 * (t % 3) + 0.001 * i;
        const double expected = truth("derived", omch2, 3, 1);
        wrong[t] += std::abs(ask(fallback, query, {omch2, 3})[0] / expected - 1) > 1e-12;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == std::vector<int>(6, 0));
  CHECK(fallback.statistics().points == 300);
}

// --- the cache -----------------------------------------------------------------------------------------------------

namespace {

/// Every .h5 file below a folder.
std::vector<fs::path> entries(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.path().extension() == ".h5") files.push_back(entry.path());
  }
  return files;
}

Fallback::Options cached_in(const fs::path& folder) {
  Fallback::Options options;
  options.cache = folder;
  return options;
}

}  // namespace

TEST_CASE("cache: an answer outlives its process, and is that of the same point, code and settings",
          "[fallback][cache]") {
  const toy::TemporaryFolder folder;
  const Query query = small().query({"omch2", "logA"}, {{"derived", {}}, {"Pk.linear", {}}});
  std::vector<double> first;
  {
    const Fallback fallback = Fallback::open(small(), kTemplate, cached_in(folder / "cache"));
    first = ask(fallback, query, {0.2, 3});
    CHECK(fallback.statistics().runs == 1);
  }
  const Fallback fallback = Fallback::open(small(), kTemplate, cached_in(folder / "cache"));
  CHECK(ask(fallback, query, {0.2, 3}) == first);
  CHECK((fallback.statistics().runs == 0 && fallback.statistics().from_cache == 1));
  ask(fallback, query, {std::nextafter(0.2, 1), 3});
  CHECK(fallback.statistics().runs == 1);
  // Physics that the training held is part of the point; other axes are another question.
  const Query tilted = small().query({"omch2", "logA", "ns"}, {{"derived", {}}});
  ask(fallback, tilted, {0.2, 3, 0.9});
  CHECK(fallback.statistics().runs == 2);
  ask(fallback, small().query({"omch2", "logA"}, {{"Pk.linear", kOffGrid}}), {0.2, 3});
  CHECK(fallback.statistics().runs == 3);
  CHECK(entries(folder / "cache").size() == 4);

  json other = provenance();
  other["config"] = {{"ns", 0.9}};
  Fallback::Options options = cached_in(folder / "cache");
  options.any_version = true;
  const Emulator trained_otherwise = emulator(other);
  const Fallback otherwise = Fallback::open(trained_otherwise, kTemplate, options);
  const Query same = trained_otherwise.query({"omch2", "logA"}, {{"Pk.linear", {}}});
  CHECK(ask(otherwise, same, {0.2, 3})[0] ==
        Approx(truth("Pk.linear", 0.2, 3, toy::axis("k")[0], 0, 0.9)).epsilon(1e-12));
  CHECK(otherwise.statistics().from_cache == 0);
}

TEST_CASE("cache: what is damaged, cut or renamed is not believed, and is replaced", "[fallback][cache][faults]") {
  const toy::TemporaryFolder folder;
  const Query query = small().query({"omch2", "logA"}, {{"Pk.linear", {}}});
  const auto answer_of = [&](double omch2) {
    const Fallback fallback = Fallback::open(small(), kTemplate, cached_in(folder / "cache"));
    const double value = ask(fallback, query, {omch2, 3})[0];
    CHECK(value == Approx(truth("Pk.linear", omch2, 3, toy::axis("k")[0], 0)).epsilon(1e-12));
    return fallback.statistics().from_cache == 1;
  };
  CHECK_FALSE(answer_of(0.2));
  const fs::path file = entries(folder / "cache").at(0);
  const std::string good = toy::slurp(file);
  for (const size_t at : {size_t{3}, size_t{40}, good.size() / 2, good.size() - 9}) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 4);
    std::ofstream(file, std::ios::binary | std::ios::trunc) << bad;
    CHECK_FALSE(answer_of(0.2));
    CHECK(answer_of(0.2));
  }
  std::ofstream(file, std::ios::binary | std::ios::trunc) << good.substr(0, good.size() / 2);
  CHECK_FALSE(answer_of(0.2));
  // The answer of one point under the name of another.
  CHECK_FALSE(answer_of(0.3));
  for (const fs::path& other : entries(folder / "cache")) {
    if (other != file) fs::copy_file(file, other, fs::copy_options::overwrite_existing);
  }
  CHECK_FALSE(answer_of(0.3));
}

TEST_CASE("cache: four processes write, one is killed: the others' answers are whole", "[fallback][cache][faults]") {
  const toy::TemporaryFolder folder;
  constexpr int kPoints = 40;
  const std::vector<zelos::Output> outputs{{"flux", "", "", {{"wavelength", "", {1, 2, 3}, {}}}, {}}};
  const auto value = [](int point) {
    return std::vector<std::vector<double>>{{1.0 * point, 2.0 * point, -1.0 * point}};
  };
  const auto point_of = [](int point) { return Point{{"x", 1.0 * point}}; };
  std::vector<pid_t> children;
  for (int child = 0; child < 4; ++child) {
    const pid_t pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      // Two points of three are written by two processes each.
      const Cache cache(folder / "cache");
      for (int i = 0; i < kPoints || child == 0; ++i) {
        const int n = (child / 2) * kPoints / 3 + i % kPoints;
        const Point point = point_of(n);
        cache.store({"code", "1", "settings", &outputs, &point}, value(n));
      }
      ::_exit(0);
    }
    children.push_back(pid);
  }
  const auto n_files = [&] { return fs::exists(folder / "cache") ? entries(folder / "cache").size() : 0; };
  while (n_files() < 5) ::usleep(1000);
  ::kill(children[0], SIGKILL);
  for (const pid_t pid : children) {
    int status = 0;
    ::waitpid(pid, &status, 0);
    CHECK((pid == children[0] ? WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL : status == 0));
  }
  const Cache cache(folder / "cache");
  for (int n = 0; n < kPoints + kPoints / 3; ++n) {
    const Point point = point_of(n);
    const auto found = cache.look_up({"code", "1", "settings", &outputs, &point});
    REQUIRE(found);
    CHECK(*found == value(n));
    CHECK_FALSE(cache.look_up({"code", "2", "settings", &outputs, &point}));
    CHECK_FALSE(cache.look_up({"code", "1", "other settings", &outputs, &point}));
  }
  int n_read = 0;
  zelos::read_cache(folder / "cache", [&](const zelos::CachedAnswer& answer) {
    ++n_read;
    const double x = answer.parameters.at(0).second;
    CHECK(answer.parameters[0].first == "x");
    CHECK(answer.values.at(0) == std::vector<double>{x, 2 * x, -x});
    CHECK(answer.outputs.at(0).axes.at(0).values == std::vector<double>{1, 2, 3});
    CHECK((answer.code == "code" && answer.version == "1" && answer.settings_sha256 == "settings"));
  });
  CHECK(n_read == kPoints + kPoints / 3);
}

TEST_CASE("cache: what is interpolated between runs is not kept as the code's answer", "[fallback][cache][faults]") {
  const toy::TemporaryFolder folder;
  Fallback::Options options;
  options.any_version = true;  // the worker says nothing of its settings
  options.settings = json{{"python", kFakeWorker}, {"grid", "runs.h5"}}.dump();
  const Query query = small().query({"omch2", "logA"}, {{"derived", {}}});
  CHECK(std::isfinite(ask(Fallback::open(small(), kPython, options), query, {0.2, 3})[0]));
  options.cache = folder / "cache";
  const Refusal answer = refusal([&] { Fallback::open(small(), kPython, options); });
  INFO(answer.message);
  CHECK((answer.status == ZELOS_E_ARGUMENT && answer.says((folder / "cache").string())));
  CHECK(answer.says("fallback 'formulas' interpolates between runs"));
  CHECK_FALSE(fs::exists(folder / "cache"));
  options.settings = json{{"python", kFakeWorker}}.dump();
  ask(Fallback::open(small(), kPython, options), query, {0.2, 3});
  CHECK(entries(folder / "cache").size() == 1);
}

TEST_CASE("cache: a folder that can't be used is named, one that becomes full costs no answer",
          "[fallback][cache][faults]") {
  const toy::TemporaryFolder folder;
  std::ofstream(folder / "file") << "not a folder";
  const Refusal answer = refusal([&] { Fallback::open(small(), kTemplate, cached_in(folder / "file")); });
  CHECK((answer.status == ZELOS_E_IO && answer.says((folder / "file").string())));
  CHECK(refusal([&] { zelos::read_cache(folder / "absent", [](const zelos::CachedAnswer&) {}); }).status == ZELOS_E_IO);
  const Fallback fallback = Fallback::open(small(), kTemplate, cached_in(folder / "cache"));
  fs::remove(folder / "cache");
  std::ofstream(folder / "cache") << "in its place";
  const Query query = small().query({"omch2", "logA"}, {{"derived", {}}});
  CHECK(ask(fallback, query, {0.2, 3})[0] == Approx(truth("derived", 0.2, 3, 1)).epsilon(1e-12));
  CHECK(fallback.statistics().failed == 0);
  CHECK(fallback.statistics().cache_failure.find((folder / "cache").string()) != std::string::npos);
}
