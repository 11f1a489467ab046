// SPDX-License-Identifier: BSD-3-Clause
#include "artifact/container.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <memory>
#include <new>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>

#include "artifact/hdf5.hpp"
#include "base/atomic_file.hpp"
#include "base/sha256.hpp"
#include "zelos/error.hpp"

namespace zelos::artifact {
namespace {

constexpr char kMagic[] = "ZELOS\r\n\x1a";
constexpr std::size_t kMagicBytes = 8;
constexpr std::size_t kVersionAt = 8;
constexpr std::size_t kHeaderLengthAt = 12;
constexpr std::size_t kBodyLengthAt = 16;
constexpr std::size_t kBodyDigestAt = 24;
constexpr std::size_t kHeaderDigestAt = kHeaderBytes - std::tuple_size<Sha256Digest>::value;

constexpr char kDocument[] = "document";
constexpr char kArrays[] = "arrays";

using HeaderBytes = std::array<std::uint8_t, kHeaderBytes>;

std::string quoted(const std::string& text) { return "'" + text + "'"; }

/// A rule of the format is broken; read() and write() add the file's name and the status.
class Broken : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// --- header ---

template <typename Integer>
void put(HeaderBytes& header, std::size_t at, Integer value) {
  for (std::size_t i = 0; i < sizeof(Integer); ++i) {
    header[at + i] = static_cast<std::uint8_t>(value >> (8 * i));
  }
}

template <typename Integer>
Integer get(const std::uint8_t* header, std::size_t at) {
  Integer value = 0;
  for (std::size_t i = 0; i < sizeof(Integer); ++i) value |= Integer{header[at + i]} << (8 * i);
  return value;
}

HeaderBytes make_header(std::uint64_t body_bytes, const Sha256Digest& body_digest) {
  HeaderBytes header{};
  std::memcpy(header.data(), kMagic, kMagicBytes);
  put<std::uint32_t>(header, kVersionAt, kFormatVersion);
  put<std::uint32_t>(header, kHeaderLengthAt, kHeaderBytes);
  put<std::uint64_t>(header, kBodyLengthAt, body_bytes);
  std::copy(body_digest.begin(), body_digest.end(), header.begin() + kBodyDigestAt);
  const Sha256Digest own = sha256(header.data(), kHeaderDigestAt);
  std::copy(own.begin(), own.end(), header.begin() + kHeaderDigestAt);
  return header;
}

bool starts_with(const std::uint8_t* bytes, std::size_t size, const char* magic, std::size_t magic_size) {
  return size >= magic_size && std::memcmp(bytes, magic, magic_size) == 0;
}

/// " (...)" for file types that people hand over by mistake.
std::string guess_type(const std::uint8_t* bytes, std::size_t size) {
  if (size == 0) return " (the file is empty)";
  if (starts_with(bytes, size, "\x1f\x8b", 2)) {
    return " (this is a gzip file; unpack the .tar.gz and open the .h5 in it)";
  }
  if (starts_with(bytes, size, "\x89HDF\r\n\x1a\n", 8)) {
    return " (an HDF5 file without the zelos header; was it repacked?)";
  }
  return "";
}

struct Header {
  std::uint32_t format_version;
  std::uint64_t body_bytes;
  Sha256Digest body_digest;
};

/// Checks the first min(file_bytes, 512) bytes of a file that has `file_bytes` in all.
Header parse_header(const std::uint8_t* bytes, std::uint64_t file_bytes) {
  const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(file_bytes, kHeaderBytes));
  if (!starts_with(bytes, size, kMagic, kMagicBytes)) {
    throw Broken("not a zelos artifact" + guess_type(bytes, size));
  }
  if (size < kHeaderBytes) {
    throw Broken("truncated: expected at least " + std::to_string(kHeaderBytes) + " bytes, found " +
                 std::to_string(size));
  }
  if (std::memcmp(sha256(bytes, kHeaderDigestAt).data(), bytes + kHeaderDigestAt, kHeaderBytes - kHeaderDigestAt) !=
      0) {
    throw Broken("damaged: the header does not match its SHA-256");
  }
  Header header;
  header.format_version = get<std::uint32_t>(bytes, kVersionAt);
  if (header.format_version < 1 || header.format_version > kFormatVersion) {
    throw Broken(std::string("format version ") + (header.format_version < 1 ? "unknown" : "newer than this library") +
                 " (found " + std::to_string(header.format_version) + ", this library reads 1.." +
                 std::to_string(kFormatVersion) + ")");
  }
  const auto header_bytes = get<std::uint32_t>(bytes, kHeaderLengthAt);
  if (header_bytes != kHeaderBytes) {
    throw Broken("header of " + std::to_string(header_bytes) + " bytes, expected " + std::to_string(kHeaderBytes));
  }
  header.body_bytes = get<std::uint64_t>(bytes, kBodyLengthAt);
  const std::uint64_t found = file_bytes - kHeaderBytes;
  if (header.body_bytes != found) {
    throw Broken((found < header.body_bytes ? "truncated" : "bytes were added at the end") +
                 std::string(": expected ") + std::to_string(kHeaderBytes) + "+" + std::to_string(header.body_bytes) +
                 " bytes, found " + std::to_string(kHeaderBytes) + "+" + std::to_string(found));
  }
  std::copy_n(bytes + kBodyDigestAt, header.body_digest.size(), header.body_digest.begin());
  return header;
}

// --- rules that hold for writing and for reading ---

void check_name(const std::string& name) {
  const bool printable = std::all_of(name.begin(), name.end(), [](char c) { return c > 0x20 && c < 0x7f && c != '/'; });
  if (name.empty() || name.size() > kMaxNameBytes || !printable || name == "." || name == "..") {
    throw Broken("an array's path has the part " + quoted(printable ? name : "?") + "; expected 1 to " +
                 std::to_string(kMaxNameBytes) + " printable ASCII characters without '/', not '.' or '..'");
  }
}

std::vector<std::string> split_path(const std::string& path) {
  std::vector<std::string> parts(1);
  for (const char c : path) {
    if (c == '/') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  if (parts.size() > kMaxPathParts) {
    throw Broken("array " + quoted(path) + " has " + std::to_string(parts.size()) + " parts, the limit is " +
                 std::to_string(kMaxPathParts));
  }
  std::for_each(parts.begin(), parts.end(), check_name);
  return parts;
}

/// Number of elements of an array of this shape; within the limits on rank and bytes.
std::uint64_t count_elements(const std::string& path, const std::vector<std::int64_t>& shape) {
  if (shape.size() > kMaxRank) {
    throw Broken("array " + quoted(path) + " has rank " + std::to_string(shape.size()) + ", the limit is " +
                 std::to_string(kMaxRank));
  }
  constexpr std::uint64_t kMaxElements = kMaxArrayBytes / sizeof(double);
  std::uint64_t count = 1;
  for (const std::int64_t length : shape) {
    if (length < 0 || static_cast<std::uint64_t>(length) > kMaxElements) {
      throw Broken("array " + quoted(path) + " has a dimension of " + std::to_string(length) + ", expected 0 to " +
                   std::to_string(kMaxElements));
    }
    count *= static_cast<std::uint64_t>(length);
    if (count > kMaxElements) {
      throw Broken("array " + quoted(path) + " is larger than " + std::to_string(kMaxArrayBytes) + " bytes");
    }
  }
  return count;
}

template <typename Real>
void check_finite(const std::string& what, const Real* values, std::uint64_t count) {
  // x - x is 0 for a finite x and NaN otherwise: one pass without branches in the usual case.
  Real sum = 0;
  for (std::uint64_t i = 0; i < count; ++i) sum += values[i] - values[i];
  if (sum == 0) return;
  const Real* bad = std::find_if(values, values + count, [](Real value) { return !std::isfinite(value); });
  throw Broken(what + " is not finite at element " + std::to_string(bad - values));
}

/// JSON has no NaN and no infinity; nlohmann writes them as null.
void check_document(const nlohmann::json& value, int depth = 1) {
  if (depth > kMaxDocumentDepth) {
    throw Broken("document nested deeper than " + std::to_string(kMaxDocumentDepth));
  }
  if (value.is_number_float() && !std::isfinite(value.get<double>())) {
    throw Broken("document has a number that is not finite");
  }
  if (value.is_binary() || value.is_discarded()) {
    throw Broken("document has a value that JSON can't hold");
  }
  if (value.is_structured()) {
    for (const nlohmann::json& child : value) check_document(child, depth + 1);
  }
}

// --- writing the body ---

class BodyWriter {
 public:
  static std::vector<std::uint8_t> make(const Contents& contents) {
    check_document(contents.document);
    if (!contents.document.is_object()) throw Broken("document is not a JSON object");
    const std::string text = contents.document.dump();
    if (text.size() > kMaxDocumentBytes) {
      throw Broken("document is larger than " + std::to_string(kMaxDocumentBytes) + " bytes");
    }
    hdf5::Session session;
    BodyWriter writer;
    writer.write_document(text);
    writer.open_folder(kArrays);
    for (const auto& [path, array] : contents.arrays) writer.write_array(path, array);
    return writer.image();
  }

 private:
  static constexpr std::size_t kIncrement = std::size_t{1} << 20;

  BodyWriter() : link_names_(hdf5::property_list(H5P_LINK_CREATE)), file_(create_file()) {}

  static hdf5::Handle create_file() {
    const hdf5::Handle access = hdf5::memory_access(kIncrement);
    const hdf5::Handle creation = hdf5::property_list(H5P_FILE_CREATE);
    hdf5::check(H5Pset_obj_track_times(creation, false), "turn times off");
    hdf5::check(H5Pset_istore_k(creation, 1), "choose the size of chunk indices");
    return {H5Fcreate(hdf5::unique_name().c_str(), H5F_ACC_TRUNC, creation, access), H5Fclose, "make a file in memory"};
  }

  void open_folder(const std::string& path) {
    if (folders_.count(path) != 0) return;
    const hdf5::Handle creation = hdf5::property_list(H5P_GROUP_CREATE);
    hdf5::check(H5Pset_obj_track_times(creation, false), "turn times off");
    const hdf5::Handle folder(H5Gcreate2(file_, path.c_str(), link_names_, creation, H5P_DEFAULT), H5Gclose,
                              "make a folder");
    folders_.emplace(path, true);
  }

  /// One chunk with the shuffle filter if `chunk` has its lengths, contiguous if it is empty.
  void write_dataset(const std::string& path, hid_t file_type, hid_t memory_type, hid_t space, const void* values,
                     const std::vector<hsize_t>& chunk = {}) {
    const hdf5::Handle creation = hdf5::property_list(H5P_DATASET_CREATE);
    hdf5::check(H5Pset_obj_track_times(creation, false), "turn times off");
    if (chunk.empty()) {
      hdf5::check(H5Pset_layout(creation, H5D_CONTIGUOUS), "choose the layout");
    } else {
      hdf5::check(H5Pset_chunk(creation, static_cast<int>(chunk.size()), chunk.data()), "choose the layout");
      hdf5::check(H5Pset_shuffle(creation), "choose the layout");
    }
    hdf5::check(H5Pset_alloc_time(creation, H5D_ALLOC_TIME_EARLY), "choose the layout");
    hdf5::check(H5Pset_fill_time(creation, H5D_FILL_TIME_NEVER), "choose the layout");
    const hdf5::Handle dataset(H5Dcreate2(file_, path.c_str(), file_type, space, link_names_, creation, H5P_DEFAULT),
                               H5Dclose, "make a dataset");
    if (values == nullptr) return;
    hdf5::check(H5Dwrite(dataset, memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), "write a dataset");
  }

  void write_document(const std::string& text) {
    const hdf5::Handle type(H5Tcopy(H5T_C_S1), H5Tclose, "make a string type");
    hdf5::check(H5Tset_size(type, text.size()), "make a string type");
    hdf5::check(H5Tset_strpad(type, H5T_STR_NULLPAD), "make a string type");
    hdf5::check(H5Tset_cset(type, H5T_CSET_UTF8), "make a string type");
    const hdf5::Handle space(H5Screate(H5S_SCALAR), H5Sclose, "make a dataspace");
    write_dataset(kDocument, type, type, space, text.data());
  }

  void write_array(const std::string& path, const Array& array) {
    const std::vector<std::string> parts = split_path(path);
    std::string place = kArrays;
    for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
      place += "/" + parts[i];
      if (folders_.count(place) != 0 && !folders_[place]) {
        throw Broken(quoted(place.substr(sizeof kArrays)) + " is both an array and a folder");
      }
      open_folder(place);
    }
    place += "/" + parts.back();
    if (folders_.count(place) != 0) {
      throw Broken(quoted(path) + " is both an array and a folder");
    }
    if (folders_.size() > kMaxObjects) throw Broken("more arrays than the format allows");
    folders_.emplace(place, false);

    const std::uint64_t count = count_elements(path, array.shape);
    if (count != array.data.size()) {
      throw Broken("array " + quoted(path) + " has " + std::to_string(array.data.size()) +
                   " values, its shape asks for " + std::to_string(count));
    }
    check_finite("array " + quoted(path), array.data.data(), count);

    const Sha256Digest digest = sha256(array.data.data(), array.data.size() * sizeof(double));
    const auto [same, is_new] = written_.try_emplace({array.storage, array.shape, digest}, place);
    if (!is_new) {
      hdf5::check(H5Lcreate_hard(file_, same->second.c_str(), file_, place.c_str(), link_names_, H5P_DEFAULT),
                  "link an array");
      return;
    }

    const std::vector<hsize_t> lengths(array.shape.begin(), array.shape.end());
    const bool is_double = array.storage == Array::Storage::float64;
    const std::uint64_t bytes = count * (is_double ? sizeof(double) : sizeof(float));
    const std::vector<hsize_t> chunk = bytes < kMinShuffledBytes ? std::vector<hsize_t>{} : lengths;
    const hdf5::Handle space(lengths.empty()
                                 ? H5Screate(H5S_SCALAR)
                                 : H5Screate_simple(static_cast<int>(lengths.size()), lengths.data(), nullptr),
                             H5Sclose, "make a dataspace");
    if (is_double) {
      write_dataset(place, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, space, array.data.data(), chunk);
      return;
    }
    std::vector<float> rounded(count);
    std::transform(array.data.begin(), array.data.end(), rounded.begin(),
                   [](double value) { return static_cast<float>(value); });
    check_finite("array " + quoted(path) + " as float32", rounded.data(), count);
    write_dataset(place, H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, space, rounded.data(), chunk);
  }

  std::vector<std::uint8_t> image() const {
    hdf5::check(H5Fflush(file_, H5F_SCOPE_GLOBAL), "flush");
    const ::ssize_t size = hdf5::check(H5Fget_file_image(file_, nullptr, 0), "measure the file");
    std::vector<std::uint8_t> bytes(static_cast<std::size_t>(size));
    hdf5::check(H5Fget_file_image(file_, bytes.data(), bytes.size()), "copy the file");
    return bytes;
  }

  hdf5::Handle link_names_;
  hdf5::Handle file_;
  std::map<std::string, bool> folders_;  ///< places in use; true: a folder, false: an array
  /// Where an array with this storage, shape and digest was written first.
  std::map<std::tuple<Array::Storage, std::vector<std::int64_t>, Sha256Digest>, std::string> written_;
};

// --- reading the body ---

class BodyReader {
 public:
  static Contents parse(const std::uint8_t* body, std::uint64_t size) {
    Contents contents;
    std::string text;
    {
      hdf5::Session session;
      BodyReader reader(body, size);
      text = reader.read_root(contents.arrays);
    }
    contents.document = parse_document(text);
    return contents;
  }

