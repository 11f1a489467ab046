// SPDX-License-Identifier: BSD-3-Clause
/// The artifact's file: a header that vouches for the body, and an HDF5 body with one JSON document
/// and named arrays.
///
/// The file is a header of 512 bytes (to HDF5: a user block), then the body. All integers are
/// little-endian.
///
///     byte    size  content
///     0       8     "ZELOS\r\n\x1a"
///     8       4     format version
///     12      4     length of the header, 512
///     16      8     length of the body in bytes
///     24      32    SHA-256 of the body
///     56      424   zeros
///     480     32    SHA-256 of bytes 0 to 479
///
/// The layout of the header is the same in all format versions. The body is an HDF5 file with
/// `/document` (scalar, fixed-length UTF-8 string: a JSON object) and `/arrays/<path>` (IEEE
/// little-endian float64 or float32, C order, rank 0 to 4, finite).
///
/// Version 1: every array has its own contiguous storage.
/// Version 2: arrays that are equal share one dataset, with a hard link for each path; arrays of at
/// least kMinShuffledBytes are one chunk with the shuffle filter, which puts the first bytes of all
/// values before the second ones: the file keeps its size, but a wheel or .tar.gz that holds it is a
/// third smaller.
///
/// Nothing else is accepted: no other objects, no soft or external links, no other filters or chunks,
/// no external or virtual storage. Without compression opening stays a copy, and the bytes do not
/// depend on a compression library's version.
///
/// The digest stops accidents, not authors: HDF5 itself is not safe on a hostile body whose digest
/// is right. Open strangers' files in a limited process, or compare the id with one from a trusted
/// place first.
///
/// All functions are thread-safe with each other. HDF5 calls are serialised by one mutex; a host
/// that shares this HDF5 library and calls it at the same time from another thread needs a
/// thread-safe HDF5 build.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/aligned_buffer.hpp"

namespace zelos::artifact {

/// The format version that write() writes; read() accepts 1 to this one.
constexpr std::uint32_t kFormatVersion = 2;

constexpr std::size_t kHeaderBytes = 512;

/// Limits on what is written and read.
constexpr std::size_t kMaxRank = 4;
constexpr std::uint64_t kMaxArrayBytes = std::uint64_t{1} << 31;     ///< of one array as float64
constexpr std::uint64_t kMaxDocumentBytes = std::uint64_t{1} << 26;  ///< of the JSON text
constexpr std::size_t kMaxObjects = 65536;                           ///< arrays and folders together
constexpr std::size_t kMaxPathParts = 8;                             ///< names in an array's path
constexpr std::size_t kMaxNameBytes = 255;                           ///< of one name in a path
constexpr std::uint64_t kMinShuffledBytes = std::uint64_t{1} << 14;  ///< as stored
constexpr std::uint64_t kMaxSharing = 16;                            ///< bytes of all arrays over those of the body
constexpr int kMaxDocumentDepth = 64;                                ///< nested objects and arrays in JSON

/// A block of numbers. `data` has as many elements as the product of `shape` (1 if `shape` is
/// empty), in C order. With Storage::float32 the file holds the values rounded to float32; in
/// memory they are always doubles.
struct Array {
  enum class Storage { float64, float32 };

  std::vector<std::int64_t> shape;
  AlignedBuffer data;
  Storage storage = Storage::float64;
};

/// What an artifact holds. The keys of `arrays` are paths such as "outputs/Cl.tt/basis": names of
/// printable ASCII without '/', joined by '/'; a path is an array or a folder, never both.
struct Contents {
  nlohmann::json document = nlohmann::json::object();
  std::map<std::string, Array> arrays;
};

struct Opened {
  Contents contents;
  std::string id;  ///< SHA-256 of the body, 64 hexadecimal digits
  std::uint32_t format_version = 0;
};

/// Writes `contents` atomically: `path` is the old file, or none, until the new one is complete.
/// The same contents give the same bytes. Returns the artifact's id. Throws Error: ZELOS_E_ARGUMENT
/// if the contents break a rule above (a value that is not finite, a bad path or shape, a document
/// that is not an object), ZELOS_E_IO if the file can't be written.
std::string write(const std::filesystem::path& path, const Contents& contents);

/// Opens an artifact; header and digest are checked before HDF5 sees a byte. Throws Error:
/// ZELOS_E_IO if the file can't be read, ZELOS_E_FORMAT with expected and found if it is not a
/// whole, undamaged artifact of a known format version, ZELOS_E_MEMORY.
Opened read(const std::filesystem::path& path);

/// The same for a file that is in memory already. `bytes` is only read, and not kept. Messages call
/// it `name_for_messages`.
Opened read(const void* bytes, std::size_t size, const std::string& name_for_messages);

}  // namespace zelos::artifact
