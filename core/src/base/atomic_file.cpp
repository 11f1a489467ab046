// SPDX-License-Identifier: BSD-3-Clause
#include "base/atomic_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <random>
#include <string>
#include <system_error>
#include <utility>

#include "zelos/error.hpp"

namespace zelos {
namespace {

std::string random_suffix() {
  constexpr char kLetters[] = "abcdefghijklmnopqrstuvwxyz012345";
  std::random_device device;
  std::string text;
  for (int i = 0; i < 8; ++i) text += kLetters[device() % 32];
  return text;
}

std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

/// Makes a rename in `folder` survive a power cut. Some network file systems refuse to flush a
/// folder; there is nothing better to do then.
bool flush_folder(const std::filesystem::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return errno == EACCES;
  const bool done = ::fsync(descriptor) == 0 || errno == EINVAL || errno == ENOTSUP;
  const int reason = errno;
  ::close(descriptor);
  errno = reason;
  return done;
}

}  // namespace

AtomicFile::AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
  if (!path_.has_filename()) {
    throw Error(ZELOS_E_ARGUMENT, "can't write '" + path_.string() + "': not the name of a file");
  }
  constexpr int kAttempts = 16;
  for (int attempt = 0; attempt < kAttempts && descriptor_ < 0; ++attempt) {
    temporary_ = folder_of(path_) / ("." + path_.filename().string() + "." + random_suffix() + ".tmp");
    descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor_ < 0 && errno != EEXIST && errno != EINTR) break;
  }
  if (descriptor_ < 0) fail("create a file in its folder");
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::write(const void* data, std::size_t size) {
  constexpr std::size_t kLargestWrite = std::size_t{1} << 30;
  const auto* bytes = static_cast<const std::uint8_t*>(data);
  while (size > 0) {
    const ::ssize_t written = ::write(descriptor_, bytes, std::min(size, kLargestWrite));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("write");
    bytes += written;
    size -= static_cast<std::size_t>(written);
  }
}

void AtomicFile::commit() {
  if (::fsync(descriptor_) != 0) fail("flush to the disk");
  if (::close(std::exchange(descriptor_, -1)) != 0) fail("close");
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) fail("put the file in its place");
  temporary_.clear();
  if (!flush_folder(folder_of(path_))) fail("flush the folder to the disk");
}

void AtomicFile::fail(const char* action) const {
  const std::string reason = std::generic_category().message(errno);
  throw Error(ZELOS_E_IO, "can't write '" + path_.string() + "': can't " + action + ": " + reason);
}

void write_file_atomically(const std::filesystem::path& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes.data(), bytes.size());
  file.commit();
}

}  // namespace zelos
