// SPDX-License-Identifier: BSD-3-Clause
#include "transforms/stretch.hpp"

#include <cmath>

namespace zelos {

double Stretch::inverse(double u, double s) const {
  const double rest = u - x0 - s * (x_full - x0);
  if (rest <= 0) return x0 + (u - x0) / s;
  // rest = s d + c2 d^2: the root that tends to rest / s for small c2, without cancellation.
  return x_full + 2 * rest / (s + std::sqrt(s * s + 4 * tail(s).c2 * rest));
}

bool Stretch::monotone(double s) const {
  const double mean = ((x_end - x0) - s * (x_full - x0)) / (x_end - x_full);
  return s > 0 && 2 * mean - s > 0;
}

}  // namespace zelos
