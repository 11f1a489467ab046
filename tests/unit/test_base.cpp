// SPDX-License-Identifier: BSD-3-Clause
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/aligned_buffer.hpp"
#include "base/atomic_file.hpp"
#include "base/sha256.hpp"
#include "base/text.hpp"
#include "zelos/error.hpp"

namespace {

namespace fs = std::filesystem;

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (fs::temp_directory_path() / "zelos-base-XXXXXX").string();
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

std::string digest_of(const std::string& text, zelos::Sha256::Kernel kernel) {
  zelos::Sha256 hash(kernel);
  hash.update(text.data(), text.size());
  return zelos::to_hex(hash.finish());
}

}  // namespace

TEST_CASE("SHA-256 gives the digests of FIPS 180-4 and NIST's example messages", "[base]") {
  const auto kernel = GENERATE(zelos::Sha256::Kernel::automatic, zelos::Sha256::Kernel::portable);
  CHECK(digest_of("", kernel) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(digest_of("abc", kernel) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(digest_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", kernel) ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(digest_of("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopq"
                  "klmnopqrlmnopqrsmnopqrstnopqrstu",
                  kernel) == "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
  CHECK(digest_of(std::string(1000000, 'a'), kernel) ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  CHECK(digest_of("\xbd", kernel) == "68325720aabd7c82f30f554b313d0570c95accbb7dc4b5aae11204c08ffe732b");
  CHECK(digest_of(std::string(64, '\0'), kernel) == "f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b");
}

TEST_CASE("SHA-256 does not depend on the kernel or on how the message is cut", "[base]") {
  std::mt19937 random(1);
  for (std::size_t size = 0; size < 300; ++size) {
    std::string text(size, '\0');
    for (char& c : text) c = static_cast<char>(random());
    const std::string expected = digest_of(text, zelos::Sha256::Kernel::portable);
    REQUIRE(zelos::sha256_hex(text.data(), text.size()) == expected);
    zelos::Sha256 pieces;
    for (std::size_t at = 0; at < size;) {
      const std::size_t piece = std::min<std::size_t>(random() % 150, size - at);
      pieces.update(text.data() + at, piece);
      at += piece;
    }
    REQUIRE(zelos::to_hex(pieces.finish()) == expected);
  }
}

TEST_CASE("an aligned buffer is zeroed, aligned and moves without copying", "[base]") {
  for (const std::size_t size : {1, 7, 8, 9, 1000}) {
    zelos::AlignedBuffer buffer(size);
    REQUIRE(buffer.size() == size);
    REQUIRE(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64 == 0);
    for (const double value : buffer) REQUIRE(value == 0.0);
    buffer[size - 1] = 3.0;
    const double* before = buffer.data();
    zelos::AlignedBuffer moved(std::move(buffer));
    REQUIRE(moved.data() == before);
    REQUIRE(moved[size - 1] == 3.0);
  }
  CHECK(zelos::AlignedBuffer().data() == nullptr);
  CHECK(zelos::AlignedBuffer(0).empty());
  CHECK_THROWS_AS(zelos::AlignedBuffer(SIZE_MAX / 8), std::bad_alloc);
  CHECK_THROWS_AS(zelos::AlignedBuffer(SIZE_MAX), std::bad_alloc);
}

TEST_CASE("edit distance counts insertions, deletions, substitutions and swaps", "[base]") {
  CHECK(zelos::edit_distance("", "") == 0);
  CHECK(zelos::edit_distance("", "abc") == 3);
  CHECK(zelos::edit_distance("kitten", "sitting") == 3);
  CHECK(zelos::edit_distance("omega_b", "omgea_b") == 1);
  CHECK(zelos::edit_distance("H0", "h0") == 0);
}

TEST_CASE("nearest finds what was meant, and nothing where nothing is near", "[base]") {
  const std::vector<std::string> names = {"H0", "omega_b", "omega_cdm", "logA", "n_s", "tau"};
  CHECK(zelos::nearest("omega_c", names) == "omega_b");
  CHECK(zelos::nearest("omega_cmd", names) == "omega_cdm");
  CHECK(zelos::nearest("ns", names) == "n_s");
  CHECK(zelos::nearest("h0", names) == "H0");
  CHECK(zelos::nearest("loga", names) == "logA");
  CHECK(zelos::nearest("temperature", names).empty());
  CHECK(zelos::nearest("x", {"y"}).empty());
  CHECK(zelos::nearest("x", {}).empty());
  CHECK(zelos::nearest("", names).empty());
  CHECK(zelos::did_you_mean("taa", names) == "; did you mean 'tau'?");
  CHECK(zelos::did_you_mean("temperature", names).empty());
  CHECK(zelos::join({"a", "b", "c"}, ", ") == "a, b, c");
  CHECK(zelos::join({}, ", ").empty());
}

TEST_CASE("an atomic file appears on commit, and only then", "[base]") {
  const TemporaryFolder folder;
  const fs::path path = folder / "a.bin";
  {
    zelos::AtomicFile file(path);
    file.write("12", 2);
    file.write("", 0);
    file.write("345", 3);
    CHECK_FALSE(fs::exists(path));
    file.commit();
    CHECK(slurp(path) == "12345");
  }
  CHECK(slurp(path) == "12345");
  CHECK(folder.count() == 1);
  zelos::write_file_atomically(path, "new");
  CHECK(slurp(path) == "new");
  CHECK(folder.count() == 1);
}

TEST_CASE("an atomic file that is not committed leaves the old file and nothing else", "[base]") {
  const TemporaryFolder folder;
  const fs::path path = folder / "a.bin";
  zelos::write_file_atomically(path, "old");
  {
    zelos::AtomicFile file(path);
    file.write("half", 4);
  }
  CHECK(slurp(path) == "old");
  CHECK(folder.count() == 1);
}

TEST_CASE("an atomic file names the path and the reason when it can't be written", "[base]") {
  const TemporaryFolder folder;
  const fs::path path = folder / "missing" / "a.bin";
  try {
    zelos::write_file_atomically(path, "x");
    FAIL("no error");
  } catch (const zelos::Error& error) {
    CHECK(error.status() == ZELOS_E_IO);
    CHECK_THAT(error.what(), Catch::Contains(path.string()));
    CHECK_THAT(error.what(), Catch::Contains("No such file"));
  }
  fs::create_directory(folder / "is_a_folder");
  CHECK_THROWS_AS(zelos::write_file_atomically(folder / "is_a_folder", "x"), zelos::Error);
  CHECK(folder.count() == 1);
  CHECK_THROWS_AS(zelos::AtomicFile(""), zelos::Error);
}

TEST_CASE("a write that the system refuses half-way leaves the old file", "[base]") {
  const TemporaryFolder folder;
  const fs::path path = folder / "a.bin";
  zelos::write_file_atomically(path, "old");
  const ::pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const ::rlimit limit = {4096, 4096};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    int code = 1;
    try {
      zelos::write_file_atomically(path, std::string(10000, 'x'));
    } catch (const zelos::Error& error) {
      code = error.status() == ZELOS_E_IO ? 0 : 2;
    }
    ::_exit(code);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(slurp(path) == "old");
  CHECK(folder.count() == 1);
}

TEST_CASE("a writer that is killed at any moment leaves a whole file", "[base]") {
  const TemporaryFolder folder;
  const fs::path path = folder / "a.bin";
  const std::string one(200000, '1'), two(300000, '2');
  zelos::write_file_atomically(path, one);
  std::mt19937 random(2);
  for (int round = 0; round < 20; ++round) {
    const ::pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      for (;;) {
        zelos::write_file_atomically(path, two);
        zelos::write_file_atomically(path, one);
      }
    }
    ::usleep(random() % 20000);
    ::kill(child, SIGKILL);
    REQUIRE(::waitpid(child, nullptr, 0) == child);
    const std::string found = slurp(path);
    REQUIRE((found == one || found == two));
  }
}
