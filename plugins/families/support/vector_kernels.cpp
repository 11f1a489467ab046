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

// A vector of W doubles, W the width of the variant's registers: gcc 12 lowers wider ones badly.
// aligned(8): callers' arrays are mostly 64-byte aligned, but nothing breaks when they are not.
// may_alias: they overlay plain arrays.
template <int W>
struct Pack;
#define ZELOS_PACK(width)                                                                \
  template <>                                                                            \
  struct Pack<width> {                                                                   \
    using Vec = double __attribute__((vector_size(8 * width), aligned(8), may_alias));   \
    using Int = uint64_t __attribute__((vector_size(8 * width), aligned(8), may_alias)); \
  };
ZELOS_PACK(2)
ZELOS_PACK(4)
ZELOS_PACK(8)
template <int W>
using VecOf = typename Pack<W>::Vec;

template <int W>
ZELOS_INLINE void load(const double* p, VecOf<W>& v) {
  v = *reinterpret_cast<const VecOf<W>*>(p);
}
template <int W>
ZELOS_INLINE void store(double* p, const VecOf<W>& v) {
  *reinterpret_cast<VecOf<W>*>(p) = v;
}

template <int W>
ZELOS_INLINE double lane_sum(const VecOf<W>& v) {
  double sum = 0.0;
  for (int i = 0; i < W; ++i) sum += v[i];
  return sum;
}

// exp(x) = 2^n exp(r), |r| <= ln(2)/2, Taylor to r^13 (truncation 4e-18).
template <int W>
ZELOS_INLINE void exp_vec(VecOf<W>& x) {
  using Vec = VecOf<W>;
  using Int = typename Pack<W>::Int;
  constexpr double kShift = 0x1.8p52;
  const Vec zero = {};
  const Vec low = zero - 708.0, high = zero + 709.0;
  x = x < low ? low : x;
  x = x > high ? high : x;
  const Vec t = x * 0x1.71547652b82fep+0 + kShift;
  const Vec n = t - kShift;
  const Vec r = (x - n * 0x1.62e42fee00000p-1) - n * 0x1.a39ef35793c76p-33;
  Vec p = zero + 1.0 / 6227020800.0;
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
  const Int bits = (reinterpret_cast<const Int&>(t) << 52) + UINT64_C(0x3ff0000000000000);
  x = p * reinterpret_cast<const Vec&>(bits);
}

template <int W>
ZELOS_INLINE void exponential_body(double* x, int64_t n) {
  for (int64_t i = 0; i < n; i += W) {
    VecOf<W> v;
    load<W>(x + i, v);
    exp_vec<W>(v);
    store<W>(x + i, v);
  }
}

template <int W, int kRows, int kCols>
ZELOS_INLINE void multiply_tile(const double* a, int64_t a_stride, const double* b,
                                int64_t b_stride, int64_t n, double* out, int64_t row_stride,
                                int64_t col_stride) {
  VecOf<W> sum[kRows][kCols] = {};
  for (int64_t i = 0; i < n; i += W) {
    VecOf<W> right[kCols];
    for (int c = 0; c < kCols; ++c) load<W>(b + c * b_stride + i, right[c]);
    for (int r = 0; r < kRows; ++r) {
      VecOf<W> left;
      load<W>(a + r * a_stride + i, left);
      for (int c = 0; c < kCols; ++c) sum[r][c] += left * right[c];
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int c = 0; c < kCols; ++c) out[r * row_stride + c * col_stride] += lane_sum<W>(sum[r][c]);
  }
}

// Eight sums at a time hide the latency of the additions and fit the registers.
template <int W, int kCols>
ZELOS_INLINE void multiply_columns(const double* a, int64_t a_stride, int64_t rows, const double* b,
                                   int64_t b_stride, int64_t n, double* out, int64_t row_stride,
                                   int64_t col_stride) {
  constexpr int kTile = 8 / kCols;
  int64_t r = 0;
  for (; r + kTile <= rows; r += kTile) {
    multiply_tile<W, kTile, kCols>(a + r * a_stride, a_stride, b, b_stride, n, out + r * row_stride,
                                   row_stride, col_stride);
  }
  for (; r < rows; ++r) {
    multiply_tile<W, 1, kCols>(a + r * a_stride, a_stride, b, b_stride, n, out + r * row_stride,
                               row_stride, col_stride);
  }
}

