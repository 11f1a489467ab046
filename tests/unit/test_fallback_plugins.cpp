// SPDX-License-Identifier: BSD-3-Clause
// Fallback plugins from the loader to the numbers: what breaks a rule is refused with its reason, and a worker process
// may do what it likes without a wrong number.
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "fallback/plugin.hpp"
#include "toy.hpp"
#include "zelos/error.hpp"

namespace fs = std::filesystem;
using zelos::fallback::Code;
using zelos::fallback::CodeSettings;
using zelos::fallback::find_plugin;
using zelos::fallback::Point;

namespace {

const fs::path kFallbacks = ZELOS_TEST_FALLBACK_DIR;
const fs::path kTemplate = kFallbacks / "good" / "zelos_fallback_formulas.so";
const std::string kPython = ZELOS_PYTHON_FALLBACK;
const std::string kFakeWorker = ZELOS_SOURCE_DIR "/tests/faults/workers/fake_worker.py";

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

zelos::Output power(std::vector<double> k, std::vector<double> z) {
  return {"Pk.linear", "", "", {{"k", "1/Mpc", std::move(k), {}}, {"z", "", std::move(z), {}}}, {}};
}
const zelos::Output kSigma8{"derived", "", "", {{"name", "", {0}, {"sigma8"}}}, {""}};

CodeSettings formulas(const std::string& options = "{}", const std::string& config = R"({"ns": 0.965})") {
  CodeSettings settings;
  settings.code = "formulas";
  settings.config_json = config;
  settings.options_json = options;
  return settings;
}

/// A code of the plugin "python" with the fake worker; `more` is added to the options.
Code faked(const std::string& fault, nlohmann::json more = nlohmann::json::object(), const fs::path& once = {}) {
  more["python"] = kFakeWorker;
  more["environment"] = {{"FAULT", fault}, {"FAULT_ONCE", once.string()}};
  if (!more.contains("timeout")) more["timeout"] = 20;
  return Code(find_plugin(kPython), formulas(more.dump(), "{}"), {power({1, 2}, {0}), kSigma8});
}

const Point kPoint{{"omch2", 0.12}, {"logA", 3.0}};
const std::vector<std::vector<double>> kFakeAnswer{{1 + 3.12, 2 + 3.12}, {3 + 3.12}};

/// Sets a variable of the environment for its own life.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) { setenv(name, value.c_str(), 1); }
  ~Variable() { unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
};

}  // namespace

TEST_CASE("fallback: the template is found by its path and by its name, and computes its formulas", "[fallback]") {
  const Variable path("ZELOS_FALLBACK_PATH", "/absent:" + kTemplate.parent_path().string());
  for (const std::string& name : {kTemplate.string(), std::string("formulas")}) {
    const Code code(find_plugin(name), formulas(), {power({0.01, 0.1}, {0, 1, 3}), kSigma8});
    CHECK(code.name() == "formulas");
    CHECK(code.version() == "1");
    const auto answer = code.evaluate({{"omch2", 0.2}, {"logA", 3.5}});
    const toy::Point p{0.0224, 0.2, 70, 0.06, 3.5, 0.965};
    for (int k = 0; k < 2; ++k) {
      for (int z = 0; z < 3; ++z) {
        const double x = k == 0 ? 0.01 : 0.1, y = z == 2 ? 3 : z;
        CHECK(answer[0][3 * k + z] == Approx(toy::truth("Pk.linear", p, x, y)).epsilon(1e-13));
      }
    }
    CHECK(answer[1][0] == Approx(toy::truth("derived", p, 1)).epsilon(1e-13));
    CHECK(code.settings(kPoint) == "omch2 = 0.12\nlogA = 3\nns = 0.96499999999999997\n");
  }
}

