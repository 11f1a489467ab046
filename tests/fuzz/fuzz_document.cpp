// SPDX-License-Identifier: BSD-3-Clause
// libFuzzer target: the document of a whole artifact, with a part of it replaced by anything. It is
// loaded and evaluated, or refused with zelos::Error; anything else is a crash. The artifact is the
// one that ZELOS_FUZZ_ARTIFACT names (tests/make_artifact writes one). An input is a path of JSON,
// a newline, and the JSON to put there. From the root of the repository, linked to a library that
// was built with the same sanitizers:
//   clang++ -std=c++17 -O1 -g -fsanitize=fuzzer,address,undefined -Icore/include -Icore/src
//     tests/fuzz/fuzz_document.cpp -lzelos_objects -o fuzz_document
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "artifact/container.hpp"
#include "zelos/emulator.hpp"

namespace {

using nlohmann::json;

const std::filesystem::path& edited_file() {
  static const std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("zelos-fuzz-" + std::to_string(::getpid()) + ".h5");
  return path;
}

void evaluate(const zelos::Emulator& emulator) {
  std::vector<std::string> names;
  std::vector<double> center;
  for (const zelos::Parameter& p : emulator.parameters()) {
    names.push_back(p.name);
    center.push_back(0.5 * (p.min + p.max));
  }
  std::vector<zelos::Request> requests;
  for (const zelos::Output& output : emulator.outputs()) requests.push_back({output.name, {}});
  const zelos::Query query = emulator.query(names, requests);
  zelos::Workspace workspace = query.workspace();
  std::vector<double> out(query.size()), jacobian(query.size() * query.n_parameters());
  query.jacobian(center.data(), out.data(), jacobian.data(), workspace);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static zelos::artifact::Opened whole = zelos::artifact::read(std::getenv("ZELOS_FUZZ_ARTIFACT"));
  const std::string text(reinterpret_cast<const char*>(data), size);
  const std::size_t line = text.find('\n');
  if (line == std::string::npos) return 0;
  const json untouched = whole.contents.document;
  try {
    whole.contents.document.at(json::json_pointer(text.substr(0, line))) = json::parse(text.substr(line + 1));
    zelos::artifact::write(edited_file(), whole.contents);
    evaluate(zelos::Emulator::open(edited_file(), zelos::Emulator::Options{false}));
  } catch (const zelos::Error&) {
  } catch (const json::exception&) {
    // A path that leads nowhere, or no JSON: nothing was edited.
    if (whole.contents.document != untouched) std::abort();
  }
  whole.contents.document = untouched;
  return 0;
}