 private:
  BodyReader(const std::uint8_t* body, std::uint64_t size)
      : file_(hdf5::open_image(body, static_cast<std::size_t>(size))), size_(size), bytes_left_(kMaxSharing * size) {}

  static nlohmann::json parse_document(const std::string& text) {
    if (text.find('\0') != std::string::npos) throw Broken("document has a zero byte");
    using Event = nlohmann::json::parse_event_t;
    const auto limit_depth = [](int depth, Event event, nlohmann::json&) {
      const bool opens = event == Event::object_start || event == Event::array_start;
      if (opens && depth >= kMaxDocumentDepth) {
        throw Broken("document nested deeper than " + std::to_string(kMaxDocumentDepth));
      }
      return true;
    };
    try {
      nlohmann::json document = nlohmann::json::parse(text, limit_depth);
      if (!document.is_object()) throw Broken("document is not a JSON object");
      return document;
    } catch (const nlohmann::json::exception& error) {
      throw Broken(std::string("document is not valid JSON: ") + error.what());
    }
  }

  static hdf5::Handle open_object(hid_t folder, const hdf5::Link& link, const std::string& path) {
    if (!link.hard) throw Broken(quoted(path) + " is a soft or external link, which is not allowed");
    return {H5Oopen(folder, link.name.c_str(), H5P_DEFAULT), H5Oclose, "open an object"};
  }