TEST_CASE("fallback: what a plugin says of a setting, an output or a point reaches the caller", "[fallback]") {
  const auto plugin = find_plugin(kTemplate.string());
  Refusal answer = refusal([&] { Code(plugin, formulas("{}", R"({"h": 1})"), {kSigma8}); });
  CHECK((answer.status == ZELOS_E_ARGUMENT && answer.says("fallback 'formulas'") && answer.says(R"(found {"h": 1})")));
  answer = refusal([&] { Code(plugin, formulas(), {{"Cl.tt", "muK^2", "", {{"ell", "", {2, 3}, {}}}, {}}}); });
  CHECK((answer.status == ZELOS_E_ARGUMENT && answer.says("'Cl.tt'")));
  const Code code(plugin, formulas(), {kSigma8});
  answer = refusal([&] { code.evaluate({{"omch2", 0.1}, {"logA", 3}, {"mnu", 0.06}}); });
  CHECK((answer.status == ZELOS_E_ARGUMENT && answer.says("unknown parameter 'mnu'") && answer.says("mnu=0.06")));
  answer = refusal([&] { code.evaluate({{"omch2", -0.1}, {"logA", 3}}); });
  CHECK((answer.status == ZELOS_E_NUMERIC && answer.says("omch2 = -0.1")));
}

TEST_CASE("fallback: each rule that a plugin breaks has its own message", "[fallback][faults]") {
  struct Case {
    const char* file;
    zelos_status status;
    const char* expected;
    const char* found;
  };
  const Case cases[] = {
      {"wrong_major", ZELOS_E_FORMAT, "expected version 1 of the fallback ABI", "found 2"},
      {"short_entry", ZELOS_E_FORMAT, "zelos_fallback_entry: expected struct_size", "found 24"},
      {"no_symbol", ZELOS_E_MISSING, "expected the symbol 'zelos_fallback_entry_v1'", "found none"},
      {"null_function", ZELOS_E_FORMAT, "'evaluate'", "NULL"},
      {"no_id", ZELOS_E_FORMAT, "'id'", "empty"},
      {"throws_in_create", ZELOS_E_INTERNAL, "create threw an exception", "no licence"},
      {"throws_in_evaluate", ZELOS_E_INTERNAL, "evaluate threw an exception", "no convergence"},
      {"makes_nothing", ZELOS_E_INTERNAL, "create said ok", "made nothing"},
      {"fills_nothing", ZELOS_E_NUMERIC, "output 'Pk.linear', value 0", "nan"},
      {"says_nothing", ZELOS_E_INTERNAL, "fallback 'formulas'", "it gave no reason"},
  };
  for (const Case& c : cases) {
    const std::string file = (kFallbacks / "bad" / (std::string(c.file) + ".so")).string();
    for (int round = 0; round < 2; ++round) {
      const Refusal answer = refusal([&] {
        Code(find_plugin(file), formulas(), {power({1}, {0}), kSigma8}).evaluate(kPoint);
      });
      INFO(answer.message);
      CHECK(answer.status == c.status);
      CHECK(answer.says(c.expected));
      CHECK(answer.says(c.found));
      CHECK_FALSE(answer.says("\n"));
    }
  }
}

TEST_CASE("fallback: what is not a whole shared library never reaches the loader", "[fallback][faults]") {
  const toy::TemporaryFolder folder;
  const std::string bytes = toy::slurp(kTemplate);
  const auto wrong = [&](const std::string& content) {
    const fs::path file = folder / "zelos_fallback_x.so";
    std::ofstream(file, std::ios::binary | std::ios::trunc) << content;
    return refusal([&] { find_plugin(file.string()); });
  };
  CHECK(wrong("import camb\n").says("expected a shared library (ELF), found another kind of file"));
  for (const double part : {0.05, 0.3, 0.6, 0.95}) {
    const Refusal answer = wrong(bytes.substr(0, static_cast<std::size_t>(part * static_cast<double>(bytes.size()))));
    INFO(answer.message);
    CHECK(answer.status == ZELOS_E_FORMAT);
  }
  Refusal answer = refusal([&] { find_plugin((folder / "absent.so").string()); });
  CHECK((answer.status == ZELOS_E_IO && answer.says("absent.so") && answer.says("found none")));
  answer = refusal([&] { find_plugin(folder.path().string()); });
  CHECK((answer.status == ZELOS_E_IO && answer.says("found a directory")));
  // A family is not a fallback.
  answer = refusal([&] { find_plugin(ZELOS_TEST_PLUGIN_DIR "/good/inverse_distance.so"); });
  CHECK((answer.status == ZELOS_E_MISSING && answer.says("zelos_fallback_entry_v1")));
}

