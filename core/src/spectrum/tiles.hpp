// SPDX-License-Identifier: BSD-3-Clause
/// tiles.hpp: the inner product of small dense blocks, for banded matrices. To be used in functions compiled for one
/// instruction set (zelos/simd/vector_math.hpp).
#pragma once

#include <cstdint>

#include "zelos/simd/vector_math.hpp"

namespace zelos::spectrum {

constexpr int kTileColumns = 6;
template <class Pack>
constexpr int kTileRows = 2 * simd::lanes<Pack>;
/// A matrix that is read or written by tiles is followed by this many doubles that may be touched.
constexpr int kTileSlack = 32;

/// c(i, j) -= sum_k a[k lda + i] b[k ldb + j] for a tile, c(i, j) = c[i + j ldc].
template <class Pack>
ZELOS_ALWAYS_INLINE void subtract_tile(const double* a, int64_t lda, const double* b, int64_t ldb, int64_t n, double* c,
                                       int64_t ldc) {
  constexpr int kLanes = simd::lanes<Pack>;
  Pack low[kTileColumns] = {}, high[kTileColumns] = {};
  for (int64_t k = 0; k < n; ++k, a += lda, b += ldb) {
    const Pack first = simd::load<Pack>(a), second = simd::load<Pack>(a + kLanes);
    for (int j = 0; j < kTileColumns; ++j) {
      low[j] += first * b[j];
      high[j] += second * b[j];
    }
  }
  for (int j = 0; j < kTileColumns; ++j, c += ldc) {
    simd::store(c, simd::load<Pack>(c) - low[j]);
    simd::store(c + kLanes, simd::load<Pack>(c + kLanes) - high[j]);
  }
}

/// All tiles of c (rows, columns); with `lower` those that reach the diagonal or below it. Rows and columns beyond the
/// given ones are touched, up to a whole tile.
template <class Pack>
ZELOS_ALWAYS_INLINE void subtract_product(const double* a, int64_t lda, const double* b, int64_t ldb, int64_t n,
                                          int64_t rows, int64_t columns, bool lower, double* c, int64_t ldc) {
  for (int64_t j = 0; j < columns; j += kTileColumns) {
    for (int64_t i = lower ? j : 0; i < rows; i += kTileRows<Pack>) {
      subtract_tile<Pack>(a + i, lda, b + j, ldb, n, c + i + j * ldc, ldc);
    }
  }
}

}  // namespace zelos::spectrum