  std::string read_root(std::map<std::string, Array>& arrays) {
    const hdf5::Handle root(H5Gopen2(file_, "/", H5P_DEFAULT), H5Gclose, "open the root folder");
    const std::vector<hdf5::Link> links = hdf5::links(root, kMaxObjects);
    if (links.size() != 2 || links[0].name != kArrays || links[1].name != kDocument) {
      throw Broken("the body has " + std::to_string(links.size()) + " entries, expected 'arrays' and 'document' alone");
    }
    const hdf5::Handle folder = open_object(root, links[0], kArrays);
    const hdf5::Handle document = open_object(root, links[1], kDocument);
    if (H5Iget_type(folder) != H5I_GROUP) throw Broken("'arrays' is not a folder");
    if (H5Iget_type(document) != H5I_DATASET) throw Broken("'document' is not a dataset");
    std::string text = read_document(document);
    read_folder(folder, "", 1, arrays);
    return text;
  }

  void read_folder(hid_t folder, const std::string& prefix, std::size_t depth, std::map<std::string, Array>& arrays) {
    for (const hdf5::Link& link : hdf5::links(folder, objects_left_)) {
      check_name(link.name);
      const std::string path = prefix + link.name;
      if (depth > kMaxPathParts) throw Broken(quoted(path) + " has too many parts");
      if (objects_left_-- == 0) throw Broken("more objects than the format allows");
      const hdf5::Handle object = open_object(folder, link, path);
      const H5I_type_t kind = H5Iget_type(object);
      if (kind == H5I_GROUP) {
        read_folder(object, path + "/", depth + 1, arrays);
      } else if (kind == H5I_DATASET) {
        arrays.emplace(path, read_array(object, path));
      } else {
        throw Broken(quoted(path) + " is neither a folder nor an array");
      }
    }
  }

