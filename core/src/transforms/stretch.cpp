// SPDX-License-Identifier: BSD-3-Clause
#include "transforms/stretch.hpp"

#include <cmath>

namespace zelos {

double Stretch::inverse(double u, double s) const {
  const double full = x_full - x0, rest = u - x0 - s * full;
  if (rest <= 0) return x0 + (u - x0) / s;
  const double length = x_end - x_full, mean = ((x_end - x0) - s * full) / length;
  // rest = s d + a d^2: the root that tends to rest / s for small a, without cancellation.
  const double a = (mean - s) / length;
  return x_full + 2 * rest / (s + std::sqrt(s * s + 4 * a * rest));
}

bool Stretch::monotone(double s) const {
  const double mean = ((x_end - x0) - s * (x_full - x0)) / (x_end - x_full);
  return s > 0 && 2 * mean - s > 0;
}

}  // namespace zelos