template <int W>
ZELOS_INLINE void multiply_add_body(const double* a, int64_t a_stride, int64_t rows,
                                    const double* b, int64_t b_stride, int64_t cols, int64_t n,
                                    double* out, int64_t row_stride, int64_t col_stride) {
  int64_t c = 0;
  for (; c + 2 <= cols; c += 2) {
    multiply_columns<W, 2>(a, a_stride, rows, b + c * b_stride, b_stride, n, out + c * col_stride,
                           row_stride, col_stride);
  }
  if (c < cols) {
    multiply_columns<W, 1>(a, a_stride, rows, b + c * b_stride, b_stride, n, out + c * col_stride,
                           row_stride, col_stride);
  }
}

template <int W>
ZELOS_INLINE void correlate_body(Correlation kind, const double* points, int64_t point_stride,
                                 int64_t n, const double* u, int64_t n_inputs, double* value,
                                 double* slope) {
  using Vec = VecOf<W>;
  for (int64_t i = 0; i < n; i += W) {
    Vec r2 = {};
    for (int64_t j = 0; j < n_inputs; ++j) {
      Vec p;
      load<W>(points + j * point_stride + i, p);
      const Vec d = u[j] - p;
      r2 += d * d;
    }
    if (kind == Correlation::kSquaredExponential) {
      Vec k = -0.5 * r2;
      exp_vec<W>(k);
      store<W>(value + i, k);
      store<W>(slope + i, -k);
    } else {
      Vec s = 5.0 * r2;
      for (int lane = 0; lane < W; ++lane) s[lane] = std::sqrt(s[lane]);
      Vec e = -s;
      exp_vec<W>(e);
      store<W>(value + i, (1.0 + s + (5.0 / 3.0) * r2) * e);
      store<W>(slope + i, (-5.0 / 3.0) * (1.0 + s) * e);
    }
  }
}

template <int W>
ZELOS_INLINE void slope_along_body(const double* slope, const double* p, int64_t n, double u,
                                   double* out) {
  for (int64_t i = 0; i < n; i += W) {
    VecOf<W> s, q;
    load<W>(slope + i, s);
    load<W>(p + i, q);
    store<W>(out + i, s * (u - q));
  }
}

template <int W>
ZELOS_INLINE double dot_body(const double* a, const double* b, int64_t n) {
  VecOf<W> sum[4] = {};
  int64_t i = 0;
  for (; i + 4 * W <= n; i += 4 * W) {
    for (int k = 0; k < 4; ++k) {
      VecOf<W> x, y;
      load<W>(a + i + k * W, x);
      load<W>(b + i + k * W, y);
      sum[k] += x * y;
    }
  }
  double rest = 0.0;
  for (; i < n; ++i) rest += a[i] * b[i];
  const VecOf<W> total = (sum[0] + sum[1]) + (sum[2] + sum[3]);
  return lane_sum<W>(total) + rest;
}

#define ZELOS_VARIANT(suffix, width, attribute, label)                                             \
  attribute void exponential_##suffix(double* x, int64_t n) { exponential_body<width>(x, n); }     \
  attribute void multiply_add_##suffix(const double* a, int64_t as, int64_t rows, const double* b, \
                                       int64_t bs, int64_t cols, int64_t n, double* out,           \
                                       int64_t rs, int64_t cs) {                                   \
    multiply_add_body<width>(a, as, rows, b, bs, cols, n, out, rs, cs);                            \
  }                                                                                                \
  attribute void correlate_##suffix(Correlation kind, const double* points, int64_t stride,        \
                                    int64_t n, const double* u, int64_t d, double* value,          \
                                    double* slope) {                                               \
    correlate_body<width>(kind, points, stride, n, u, d, value, slope);                            \
  }                                                                                                \
  attribute void slope_along_##suffix(const double* slope, const double* p, int64_t n, double u,   \
                                      double* out) {                                               \
    slope_along_body<width>(slope, p, n, u, out);                                                  \
  }                                                                                                \
  attribute double dot_##suffix(const double* a, const double* b, int64_t n) {                     \
    return dot_body<width>(a, b, n);                                                               \
  }                                                                                                \
  constexpr VectorKernels kVariant_##suffix = {label,                                              \
                                               exponential_##suffix,                               \
                                               multiply_add_##suffix,                              \
                                               correlate_##suffix,                                 \
                                               slope_along_##suffix,                               \
                                               dot_##suffix};

ZELOS_VARIANT(portable, 2, , "portable")
#if ZELOS_X86_VARIANTS
ZELOS_VARIANT(avx2, 4, __attribute__((target("avx2,fma"))), "avx2+fma")
ZELOS_VARIANT(avx512, 8, __attribute__((target("avx512f,avx512dq,avx512vl,fma"))), "avx512")
#endif

}  // namespace

const VectorKernels* vector_kernels_variant(int index) noexcept {
  if (index == 0) return &kVariant_portable;
#if ZELOS_X86_VARIANTS
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
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