  /// One chunk of the dataset's own shape, and the shuffle filter alone.
  static bool is_shuffled(hid_t creation, const std::vector<hsize_t>& shape) {
    std::vector<hsize_t> chunk(shape.size());
    const int rank = static_cast<int>(shape.size());
    if (rank == 0 || H5Pget_nfilters(creation) != 1 || H5Pget_chunk(creation, rank, chunk.data()) != rank) return false;
    unsigned flags = 0, config = 0;
    std::size_t n_values = 0;
    return chunk == shape &&
           H5Pget_filter2(creation, 0, &flags, &n_values, nullptr, 0, nullptr, &config) == H5Z_FILTER_SHUFFLE;
  }

  /// The stored bytes lie in the body, and what several paths share is limited, so a small file can't
  /// ask for much memory.
  void check_storage(hid_t dataset, const std::string& path, const std::vector<hsize_t>& shape, std::uint64_t bytes) {
    const hdf5::Handle creation(H5Dget_create_plist(dataset), H5Pclose, "read a dataset's layout");
    const H5D_layout_t layout = H5Pget_layout(creation);
    const bool contiguous = layout == H5D_CONTIGUOUS && H5Pget_nfilters(creation) == 0;
    if (H5Pget_external_count(creation) != 0 ||
        !(contiguous || (layout == H5D_CHUNKED && is_shuffled(creation, shape)))) {
      throw Broken(quoted(path) +
                   " is compact, filtered, virtual, external or in several chunks; expected contiguous, or one chunk "
                   "with the shuffle filter");
    }
    const hsize_t stored = H5Dget_storage_size(dataset);
    if (stored != bytes || bytes > size_) {
      throw Broken(quoted(path) + " should have " + std::to_string(bytes) + " bytes, found " + std::to_string(stored) +
                   " in a body of " + std::to_string(size_));
    }
    if (bytes > bytes_left_) {
      throw Broken(quoted(path) + ": the arrays together have more than " + std::to_string(kMaxSharing) +
                   " times the bytes of the body");
    }
    bytes_left_ -= bytes;
  }

