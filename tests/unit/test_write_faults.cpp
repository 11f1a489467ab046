// SPDX-License-Identifier: BSD-3-Clause
// The system calls of an atomic write fail, or the process ends, one call later in every round,
// until a round passes without a fault.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <string>

#include "artifact/container.hpp"
#include "zelos/error.hpp"

// Hidden, so that these stand in for the C library's only in the objects of this program.
#define ZELOS_TEST_STAND_IN extern "C" __attribute__((visibility("hidden")))

namespace {

enum class Fault { none, error, interrupted, short_write, end_process };

struct {
  Fault fault = Fault::none;
  int error = 0;
  int calls_before = 0;
  bool fired = false;
} armed;

bool fires(bool is_write) {
  const bool concerned = armed.fault != Fault::none && !armed.fired &&
                         (armed.fault != Fault::short_write || is_write) &&
                         (armed.fault != Fault::interrupted || is_write);
  if (!concerned || armed.calls_before-- > 0) return false;
  armed.fired = true;
  if (armed.fault == Fault::end_process) ::_exit(42);
  errno = armed.fault == Fault::interrupted ? EINTR : armed.error;
  return true;
}

template <typename Function>
Function* original(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

ZELOS_TEST_STAND_IN int open(const char* path, int flags, ...) {
  std::va_list rest;
  va_start(rest, flags);
  const unsigned mode = (flags & O_CREAT) != 0 ? va_arg(rest, unsigned) : 0;
  va_end(rest);
  if (fires(false)) return -1;
  static auto* const call = original<int(const char*, int, ...)>("open");
  return call(path, flags, mode);
}

ZELOS_TEST_STAND_IN ssize_t write(int descriptor, const void* data, size_t size) {
  static auto* const call = original<ssize_t(int, const void*, size_t)>("write");
  if (!fires(true)) return call(descriptor, data, size);
  return armed.fault == Fault::short_write ? call(descriptor, data, (size + 1) / 2) : -1;
}

ZELOS_TEST_STAND_IN int fsync(int descriptor) {
  if (fires(false)) return -1;
  static auto* const call = original<int(int)>("fsync");
  return call(descriptor);
}

ZELOS_TEST_STAND_IN int close(int descriptor) {
  static auto* const call = original<int(int)>("close");
  const bool fails = fires(false);
  const int reason = errno;
  const int result = call(descriptor);
  if (!fails) return result;
  errno = reason;
  return -1;
}

ZELOS_TEST_STAND_IN int rename(const char* from, const char* to) noexcept {
  if (fires(false)) return -1;
  static auto* const call = original<int(const char*, const char*)>("rename");
  return call(from, to);
}

namespace {

namespace fs = std::filesystem;
using zelos::artifact::Contents;

/// A folder that holds one artifact, and another artifact that is to take its place.
class Replacement {
 public:
  Replacement() {
    std::string name = (fs::temp_directory_path() / "zelos-faults-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    folder_ = name;
    after_.document = {{"text", std::string(50000, 'x')}};
    new_id_ = zelos::artifact::write(path(), after_);
    old_id_ = zelos::artifact::write(path(), Contents{});
  }

  ~Replacement() {
    armed.fault = Fault::none;
    fs::remove_all(folder_);
  }

  /// True if the write passed; false if it threw an I/O error that names the file.
  bool write(Fault fault, int calls_before, int error) {
    armed = {fault, error, calls_before, false};
    bool passed = true;
    std::string message;
    zelos_status status = ZELOS_OK;
    try {
      zelos::artifact::write(path(), after_);
    } catch (const zelos::Error& thrown) {
      passed = false;
      status = thrown.status();
      message = thrown.what();
    }
    armed.fault = Fault::none;
    if (!passed) {
      CHECK(status == ZELOS_E_IO);
      CHECK_THAT(message, Catch::Contains(path().string()));
    }
    return passed;
  }

  bool is_old() const { return zelos::artifact::read(path()).id == old_id_; }
  bool is_new() const { return zelos::artifact::read(path()).id == new_id_; }
  long count() const { return std::distance(fs::directory_iterator(folder_), {}); }

 private:
  fs::path path() const { return folder_ / "a.h5"; }

  fs::path folder_;
  Contents after_;
  std::string old_id_;
  std::string new_id_;
};

}  // namespace

TEST_CASE("each system call of a write may fail: the old artifact stays, or the new one is whole", "[faults]") {
  const int error = GENERATE(ENOSPC, EIO, EDQUOT);
  int faults = 0;
  int kept = 0;
  for (;; ++faults) {
    REQUIRE(faults < 50);
    Replacement replacement;
    const bool passed = replacement.write(Fault::error, faults, error);
    REQUIRE(replacement.count() == 1);
    REQUIRE(replacement.is_old() != replacement.is_new());
    kept += replacement.is_old();
    if (passed) REQUIRE(replacement.is_new());
    if (!armed.fired) break;
  }
  // open, two writes, fsync, close, rename; then open, fsync and close of the folder.
  CHECK(faults == 9);
  CHECK(kept == 6);
}

TEST_CASE("a write that is interrupted or cut short goes on", "[faults]") {
  const Fault fault = GENERATE(Fault::interrupted, Fault::short_write);
  int faults = 0;
  for (;; ++faults) {
    REQUIRE(faults < 50);
    Replacement replacement;
    REQUIRE(replacement.write(fault, faults, 0));
    REQUIRE(replacement.is_new());
    REQUIRE(replacement.count() == 1);
    if (!armed.fired) break;
  }
  CHECK(faults >= 2);
}

TEST_CASE("a process that ends at any system call of a write leaves a whole artifact", "[faults]") {
  constexpr int kEndedByFault = 42;
  int faults = 0;
  for (;; ++faults) {
    REQUIRE(faults < 50);
    Replacement replacement;
    const ::pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      replacement.write(Fault::end_process, faults, 0);
      ::_exit(0);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
    REQUIRE(replacement.is_old() != replacement.is_new());
    if (WEXITSTATUS(status) == kEndedByFault) continue;
    REQUIRE(WEXITSTATUS(status) == 0);
    REQUIRE(replacement.is_new());
    break;
  }
  CHECK(faults == 9);
}
