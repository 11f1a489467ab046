// SPDX-License-Identifier: BSD-3-Clause
#include "vector_kernels.hpp"

#include <cmath>

#include "zelos/simd/vector_math.hpp"

namespace zelos::family {
namespace {

using simd::lane_sum;
using simd::lanes;
using simd::load;
using simd::store;

template <class Pack>
ZELOS_ALWAYS_INLINE void exponential_body(double* x, int64_t n) {
  for (int64_t i = 0; i < n; i += lanes<Pack>) {
    store(x + i, simd::exp(load<Pack>(x + i)));
  }
}

template <class Pack, int kRows, int kCols>
ZELOS_ALWAYS_INLINE void multiply_tile(const double* a, int64_t a_stride, const double* b, int64_t b_stride, int64_t n,
                                       double* out, int64_t row_stride, int64_t col_stride) {
  Pack sum[kRows][kCols] = {};
  for (int64_t i = 0; i < n; i += lanes<Pack>) {
    Pack right[kCols];
    for (int c = 0; c < kCols; ++c) right[c] = load<Pack>(b + c * b_stride + i);
    for (int r = 0; r < kRows; ++r) {
      const Pack left = load<Pack>(a + r * a_stride + i);
      for (int c = 0; c < kCols; ++c) sum[r][c] += left * right[c];
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int c = 0; c < kCols; ++c) out[r * row_stride + c * col_stride] += lane_sum(sum[r][c]);
  }
}

// Up to kMost rows at once, kMost / 2 or more where there are as many: their sums hide the latency
// of the additions and fit the registers.
template <class Pack, int kCols, int kMost>
ZELOS_ALWAYS_INLINE void multiply_rows(const double* a, int64_t a_stride, int64_t rows, const double* b,
                                       int64_t b_stride, int64_t n, double* out, int64_t row_stride,
                                       int64_t col_stride) {
  if constexpr (kMost > 1) {
    if (rows < kMost) {
      return multiply_rows<Pack, kCols, kMost - 1>(a, a_stride, rows, b, b_stride, n, out, row_stride, col_stride);
    }
  }
  multiply_tile<Pack, kMost, kCols>(a, a_stride, b, b_stride, n, out, row_stride, col_stride);
}

template <class Pack, int kCols>
ZELOS_ALWAYS_INLINE void multiply_columns(const double* a, int64_t a_stride, int64_t rows, const double* b,
                                          int64_t b_stride, int64_t n, double* out, int64_t row_stride,
                                          int64_t col_stride) {
  constexpr int kTile = 8 / kCols;
  for (int64_t tiles = (rows + kTile - 1) / kTile, r = 0; tiles > 0; --tiles) {
    const int64_t now = (rows - r + tiles - 1) / tiles;
    multiply_rows<Pack, kCols, kTile>(a + r * a_stride, a_stride, now, b, b_stride, n, out + r * row_stride, row_stride,
                                      col_stride);
    r += now;
  }
}

template <class Pack>
ZELOS_ALWAYS_INLINE void multiply_add_body(const double* a, int64_t a_stride, int64_t rows, const double* b,
                                           int64_t b_stride, int64_t cols, int64_t n, double* out, int64_t row_stride,
                                           int64_t col_stride) {
  int64_t c = 0;
  for (; c + 2 <= cols; c += 2) {
    multiply_columns<Pack, 2>(a, a_stride, rows, b + c * b_stride, b_stride, n, out + c * col_stride, row_stride,
                              col_stride);
  }
  if (c < cols) {
    multiply_columns<Pack, 1>(a, a_stride, rows, b + c * b_stride, b_stride, n, out + c * col_stride, row_stride,
                              col_stride);
  }
}

template <class Pack>
ZELOS_ALWAYS_INLINE void square_differences_body(const double* points, int64_t point_stride, int64_t n, const double* x,
                                                 int64_t n_inputs, double* out, int64_t stride) {
  for (int64_t j = 0; j < n_inputs; ++j) {
    for (int64_t i = 0; i < n; i += lanes<Pack>) {
      const Pack d = x[j] - load<Pack>(points + j * point_stride + i);
      store<Pack>(out + j * stride + i, d * d);
    }
  }
}

// kPacks registers at a time: their long chains of operations overlap.
template <class Pack, int kPacks>
ZELOS_ALWAYS_INLINE void correlate_block(Correlation kind, const double* squares, int64_t stride, const double* weight,
                                         int64_t n_inputs, double amplitude, bool add, double* value, double* slope) {
  const auto put = [&](int k, Pack v) {
    double* at = value + k * lanes<Pack>;
    store<Pack>(at, add ? load<Pack>(at) + amplitude * v : amplitude * v);
  };
  Pack r2[kPacks] = {};
  for (int64_t j = 0; j < n_inputs; ++j) {
    if (weight[j] == 0.0) continue;  // a term without this input
    for (int k = 0; k < kPacks; ++k) r2[k] += weight[j] * load<Pack>(squares + j * stride + k * lanes<Pack>);
  }
  if (kind == Correlation::kSquaredExponential) {
    for (int k = 0; k < kPacks; ++k) {
      const Pack e = simd::exp(-0.5 * r2[k]);
      put(k, e);
      if (slope != nullptr) store<Pack>(slope + k * lanes<Pack>, -e);
    }
    return;
  }
  Pack s[kPacks];
  for (int k = 0; k < kPacks; ++k) s[k] = simd::sqrt<Pack>(5.0 * r2[k]);
  for (int k = 0; k < kPacks; ++k) {
    const Pack e = simd::exp(-s[k]);
    put(k, (1.0 + s[k] + (5.0 / 3.0) * r2[k]) * e);
    if (slope != nullptr) {
      store<Pack>(slope + k * lanes<Pack>, (-5.0 / 3.0) * (1.0 + s[k]) * e);
    }
  }
}

template <class Pack>
ZELOS_ALWAYS_INLINE void correlate_body(Correlation kind, const double* squares, int64_t stride, int64_t n,
                                        const double* weight, int64_t n_inputs, double amplitude, bool add,
                                        double* value, double* slope) {
  constexpr int kPacks = 4;
  int64_t i = 0;
  for (; i + kPacks * lanes<Pack> <= n; i += kPacks * lanes<Pack>) {
    correlate_block<Pack, kPacks>(kind, squares + i, stride, weight, n_inputs, amplitude, add, value + i,
                                  slope == nullptr ? nullptr : slope + i);
  }
  for (; i < n; i += lanes<Pack>) {
    correlate_block<Pack, 1>(kind, squares + i, stride, weight, n_inputs, amplitude, add, value + i,
                             slope == nullptr ? nullptr : slope + i);
  }
}

template <class Pack>
ZELOS_ALWAYS_INLINE void slope_along_body(const double* slope, const double* p, int64_t n, double u, double factor,
                                          bool add, double* out) {
  for (int64_t i = 0; i < n; i += lanes<Pack>) {
    const Pack one = factor * load<Pack>(slope + i) * (u - load<Pack>(p + i));
    store<Pack>(out + i, add ? load<Pack>(out + i) + one : one);
  }
}

template <class Pack>
ZELOS_ALWAYS_INLINE double dot_body(const double* a, const double* b, int64_t n) {
  Pack sum[4] = {};
  int64_t i = 0;
  for (; i + 4 * lanes<Pack> <= n; i += 4 * lanes<Pack>) {
    for (int k = 0; k < 4; ++k) {
      const int64_t at = i + k * lanes<Pack>;
      sum[k] += load<Pack>(a + at) * load<Pack>(b + at);
    }
  }
  double rest = 0.0;
  for (; i < n; ++i) rest += a[i] * b[i];
  const Pack total = (sum[0] + sum[1]) + (sum[2] + sum[3]);
  return lane_sum(total) + rest;
}

#define ZELOS_VARIANT(suffix, Pack, attribute, label)                                                                 \
  attribute void exponential_##suffix(double* x, int64_t n) { exponential_body<Pack>(x, n); }                         \
  attribute void multiply_add_##suffix(const double* a, int64_t as, int64_t rows, const double* b, int64_t bs,        \
                                       int64_t cols, int64_t n, double* out, int64_t rs, int64_t cs) {                \
    multiply_add_body<Pack>(a, as, rows, b, bs, cols, n, out, rs, cs);                                                \
  }                                                                                                                   \
  attribute void square_differences_##suffix(const double* points, int64_t ps, int64_t n, const double* x, int64_t d, \
                                             double* out, int64_t stride) {                                           \
    square_differences_body<Pack>(points, ps, n, x, d, out, stride);                                                  \
  }                                                                                                                   \
  attribute void correlate_##suffix(Correlation kind, const double* squares, int64_t stride, int64_t n,               \
                                    const double* weight, int64_t d, double amplitude, bool add, double* value,       \
                                    double* slope) {                                                                  \
    correlate_body<Pack>(kind, squares, stride, n, weight, d, amplitude, add, value, slope);                          \
  }                                                                                                                   \
  attribute void slope_along_##suffix(const double* slope, const double* p, int64_t n, double u, double factor,       \
                                      bool add, double* out) {                                                        \
    slope_along_body<Pack>(slope, p, n, u, factor, add, out);                                                         \
  }                                                                                                                   \
  attribute double dot_##suffix(const double* a, const double* b, int64_t n) { return dot_body<Pack>(a, b, n); }      \
  constexpr VectorKernels kVariant_##suffix = {label,                                                                 \
                                               exponential_##suffix,                                                  \
                                               multiply_add_##suffix,                                                 \
                                               square_differences_##suffix,                                           \
                                               correlate_##suffix,                                                    \
                                               slope_along_##suffix,                                                  \
                                               dot_##suffix};

ZELOS_VARIANT(portable, simd::Pack2, , "portable")
ZELOS_VARIANT(avx2, simd::Pack4, ZELOS_TARGET_AVX2, "avx2+fma")
ZELOS_VARIANT(avx512, simd::Pack8, ZELOS_TARGET_AVX512, "avx512")

constexpr const VectorKernels* kVariants[] = {&kVariant_portable, &kVariant_avx2, &kVariant_avx512};

}  // namespace

const VectorKernels* vector_kernels_variant(int index) noexcept {
  return index <= static_cast<int>(simd::isa()) ? kVariants[index] : nullptr;
}

const VectorKernels& vector_kernels() noexcept { return *kVariants[static_cast<int>(simd::isa())]; }

}  // namespace zelos::family