  std::string read_document(hid_t dataset) {
    const hdf5::Handle type(H5Dget_type(dataset), H5Tclose, "read a type");
    const hdf5::Handle space(H5Dget_space(dataset), H5Sclose, "read a dataspace");
    if (H5Tget_class(type) != H5T_STRING || H5Tis_variable_str(type) != 0 ||
        H5Sget_simple_extent_type(space) != H5S_SCALAR) {
      throw Broken("'document' is not a scalar string of fixed length");
    }
    const std::size_t size = H5Tget_size(type);
    if (size > kMaxDocumentBytes) {
      throw Broken("document is larger than " + std::to_string(kMaxDocumentBytes) + " bytes");
    }
    check_storage(dataset, kDocument, {}, size);
    std::string text(size, '\0');
    hdf5::check(H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, text.data()), "read the document");
    return text;
  }

  Array read_array(hid_t dataset, const std::string& path) {
    Array array;
    const hdf5::Handle type(H5Dget_type(dataset), H5Tclose, "read a type");
    if (H5Tequal(type, H5T_IEEE_F64LE) > 0) {
      array.storage = Array::Storage::float64;
    } else if (H5Tequal(type, H5T_IEEE_F32LE) > 0) {
      array.storage = Array::Storage::float32;
    } else {
      throw Broken("array " + quoted(path) + " is not of type float64 or float32, little-endian");
    }

    const hdf5::Handle space(H5Dget_space(dataset), H5Sclose, "read a dataspace");
    const H5S_class_t kind = H5Sget_simple_extent_type(space);
    if (kind != H5S_SCALAR && kind != H5S_SIMPLE) throw Broken("array " + quoted(path) + " is null");
    const int rank = hdf5::check(H5Sget_simple_extent_ndims(space), "read a rank");
    std::vector<hsize_t> lengths(static_cast<std::size_t>(rank));
    if (lengths.size() <= kMaxRank) {
      hdf5::check(H5Sget_simple_extent_dims(space, lengths.data(), nullptr), "read a shape");
    }
    array.shape.assign(lengths.begin(), lengths.end());

    const std::uint64_t count = count_elements(path, array.shape);
    const bool is_double = array.storage == Array::Storage::float64;
    check_storage(dataset, path, lengths, count * (is_double ? sizeof(double) : sizeof(float)));
    array.data = AlignedBuffer(static_cast<std::size_t>(count));
    if (count == 0) return array;
    if (is_double) {
      hdf5::check(H5Dread(dataset, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, array.data.data()),
                  "read an array");
    } else {
      std::vector<float> values(static_cast<std::size_t>(count));
      hdf5::check(H5Dread(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), "read an array");
      std::copy(values.begin(), values.end(), array.data.begin());
    }
    check_finite("array " + quoted(path), array.data.data(), count);
    return array;
  }

