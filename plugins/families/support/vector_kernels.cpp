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
ZELOS_ALWAYS_INLINE void multiply_tile(const double* a, int64_t a_stride, const double* b,
                                       int64_t b_stride, int64_t n, double* out, int64_t row_stride,
                                       int64_t col_stride) {
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

// Eight sums at a time hide the latency of the additions and fit the registers.
template <class Pack, int kCols>
ZELOS_ALWAYS_INLINE void multiply_columns(const double* a, int64_t a_stride, int64_t rows,
                                          const double* b, int64_t b_stride, int64_t n, double* out,
                                          int64_t row_stride, int64_t col_stride) {
  constexpr int kTile = 8 / kCols;
  int64_t r = 0;
  for (; r + kTile <= rows; r += kTile) {
    multiply_tile<Pack, kTile, kCols>(a + r * a_stride, a_stride, b, b_stride, n,
                                      out + r * row_stride, row_stride, col_stride);
  }
  for (; r < rows; ++r) {
    multiply_tile<Pack, 1, kCols>(a + r * a_stride, a_stride, b, b_stride, n, out + r * row_stride,
                                  row_stride, col_stride);
  }
}

template <class Pack>
ZELOS_ALWAYS_INLINE void multiply_add_body(const double* a, int64_t a_stride, int64_t rows,
                                           const double* b, int64_t b_stride, int64_t cols,
                                           int64_t n, double* out, int64_t row_stride,
                                           int64_t col_stride) {
  int64_t c = 0;
  for (; c + 2 <= cols; c += 2) {
    multiply_columns<Pack, 2>(a, a_stride, rows, b + c * b_stride, b_stride, n,
                              out + c * col_stride, row_stride, col_stride);
  }
  if (c < cols) {
    multiply_columns<Pack, 1>(a, a_stride, rows, b + c * b_stride, b_stride, n,
                              out + c * col_stride, row_stride, col_stride);
  }
}

template <class Pack>
ZELOS_ALWAYS_INLINE void correlate_body(Correlation kind, const double* points,
                                        int64_t point_stride, int64_t n, const double* u,
                                        int64_t n_inputs, double* value, double* slope) {
  for (int64_t i = 0; i < n; i += lanes<Pack>) {
    Pack r2 = {};
    for (int64_t j = 0; j < n_inputs; ++j) {
      const Pack p = load<Pack>(points + j * point_stride + i);
      const Pack d = u[j] - p;
      r2 += d * d;
    }
    if (kind == Correlation::kSquaredExponential) {
      const Pack k = simd::exp(-0.5 * r2);
      store<Pack>(value + i, k);
      store<Pack>(slope + i, -k);
    } else {
      Pack s = 5.0 * r2;
      for (int lane = 0; lane < lanes<Pack>; ++lane) s[lane] = std::sqrt(s[lane]);
      const Pack e = simd::exp(-s);
      store<Pack>(value + i, (1.0 + s + (5.0 / 3.0) * r2) * e);
      store<Pack>(slope + i, (-5.0 / 3.0) * (1.0 + s) * e);
    }
  }
}

template <class Pack>
ZELOS_ALWAYS_INLINE void slope_along_body(const double* slope, const double* p, int64_t n, double u,
                                          double* out) {
  for (int64_t i = 0; i < n; i += lanes<Pack>) {
    store<Pack>(out + i, load<Pack>(slope + i) * (u - load<Pack>(p + i)));
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

#define ZELOS_VARIANT(suffix, Pack, attribute, label)                                              \
  attribute void exponential_##suffix(double* x, int64_t n) { exponential_body<Pack>(x, n); }      \
  attribute void multiply_add_##suffix(const double* a, int64_t as, int64_t rows, const double* b, \
                                       int64_t bs, int64_t cols, int64_t n, double* out,           \
                                       int64_t rs, int64_t cs) {                                   \
    multiply_add_body<Pack>(a, as, rows, b, bs, cols, n, out, rs, cs);                             \
  }                                                                                                \
  attribute void correlate_##suffix(Correlation kind, const double* points, int64_t stride,        \
                                    int64_t n, const double* u, int64_t d, double* value,          \
                                    double* slope) {                                               \
    correlate_body<Pack>(kind, points, stride, n, u, d, value, slope);                             \
  }                                                                                                \
  attribute void slope_along_##suffix(const double* slope, const double* p, int64_t n, double u,   \
                                      double* out) {                                               \
    slope_along_body<Pack>(slope, p, n, u, out);                                                   \
  }                                                                                                \
  attribute double dot_##suffix(const double* a, const double* b, int64_t n) {                     \
    return dot_body<Pack>(a, b, n);                                                                \
  }                                                                                                \
  constexpr VectorKernels kVariant_##suffix = {label,                                              \
                                               exponential_##suffix,                               \
                                               multiply_add_##suffix,                              \
                                               correlate_##suffix,                                 \
                                               slope_along_##suffix,                               \
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
