// SPDX-License-Identifier: BSD-3-Clause
// Files that are damaged, cut, mislabelled or from another time: a typed error that names the file
// and what is wrong.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>

#include "artifact/container.hpp"
#include "base/sha256.hpp"
#include "failure.hpp"
#include "runtime/model.hpp"
#include "toy.hpp"

namespace {

using nlohmann::json;
using zelos::Emulator;
using zelos::Error;
using zelos::artifact::Array;
using zelos::artifact::Contents;

Array copy(const Array& a) {
  Array b{a.shape, zelos::AlignedBuffer(a.data.size()), a.storage};
  std::copy(a.data.begin(), a.data.end(), b.data.begin());
  return b;
}

Contents copy(const Contents& c) {
  Contents d;
  d.document = c.document;
  for (const auto& [path, array] : c.arrays) d.arrays.emplace(path, copy(array));
  return d;
}

std::string open_bytes(const std::string& bytes, zelos_status expected = ZELOS_E_FORMAT) {
  return failure(expected, [&] { Emulator::open(bytes.data(), bytes.size(), "bytes.h5", {}); });
}

/// The error of opening the artifact after `edit`, with a digest that is right again.
std::string open_edited(const std::filesystem::path& artifact, const std::function<void(Contents&)>& edit,
                        zelos_status expected = ZELOS_E_FORMAT) {
  const toy::TemporaryFolder folder;
  Contents contents = zelos::artifact::read(artifact).contents;
  edit(contents);
  zelos::artifact::write(folder / "edited.h5", contents);
  const std::string message = failure(expected, [&] { Emulator::open(folder / "edited.h5"); });
  CHECK_THAT(message, Catch::Contains("edited.h5"));
  return message;
}

json& named(json& list, const std::string& name) {
  for (json& entry : list) {
    if (entry["name"] == name) return entry;
  }
  throw std::out_of_range(name);
}
json& output(Contents& contents, const std::string& name) { return named(contents.document["outputs"], name); }
json& feature(Contents& contents, const std::string& name) { return named(contents.document["features"], name); }

/// Every place in a document.
void visit(const json& node, const json::json_pointer& at, std::vector<json::json_pointer>* places) {
  if (!at.empty()) places->push_back(at);
  if (node.is_object()) {
    for (const auto& [key, value] : node.items()) visit(value, at / key, places);
  } else if (node.is_array()) {
    for (size_t i = 0; i < std::min<size_t>(node.size(), 3); ++i) visit(node[i], at / i, places);
  }
}

}  // namespace

TEST_CASE("a byte that changed anywhere is noticed", "[damage]") {
  const std::string whole = toy::slurp(toy::small_artifact());
  std::mt19937 random(11);
  for (int trial = 0; trial < 400; ++trial) {
    std::string bytes = whole;
    const size_t at = trial < 64 ? static_cast<size_t>(trial) * 8 : random() % bytes.size();
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << (random() % 8)));
    const std::string message = open_bytes(bytes);
    CAPTURE(at);
    CHECK_THAT(message, Catch::Contains("bytes.h5"));
  }
}

TEST_CASE("a file cut at any sector is refused with both lengths", "[damage]") {
  const std::string whole = toy::slurp(toy::artifact());
  for (size_t size = 0; size < whole.size(); size += 512) {
    CAPTURE(size);
    const std::string message = open_bytes(whole.substr(0, size));
    CHECK_THAT(message, Catch::Contains("bytes.h5"));
    if (size >= 1024)
      CHECK_THAT(message,
                 Catch::Contains(std::to_string(whole.size() - 512)) && Catch::Contains(std::to_string(size - 512)));
  }
  CHECK_THAT(open_bytes(whole + std::string(512, '\0')), Catch::Contains("bytes.h5"));
}

TEST_CASE("a newer format is refused by its number", "[damage]") {
  std::string bytes = toy::slurp(toy::small_artifact());
  bytes[8] = static_cast<char>(zelos::artifact::kFormatVersion + 1);
  const auto digest = zelos::sha256(bytes.data(), 480);
  std::memcpy(&bytes[480], digest.data(), digest.size());
  const std::string newer = std::to_string(zelos::artifact::kFormatVersion + 1);
  CHECK_THAT(open_bytes(bytes), Catch::Contains("bytes.h5") && Catch::Contains("version") && Catch::Contains(newer));
}

TEST_CASE("answers that are not what they were fail a probe that names the output", "[damage]") {
  CHECK_THAT(open_edited(toy::artifact(), [](Contents& c) { c.arrays.at("probes/values").data[0] *= 1 + 1e-5; }),
             Catch::Contains("Cl.tt") && Catch::Contains("stored answer") && Catch::Contains("expected") &&
                 Catch::Contains("found"));
  CHECK_THAT(open_edited(toy::artifact(),
                         [](Contents& c) { c.arrays.at("outputs/flux/segment0/block0/basis").data[0] += 0.01; }),
             Catch::Contains("flux") && Catch::Contains("stored answer"));
  CHECK_THAT(open_edited(toy::artifact(),
                         [](Contents& c) { c.arrays.at("outputs/signal/segment0/block0/scale").data[0] *= 1.01; }),
             Catch::Contains("signal") && Catch::Contains("stored answer"));
  CHECK_THAT(open_edited(toy::artifact(), [](Contents& c) { feature(c, "amplitude")["coefficients"][0] = 1.01; }),
             Catch::Contains("Cl.tt") && Catch::Contains("stored answer"));
}

