// SPDX-License-Identifier: BSD-3-Clause
/// batch_fft.hpp: inverse Fourier transforms of several sequences side by side, one in each lane of a register. To be
/// used in functions compiled for one instruction set (zelos/simd/vector_math.hpp).
#pragma once

#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "zelos/simd/vector_math.hpp"

namespace zelos::spectrum {

/// Lengths 2^a 3^b 5^c.
struct BatchFft {
  int64_t length = 0;
  std::vector<int> radices;
  std::vector<double> roots;  ///< cos and sin of 2 pi k / length

  BatchFft() = default;
  explicit BatchFft(int64_t n) : length(n), roots(static_cast<std::size_t>(2 * n)) {
    for (const int radix : {4, 2, 3, 5}) {
      for (; n % radix == 0; n /= radix) radices.push_back(radix);
    }
    for (int64_t k = 0; k < length; ++k) {
      const double angle = 2.0 * 3.14159265358979323846 * static_cast<double>(k) / static_cast<double>(length);
      roots[static_cast<std::size_t>(2 * k)] = std::cos(angle);
      roots[static_cast<std::size_t>(2 * k + 1)] = std::sin(angle);
    }
  }

  /// x_j = sum_k X_k exp(2 pi i j k / length) (Stockham's algorithm), of pairs (real, imaginary) of packs in `x`. `y`
  /// is as large; returns where the result is.
  template <class Pack>
  ZELOS_ALWAYS_INLINE double* inverse(double* x, double* y) const;
};

template <class Pack>
struct Complex {
  Pack re, im;
};

template <class Pack>
ZELOS_ALWAYS_INLINE Complex<Pack> operator+(Complex<Pack> a, Complex<Pack> b) {
  return {a.re + b.re, a.im + b.im};
}
template <class Pack>
ZELOS_ALWAYS_INLINE Complex<Pack> operator-(Complex<Pack> a, Complex<Pack> b) {
  return {a.re - b.re, a.im - b.im};
}
template <class Pack>
ZELOS_ALWAYS_INLINE Complex<Pack> operator*(double f, Complex<Pack> a) {
  return {f * a.re, f * a.im};
}
/// i a
template <class Pack>
ZELOS_ALWAYS_INLINE Complex<Pack> turned(Complex<Pack> a) {
  return {-a.im, a.re};
}

template <int kRadix, class Pack>
ZELOS_ALWAYS_INLINE void butterfly(Complex<Pack>* a) {
  if constexpr (kRadix == 2) {
    const auto b = a[0] - a[1];
    a[0] = a[0] + a[1];
    a[1] = b;
  } else if constexpr (kRadix == 3) {
    const auto sum = a[1] + a[2], side = turned(0.86602540378443864676 * (a[1] - a[2]));
    const auto middle = a[0] - 0.5 * sum;
    a[0] = a[0] + sum;
    a[1] = middle + side;
    a[2] = middle - side;
  } else if constexpr (kRadix == 4) {
    const auto even = a[0] + a[2], odd = a[1] + a[3], other = a[0] - a[2], side = turned(a[1] - a[3]);
    a[0] = even + odd;
    a[1] = other + side;
    a[2] = even - odd;
    a[3] = other - side;
  } else {
    constexpr double c1 = 0.30901699437494742410, c2 = -0.80901699437494742410;
    constexpr double s1 = 0.95105651629515357212, s2 = 0.58778525229247312917;
    const auto near = a[1] + a[4], far = a[2] + a[3], near_side = a[1] - a[4], far_side = a[2] - a[3];
    const auto first = a[0] + c1 * near + c2 * far, second = a[0] + c2 * near + c1 * far;
    const auto up = turned(s1 * near_side + s2 * far_side), down = turned(s2 * near_side - s1 * far_side);
    a[0] = a[0] + near + far;
    a[1] = first + up;
    a[4] = first - up;
    a[2] = second + down;
    a[3] = second - down;
  }
}

/// One pass: sequences of length kRadix m that are `stride` apart.
template <int kRadix, class Pack>
ZELOS_ALWAYS_INLINE void pass(const double* x, double* y, int64_t m, int64_t stride, const double* roots) {
  constexpr int64_t kLanes = simd::lanes<Pack>;
  for (int64_t p = 0; p < m; ++p) {
    for (int64_t q = 0; q < stride; ++q) {
      Complex<Pack> a[kRadix];
      for (int j = 0; j < kRadix; ++j) {
        const double* from = x + 2 * kLanes * (q + stride * (p + m * j));
        a[j] = {simd::load<Pack>(from), simd::load<Pack>(from + kLanes)};
      }
      butterfly<kRadix>(a);
      for (int k = 0; k < kRadix; ++k) {
        const double c = roots[2 * p * k * stride], s = roots[2 * p * k * stride + 1];
        double* to = y + 2 * kLanes * (q + stride * (kRadix * p + k));
        simd::store(to, a[k].re * c - a[k].im * s);
        simd::store(to + kLanes, a[k].re * s + a[k].im * c);
      }
    }
  }
}

template <class Pack>
ZELOS_ALWAYS_INLINE double* BatchFft::inverse(double* x, double* y) const {
  int64_t rest = length, stride = 1;
  for (const int radix : radices) {
    const int64_t m = rest / radix;
    switch (radix) {
      case 2:
        pass<2, Pack>(x, y, m, stride, roots.data());
        break;
      case 3:
        pass<3, Pack>(x, y, m, stride, roots.data());
        break;
      case 4:
        pass<4, Pack>(x, y, m, stride, roots.data());
        break;
      default:
        pass<5, Pack>(x, y, m, stride, roots.data());
    }
    std::swap(x, y);
    rest = m;
    stride *= radix;
  }
  return x;
}

}  // namespace zelos::spectrum