  hdf5::Handle file_;
  std::uint64_t size_;
  std::uint64_t bytes_left_;
  std::size_t objects_left_ = kMaxObjects;
};

Opened parse_body(const Header& header, const std::uint8_t* body) {
  if (header.body_bytes == 0) throw Broken("the body is empty");
  const Sha256Digest found = sha256(body, static_cast<std::size_t>(header.body_bytes));
  if (found != header.body_digest) {
    throw Broken("damaged: the body does not match its SHA-256 (expected " + to_hex(header.body_digest) + ", found " +
                 to_hex(found) + ")");
  }
  return {BodyReader::parse(body, header.body_bytes), to_hex(found), header.format_version};
}

/// Runs `action` and turns what it throws into Error with the file's name.
template <typename Action>
auto with_name(const std::string& prefix, zelos_status broken, zelos_status hdf5_failed, Action action) {
  try {
    return action();
  } catch (const Broken& error) {
    throw Error(broken, prefix + error.what());
  } catch (const hdf5::Failure& error) {
    throw Error(hdf5_failed, prefix + error.what());
  } catch (const std::bad_alloc&) {
    throw Error(ZELOS_E_MEMORY, prefix + "not enough memory");
  }
}

/// A regular file, open for reading.
class InputFile {
 public:
  explicit InputFile(const std::filesystem::path& path)
      : name_(path.string()), descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    if (descriptor_ < 0) fail(std::generic_category().message(errno));
    struct ::stat status = {};
    if (::fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) {
      ::close(descriptor_);
      fail("not a regular file");
    }
    size_ = static_cast<std::uint64_t>(status.st_size);
  }

  ~InputFile() { ::close(descriptor_); }
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  std::uint64_t size() const { return size_; }

  void read(std::uint8_t* bytes, std::uint64_t size) const {
    constexpr std::uint64_t kLargestRead = std::uint64_t{1} << 30;
    while (size > 0) {
      const ::ssize_t count = ::read(descriptor_, bytes, std::min(size, kLargestRead));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) fail(std::generic_category().message(errno));
      if (count == 0) fail("the file became shorter while it was read");
      bytes += count;
      size -= static_cast<std::uint64_t>(count);
    }
  }

 private:
  [[noreturn]] void fail(const std::string& reason) const {
    throw Error(ZELOS_E_IO, "can't read " + quoted(name_) + ": " + reason);
  }

  std::string name_;
  int descriptor_;
  std::uint64_t size_ = 0;
};

}  // namespace