TEST_CASE("numbers in other units than the code's fail the probe of the code's answers", "[damage]") {
  // A consistent file: the emulator and its stored answers agree, both a factor 1e12 off.
  CHECK_THAT(open_edited(toy::small_artifact(),
                         [](Contents& c) {
                           for (double& m : c.arrays.at("outputs/Pk.linear/segment0/mean").data) m += std::log(1e12);
                           Array& values = c.arrays.at("probes/values");
                           for (int64_t i = 0; i < values.shape[0]; ++i) {
                             for (int64_t j = 0; j < 16; ++j) values.data[i * values.shape[1] + j] *= 1e12;
                           }
                         }),
             Catch::Contains("Pk.linear") && Catch::Contains("the real code's answer"));
  // An axis in h/Mpc under the name of 1/Mpc.
  CHECK_THAT(open_edited(toy::small_artifact(),
                         [](Contents& c) {
                           for (double& k : c.arrays.at("outputs/Pk.linear/axis/k").data) k /= 0.7;
                         }),
             Catch::Contains("Pk.linear"));
  // Parameters whose names were exchanged.
  CHECK_THAT(open_edited(toy::small_artifact(),
                         [](Contents& c) { std::swap(c.document["parameters"][0], c.document["parameters"][1]); }),
             Catch::Contains("probe"));
}

TEST_CASE("probes can't be left away", "[damage]") {
  CHECK_THAT(open_edited(toy::small_artifact(), [](Contents& c) { c.document.erase("probes"); }),
             Catch::Contains("probes"));
  CHECK_THAT(open_edited(toy::small_artifact(), [](Contents& c) { c.document["probes"] = json::object(); }),
             Catch::Contains("probes"));
  CHECK_THAT(open_edited(toy::small_artifact(), [](Contents& c) { c.arrays.erase("probes/truth"); }),
             Catch::Contains("probes/truth"));
  CHECK_THAT(open_edited(toy::small_artifact(),
                         [](Contents& c) { c.document["probes"]["outputs"][0]["output"] = "Pk.linea"; }),
             Catch::Contains("Pk.linea"));
}

TEST_CASE("a family that is not installed is named", "[damage]") {
  CHECK_THAT(open_edited(
                 toy::small_artifact(),
                 [](Contents& c) { output(c, "Pk.linear")["segments"][0]["blocks"][0]["family"] = "splines"; },
                 ZELOS_E_MISSING),
             Catch::Contains("splines") && Catch::Contains("polynomial"));
}

