// SPDX-License-Identifier: BSD-3-Clause
#include "kernels.hpp"

#include <cmath>

#include "zelos/simd/vector_math.hpp"

namespace zelos::nn {
namespace {

using simd::lanes;
using simd::load;
using simd::splat;
using simd::store;

/// A block of Rows x Packs packs of C stays in registers while the inner index runs.
template <class Pack, int Rows, int Packs>
ZELOS_ALWAYS_INLINE void block(const Product& p, std::int64_t row, std::int64_t col) {
  Pack sum[Rows][Packs];
  for (int i = 0; i < Rows; ++i) {
    for (int j = 0; j < Packs; ++j) {
      const std::int64_t at = col + j * lanes<Pack>;
      sum[i][j] = p.accumulate        ? load<Pack>(p.c + (row + i) * p.n_cols + at)
                  : p.bias != nullptr ? load<Pack>(p.bias + at)
                                      : splat<Pack>(0.0);
    }
  }
  const double* a = p.a + row * p.a_row;
  const double* b = p.b + col;
  for (std::int64_t k = 0; k < p.inner; ++k, a += p.a_col, b += p.n_cols) {
    Pack line[Packs];
    for (int j = 0; j < Packs; ++j) line[j] = load<Pack>(b + j * lanes<Pack>);
    for (int i = 0; i < Rows; ++i) {
      const Pack factor = splat<Pack>(a[i * p.a_row]);
      for (int j = 0; j < Packs; ++j) sum[i][j] += factor * line[j];
    }
  }
  for (int i = 0; i < Rows; ++i) {
    for (int j = 0; j < Packs; ++j) store(p.c + (row + i) * p.n_cols + col + j * lanes<Pack>, sum[i][j]);
  }
}

template <class Pack, int Rows, int Packs>
ZELOS_ALWAYS_INLINE void stripe(const Product& p, std::int64_t row) {
  std::int64_t col = 0;
  for (; col + Packs * lanes<Pack> <= p.n_cols; col += Packs * lanes<Pack>) block<Pack, Rows, Packs>(p, row, col);
  for (; col < p.n_cols; col += lanes<Pack>) block<Pack, Rows, 1>(p, row, col);
}

template <class Pack, int Rows, int Packs, int SinglePacks>
ZELOS_ALWAYS_INLINE void product(const Product& p) {
  std::int64_t row = 0;
  for (; row + Rows <= p.rows; row += Rows) stripe<Pack, Rows, Packs>(p, row);
  for (; row < p.rows; ++row) stripe<Pack, 1, SinglePacks>(p, row);
}

struct Tanh {
  template <class Pack>
  static ZELOS_ALWAYS_INLINE void at(Pack z, Pack& h, Pack& slope) {
    h = simd::tanh(z);
    slope = 1.0 - h * h;
  }
};

struct Silu {
  template <class Pack>
  static ZELOS_ALWAYS_INLINE void at(Pack z, Pack& h, Pack& slope) {
    const Pack s = simd::logistic(z);
    h = z * s;
    slope = s + h * (1.0 - s);
  }
};

/// The tanh form of GELU, z s(q(z)) with q = 2 sqrt(2/pi) (z + 0.044715 z^3).
struct Gelu {
  template <class Pack>
  static ZELOS_ALWAYS_INLINE void at(Pack z, Pack& h, Pack& slope) {
    constexpr double kScale = 1.5957691216057308;
    constexpr double kCubic = 0.044715;
    const Pack z2 = z * z;
    const Pack s = simd::logistic(kScale * z * (1.0 + kCubic * z2));
    h = z * s;
    slope = s + h * (1.0 - s) * (kScale * (1.0 + 3.0 * kCubic * z2));
  }
};

template <class Pack, class Function>
ZELOS_ALWAYS_INLINE void map(std::int64_t n, const double* z, double* h, double* slope) {
  for (std::int64_t i = 0; i < n; i += lanes<Pack>) {
    Pack value, derivative;
    Function::at(load<Pack>(z + i), value, derivative);
    store(h + i, value);
    if (slope != nullptr) store(slope + i, derivative);
  }
}

template <class Pack>
ZELOS_ALWAYS_INLINE void activate(Activation activation, std::int64_t n, const double* z, double* h, double* slope) {
  switch (activation) {
    case Activation::kTanh:
      return map<Pack, Tanh>(n, z, h, slope);
    case Activation::kSilu:
      return map<Pack, Silu>(n, z, h, slope);
    case Activation::kGelu:
      return map<Pack, Gelu>(n, z, h, slope);
  }
}

template <class Pack>
ZELOS_ALWAYS_INLINE void multiply(std::int64_t n, const double* x, double* y) {
  for (std::int64_t i = 0; i < n; i += lanes<Pack>) store(y + i, load<Pack>(x + i) * load<Pack>(y + i));
}

ZELOS_ALWAYS_INLINE void adam(const AdamStep& s) {
  constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kTiny = 1e-12;
  for (std::int64_t i = 0; i < s.n; ++i) {
    const double g = s.gradient[i];
    s.first[i] = kBeta1 * s.first[i] + (1.0 - kBeta1) * g;
    s.second[i] = kBeta2 * s.second[i] + (1.0 - kBeta2) * g * g;
    const double root = std::sqrt(s.second[i] * s.correction2) + kTiny;
    s.theta[i] -= s.rate * (s.first[i] * s.correction1 / root + s.decay * s.theta[i]);
  }
}

void product_base(const Product& p) { product<simd::Pack2, 3, 4, 8>(p); }
void activate_base(Activation a, std::int64_t n, const double* z, double* h, double* slope) {
  activate<simd::Pack2>(a, n, z, h, slope);
}
void multiply_base(std::int64_t n, const double* x, double* y) { multiply<simd::Pack2>(n, x, y); }
void adam_base(const AdamStep& s) { adam(s); }

constexpr Kernels kBase = {"base", product_base, activate_base, multiply_base, adam_base};

#if defined(__x86_64__)
ZELOS_TARGET_AVX2 void product_avx2(const Product& p) { product<simd::Pack4, 4, 2, 8>(p); }
ZELOS_TARGET_AVX2 void activate_avx2(Activation a, std::int64_t n, const double* z, double* h, double* slope) {
  activate<simd::Pack4>(a, n, z, h, slope);
}
ZELOS_TARGET_AVX2 void multiply_avx2(std::int64_t n, const double* x, double* y) { multiply<simd::Pack4>(n, x, y); }
ZELOS_TARGET_AVX2 void adam_avx2(const AdamStep& s) { adam(s); }

ZELOS_TARGET_AVX512 void product_avx512(const Product& p) { product<simd::Pack8, 8, 2, 8>(p); }
ZELOS_TARGET_AVX512 void activate_avx512(Activation a, std::int64_t n, const double* z, double* h, double* slope) {
  activate<simd::Pack8>(a, n, z, h, slope);
}
ZELOS_TARGET_AVX512 void multiply_avx512(std::int64_t n, const double* x, double* y) { multiply<simd::Pack8>(n, x, y); }
ZELOS_TARGET_AVX512 void adam_avx512(const AdamStep& s) { adam(s); }

constexpr Kernels kAvx2 = {"avx2", product_avx2, activate_avx2, multiply_avx2, adam_avx2};
constexpr Kernels kAvx512 = {"avx512", product_avx512, activate_avx512, multiply_avx512, adam_avx512};
#endif

}  // namespace

const Kernels& kernels() noexcept {
#if defined(__x86_64__)
  switch (simd::isa()) {
    case simd::Isa::kAvx512:
      return kAvx512;
    case simd::Isa::kAvx2:
      return kAvx2;
    case simd::Isa::kBase:
      break;
  }
#endif
  return kBase;
}

const Kernels& baseline_kernels() noexcept { return kBase; }

}  // namespace zelos::nn
