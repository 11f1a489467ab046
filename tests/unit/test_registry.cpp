// SPDX-License-Identifier: BSD-3-Clause
#include <elf.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "registry/registry.hpp"
#include "zelos/error.hpp"

namespace fs = std::filesystem;
namespace registry = zelos::registry;

namespace {

const fs::path kPlugins = ZELOS_TEST_PLUGIN_DIR;
const fs::path kTemplate = kPlugins / "good" / "inverse_distance.so";

/// A folder of its own, gone when the test ends.
class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "zelos_registry_XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  fs::path operator/(const char* name) const { return path_ / name; }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

class PluginPath {
 public:
  explicit PluginPath(const std::string& value) { setenv("ZELOS_PLUGIN_PATH", value.c_str(), 1); }
  ~PluginPath() { unsetenv("ZELOS_PLUGIN_PATH"); }
};

std::string read_bytes(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void write_bytes(const fs::path& file, const std::string& bytes) {
  std::ofstream(file, std::ios::binary | std::ios::trunc) << bytes;
}

struct Refusal {
  zelos_status status;
  std::string message;
  bool says(const std::string& part) const { return message.find(part) != std::string::npos; }
};

Refusal refusal(const fs::path& file) {
  try {
    registry::load_plugin(file);
  } catch (const zelos::Error& e) {
    return {e.status(), e.what()};
  }
  return {ZELOS_OK, "loaded"};
}

std::set<std::string> ids() {
  std::set<std::string> all;
  for (const zelos_family* family : registry::list()) all.insert(family->id);
  return all;
}

}  // namespace

TEST_CASE("registry: the built-in families are there under both ways to write them", "[registry]") {
  for (const std::string id : {"polynomial", "gaussian_process", "neural_network"}) {
    const zelos_family& family = registry::find(id);
    CHECK(family.id == id);
    CHECK(&registry::find("zelos.emulators." + id) == &family);
    CHECK(family.struct_size == sizeof(zelos_family));
  }
}

TEST_CASE("registry: an unknown id is answered with the known ones and the folders searched", "[registry]") {
  Folder folder;
  PluginPath path(folder.path().string() + "::relative/folder:" + (folder / "absent").string());
  try {
    registry::find("neural_netwrok");
    FAIL("found");
  } catch (const zelos::Error& e) {
    const Refusal answer{e.status(), e.what()};
    INFO(answer.message);
    CHECK(answer.status == ZELOS_E_MISSING);
    CHECK(answer.says("'neural_netwrok'"));
    CHECK(answer.says("did you mean 'neural_network'"));
    CHECK(answer.says("gaussian_process"));
    CHECK(answer.says(folder.path().string()));
    CHECK(answer.says("expected absolute folders, found 'relative/folder'"));
    CHECK(answer.says("No such file or directory"));
  }
}

TEST_CASE("registry: each rule that a plugin breaks has its own message", "[registry]") {
  struct Case {
    const char* file;
    zelos_status status;
    const char* expected;
    const char* found;
  };
  const Case cases[] = {
      {"wrong_major", ZELOS_E_FORMAT, "expected ABI major version 1", "found 2"},
      {"short_entry", ZELOS_E_FORMAT, "zelos_plugin_entry: expected struct_size", "found 16"},
      {"short_family", ZELOS_E_FORMAT, "family 0: expected struct_size", "found 40"},
      {"no_symbol", ZELOS_E_MISSING, "expected the symbol 'zelos_plugin_entry_v1'", "found none"},
      {"null_count", ZELOS_E_FORMAT, "'count'", "NULL"},
      {"null_function", ZELOS_E_FORMAT, "org.example.null_function", "'predict' is NULL"},
      {"null_family", ZELOS_E_FORMAT, "family 0", "NULL"},
      {"no_id", ZELOS_E_FORMAT, "'id'", "empty"},
      {"too_many", ZELOS_E_FORMAT, "expected 1 to", "found 4000000000"},
      {"throws", ZELOS_E_INTERNAL, "count threw an exception", "no licence"},
      {"same_id_as_built_in", ZELOS_E_ARGUMENT, "'neural_network'", "zelos itself"},
      {"same_id_twice", ZELOS_E_ARGUMENT, "'org.example.same_id_twice'", "the same file"},
      {"undefined_function", ZELOS_E_IO, "the loader refused it", "zelos_test_not_there"},
  };
  const std::set<std::string> before = ids();
  for (const Case& c : cases) {
    const fs::path file = kPlugins / "bad" / (std::string(c.file) + ".so");
    for (int round = 0; round < 2; ++round) {
      const Refusal answer = refusal(file);
      INFO(answer.message);
      CHECK(answer.status == c.status);
      CHECK(answer.says(fs::canonical(file).string()));
      CHECK(answer.says(c.expected));
      CHECK(answer.says(c.found));
      CHECK_FALSE(answer.says("\n"));
    }
  }
  CHECK(ids() == before);
}

TEST_CASE("registry: what is not a whole shared library for this machine never reaches the loader", "[registry]") {
  Folder folder;
  const auto answer_to = [&](const std::string& bytes) {
    write_bytes(folder / "x.so", bytes);
    return refusal(folder / "x.so");
  };
  const std::string good = read_bytes(kTemplate);
  REQUIRE(good.size() > 4096);

  Refusal answer = refusal(folder / "absent.so");
  CHECK((answer.status == ZELOS_E_IO && answer.says("absent.so") && answer.says("No such file")));
  answer = refusal(folder.path());
  CHECK((answer.status == ZELOS_E_IO && answer.says("found a directory")));
  REQUIRE(mkfifo((folder / "pipe.so").c_str(), 0600) == 0);
  answer = refusal(folder / "pipe.so");
  CHECK((answer.status == ZELOS_E_IO && answer.says("expected a regular file")));
  answer = answer_to("int main() { return 0; }\n");
  CHECK((answer.status == ZELOS_E_FORMAT && answer.says("expected a shared library (ELF)")));
  answer = answer_to("");
  CHECK((answer.status == ZELOS_E_FORMAT && answer.says("expected a shared library (ELF)")));

  const auto changed = [&](std::size_t at, char to) {
    std::string bytes = good;
    bytes[at] = to;
    return answer_to(bytes);
  };
  answer = changed(EI_CLASS, ELFCLASS32);
  CHECK((answer.status == ZELOS_E_FORMAT && answer.says("64-bit")));
  answer = changed(offsetof(Elf64_Ehdr, e_machine), EM_386);
  CHECK((answer.status == ZELOS_E_FORMAT && answer.says("another processor")));
  answer = changed(offsetof(Elf64_Ehdr, e_type), ET_EXEC);
  CHECK((answer.status == ZELOS_E_FORMAT && answer.says("found type 2")));
  answer = changed(offsetof(Elf64_Ehdr, e_shoff) + 6, 0x7f);
  CHECK((answer.status == ZELOS_E_FORMAT && answer.says("cut off or damaged")));

  for (std::size_t length = 1; length < good.size(); length += 97) {
    answer = answer_to(good.substr(0, length));
    INFO(length << " bytes: " << answer.message);
    CHECK(answer.status == ZELOS_E_FORMAT);
  }
}

TEST_CASE("registry: the template family is found through ZELOS_PLUGIN_PATH, and works", "[registry]") {
  Folder folder;
  fs::copy(kPlugins / "bad" / "wrong_major.so", folder / "wrong_major.so");
  const std::string id = "org.example.inverse_distance";
  {
    PluginPath path(folder.path().string() + ":" + kTemplate.parent_path().string());
    std::vector<const zelos_family*> found(4);
    std::vector<std::thread> threads;
    for (const zelos_family*& slot : found) threads.emplace_back([&] { slot = &registry::find(id); });
    for (std::thread& thread : threads) thread.join();
    CHECK(std::set<const zelos_family*>(found.begin(), found.end()).size() == 1);

    REQUIRE(ids().count(id) == 1);
    const std::vector<std::string> problems = registry::problems();
    CHECK(std::any_of(problems.begin(), problems.end(),
                      [](const std::string& line) { return line.find("expected ABI major") != std::string::npos; }));
  }
  const zelos_family& family = registry::find(id);
  registry::load_plugin(kTemplate);  // again: nothing happens
  CHECK(&registry::find(id) == &family);

  fs::copy(kTemplate, folder / "copy.so");
  const Refusal answer = refusal(folder / "copy.so");
  INFO(answer.message);
  CHECK(answer.status == ZELOS_E_ARGUMENT);
  CHECK(answer.says("copy.so"));
  CHECK(answer.says(fs::canonical(kTemplate).string()));

  const double x[] = {-0.5, 0.1, 0.3, 0.8, 0.9, -0.7}, y[] = {1.0, -2.0, 0.5};
  const zelos_training_set set = {sizeof set, 3, 2, 1, x, y, nullptr};
  zelos_train_options options{};
  options.struct_size = sizeof options;
  options.params_json = "{}";
  options.n_threads = 1;
  const auto* train = static_cast<const zelos_train*>(family.get_extension(ZELOS_EXT_TRAIN));
  REQUIRE(train != nullptr);
  struct Opened {
    const zelos_family& family;
    zelos_model* model = nullptr;
  } opened{family};
  const zelos_save_state open = [](void* to, const zelos_state* state, zelos_error* error) {
    Opened& o = *static_cast<Opened*>(to);
    return o.family.open(nullptr, state, &o.model, error);
  };
  REQUIRE(train->train(nullptr, &set, &options, open, &opened, nullptr) == ZELOS_OK);
  const auto predict = [&](double a, double b) {
    const double at[] = {a, b};
    double value = 0.0;
    REQUIRE(family.predict(opened.model, at, &value, nullptr, nullptr) == ZELOS_OK);
    return value;
  };
  const auto expected = [&](double a, double b) {
    double sum = 0.0, total = 0.0;
    for (int i = 0; i < 3; ++i) {
      const double w = std::pow(std::pow(a - x[2 * i], 2) + std::pow(b - x[2 * i + 1], 2) + 1e-6, -2.0);
      sum += w * y[i];
      total += w;
    }
    return sum / total;
  };
  CHECK(predict(0.2, 0.4) == Approx(expected(0.2, 0.4)).epsilon(1e-13));
  CHECK(predict(-0.5, 0.1) == Approx(1.0).epsilon(1e-6));
  const double at[] = {0.2, 0.4}, h = 1e-6;
  double value = 0.0, jacobian[2] = {};
  REQUIRE(family.predict_jacobian(opened.model, at, &value, jacobian, nullptr, nullptr) == ZELOS_OK);
  CHECK(value == Approx(expected(0.2, 0.4)).epsilon(1e-13));
  CHECK(jacobian[0] == Approx((expected(0.2 + h, 0.4) - expected(0.2 - h, 0.4)) / (2 * h)).epsilon(1e-7));
  CHECK(jacobian[1] == Approx((expected(0.2, 0.4 + h) - expected(0.2, 0.4 - h)) / (2 * h)).epsilon(1e-7));
  options.params_json = R"({"power": 2})";
  CHECK(train->train(nullptr, &set, &options, open, &opened, nullptr) == ZELOS_E_ARGUMENT);
  family.close(opened.model);
}

TEST_CASE("registry: a plugin for a later minor version is welcome", "[registry]") {
  registry::load_plugin(kPlugins / "bad" / "newer_minor.so");
  CHECK(std::string(registry::find("org.example.newer_minor").version) == "1.0.0");
}