TEST_CASE("a document that contradicts itself or its arrays is refused", "[damage]") {
  struct Case {
    std::function<void(Contents&)> edit;
    std::vector<const char*> in_message;
  };
  const std::vector<Case> cases{
      {[](Contents& c) { output(c, "Cl.tt")["point_transforms"][1].erase("feature"); },
       {"Cl.tt", "amplitude", "feature"}},
      {[](Contents& c) { output(c, "Pk.linear")["point_transforms"][2]["axis"] = 2; }, {"Pk.linear", "tilt", "axis 2"}},
      {[](Contents& c) { output(c, "Cl.te")["point_transforms"][0].erase("other"); }, {"Cl.te", "correlation"}},
      {[](Contents& c) {
         output(c, "Cl.te")["point_transforms"][0]["other"] = {"Cl.tt", "Cl.ee", "Cl.tt"};
       },
       {"correlation", "two"}},
      {[](Contents& c) {
         output(c, "Cl.te")["point_transforms"][0]["other"] = {"Cl.tt", "Cl.te"};
       },
       {"Cl.te", "before"}},
      {[](Contents& c) {
         output(c, "Cl.te")["point_transforms"][0]["other"] = {"Cl.tt", "flux"};
       },
       {"flux"}},
      {[](Contents& c) {
         output(c, "Hubble")["point_transforms"] = {{{"type", "ratio"}, {"other", {"Cl.tt"}}}};
       },
       {"Cl.tt", "axes"}},
      {[](Contents& c) { output(c, "Cl.tt")["point_transforms"][0]["type"] = "cube"; }, {"cube"}},
      {[](Contents& c) { output(c, "Cl.tt")["segments"][1]["first"] = 29; }, {"Cl.tt"}},
      {[](Contents& c) { output(c, "Cl.tt")["segments"][1]["first"] = INT64_MAX; }, {"Cl.tt", "range"}},
      {[](Contents& c) { output(c, "Cl.tt")["segments"][1]["size"] = INT64_MAX; }, {"Cl.tt", "range"}},
      {[](Contents& c) { output(c, "Cl.tt")["segments"].erase(1); }, {"Cl.tt", "28 of 149"}},
      {[](Contents& c) { output(c, "Cl.tt")["segments"][1]["stretch"]["feature"] = "phi"; }, {"phi"}},
      {[](Contents& c) { output(c, "Cl.tt")["segments"][1]["stretch"]["full"] = 400; }, {"stretch"}},
      {[](Contents& c) { output(c, "Cl.tt")["axes"] = json::array(); }, {"Cl.tt", "axes"}},
      {[](Contents& c) { output(c, "derived")["axes"][0]["labels"].erase(0); }, {"derived", "labels"}},
      {[](Contents& c) { c.arrays.at("outputs/Cl.tt/axis/ell").data[5] = 3; }, {"Cl.tt", "ell", "ascending"}},
      {[](Contents& c) { c.arrays.at("outputs/Cl.tt/segment1/breakpoints").data[0] = 31; }, {"Cl.tt", "breakpoints"}},
      {[](Contents& c) { c.document["parameters"][0]["max"] = 0.02; }, {"ombh2", "range"}},
      {[](Contents& c) { c.document["solvable"][0]["parameter"] = "theta"; }, {"thetastar"}},
      {[](Contents& c) { c.document["region"]["hull"] = "sphere"; }, {"sphere"}},
      {[](Contents& c) { output(c, "Pk.linear")["axes"][0]["coordinate"] = "log2"; }, {"Pk.linear", "'k'", "log2"}},
      {[](Contents& c) { feature(c, "log_H0")["type"] = "sine"; }, {"sine"}},
      {[](Contents& c) { feature(c, "log_H0")["of"] = json::array(); }, {"log_H0"}},
      {[](Contents& c) {
         feature(c, "log_H0")["type"] = "step";
         feature(c, "log_H0")["at"] = "high";
       },
       {"'at'", "number", "high"}},
      {[](Contents& c) { c.document["outputs"] = "none"; }, {"outputs", "list"}}};
  for (const Case& c : cases) {
    const std::string message = open_edited(toy::artifact(), c.edit);
    for (const char* part : c.in_message) CHECK_THAT(message, Catch::Contains(part));
  }
}

TEST_CASE("no array may be missing or have another shape", "[damage]") {
  const zelos::artifact::Opened whole = zelos::artifact::read(toy::artifact());
  for (const auto& entry : whole.contents.arrays) {
    const std::string& path = entry.first;
    if (path.compare(0, 7, "probes/") == 0) continue;
    for (int how = 0; how < 3; ++how) {
      zelos::artifact::Opened edited;
      edited.contents = copy(whole.contents);
      Array& a = edited.contents.arrays.at(path);
      if (how == 0) edited.contents.arrays.erase(path);
      if (how == 1) a.shape.push_back(1);
      if (how == 2) {
        a.shape.assign(a.shape.size(), 1);
        a.data = zelos::AlignedBuffer(1);
        if (entry.second.shape == a.shape) continue;
      }
      CAPTURE(path, how);
      try {
        zelos::load_model(std::move(edited), "edited.h5");
        // Diagnostics, variances and errors that an evaluation does without.
        const bool of_errors = path.find("/truncation") != std::string::npos && how != 1;
        CHECK((of_errors || path.find("/model/") != std::string::npos));
      } catch (const Error& error) {
        CHECK(error.status() == ZELOS_E_FORMAT);
        CHECK_THAT(error.what(), Catch::Contains("edited.h5"));
      }
    }
  }
}

TEST_CASE("a document with anything in any place is loaded or refused, never more", "[damage]") {
  const std::vector<json> replacements{nullptr,           -1,  1e300, INT64_MAX, "x", json::array(), json::object(),
                                       {1, "y", nullptr}, true};
  int refused = 0;
  for (const bool small : {true, false}) {
    const zelos::artifact::Opened whole = zelos::artifact::read(small ? toy::small_artifact() : toy::artifact());
    std::vector<json::json_pointer> places;
    visit(whole.contents.document, json::json_pointer(), &places);
    REQUIRE(places.size() > (small ? 80 : 300));
    for (size_t i = 0; i < places.size(); ++i) {
      // All of them in the small document, in turn in the large one.
      for (size_t r = small ? 0 : i % replacements.size(); r < replacements.size();
           r += small ? 1 : replacements.size()) {
        zelos::artifact::Opened edited;
        edited.contents = copy(whole.contents);
        edited.contents.document[places[i]] = replacements[r];
        CAPTURE(places[i].to_string(), replacements[r].dump());
        try {
          zelos::load_model(std::move(edited), "edited.h5");
        } catch (const Error& error) {
          ++refused;
          CHECK_THAT(error.what(), Catch::Contains("edited.h5"));
        }
      }
    }
  }
  CHECK(refused > 500);
}
