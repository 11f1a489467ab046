// SPDX-License-Identifier: BSD-3-Clause
#include <hdf5.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <limits>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "artifact/container.hpp"
#include "base/atomic_file.hpp"
#include "base/sha256.hpp"
#include "zelos/error.hpp"

namespace {

namespace fs = std::filesystem;
using zelos::AlignedBuffer;
using zelos::Error;
using zelos::artifact::Array;
using zelos::artifact::Contents;
using zelos::artifact::Opened;

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (fs::temp_directory_path() / "zelos-artifact-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~TemporaryFolder() { fs::remove_all(path_); }
  fs::path operator/(const char* name) const { return path_ / name; }
  long count() const { return std::distance(fs::directory_iterator(path_), {}); }

 private:
  fs::path path_;
};

std::string slurp(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

Array make_array(const std::vector<std::int64_t>& shape, unsigned seed,
                 Array::Storage storage = Array::Storage::float64) {
  std::size_t count = 1;
  for (const std::int64_t length : shape) count *= static_cast<std::size_t>(length);
  Array array{shape, AlignedBuffer(count), storage};
  std::mt19937 random(seed);
  for (double& value : array.data) {
    value = static_cast<float>(random()) * (random() % 2 == 0 ? 1e-12f : -1e-12f);
  }
  return array;
}

Contents make_contents() {
  Contents contents;
  contents.document = {{"name", "camb_lcdm"},
                       {"text", "θ* \"quoted\"\n\x01"},
                       {"nested", {{"list", {1, 2.5, 1e-300, -7}}, {"none", nullptr}}},
                       {"big", std::numeric_limits<std::uint64_t>::max()}};
  contents.arrays.emplace("outputs/Cl.tt/basis", make_array({12, 30}, 1));
  contents.arrays.emplace("outputs/Cl.tt/mean", make_array({30}, 2));
  contents.arrays.emplace("outputs/Pk.linear/basis", make_array({3, 4, 5, 6}, 3, Array::Storage::float32));
  contents.arrays.emplace("region/hull", make_array({4, 5, 6}, 4));
  contents.arrays.emplace("region/empty", make_array({0, 5}, 5));
  contents.arrays.emplace("tolerance", make_array({}, 6));
  return contents;
}

void check_equal(const Contents& found, const Contents& expected) {
  CHECK(found.document == expected.document);
  REQUIRE(found.arrays.size() == expected.arrays.size());
  for (const auto& [path, array] : expected.arrays) {
    INFO(path);
    REQUIRE(found.arrays.count(path) == 1);
    const Array& other = found.arrays.at(path);
    CHECK(other.shape == array.shape);
    CHECK(other.storage == array.storage);
    REQUIRE(other.data.size() == array.data.size());
    CHECK(std::equal(array.data.begin(), array.data.end(), other.data.begin()));
    CHECK(reinterpret_cast<std::uintptr_t>(other.data.data()) % 64 == 0);
  }
}

std::string message_of(zelos_status expected, const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    CHECK(error.status() == expected);
    return error.what();
  }
  return "no error";
}

Opened read_bytes(const std::string& bytes) { return zelos::artifact::read(bytes.data(), bytes.size(), "memory.h5"); }

std::string artifact_bytes() {
  const TemporaryFolder folder;
  zelos::artifact::write(folder / "a.h5", make_contents());
  return slurp(folder / "a.h5");
}

void put(std::string& bytes, std::size_t at, std::uint64_t value, int size) {
  for (int i = 0; i < size; ++i) {
    bytes[at + static_cast<std::size_t>(i)] = static_cast<char>(value >> (8 * i));
  }
}

/// The header as the format's description has it, written here a second time.
std::string sign(const std::string& body, std::uint32_t version = zelos::artifact::kFormatVersion,
                 std::uint32_t length = 512) {
  std::string header(512, '\0');
  header.replace(0, 8, "ZELOS\r\n\x1a");
  put(header, 8, version, 4);
  put(header, 12, length, 4);
  put(header, 16, body.size(), 8);
  const auto digest = zelos::sha256(body.data(), body.size());
  std::memcpy(&header[24], digest.data(), digest.size());
  const auto own = zelos::sha256(header.data(), 480);
  std::memcpy(&header[480], own.data(), own.size());
  return header + body;
}

/// A file made with bare HDF5 calls, behind a right header.
std::string signed_hdf5(const std::function<void(hid_t)>& fill) {
  const TemporaryFolder folder;
  const fs::path path = folder / "raw.h5";
  const hid_t file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  REQUIRE(file >= 0);
  fill(file);
  REQUIRE(H5Fclose(file) >= 0);
  return sign(slurp(path));
}

void add_group(hid_t file, const char* path) {
  H5Gclose(H5Gcreate2(file, path, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
}

void add_document(hid_t file, const std::string& text, const char* path = "document") {
  const hid_t type = H5Tcopy(H5T_C_S1);
  H5Tset_size(type, text.size());
  const hid_t space = H5Screate(H5S_SCALAR);
  const hid_t set = H5Dcreate2(file, path, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  REQUIRE(H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, text.data()) >= 0);
  H5Dclose(set);
  H5Sclose(space);
  H5Tclose(type);
}

void add_array(hid_t file, const char* path, hid_t type, const std::vector<hsize_t>& shape,
               hid_t creation = H5P_DEFAULT, double value = 1.0) {
  const hid_t space = H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr);
  const hid_t set = H5Dcreate2(file, path, type, space, H5P_DEFAULT, creation, H5P_DEFAULT);
  REQUIRE(set >= 0);
  hsize_t count = 1;
  for (const hsize_t length : shape) count *= length;
  if (count < 10000) {
    const std::vector<double> values(count, value);
    H5Dwrite(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data());
  }
  H5Dclose(set);
  H5Sclose(space);
}

std::string refusal(const std::function<void(hid_t)>& fill) {
  const std::string bytes = signed_hdf5([&](hid_t file) {
    add_group(file, "arrays");
    add_document(file, "{}");
    fill(file);
  });
  return message_of(ZELOS_E_FORMAT, [&] { read_bytes(bytes); });
}

}  // namespace

TEST_CASE("an artifact gives back what was written", "[artifact]") {
  const TemporaryFolder folder;
  const Contents contents = make_contents();
  const std::string id = zelos::artifact::write(folder / "a.h5", contents);
  const std::string bytes = slurp(folder / "a.h5");
  CHECK(id == zelos::sha256_hex(bytes.data() + 512, bytes.size() - 512));
  CHECK(folder.count() == 1);

  const Opened from_disk = zelos::artifact::read(folder / "a.h5");
  CHECK(from_disk.id == id);
  CHECK(from_disk.format_version == zelos::artifact::kFormatVersion);
  check_equal(from_disk.contents, contents);

  const Opened from_memory = read_bytes(bytes);
  CHECK(from_memory.id == id);
  check_equal(from_memory.contents, contents);
}

TEST_CASE("the header is as the format's description says", "[artifact]") {
  const std::string bytes = artifact_bytes();
  CHECK(bytes == sign(bytes.substr(512)));
}

TEST_CASE("an artifact without arrays is allowed", "[artifact]") {
  const TemporaryFolder folder;
  zelos::artifact::write(folder / "a.h5", Contents{});
  const Opened opened = zelos::artifact::read(folder / "a.h5");
  CHECK(opened.contents.arrays.empty());
  CHECK(opened.contents.document == nlohmann::json::object());
}

TEST_CASE("other HDF5 readers find the body behind the user block", "[artifact]") {
  const TemporaryFolder folder;
  zelos::artifact::write(folder / "a.h5", make_contents());
  const hid_t file = H5Fopen((folder / "a.h5").c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  REQUIRE(file >= 0);
  const hid_t set = H5Dopen2(file, "/arrays/outputs/Cl.tt/mean", H5P_DEFAULT);
  REQUIRE(set >= 0);
  std::vector<double> values(30);
  CHECK(H5Dread(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) >= 0);
  const Array expected = make_array({30}, 2);
  CHECK(std::equal(values.begin(), values.end(), expected.data.begin()));
  H5Dclose(set);
  H5Fclose(file);
}

TEST_CASE("the same contents give the same bytes", "[artifact]") {
  const std::string first = artifact_bytes();
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // HDF5 would store seconds
  CHECK(artifact_bytes() == first);

  const TemporaryFolder folder;
  zelos::artifact::write(folder / "b.h5", zelos::artifact::read(first.data(), first.size(), "a").contents);
  CHECK(slurp(folder / "b.h5") == first);

  Contents changed = make_contents();
  changed.arrays.at("region/hull").data[7] += 1e-3;
  zelos::artifact::write(folder / "c.h5", changed);
  CHECK(slurp(folder / "c.h5") != first);
}

TEST_CASE("equal arrays share their storage, long ones are shuffled", "[artifact]") {
  const TemporaryFolder folder;
  constexpr std::int64_t kLength = 5000;
  Contents contents;
  contents.arrays.emplace("a/x", make_array({kLength}, 1));
  zelos::artifact::write(folder / "one.h5", contents);
  contents.arrays.emplace("b/x", make_array({kLength}, 1));
  contents.arrays.emplace("b/other_shape", make_array({kLength / 2, 2}, 1));
  contents.arrays.emplace("b/other_storage", make_array({kLength}, 1, Array::Storage::float32));
  contents.arrays.emplace("b/short", make_array({10}, 1));
  zelos::artifact::write(folder / "many.h5", contents);
  check_equal(zelos::artifact::read(folder / "many.h5").contents, contents);
  const auto grown = std::filesystem::file_size(folder / "many.h5") - std::filesystem::file_size(folder / "one.h5");
  CHECK(grown >= kLength * 12);
  CHECK(grown < kLength * 12 + 8000);

  const hid_t file = H5Fopen((folder / "many.h5").c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  const auto layout_of = [&](const char* path) {
    const hid_t set = H5Dopen2(file, path, H5P_DEFAULT);
    const hid_t creation = H5Dget_create_plist(set);
    const H5D_layout_t layout = H5Pget_layout(creation);
    H5Pclose(creation);
    H5Dclose(set);
    return layout;
  };
  CHECK(layout_of("/arrays/b/x") == H5D_CHUNKED);
  CHECK(layout_of("/arrays/b/short") == H5D_CONTIGUOUS);
  H5Fclose(file);
}

TEST_CASE("float32 arrays are rounded once", "[artifact]") {
  const TemporaryFolder folder;
  Contents contents;
  Array array{{3}, AlignedBuffer(3), Array::Storage::float32};
  array.data[0] = 0.1;
  array.data[1] = -1.0 / 3.0;
  array.data[2] = 1e-50;
  contents.arrays.emplace("a", std::move(array));
  zelos::artifact::write(folder / "a.h5", contents);
  const Opened opened = zelos::artifact::read(folder / "a.h5");
  const AlignedBuffer& found = opened.contents.arrays.at("a").data;
  CHECK(found[0] == static_cast<double>(0.1f));
  CHECK(found[1] == static_cast<double>(-1.0f / 3.0f));
  CHECK(found[2] == 0.0);
}

TEST_CASE("contents that break a rule are not written", "[artifact]") {
  const TemporaryFolder folder;
  const fs::path path = folder / "a.h5";
  const auto refused = [&](const Contents& contents) {
    const std::string message = message_of(ZELOS_E_ARGUMENT, [&] { zelos::artifact::write(path, contents); });
    CHECK_THAT(message, Catch::Contains(path.string()));
    CHECK(folder.count() == 0);
    return message;
  };
  const auto with_array = [](const std::string& name, Array array) {
    Contents contents;
    contents.arrays.emplace(name, std::move(array));
    return contents;
  };

  for (const double bad : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
    Array array = make_array({2, 3}, 1);
    array.data[4] = bad;
    CHECK_THAT(refused(with_array("x/y", std::move(array))), Catch::Contains("'x/y' is not finite at element 4"));
  }
  Array too_large = make_array({2}, 1, Array::Storage::float32);
  too_large.data[1] = 1e39;
  CHECK_THAT(refused(with_array("x", std::move(too_large))),
             Catch::Contains("'x' as float32 is not finite at element 1"));
  CHECK_THAT(refused(with_array("x", make_array({1, 1, 1, 1, 1}, 1))), Catch::Contains("rank 5"));
  CHECK_THAT(refused(with_array("x", Array{{-1}, AlignedBuffer(), Array::Storage::float64})),
             Catch::Contains("dimension of -1"));
  CHECK_THAT(refused(with_array("x", Array{{1 << 20, 1 << 20}, AlignedBuffer(), {}})), Catch::Contains("larger than"));
  CHECK_THAT(refused(with_array("x", Array{{2, 3}, AlignedBuffer(5), {}})),
             Catch::Contains("has 5 values, its shape asks for 6"));
  for (const char* name :
       {"", "/", "/a", "a/", "a//b", ".", "a/../b", "a/./b", "a b", "\xce\xb8", "a/b/c/d/e/f/g/h/i"}) {
    CHECK_THAT(refused(with_array(name, make_array({}, 1))), Catch::Contains("part"));
  }
  Contents clash = with_array("a/b", make_array({}, 1));
  clash.arrays.emplace("a", make_array({}, 1));
  CHECK_THAT(refused(clash), Catch::Contains("'a' is both an array and a folder"));
  Contents deep_clash = with_array("a/b/c", make_array({}, 1));
  deep_clash.arrays.emplace("a/b", make_array({}, 1));
  CHECK_THAT(refused(deep_clash), Catch::Contains("'a/b' is both an array and a folder"));

  Contents document;
  document.document = {1, 2, 3};
  CHECK_THAT(refused(document), Catch::Contains("not a JSON object"));
  document.document = {{"x", std::nan("")}};
  CHECK_THAT(refused(document), Catch::Contains("not finite"));
  document.document = {{"x", "\xff"}};
  CHECK_THAT(refused(document), Catch::Contains("JSON"));
  document.document = nlohmann::json::object();
  nlohmann::json* place = &document.document;
  for (int i = 0; i < 64; ++i) place = &((*place)["x"] = nlohmann::json::object());
  CHECK_THAT(refused(document), Catch::Contains("nested deeper"));
}

TEST_CASE("a file that can't be read is an I/O error that names it", "[artifact]") {
  const TemporaryFolder folder;
  const auto message = [&](const fs::path& path) {
    return message_of(ZELOS_E_IO, [&] { zelos::artifact::read(path); });
  };
  CHECK_THAT(message(folder / "none.h5"), Catch::Contains("none.h5") && Catch::Contains("No such file"));
  CHECK_THAT(message(folder / ""), Catch::Contains("not a regular file"));
  CHECK_THAT(message("/dev/zero"), Catch::Contains("not a regular file"));
}

TEST_CASE("what is not an artifact is named as such", "[artifact]") {
  const auto message = [](const std::string& bytes) { return message_of(ZELOS_E_FORMAT, [&] { read_bytes(bytes); }); };
  const std::string bytes = artifact_bytes();
  CHECK_THAT(message(""),
             Catch::Contains("memory.h5") && Catch::Contains("not a zelos artifact") && Catch::Contains("empty"));
  CHECK_THAT(message("hello"), Catch::Contains("not a zelos artifact"));
  CHECK_THAT(message("\x1f\x8b" + bytes), Catch::Contains("gzip"));
  CHECK_THAT(message(bytes.substr(512)), Catch::Contains("without the zelos header"));
  CHECK_THAT(message(bytes.substr(0, 511)), Catch::Contains("truncated: expected at least 512 bytes, found 511"));
  CHECK_THAT(message(sign(bytes.substr(512), 7)),
             Catch::Contains("format version newer than this library (found 7, this library reads 1.." +
                             std::to_string(zelos::artifact::kFormatVersion) + ")"));
  CHECK_THAT(message(sign(bytes.substr(512), 0)), Catch::Contains("found 0"));
  CHECK_THAT(message(sign(bytes.substr(512), 1, 1024)), Catch::Contains("header of 1024 bytes"));
  CHECK_THAT(message(bytes + "x"), Catch::Contains("bytes were added at the end"));
  CHECK_THAT(message(sign("")), Catch::Contains("the body is empty"));
  CHECK_THAT(message(sign("not HDF5")), Catch::Contains("HDF5 can't open the body"));

  std::string damaged = bytes;
  damaged[bytes.size() - 100] ^= 1;
  CHECK_THAT(message(damaged), Catch::Contains("damaged: the body does not match its SHA-256") &&
                                   Catch::Contains(zelos::sha256_hex(&bytes[512], bytes.size() - 512)) &&
                                   Catch::Contains(zelos::sha256_hex(&damaged[512], bytes.size() - 512)));
}

TEST_CASE("a truncated artifact is refused wherever it ends", "[artifact]") {
  const TemporaryFolder folder;
  const std::string bytes = artifact_bytes();
  const std::string expected = "expected 512+" + std::to_string(bytes.size() - 512);
  for (std::size_t size = 512; size < bytes.size(); size += 512) {
    const std::string half = bytes.substr(0, size);
    const std::string message = message_of(ZELOS_E_FORMAT, [&] { read_bytes(half); });
    REQUIRE_THAT(message, Catch::Contains("truncated: " + expected) &&
                              Catch::Contains("found 512+" + std::to_string(size - 512)));
    zelos::write_file_atomically(folder / "a.h5", half);
    REQUIRE(message_of(ZELOS_E_FORMAT, [&] { zelos::artifact::read(folder / "a.h5"); }) != "no error");
  }
}

TEST_CASE("a flipped bit anywhere is noticed", "[artifact]") {
  const std::string bytes = artifact_bytes();
  std::mt19937 random(3);
  std::string damaged = bytes;
  const auto flip_and_read = [&](std::size_t bit) {
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    const std::string message = message_of(ZELOS_E_FORMAT, [&] { read_bytes(damaged); });
    damaged[bit / 8] = bytes[bit / 8];
    REQUIRE(message != "no error");
  };
  for (int round = 0; round < 2000; ++round) flip_and_read(random() % (8 * bytes.size()));
  for (std::size_t bit = 0; bit < 8 * 512; ++bit) flip_and_read(bit);
  CHECK_NOTHROW(read_bytes(damaged));
}

TEST_CASE("a strict reader: a body with a right digest is still checked", "[artifact]") {
  CHECK(refusal([](hid_t) {}) == "no error");
  CHECK(refusal([](hid_t file) { add_array(file, "arrays/x", H5T_IEEE_F64LE, {3}); }) == "no error");

  SECTION("names and links") {
    CHECK_THAT(refusal([](hid_t file) { add_group(file, "more"); }),
               Catch::Contains("3 entries, expected 'arrays' and 'document' alone"));
    CHECK_THAT(
        message_of(ZELOS_E_FORMAT, [] { read_bytes(signed_hdf5([](hid_t file) { add_document(file, "{}"); })); }),
        Catch::Contains("1 entries"));
    CHECK_THAT(refusal([](hid_t file) { H5Lcreate_soft("/document", file, "arrays/x", H5P_DEFAULT, H5P_DEFAULT); }),
               Catch::Contains("'x' is a soft or external link"));
    CHECK_THAT(
        refusal([](hid_t file) { H5Lcreate_external("/etc/passwd", "/", file, "arrays/x", H5P_DEFAULT, H5P_DEFAULT); }),
        Catch::Contains("'x' is a soft or external link"));
    CHECK_THAT(refusal([](hid_t file) { H5Lcreate_hard(file, "arrays", file, "arrays/x", H5P_DEFAULT, H5P_DEFAULT); }),
               Catch::Contains("too many parts"));
    CHECK_THAT(refusal([](hid_t file) { add_array(file, "arrays/a b", H5T_IEEE_F64LE, {3}); }),
               Catch::Contains("printable ASCII"));
    CHECK_THAT(refusal([](hid_t file) {
                 const hid_t type = H5Tcopy(H5T_IEEE_F64LE);
                 H5Tcommit2(file, "arrays/x", type, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
                 H5Tclose(type);
               }),
               Catch::Contains("'x' is neither a folder nor an array"));
    CHECK_THAT(refusal([](hid_t file) {
                 H5Ldelete(file, "arrays", H5P_DEFAULT);
                 add_array(file, "arrays", H5T_IEEE_F64LE, {3});
               }),
               Catch::Contains("'arrays' is not a folder"));
  }

  SECTION("types, shapes and values") {
    CHECK_THAT(refusal([](hid_t file) { add_array(file, "arrays/x", H5T_STD_I32LE, {3}); }),
               Catch::Contains("'x' is not of type"));
    CHECK_THAT(refusal([](hid_t file) { add_array(file, "arrays/x", H5T_IEEE_F64BE, {3}); }),
               Catch::Contains("'x' is not of type"));
    CHECK_THAT(refusal([](hid_t file) {
                 add_array(file, "arrays/x", H5T_IEEE_F64LE, {1, 1, 1, 1, 1});
               }),
               Catch::Contains("rank 5"));
    CHECK_THAT(refusal([](hid_t file) { add_array(file, "arrays/x", H5T_IEEE_F64LE, {3}, H5P_DEFAULT, std::nan("")); }),
               Catch::Contains("'x' is not finite at element 0"));
    CHECK_THAT(refusal([](hid_t file) { add_array(file, "arrays/x", H5T_IEEE_F64LE, {hsize_t{1} << 29}); }),
               Catch::Contains("'x' has a dimension of 536870912"));
  }

  SECTION("storage") {
    const auto with_creation = [](const std::function<void(hid_t)>& choose) {
      return refusal([&](hid_t file) {
        const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
        choose(creation);
        add_array(file, "arrays/x", H5T_IEEE_F64LE, {30}, creation);
        H5Pclose(creation);
      });
    };
    const hsize_t part = 10, whole = 30;
    const auto chunked = [&](const hsize_t& chunk, const std::function<void(hid_t)>& filter) {
      return with_creation([&](hid_t creation) {
        H5Pset_chunk(creation, 1, &chunk);
        filter(creation);
      });
    };
    CHECK(chunked(whole, [](hid_t creation) { H5Pset_shuffle(creation); }) == "no error");
    CHECK_THAT(chunked(part, [](hid_t creation) { H5Pset_shuffle(creation); }), Catch::Contains("expected contiguous"));
    CHECK_THAT(chunked(whole, [](hid_t) {}), Catch::Contains("expected contiguous"));
    CHECK_THAT(chunked(whole, [](hid_t creation) { H5Pset_deflate(creation, 9); }),
               Catch::Contains("expected contiguous"));
    CHECK_THAT(chunked(whole,
                       [](hid_t creation) {
                         H5Pset_shuffle(creation);
                         H5Pset_deflate(creation, 9);
                       }),
               Catch::Contains("expected contiguous"));
    CHECK_THAT(with_creation([](hid_t creation) { H5Pset_layout(creation, H5D_COMPACT); }),
               Catch::Contains("expected contiguous"));
    const TemporaryFolder folder;
    const std::string outside = (folder / "outside.bin").string();
    CHECK_THAT(with_creation([&](hid_t creation) { H5Pset_external(creation, outside.c_str(), 0, 240); }),
               Catch::Contains("expected contiguous"));
    CHECK_THAT(refusal([](hid_t file) {
                 // Storage that was never allocated: 8 MB that are not in the file.
                 add_array(file, "arrays/x", H5T_IEEE_F64LE, {1 << 20});
               }),
               Catch::Contains("should have 8388608 bytes"));
    CHECK_THAT(refusal([](hid_t file) {
                 add_array(file, "arrays/x0", H5T_IEEE_F64LE, {1000});
                 for (int i = 1; i < 100; ++i) {
                   const std::string name = "arrays/x" + std::to_string(i);
                   H5Lcreate_hard(file, "arrays/x0", file, name.c_str(), H5P_DEFAULT, H5P_DEFAULT);
                 }
               }),
               Catch::Contains("more than 16 times the bytes of the body"));
  }

  SECTION("document") {
    const auto with_document = [](const std::string& text) {
      return refusal([&](hid_t file) {
        H5Ldelete(file, "document", H5P_DEFAULT);
        add_document(file, text);
      });
    };
    CHECK_THAT(with_document("{"), Catch::Contains("not valid JSON"));
    CHECK_THAT(with_document("[1]"), Catch::Contains("not a JSON object"));
    CHECK_THAT(with_document("{\"x\": NaN}"), Catch::Contains("not valid JSON"));
    CHECK_THAT(with_document("{\"x\": 1e999}"), Catch::Contains("not valid JSON"));
    CHECK_THAT(with_document("{\"x\": \"\xff\"}"), Catch::Contains("not valid JSON"));
    CHECK_THAT(with_document(std::string("{}\0{}", 5)), Catch::Contains("zero byte"));
    CHECK_THAT(with_document("{\"x\": " + std::string(100000, '[')), Catch::Contains("nested deeper"));
    CHECK_THAT(refusal([](hid_t file) {
                 H5Ldelete(file, "document", H5P_DEFAULT);
                 add_array(file, "document", H5T_IEEE_F64LE, {3});
               }),
               Catch::Contains("not a scalar string"));
    CHECK_THAT(refusal([](hid_t file) {
                 H5Ldelete(file, "document", H5P_DEFAULT);
                 add_group(file, "document");
               }),
               Catch::Contains("'document' is not a dataset"));
  }
}

TEST_CASE("the deepest document and path that may be written can be read", "[artifact]") {
  const TemporaryFolder folder;
  Contents contents;
  nlohmann::json* place = &contents.document;
  for (int i = 1; i < zelos::artifact::kMaxDocumentDepth; ++i) {
    place = &((*place)["x"] = nlohmann::json::object());
  }
  contents.arrays.emplace("a/b/c/d/e/f/g/h", make_array({2}, 1));
  contents.arrays.emplace(std::string(255, 'n'), make_array({2}, 2));
  zelos::artifact::write(folder / "a.h5", contents);
  check_equal(zelos::artifact::read(folder / "a.h5").contents, contents);
}

TEST_CASE("a folder with hundreds of arrays is kept", "[artifact]") {
  const TemporaryFolder folder;
  Contents contents;
  for (unsigned i = 0; i < 500; ++i) {
    contents.arrays.emplace("many/array_" + std::to_string(i), make_array({i % 5}, i));
  }
  zelos::artifact::write(folder / "a.h5", contents);
  check_equal(zelos::artifact::read(folder / "a.h5").contents, contents);
}

TEST_CASE("the host's HDF5 error handler is left as it was", "[artifact]") {
  const H5E_auto2_t mine = [](hid_t, void*) -> herr_t { return 0; };
  int data = 0;
  H5E_auto2_t before = nullptr;
  void* before_data = nullptr;
  H5Eget_auto2(H5E_DEFAULT, &before, &before_data);
  H5Eset_auto2(H5E_DEFAULT, mine, &data);
  CHECK_NOTHROW(read_bytes(artifact_bytes()));
  CHECK_THROWS_AS(read_bytes(sign("not HDF5")), Error);
  H5E_auto2_t after = nullptr;
  void* after_data = nullptr;
  H5Eget_auto2(H5E_DEFAULT, &after, &after_data);
  CHECK(after == mine);
  CHECK(after_data == &data);
  H5Eset_auto2(H5E_DEFAULT, before, before_data);
}

TEST_CASE("artifacts are read and written from several threads at once", "[artifact]") {
  const TemporaryFolder folder;
  const std::string bytes = artifact_bytes();
  std::vector<int> wrong(4, 0);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < 10; ++round) {
        zelos::artifact::write(folder / "a.h5", make_contents());
        const Opened opened = zelos::artifact::read(folder / "a.h5");
        wrong[t] += opened.id != zelos::sha256_hex(&bytes[512], bytes.size() - 512);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == std::vector<int>(4, 0));
  CHECK(folder.count() == 1);
}

TEST_CASE("a writer that is killed leaves the old artifact or the new one", "[artifact]") {
  const TemporaryFolder folder;
  const fs::path path = folder / "a.h5";
  const std::string old_id = zelos::artifact::write(path, make_contents());
  Contents other = make_contents();
  other.arrays.emplace("large", make_array({300, 1000}, 9));
  const std::string new_id = zelos::artifact::write(folder / "b.h5", other);
  std::mt19937 random(4);
  for (int round = 0; round < 10; ++round) {
    const ::pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      for (;;) zelos::artifact::write(path, other);
    }
    ::usleep(random() % 50000);
    ::kill(child, SIGKILL);
    REQUIRE(::waitpid(child, nullptr, 0) == child);
    const std::string id = zelos::artifact::read(path).id;
    REQUIRE((id == old_id || id == new_id));
  }
}

TEST_CASE("the time to open 8 MB is printed", "[.][artifact-time]") {
  const TemporaryFolder folder;
  Contents contents;
  for (int i = 0; i < 20; ++i) {
    contents.arrays.emplace("outputs/" + std::to_string(i), make_array({50, 1000}, 1));
  }
  zelos::artifact::write(folder / "a.h5", contents);
  for (int round = 0; round < 5; ++round) {
    const auto start = std::chrono::steady_clock::now();
    const std::clock_t cpu = std::clock();
    zelos::artifact::read(folder / "a.h5");
    const std::chrono::duration<double, std::milli> wall = std::chrono::steady_clock::now() - start;
    WARN("opened in " << wall.count() << " ms, " << 1e3 * static_cast<double>(std::clock() - cpu) / CLOCKS_PER_SEC
                      << " ms of it on the processor");
  }
}