std::string write(const std::filesystem::path& path, const Contents& contents) {
  const std::string prefix = "can't write " + quoted(path.string()) + ": ";
  return with_name(prefix, ZELOS_E_ARGUMENT, ZELOS_E_INTERNAL, [&] {
    std::vector<std::uint8_t> body;
    try {
      body = BodyWriter::make(contents);
    } catch (const nlohmann::json::exception& error) {
      throw Broken(std::string("document can't be written as JSON: ") + error.what());
    }
    const Sha256Digest digest = sha256(body.data(), body.size());
    const HeaderBytes header = make_header(body.size(), digest);
    AtomicFile file(path);
    file.write(header.data(), header.size());
    file.write(body.data(), body.size());
    file.commit();
    return to_hex(digest);
  });
}

Opened read(const std::filesystem::path& path) {
  return with_name(quoted(path.string()) + ": ", ZELOS_E_FORMAT, ZELOS_E_FORMAT, [&] {
    const InputFile file(path);
    HeaderBytes start{};
    file.read(start.data(), std::min<std::uint64_t>(file.size(), start.size()));
    const Header header = parse_header(start.data(), file.size());
    const std::unique_ptr<std::uint8_t[]> body(new std::uint8_t[static_cast<std::size_t>(header.body_bytes)]);
    file.read(body.get(), header.body_bytes);
    return parse_body(header, body.get());
  });
}

Opened read(const void* bytes, std::size_t size, const std::string& name_for_messages) {
  return with_name(quoted(name_for_messages) + ": ", ZELOS_E_FORMAT, ZELOS_E_FORMAT, [&] {
    const auto* start = static_cast<const std::uint8_t*>(bytes);
    const Header header = parse_header(start, size);
    return parse_body(header, start + kHeaderBytes);
  });
}

}  // namespace zelos::artifact