TEST_CASE("fallback: a name that is not found is answered with the folders searched", "[fallback]") {
  const toy::TemporaryFolder folder;
  const Variable path("ZELOS_FALLBACK_PATH", "relative:" + folder.path().string());
  const Refusal answer = refusal([] { find_plugin("formulsa"); });
  INFO(answer.message);
  CHECK(answer.status == ZELOS_E_MISSING);
  CHECK(answer.says("no fallback 'formulsa'"));
  CHECK(answer.says(folder.path().string()));
  CHECK(answer.says("expected absolute folders, found 'relative'"));
  CHECK(refusal([] { find_plugin(""); }).status == ZELOS_E_ARGUMENT);
}

TEST_CASE("fallback: a code's name means the plugin python", "[fallback]") {
  const Variable path("ZELOS_FALLBACK_PATH", fs::path(kPython).parent_path().string());
  const auto plugin = find_plugin("camb");
  CHECK(plugin.code == "camb");
  CHECK(std::string(plugin.entry->id) == "python");
  CHECK(find_plugin("python").code.empty());
}

TEST_CASE("workers: a run answers in the order of the outputs, many at once", "[fallback][workers]") {
  const Code code = faked("", {{"workers", 2}});
  CHECK(code.evaluate(kPoint) == kFakeAnswer);
  CHECK(code.settings(kPoint) == "none");
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 10; ++i) {
        const double x = 0.1 * t + i;
        const auto answer = code.evaluate({{"omch2", x}});
        wrong[t] += answer[0][0] != 1 + x || answer[1][0] != 3 + x;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == std::vector<int>(4, 0));
}

TEST_CASE("workers: a fault is an error that says which, and never a number", "[fallback][workers][faults]") {
  struct Case {
    const char* fault;
    zelos_status status;
    const char* says;
  };
  const Case cases[] = {
      {"dies", ZELOS_E_IO,
       "the worker process died (signal 9, Killed); it printed last: a line on standard output out of"},
      {"exits", ZELOS_E_IO, "the worker process died (exit code 3)"},
      {"hangs", ZELOS_E_CANCELLED, "the worker had no answer within 0.5 s"},
      {"garbage", ZELOS_E_IO, "the worker did not keep to the protocol: what came is not a frame"},
      {"not_json", ZELOS_E_IO, "what came is not a JSON object"},
      {"partial", ZELOS_E_IO, "the worker process died (exit code 0)"},
      {"short", ZELOS_E_IO, "expected 3 values, found 2"},
      {"no_values", ZELOS_E_IO, "expected 3 values, found none"},
      {"huge", ZELOS_E_IO, "expected 3 values, found 134217728"},
      {"nan", ZELOS_E_NUMERIC, "output 'Pk.linear', value 0 is nan"},
      {"fails", ZELOS_E_NUMERIC, "no convergence"},
  };
  for (const Case& c : cases) {
    const double timeout = std::string(c.fault) == "hangs" ? 0.5 : 20;
    const Code once_only = faked(c.fault, {{"retries", 0}, {"timeout", timeout}});
    for (int round = 0; round < 2; ++round) {
      const Refusal answer = refusal([&] { once_only.evaluate(kPoint); });
      INFO(c.fault << ": " << answer.message);
      CHECK(answer.status == c.status);
      CHECK(answer.says(c.says));
      CHECK(answer.says(" at omch2=0.12, logA=3"));
      CHECK_FALSE(answer.says("times)"));
    }
  }
}

TEST_CASE("workers: a point whose worker failed is tried once more with a new one", "[fallback][workers][faults]") {
  for (const char* fault : {"dies", "exits", "hangs", "garbage", "partial", "short", "nan", "huge"}) {
    const toy::TemporaryFolder folder;
    const double timeout = std::string(fault) == "hangs" ? 0.5 : 20;
    INFO(fault);
    const Code code = faked(fault, {{"timeout", timeout}}, folder / "happened");
    CHECK(code.evaluate(kPoint) == kFakeAnswer);
    CHECK(fs::exists(folder / "happened"));
    const Refusal answer = refusal([&] { faked(fault, {{"timeout", timeout}}).evaluate(kPoint); });
    CHECK(answer.says("(tried 2 times)"));
  }
  // What the code itself says of a point is not asked again.
  const toy::TemporaryFolder folder;
  CHECK(refusal([&] { faked("fails", {}, folder / "happened").evaluate(kPoint); }).says("no convergence"));
}

