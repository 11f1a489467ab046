// SPDX-License-Identifier: BSD-3-Clause
/// vector_math.hpp: a register of doubles at a time, for kernels that are compiled once per
/// instruction set. Part of the headers that families may use, as the core does: it stands on the
/// compiler alone.
///
/// Everything here is always inlined, so that it takes the instruction set of the function that
/// uses it. A kernel is an always-inline template plus one thin function per instruction set;
/// `isa()` tells at run time which one to call:
///
///     ZELOS_TARGET_AVX512 void kernel_avx512(...) { kernel<simd::Pack8>(...); }
///     ZELOS_TARGET_AVX2   void kernel_avx2(...)   { kernel<simd::Pack4>(...); }
///                         void kernel_base(...)   { kernel<simd::Pack2>(...); }
///
/// Compile such files with `-ffp-contract=fast` (fused multiply-add where the instruction set has
/// it) and `-Wno-psabi`. Results differ between instruction sets in the last bits only.
#pragma once

#include <cstdint>
#include <cstring>

#define ZELOS_ALWAYS_INLINE inline __attribute__((always_inline))
#if defined(__x86_64__)
#define ZELOS_TARGET_AVX512 __attribute__((target("avx512f,avx512dq,avx2,fma,prefer-vector-width=512")))
#define ZELOS_TARGET_AVX2 __attribute__((target("avx2,fma")))
#else
#define ZELOS_TARGET_AVX512
#define ZELOS_TARGET_AVX2
#endif

namespace zelos::simd {

/// Buffers and row lengths for these kernels are multiples of this: the doubles in the widest pack.
constexpr int kLanes = 8;

using Pack2 = double __attribute__((vector_size(16)));
using Pack4 = double __attribute__((vector_size(32)));
using Pack8 = double __attribute__((vector_size(64)));

template <class Pack>
constexpr int lanes = sizeof(Pack) / sizeof(double);

enum class Isa { kBase, kAvx2, kAvx512 };

/// The best instruction set of this processor.
inline Isa isa() noexcept {
#if defined(__x86_64__)
  static const Isa best = [] {
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) return Isa::kAvx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Isa::kAvx2;
    return Isa::kBase;
  }();
  return best;
#else
  return Isa::kBase;
#endif
}

template <class Pack>
ZELOS_ALWAYS_INLINE Pack load(const double* p) {
  Pack v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

template <class Pack>
ZELOS_ALWAYS_INLINE void store(double* p, Pack v) {
  std::memcpy(p, &v, sizeof v);
}

template <class Pack>
ZELOS_ALWAYS_INLINE double lane_sum(Pack v) {
  double sum = 0.0;
  for (int i = 0; i < lanes<Pack>; ++i) sum += v[i];
  return sum;
}

template <class Pack>
ZELOS_ALWAYS_INLINE Pack splat(double a) {
  return a - Pack{};
}

/// e^x for -708 <= x <= 709, to about 1 ulp; arguments beyond are clamped there. NaN stays NaN.
template <class Pack>
ZELOS_ALWAYS_INLINE Pack exp(Pack x) {
  const Pack low = splat<Pack>(-708.0), high = splat<Pack>(709.0);
  x = x < low ? low : x;
  x = x > high ? high : x;
  // Adding 1.5 * 2^52 rounds to an integer, which then stands in the low bits of the sum.
  const Pack magic = splat<Pack>(6755399441055744.0);
  const Pack shifted = x * 1.4426950408889634 + magic;
  const Pack k = shifted - magic;
  Pack r = x - k * 6.93147180369123816490e-01;
  r = r - k * 1.90821492927058770002e-10;
  // Taylor series to r^13: |r| <= ln(2)/2, remainder below 5e-18.
  Pack p = splat<Pack>(1.0 / 6227020800.0);
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
  auto bits = x < x;
  std::memcpy(&bits, &shifted, sizeof bits);
  bits = (bits + 1023) << 52;  // the high bits of `magic` leave on the left
  Pack scale;
  std::memcpy(&scale, &bits, sizeof scale);
  return p * scale;
}

/// tanh(x) with an absolute error of about 2e-16.
template <class Pack>
ZELOS_ALWAYS_INLINE Pack tanh(Pack x) {
  return 1.0 - 2.0 / (exp(x + x) + 1.0);
}

/// The logistic function 1 / (1 + e^-x).
template <class Pack>
ZELOS_ALWAYS_INLINE Pack logistic(Pack x) {
  return 1.0 / (1.0 + exp(-x));
}

}  // namespace zelos::simd
