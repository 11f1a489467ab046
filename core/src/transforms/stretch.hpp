// SPDX-License-Identifier: BSD-3-Clause
// stretch.hpp: a map of an axis that aligns a feature which moves with a parameter (the acoustic peaks with theta*).
#pragma once

#include <cstdint>

namespace zelos {

/// u(x; s) with s = feature / reference: u - x0 = s (x - x0) up to x = x_full; beyond, a quadratic that is continuous
/// with its slope and returns to u = x at x_end, so that the range [x0, x_end] is mapped onto itself for every s.
/// Increasing in x for 0 < s < 2 x_end' / (x_end' + x_full') (primes: measured from x0).
struct Stretch {
  double x0, x_full, x_end;

  /// Beyond x_full: u = c0 + s d + c2 d^2, d = x - x_full.
  struct Tail {
    double c0, c2;
  };
  Tail tail(double s) const {
    const double length = x_end - x_full, mean = ((x_end - x0) - s * (x_full - x0)) / length;
    return {x0 + s * (x_full - x0), (mean - s) / length};
  }

  double forward(double x, double s) const {
    const double delta = x - x_full;
    if (delta <= 0) return x0 + s * (x - x0);
    const Tail t = tail(s);
    return t.c0 + delta * (s + delta * t.c2);
  }

  double derivative_s(double x) const {
    const double full = x_full - x0, delta = x - x_full;
    if (delta <= 0) return x - x0;
    const double length = x_end - x_full;
    return full + delta - (full / length + 1) * delta * delta / length;
  }

  double inverse(double u, double s) const;
  bool monotone(double s) const;
};

}  // namespace zelos
