// SPDX-License-Identifier: BSD-3-Clause
/// RAII over the HDF5 C API, for the artifact's container alone. Compiles with HDF5 1.10 to 2.x.
#pragma once

#include <hdf5.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace zelos::hdf5 {

/// An HDF5 call failed; what() is the action and HDF5's own reason.
class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// While one exists, this thread alone uses HDF5 (within zelos), and HDF5 prints no errors. The
/// host's error handler is put back afterwards. Declare it before any Handle.
class Session {
 public:
  Session() : lock_(mutex()) {
    H5Eget_auto2(H5E_DEFAULT, &function_, &data_);
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  }

  ~Session() {
    H5Eclear2(H5E_DEFAULT);
    H5Eset_auto2(H5E_DEFAULT, function_, data_);
  }

  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

 private:
  static std::mutex& mutex() {
    static std::mutex instance;
    return instance;
  }

  std::lock_guard<std::mutex> lock_;
  H5E_auto2_t function_ = nullptr;
  void* data_ = nullptr;
};

/// The deepest entry of HDF5's error stack, which is the most specific one.
inline std::string reason() {
  std::string text;
  const auto keep_last = [](unsigned, const H5E_error2_t* error, void* data) -> herr_t {
    if (error->desc == nullptr) return 0;
    try {
      *static_cast<std::string*>(data) = error->desc;
    } catch (const std::bad_alloc&) {
      return -1;
    }
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, keep_last, &text);
  return text.empty() ? "no reason given" : text;
}

/// Throws Failure if `result` is HDF5's negative sign of an error; `action` completes "HDF5 can't
/// ...".
template <typename Result>
Result check(Result result, const char* action) {
  if (result < 0) throw Failure(std::string("HDF5 can't ") + action + " (" + reason() + ")");
  return result;
}

/// Owns one HDF5 identifier.
class Handle {
 public:
  using Close = herr_t (*)(hid_t);

  Handle(hid_t id, Close close, const char* action) : id_(check(id, action)), close_(close) {}
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, H5I_INVALID_HID)), close_(other.close_) {}
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  Handle& operator=(Handle&&) = delete;
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }

  operator hid_t() const noexcept { return id_; }

 private:
  hid_t id_;
  Close close_;
};

inline Handle property_list(hid_t kind) { return {H5Pcreate(kind), H5Pclose, "make a property list"}; }

/// HDF5 takes two open in-memory files of one name for the same file.
inline std::string unique_name() {
  static std::atomic<std::uint64_t> count{0};
  return "zelos-artifact-" + std::to_string(count++) + ".h5";
}

/// File access in memory. Objects that are still open are closed with the file. The earliest file
/// version is chosen because its superblock has no checksum: H5Fget_file_image (1.10) clears a flag
/// in it and leaves a stale one.
inline Handle memory_access(std::size_t increment) {
  Handle access = property_list(H5P_FILE_ACCESS);
  check(H5Pset_fapl_core(access, increment, false), "choose the memory driver");
  check(H5Pset_fclose_degree(access, H5F_CLOSE_STRONG), "choose how to close");
  check(H5Pset_libver_bounds(access, H5F_LIBVER_EARLIEST, H5F_LIBVER_V18), "choose the file version");
  return access;
}

/// Opens `size` bytes at `bytes` as a read-only file, without a copy. They must outlive the handle.
inline Handle open_image(const void* bytes, std::size_t size) {
  // Each callback hands HDF5 the caller's own block, so that its "copies" cost nothing.
  H5FD_file_image_callbacks_t callbacks = {};
  callbacks.image_malloc = [](std::size_t, H5FD_file_image_op_t, void* block) { return block; };
  callbacks.image_memcpy = [](void* to, const void* from, std::size_t, H5FD_file_image_op_t, void*) -> void* {
    return to == from ? to : nullptr;
  };
  callbacks.image_realloc = [](void*, std::size_t, H5FD_file_image_op_t, void*) -> void* { return nullptr; };
  callbacks.image_free = [](void*, H5FD_file_image_op_t, void*) -> herr_t { return 0; };
  callbacks.udata_copy = [](void* block) { return block; };
  callbacks.udata_free = [](void*) -> herr_t { return 0; };
  callbacks.udata = const_cast<void*>(bytes);

  constexpr std::size_t kIncrement = 65536;
  const Handle access = memory_access(kIncrement);
  check(H5Pset_file_image_callbacks(access, &callbacks), "set the file image");
  check(H5Pset_file_image(access, const_cast<void*>(bytes), size), "set the file image");
  return {H5Fopen(unique_name().c_str(), H5F_ACC_RDONLY, access), H5Fclose, "open the body"};
}

struct Link {
  std::string name;
  bool hard;
};

/// The links of a group by name, at most `limit` of them: more are a Failure.
inline std::vector<Link> links(hid_t group, std::size_t limit) {
  struct Found {
    std::vector<Link> links;
    std::size_t limit;
    bool too_many;
  } found = {{}, limit, false};
  const auto keep = [](hid_t, const char* name, const H5L_info_t* info, void* data) -> herr_t {
    auto& kept = *static_cast<Found*>(data);
    kept.too_many = kept.links.size() >= kept.limit;
    if (kept.too_many) return -1;
    try {
      kept.links.push_back({name, info->type == H5L_TYPE_HARD});
    } catch (const std::bad_alloc&) {
      return -1;
    }
    return 0;
  };
  const herr_t status = H5Literate(group, H5_INDEX_NAME, H5_ITER_INC, nullptr, keep, &found);
  if (found.too_many) throw Failure("more objects than the format allows");
  check(status, "list a folder");
  return std::move(found.links);
}

}  // namespace zelos::hdf5
