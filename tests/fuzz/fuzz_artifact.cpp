// SPDX-License-Identifier: BSD-3-Clause
// libFuzzer target: the first byte of an input chooses what the rest is.
//   0  a file, as it is
//   1  a file whose header is given the right digest of itself, so that the checks behind that are
//   reached 2  names, shapes and values: what write() accepts must come back from read() unchanged
// Any exception but zelos::Error, and any difference, is a crash. From the root of the repository:
//   clang++ -std=c++17 -O1 -g -fsanitize=fuzzer,address,undefined -Icore/include -Icore/src
//     $(pkg-config --cflags hdf5) tests/fuzz/fuzz_artifact.cpp core/src/artifact/container.cpp
//     core/src/base/{sha256,atomic_file}.cpp $(pkg-config --libs hdf5) -o fuzz_artifact
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <utility>

#include "artifact/container.hpp"
#include "base/sha256.hpp"
#include "zelos/error.hpp"

namespace {

using zelos::artifact::Array;
using zelos::artifact::Contents;

void expect(bool condition) {
  if (!condition) std::abort();
}

void read_file(const std::string& bytes) {
  try {
    const auto opened = zelos::artifact::read(bytes.data(), bytes.size(), "fuzz.h5");
    expect(opened.id == zelos::sha256_hex(bytes.data() + 512, bytes.size() - 512));
  } catch (const zelos::Error& error) {
    expect(error.status() == ZELOS_E_FORMAT);
  }
}

void sign_header(std::string& bytes) {
  if (bytes.size() < 512) return;
  const auto digest = zelos::sha256(bytes.data(), 480);
  std::memcpy(&bytes[480], digest.data(), digest.size());
}

class Input {
 public:
  explicit Input(const std::string& bytes) : bytes_(bytes) {}

  bool empty() const { return at_ >= bytes_.size(); }
  unsigned byte() { return empty() ? 0 : static_cast<unsigned char>(bytes_[at_++]); }
  std::string text(std::size_t size) {
    const std::string piece = bytes_.substr(std::min(at_, bytes_.size()), size);
    at_ += piece.size();
    return piece;
  }
  double number() {
    const std::string piece = text(sizeof(double));
    double value = 0.0;
    std::memcpy(&value, piece.data(), piece.size());
    return value;
  }

 private:
  const std::string& bytes_;
  std::size_t at_ = 0;
};

Contents make_contents(const std::string& bytes) {
  Input input(bytes);
  Contents contents;
  contents.document["text"] = input.text(input.byte());
  contents.document["number"] = input.number();
  while (!input.empty()) {
    const std::string path = input.text(input.byte() % 32);
    const unsigned rank = input.byte() % 6;
    Array array;
    std::size_t count = 1;
    for (unsigned i = 0; i < rank; ++i) {
      array.shape.push_back(input.byte() % 4);
      count *= static_cast<std::size_t>(array.shape.back());
    }
    array.data = zelos::AlignedBuffer(input.byte() == 0 ? count + 1 : count);
    array.storage = input.byte() % 2 == 0 ? Array::Storage::float64 : Array::Storage::float32;
    if (!array.data.empty()) array.data[0] = input.number();
    contents.arrays[path] = std::move(array);
  }
  return contents;
}

void round_trip(const Contents& contents) {
  static const std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("zelos-fuzz-" + std::to_string(::getpid()) + ".h5");
  try {
    zelos::artifact::write(path, contents);
  } catch (const zelos::Error& error) {
    expect(error.status() == ZELOS_E_ARGUMENT);
    return;
  }
  const Contents found = zelos::artifact::read(path).contents;
  std::filesystem::remove(path);
  expect(found.document == contents.document);
  expect(found.arrays.size() == contents.arrays.size());
  for (const auto& [name, array] : contents.arrays) {
    const Array& other = found.arrays.at(name);
    expect(other.shape == array.shape && other.storage == array.storage);
    expect(other.data.size() == array.data.size());
    for (std::size_t i = 0; i < array.data.size(); ++i) {
      const bool rounded = array.storage == Array::Storage::float32;
      expect(other.data[i] == (rounded ? static_cast<float>(array.data[i]) : array.data[i]));
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 3) {
    case 0:
      read_file(bytes);
      break;
    case 1:
      sign_header(bytes);
      read_file(bytes);
      break;
    default:
      round_trip(make_contents(bytes));
  }
  return 0;
}
