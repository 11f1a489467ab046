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

  double forward(double x, double s) const {
    const double full = x_full - x0, delta = x - x_full;
    if (delta <= 0) return x0 + s * (x - x0);
    const double length = x_end - x_full, mean = ((x_end - x0) - s * full) / length;
    return x0 + s * full + s * delta + (mean - s) * delta * delta / length;
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