TEST_CASE("workers: one that finds another code than the one that was opened answers nothing",
          "[fallback][workers][faults]") {
  const toy::TemporaryFolder folder;
  const fs::path once = folder / "died";
  const Code code = faked("dies_for_another_version", {}, once);
  CHECK(code.version() == "1");
  for (int round = 0; round < 2; ++round) {
    const Refusal answer = refusal([&] { code.evaluate(kPoint); });
    INFO(answer.message);
    CHECK(answer.status == ZELOS_E_ARGUMENT);
    CHECK(answer.says(R"(its version is "1-new", it was "1" when it was opened)"));
  }
  // Opened anew, it is that code.
  const Code anew = faked("dies_for_another_version", {}, once);
  CHECK((anew.version() == "1-new" && anew.evaluate(kPoint) == kFakeAnswer));
}

TEST_CASE("workers: what a worker says unasked is never taken for an answer", "[fallback][workers][faults]") {
  const Code code = faked("talks_unasked");
  for (int i = 0; i < 5; ++i) {
    const double x = i;
    CHECK(code.evaluate({{"omch2", x}})[0][0] == 1 + x);
  }
}

TEST_CASE("workers: one that can't be started says why", "[fallback][workers][faults]") {
  const auto started = [](const std::string& fault, double limit) {
    return refusal([&] { faked(fault, {{"start_timeout", limit}, {"retries", 0}}); });
  };
  Refusal answer = started("no_start", 20);
  INFO(answer.message);
  CHECK(answer.status == ZELOS_E_MISSING);
  CHECK(answer.says("no worker could be started with '" + kFakeWorker + "'"));
  CHECK(answer.says("No module named 'zelos'"));
  CHECK(started("mute", 0.5).says("no answer within 0.5 s"));
  CHECK(started("old_protocol", 20).says("expected version 1, found 7"));
  CHECK(started("wrong_hello", 20).says("it did not say hello"));
  answer = started("bad_description", 20);
  CHECK((answer.status == ZELOS_E_IO && answer.says("scalars")));
  answer = refusal([] { Code(find_plugin(kPython), formulas(R"({"python": "/no/such/python"})"), {kSigma8}); });
  CHECK((answer.status == ZELOS_E_MISSING && answer.says("/no/such/python")));
}

TEST_CASE("workers: the interpreter is the option, else ZELOS_PYTHON", "[fallback][workers]") {
  const Variable variable("ZELOS_PYTHON", kFakeWorker);
  CHECK(Code(find_plugin(kPython), formulas("{}", "{}"), {kSigma8}).evaluate(kPoint)[0][0] == 1 + 3.12);
}

TEST_CASE("workers: wrong options are named", "[fallback][workers]") {
  const auto with = [](const std::string& options) {
    return refusal([&] { Code(find_plugin(kPython), formulas(options), {kSigma8}); });
  };
  for (const auto& [options, part] : std::vector<std::pair<std::string, std::string>>{
           {R"({"wrokers": 2})", "unknown option 'wrokers': expected python, workers"},
           {R"({"workers": 0})", "'workers': expected a whole number from 1 to 1024, found 0"},
           {R"({"timeout": "long"})", "'timeout': expected a number above 0, found \"long\""},
           {R"({"environment": {"A": 1}})", "'environment.A': expected a text, found 1"},
           {R"([1])", "options: expected a JSON object"}}) {
    const Refusal answer = with(options);
    INFO(answer.message);
    CHECK(answer.status == ZELOS_E_ARGUMENT);
    CHECK(answer.says(part));
  }
}

TEST_CASE("workers: they end with their code, whatever they are doing", "[fallback][workers]") {
  const auto alive = [](const std::string& mark) {
    int n = 0;
    for (const auto& entry : fs::directory_iterator("/proc")) {
      std::ifstream file(entry.path() / "environ", std::ios::binary);
      const std::string all{std::istreambuf_iterator<char>(file), {}};
      n += all.find(mark) != std::string::npos;
    }
    return n;
  };
  const std::string mark = "zelos-test-" + std::to_string(::getpid());
  {
    const Code code = faked("", {}, mark);
    code.evaluate(kPoint);
    CHECK(alive("FAULT_ONCE=" + mark) == 1);
  }
  CHECK(alive("FAULT_ONCE=" + mark) == 0);
}
