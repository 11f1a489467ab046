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

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

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

/// Whether a register of indices picks from two registers in one instruction.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
template <class Pack>
constexpr bool kShuffles = lanes<Pack> == 8;
#else
template <class Pack>
constexpr bool kShuffles = false;
#endif

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
  if constexpr (lanes<Pack> == 2) {
    return v[0] + v[1];
  } else {
    std::conditional_t<lanes<Pack> == 8, Pack4, Pack2> half[2];
    std::memcpy(half, &v, sizeof v);
    return lane_sum(half[0] + half[1]);
  }
}

template <class Pack>
ZELOS_ALWAYS_INLINE Pack splat(double a) {
  return a - Pack{};
}

/// 2^(i/16) for the integers in the low bits of `whole`, i their last four: of two registers, in one instruction.
ZELOS_ALWAYS_INLINE Pack8 sixteenth_root_of_two(Pack8 whole) {
  using Whole = int64_t __attribute__((vector_size(64)));
  const Pack8 low = {1.0,
                     1.0442737824274138,
                     1.0905077326652577,
                     1.1387886347566916,
                     1.189207115002721,
                     1.241857812073484,
                     1.2968395546510096,
                     1.3542555469368927};
  const Pack8 high = {1.4142135623730951, 1.4768261459394993, 1.5422108254079407, 1.6104903319492543,
                      1.681792830507429,  1.7562521603732995, 1.8340080864093424, 1.9152065613971474};
  Whole bits;
  std::memcpy(&bits, &whole, sizeof bits);
  return __builtin_shuffle(low, high, bits & 15);
}

/// e^x for -708 <= x <= 709, to about 1 ulp; arguments beyond are clamped there. NaN stays NaN.
template <class Pack>
ZELOS_ALWAYS_INLINE Pack exp(Pack x) {
  const Pack low = splat<Pack>(-708.0), high = splat<Pack>(709.0);
  x = x < low ? low : x;
  x = x > high ? high : x;
  // Adding 1.5 * 2^52 rounds to an integer, which then stands in the low bits of the sum.
  const Pack magic = splat<Pack>(6755399441055744.0);
  auto bits = x < x;
  if constexpr (kShuffles<Pack>) {
    // x = (k + i / 16) ln 2 + r. 1 + r + r^2 q(r), q minimax for |r| <= ln(2)/32: 3e-17 relative.
    const Pack shifted = x * 23.083120654223414 + magic;
    const Pack k = shifted - magic;
    Pack r = x - k * (6.93147180369123816490e-01 / 16);
    r = r - k * (1.90821492927058770002e-10 / 16);
    Pack q = splat<Pack>(0.0013889034377693012);
    q = q * r + 0.008333449724528355;
    q = q * r + 0.041666666664959766;
    q = q * r + 0.16666666665301144;
    q = q * r + 0.5;
    const Pack root = sixteenth_root_of_two(shifted);
    const Pack value = root + root * (r + r * r * q);
    auto exponent = bits;
    std::memcpy(&bits, &shifted, sizeof bits);
    std::memcpy(&exponent, &value, sizeof exponent);
    exponent += (bits & ~15) << 48;
    Pack result;
    std::memcpy(&result, &exponent, sizeof result);
    return result;
  }
  const Pack shifted = x * 1.4426950408889634 + magic;
  const Pack k = shifted - magic;
  Pack r = x - k * 6.93147180369123816490e-01;
  r = r - k * 1.90821492927058770002e-10;
  // 1 + r + r^2 q(r), q minimax for |r| <= ln(2)/2: 1.7e-17 relative. Even and odd powers apart: half the latency.
  const Pack r2 = r * r;
  Pack odd = splat<Pack>(2.510038549551032e-08), even = splat<Pack>(2.7620088445409746e-07);
  odd = odd * r2 + 2.7557268459997064e-06;
  even = even * r2 + 2.4801521295954376e-05;
  odd = odd * r2 + 0.00019841269863053618;
  even = even * r2 + 0.0013888888917213717;
  odd = odd * r2 + 0.008333333333330062;
  even = even * r2 + 0.04166666666662413;
  odd = odd * r2 + 0.16666666666666669;
  even = even * r2 + 0.5000000000000001;
  const Pack p = 1.0 + (r + r2 * (even + r * odd));
  std::memcpy(&bits, &shifted, sizeof bits);
  bits = (bits + 1023) << 52;  // the high bits of `magic` leave on the left
  Pack scale;
  std::memcpy(&scale, &bits, sizeof scale);
  return p * scale;
}

/// The square root of x >= 0, to about 1 ulp; 0 where x is below 1e-290.
template <class Pack>
ZELOS_ALWAYS_INLINE Pack sqrt(Pack x) {
#if defined(__x86_64__) && defined(__GNUC__)
  if constexpr (lanes<Pack> == 8) {
    // The instruction for it takes three times as long as an estimate e (14 bits) of 1 / sqrt(x), and what
    // x e^2 = 1 - r says of its error.
    const Pack floor = splat<Pack>(1e-290);
    const Pack y = x > floor ? x : floor;
    Pack e;
    __asm__("vrsqrt14pd %1, %0" : "=v"(e) : "v"(y));
    const Pack s = y * e, r = 1.0 - s * e;
    const Pack root = s + s * r * (0.5 + r * (0.375 + r * 0.3125));
    return x > floor ? root : Pack{};
  }
#endif
  for (int lane = 0; lane < lanes<Pack>; ++lane) x[lane] = std::sqrt(x[lane]);
  return x;
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
