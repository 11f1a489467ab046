// SPDX-License-Identifier: BSD-3-Clause
#include "vector_kernels.hpp"

#include <cmath>

#if defined(__x86_64__) && defined(__GNUC__)
#define ZELOS_X86_VARIANTS 1
#else
#define ZELOS_X86_VARIANTS 0
#endif

#define ZELOS_INLINE static inline __attribute__((always_inline))

namespace zelos::family {
namespace {

// Vectors of eight are lowered by the compiler to whatever registers the variant has. aligned(8): callers' arrays are
// mostly 64-byte aligned, but nothing breaks when they are not. may_alias: they overlay plain double arrays.
using Vec = double __attribute__((vector_size(64), aligned(8), may_alias));
using Int = int64_t __attribute__((vector_size(64), aligned(8), may_alias));

ZELOS_INLINE void load(const double* p, Vec& v) { v = *reinterpret_cast<const Vec*>(p); }
ZELOS_INLINE void store(double* p, const Vec& v) { *reinterpret_cast<Vec*>(p) = v; }
ZELOS_INLINE void fill(double s, Vec& v) { v = Vec{s, s, s, s, s, s, s, s}; }

ZELOS_INLINE double lane_sum(const Vec& v) {
  return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
}

// exp(x) = 2^n exp(r), |r| <= ln(2)/2, Taylor to r^13 (truncation 4e-18).
ZELOS_INLINE void exp_vec(Vec& x) {
  constexpr double kShift = 0x1.8p52;
  Vec low, high, shift;
  fill(-708.0, low);
  fill(709.0, high);
  fill(kShift, shift);
  x = x < low ? low : x;
  x = x > high ? high : x;
  const Vec t = x * 0x1.71547652b82fep+0 + shift;
  const Vec n = t - shift;
  const Vec r = (x - n * 0x1.62e42fee00000p-1) - n * 0x1.a39ef35793c76p-33;
  Vec p;
  fill(1.0 / 6227020800.0, p);
  p = p * r + 1.0 / 479001600.0;
  p = p * r + 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  const Int bits = (reinterpret_cast<const Int&>(t) << 52) + INT64_C(0x3ff0000000000000);
  x = p * reinterpret_cast<const Vec&>(bits);
}

ZELOS_INLINE void exponential_body(double* x, int64_t n) {
  for (int64_t i = 0; i < n; i += kLane) {
    Vec v;
    load(x + i, v);
    exp_vec(v);
    store(x + i, v);
  }
}

template <int kRows, int kCols>
ZELOS_INLINE void multiply_tile(const double* a, int64_t a_stride, const double* b, int64_t b_stride, int64_t n,
                                double* out, int64_t row_stride, int64_t col_stride) {
  Vec sum[kRows][kCols] = {};
  for (int64_t i = 0; i < n; i += kLane) {
    Vec right[kCols];
    for (int c = 0; c < kCols; ++c) load(b + c * b_stride + i, right[c]);
    for (int r = 0; r < kRows; ++r) {
      Vec left;
      load(a + r * a_stride + i, left);
      for (int c = 0; c < kCols; ++c) sum[r][c] += left * right[c];
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int c = 0; c < kCols; ++c) out[r * row_stride + c * col_stride] += lane_sum(sum[r][c]);
  }
}

template <int kCols>
ZELOS_INLINE void multiply_columns(const double* a, int64_t a_stride, int64_t rows, const double* b, int64_t b_stride,
                                   int64_t n, double* out, int64_t row_stride, int64_t col_stride) {
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    multiply_tile<4, kCols>(a + r * a_stride, a_stride, b, b_stride, n, out + r * row_stride, row_stride, col_stride);
  }
  for (; r < rows; ++r) {
    multiply_tile<1, kCols>(a + r * a_stride, a_stride, b, b_stride, n, out + r * row_stride, row_stride, col_stride);
  }
}

ZELOS_INLINE void multiply_add_body(const double* a, int64_t a_stride, int64_t rows, const double* b,
                                    int64_t b_stride, int64_t cols, int64_t n, double* out, int64_t row_stride,
                                    int64_t col_stride) {
  int64_t c = 0;
  for (; c + 2 <= cols; c += 2) {
    multiply_columns<2>(a, a_stride, rows, b + c * b_stride, b_stride, n, out + c * col_stride, row_stride,
                        col_stride);
  }
  if (c < cols) {
    multiply_columns<1>(a, a_stride, rows, b + c * b_stride, b_stride, n, out + c * col_stride, row_stride,
                        col_stride);
  }
}

ZELOS_INLINE void correlate_body(Correlation kind, const double* points, int64_t point_stride, int64_t n,
                                 const double* u, int64_t n_inputs, double* value, double* slope) {
  for (int64_t i = 0; i < n; i += kLane) {
    Vec r2 = {};
    for (int64_t j = 0; j < n_inputs; ++j) {
      Vec p;
      load(points + j * point_stride + i, p);
      const Vec d = u[j] - p;
      r2 += d * d;
    }
    if (kind == Correlation::kSquaredExponential) {
      Vec k = -0.5 * r2;
      exp_vec(k);
      store(value + i, k);
      store(slope + i, -k);
    } else {
      Vec s = 5.0 * r2;
      for (int64_t lane = 0; lane < kLane; ++lane) s[lane] = std::sqrt(s[lane]);
      Vec e = -s;
      exp_vec(e);
      store(value + i, (1.0 + s + (5.0 / 3.0) * r2) * e);
      store(slope + i, (-5.0 / 3.0) * (1.0 + s) * e);
    }
  }
}

ZELOS_INLINE void slope_along_body(const double* slope, const double* p, int64_t n, double u, double* out) {
  for (int64_t i = 0; i < n; i += kLane) {
    Vec s, q;
    load(slope + i, s);
    load(p + i, q);
    store(out + i, s * (u - q));
  }
}

ZELOS_INLINE double dot_body(const double* a, const double* b, int64_t n) {
  Vec sum[4] = {};
  int64_t i = 0;
  for (; i + 4 * kLane <= n; i += 4 * kLane) {
    for (int k = 0; k < 4; ++k) {
      Vec x, y;
      load(a + i + k * kLane, x);
      load(b + i + k * kLane, y);
      sum[k] += x * y;
    }
  }
  double rest = 0.0;
  for (; i < n; ++i) rest += a[i] * b[i];
  const Vec total = (sum[0] + sum[1]) + (sum[2] + sum[3]);
  return lane_sum(total) + rest;
}

#define ZELOS_VARIANT(suffix, attribute, label)                                                                    \
  attribute void exponential_##suffix(double* x, int64_t n) { exponential_body(x, n); }                            \
  attribute void multiply_add_##suffix(const double* a, int64_t as, int64_t rows, const double* b, int64_t bs,     \
                                       int64_t cols, int64_t n, double* out, int64_t rs, int64_t cs) {             \
    multiply_add_body(a, as, rows, b, bs, cols, n, out, rs, cs);                                                   \
  }                                                                                                                \
  attribute void correlate_##suffix(Correlation kind, const double* points, int64_t stride, int64_t n,             \
                                    const double* u, int64_t d, double* value, double* slope) {                    \
    correlate_body(kind, points, stride, n, u, d, value, slope);                                                   \
  }                                                                                                                \
  attribute void slope_along_##suffix(const double* slope, const double* p, int64_t n, double u, double* out) {    \
    slope_along_body(slope, p, n, u, out);                                                                         \
  }                                                                                                                \
  attribute double dot_##suffix(const double* a, const double* b, int64_t n) { return dot_body(a, b, n); }         \
  constexpr VectorKernels kVariant_##suffix = {label,          exponential_##suffix, multiply_add_##suffix,        \
                                               correlate_##suffix, slope_along_##suffix, dot_##suffix};

ZELOS_VARIANT(portable, , "portable")
#if ZELOS_X86_VARIANTS
ZELOS_VARIANT(avx2, __attribute__((target("avx2,fma"))), "avx2+fma")
ZELOS_VARIANT(avx512, __attribute__((target("avx512f,avx512dq,avx512vl,fma"))), "avx512")
#endif

}  // namespace

const VectorKernels* vector_kernels_variant(int index) noexcept {
  if (index == 0) return &kVariant_portable;
#if ZELOS_X86_VARIANTS
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  if (index == 1 && avx2) return &kVariant_avx2;
  if (index == 2 && avx512) return &kVariant_avx512;
#endif
  return nullptr;
}

const VectorKernels& vector_kernels() noexcept {
  static const VectorKernels* const best = [] {
    const VectorKernels* found = vector_kernels_variant(0);
    for (int i = 1; const VectorKernels* next = vector_kernels_variant(i); ++i) found = next;
    return found;
  }();
  return *best;
}

}  // namespace zelos::family
