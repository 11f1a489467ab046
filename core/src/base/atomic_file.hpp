// SPDX-License-Identifier: BSD-3-Clause
/// Files that appear whole or not at all.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string_view>

namespace zelos {

/// Writes a file beside its final place and renames it there when it is complete and on the disk.
/// Until commit() returns, a reader of `path` sees the old file, or none. A process that is killed
/// in between leaves at most a file `.NAME.XXXXXXXX.tmp` in the same folder. One object belongs to
/// one thread at a time; different objects, also with the same `path`, are independent (the last
/// commit wins).
class AtomicFile {
 public:
  /// Opens the temporary file. An existing `path` is not touched; if it is a symbolic link,
  /// commit() replaces the link. Throws Error(ZELOS_E_IO) naming `path` and the system's reason.
  explicit AtomicFile(std::filesystem::path path);

  /// Removes the temporary file unless commit() succeeded.
  ~AtomicFile();

  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  /// Appends `size` bytes. Throws Error(ZELOS_E_IO), for example when the disk is full.
  void write(const void* data, std::size_t size);

  /// Flushes to the disk, renames over `path`, flushes the folder. Call once, as the last thing.
  /// Throws Error(ZELOS_E_IO); `path` is then the old file, unless only the flush of the folder
  /// failed.
  void commit();

 private:
  [[noreturn]] void fail(const char* action) const;

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int descriptor_ = -1;
};

/// Writes `bytes` to `path` through an AtomicFile.
void write_file_atomically(const std::filesystem::path& path, std::string_view bytes);

}  // namespace zelos
