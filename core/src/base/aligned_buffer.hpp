// SPDX-License-Identifier: BSD-3-Clause
/// An owning block of doubles that starts on a cache line.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <limits>
#include <new>
#include <utility>

namespace zelos {

/// Fixed-size, move-only array of doubles, aligned to 64 bytes. The storage is padded to a multiple
/// of 64 bytes with zeros, so a kernel may read (never write) the last partial cache line. Pointers
/// stay valid across a move.
class AlignedBuffer {
 public:
  static constexpr std::size_t kAlignment = 64;

  AlignedBuffer() noexcept = default;

  /// `size` doubles, all zero. Throws std::bad_alloc.
  explicit AlignedBuffer(std::size_t size) : size_(size) {
    constexpr std::size_t kPerLine = kAlignment / sizeof(double);
    if (size == 0) return;
    if (size > std::numeric_limits<std::size_t>::max() / sizeof(double) - kPerLine) {
      throw std::bad_alloc();
    }
    const std::size_t padded = (size + kPerLine - 1) / kPerLine * kPerLine;
    data_ = static_cast<double*>(std::aligned_alloc(kAlignment, padded * sizeof(double)));
    if (data_ == nullptr) throw std::bad_alloc();
    for (std::size_t i = 0; i < padded; ++i) data_[i] = 0.0;
  }

  AlignedBuffer(AlignedBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }

  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;

  ~AlignedBuffer() { std::free(data_); }

  /// Null if and only if size() is 0.
  double* data() noexcept { return data_; }
  const double* data() const noexcept { return data_; }

  /// Number of doubles, without padding.
  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }

  double& operator[](std::size_t i) noexcept { return data_[i]; }
  double operator[](std::size_t i) const noexcept { return data_[i]; }

  double* begin() noexcept { return data_; }
  double* end() noexcept { return data_ + size_; }
  const double* begin() const noexcept { return data_; }
  const double* end() const noexcept { return data_ + size_; }

 private:
  double* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace zelos
