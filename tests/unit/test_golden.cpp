// SPDX-License-Identifier: BSD-3-Clause
// Artifacts of every format version, as they were written then: they open, and answer as they did.
// See tests/golden/README.md.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "artifact/container.hpp"
#include "toy.hpp"

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// Round-off of other instruction sets and compilers, of the largest value of the answer.
constexpr double kSameNumber = 1e-12;

std::vector<fs::path> versions() {
  std::vector<fs::path> folders;
  for (const auto& entry : fs::directory_iterator(fs::path(ZELOS_SOURCE_DIR) / "tests/golden")) {
    if (entry.is_directory()) folders.push_back(entry.path());
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

}  // namespace

TEST_CASE("golden artifacts open and answer as they did when they were written", "[golden]") {
  REQUIRE_FALSE(versions().empty());
  for (const fs::path& folder : versions()) {
    CAPTURE(folder.filename().string());
    const json golden = json::parse(std::ifstream(folder / "answers.json"));
    const zelos::Emulator emulator = zelos::Emulator::open(folder / "golden.h5");
    CHECK(emulator.info().at("format_version") == std::stoi(folder.filename().string()));
    CHECK(emulator.id() == golden.at("id"));
    REQUIRE(golden.at("answers").size() >= 9);
    for (const json& answer : golden.at("answers")) {
      const auto output = answer.at("output").get<std::string>();
      const auto axes = answer.at("axes").get<std::vector<std::vector<double>>>();
      const zelos::Query query = emulator.query(golden.at("names").get<std::vector<std::string>>(), {{output, axes}});
      zelos::Workspace workspace = query.workspace();
      for (size_t p = 0; p < golden.at("points").size(); ++p) {
        CAPTURE(output, p);
        const auto point = golden["points"][p].get<std::vector<double>>();
        const auto expected = answer.at("values")[p].get<std::vector<double>>();
        const auto formula = answer.at("formula")[p].get<std::vector<double>>();
        std::vector<double> out(query.size());
        REQUIRE(out.size() == expected.size());
        REQUIRE(query.evaluate(point.data(), out.data(), workspace).inside());
        double largest = 0, error = 0;
        for (const double y : expected) largest = std::max(largest, std::abs(y));
        for (size_t i = 0; i < out.size(); ++i) {
          const double scale = output == "derived" ? std::abs(expected[i]) : largest;
          CHECK(std::abs(out[i] - expected[i]) <= kSameNumber * scale);
          error = std::max(error, std::abs(out[i] - formula[i]) / scale);
        }
        CHECK(error <= answer.at("formula_tolerance").get<double>());
      }
    }
    const zelos::artifact::Contents stored = zelos::artifact::read(folder / "golden.h5").contents;
    const toy::TemporaryFolder scratch;
    const std::string id = zelos::migrate(folder / "golden.h5", scratch / "new.h5");
    const zelos::artifact::Opened migrated = zelos::artifact::read(scratch / "new.h5");
    CHECK(migrated.id == id);
    CHECK(migrated.format_version == zelos::artifact::kFormatVersion);
    CHECK(migrated.contents.document == stored.document);
    // Nothing is added but what families restore.
    for (const auto& [path, array] : migrated.contents.arrays) {
      CAPTURE(path);
      CHECK((stored.arrays.count(path) == 1 || fs::path(path).filename() == "left_out_errors"));
    }
    for (const auto& [path, array] : stored.arrays) {
      const zelos::artifact::Array& other = migrated.contents.arrays.at(path);
      CAPTURE(path);
      CHECK(other.shape == array.shape);
      CHECK(std::equal(array.data.begin(), array.data.end(), other.data.begin(), other.data.end()));
    }
    // The spec that it was trained from is still understood.
    const zelos::Spec spec = zelos::parse_spec(emulator.info().at("spec").get<std::string>(), "golden.yaml");
    CHECK(spec.name == emulator.name());
  }
}
