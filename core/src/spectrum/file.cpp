// SPDX-License-Identifier: BSD-3-Clause
#include <algorithm>
#include <nlohmann/json.hpp>

#include "artifact/container.hpp"
#include "zelos/spectrum.hpp"

namespace zelos::spectrum {
namespace {

constexpr const char* kKind = "spectral emulator";

}  // namespace

std::string write_emulator(const std::filesystem::path& path, const StoredEmulator& emulator) {
  artifact::Contents contents;
  contents.document = nlohmann::json::parse(emulator.document, nullptr, false);
  if (!contents.document.is_object()) {
    throw Error(ZELOS_E_ARGUMENT, path.string() + ": the document of a spectral emulator is a JSON object");
  }
  contents.document["kind"] = kKind;
  for (const auto& [name, matrix] : emulator.arrays) {
    artifact::Array array;
    array.shape = {matrix.rows(), matrix.cols()};
    array.data = AlignedBuffer(static_cast<std::size_t>(matrix.size()));
    std::copy_n(matrix.data(), matrix.size(), array.data.data());
    contents.arrays.emplace(name, std::move(array));
  }
  return artifact::write(path, contents);
}

StoredEmulator read_emulator(const std::filesystem::path& path) {
  artifact::Opened opened = artifact::read(path);
  const auto& document = opened.contents.document;
  const auto kind = document.find("kind");
  if (kind == document.end() || *kind != kKind) {
    throw Error(ZELOS_E_FORMAT, path.string() + ": expected a spectral emulator, found another zelos artifact");
  }
  StoredEmulator emulator;
  emulator.document = document.dump();
  for (const auto& [name, array] : opened.contents.arrays) {
    if (array.shape.size() != 2) {
      throw Error(ZELOS_E_FORMAT,
                  path.string() + ": the array '" + name + "' of a spectral emulator has two dimensions");
    }
    RowMatrix matrix(array.shape[0], array.shape[1]);
    std::copy_n(array.data.data(), matrix.size(), matrix.data());
    emulator.arrays.emplace(name, std::move(matrix));
  }
  return emulator;
}

}  // namespace zelos::spectrum
