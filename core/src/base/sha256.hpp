// SPDX-License-Identifier: BSD-3-Clause
/// SHA-256 (FIPS 180-4). Uses the processor's SHA instructions where there are any.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace zelos {

using Sha256Digest = std::array<std::uint8_t, 32>;

/// Digest of a message that comes in pieces. One object belongs to one thread at a time.
class Sha256 {
 public:
  /// `portable` never uses special instructions; both kernels give the same digest.
  enum class Kernel { automatic, portable };

  explicit Sha256(Kernel kernel = Kernel::automatic) noexcept;

  /// Appends `size` bytes. `data` may be null if `size` is 0.
  void update(const void* data, std::size_t size) noexcept;

  /// The digest of everything that was appended. Call once; afterwards the object is only good for
  /// destruction or assignment.
  Sha256Digest finish() noexcept;

 private:
  using Compress = void (*)(std::uint32_t* state, const std::uint8_t* blocks, std::size_t count);

  Compress compress_;
  std::array<std::uint32_t, 8> state_;
  std::array<std::uint8_t, 64> block_{};
  std::uint64_t size_ = 0;
};

/// Digest of `size` bytes. Thread-safe.
Sha256Digest sha256(const void* data, std::size_t size) noexcept;

/// The same as 64 lower-case hexadecimal digits.
std::string sha256_hex(const void* data, std::size_t size);

/// Lower-case hexadecimal digits of a digest.
std::string to_hex(const Sha256Digest& digest);

}  // namespace zelos
