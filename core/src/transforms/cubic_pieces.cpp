// SPDX-License-Identifier: BSD-3-Clause
#include "transforms/cubic_pieces.hpp"

#include <algorithm>
#include <cmath>

#include "base/kernels.hpp"
#include "transforms/cubic_spline.hpp"

namespace zelos {

CubicPieces::CubicPieces(const std::vector<double>& points)
    : n(static_cast<int64_t>(points.size()) - 1), breakpoints(points) {
  const CubicSpline spline = CubicSpline::on_breakpoints(points);
  value = AlignedBuffer(3 * (n + 1));
  slope = AlignedBuffer(3 * (n + 1));
  inverse_width = AlignedBuffer(n);
  const auto knot = [&](int64_t i) { return points[std::clamp<int64_t>(i, 0, n)]; };
  for (int64_t i = 0; i <= n; ++i) {
    double b[4];
    const int64_t first = spline.basis(points[i], b);
    // At the right end the basis is that of the last interval, whose first function has vanished.
    for (int j = 0; j < 4; ++j) {
      const int64_t k = first + j - i;
      if (k >= 0 && k < 3) value[k * (n + 1) + i] = b[j];
    }
    // s'(x) = sum_j 3 (c_{j+1} - c_j) / (t_{j+4} - t_{j+1}) B_{j,2}(x), at a breakpoint two terms remain.
    const double left = i > 0 ? knot(i) - knot(i - 1) : 0, right = i < n ? knot(i + 1) - knot(i) : 0;
    const double w0 = i == n ? 0 : right / (left + right), w1 = i == n ? 1 : left / (left + right);
    const double span0 = knot(i + 1) - knot(i - 2), span1 = knot(i + 2) - knot(i - 1);
    const double a = 3 * w0 / span0, c = 3 * w1 / span1;
    slope[i] = -a;
    slope[n + 1 + i] = a - c;
    slope[2 * (n + 1) + i] = c;
    if (i < n) inverse_width[i] = 1 / right;
  }
}

void CubicPieces::polynomials(const double* coef, int64_t n_used, int64_t stride, double* node, double* c) const {
  cubic_coefficients({n, value.data(), slope.data(), inverse_width.data()}, coef, n_used, stride, node, c);
}

IntervalTable::IntervalTable(const std::vector<double>& breakpoints) : origin(breakpoints.front()) {
  double narrowest = breakpoints.back() - breakpoints.front();
  for (size_t i = 1; i < breakpoints.size(); ++i) narrowest = std::min(narrowest, breakpoints[i] - breakpoints[i - 1]);
  const int64_t cells = static_cast<int64_t>(std::ceil((breakpoints.back() - origin) / narrowest)) + 1;
  const int64_t last = static_cast<int64_t>(breakpoints.size()) - 2;
  inverse_step = static_cast<double>(cells) / (breakpoints.back() - origin);
  int64_t j = 0;
  for (int64_t cell = 0; cell <= cells; ++cell) {
    // Round-off may put a value into the cell before its own.
    const double start = origin + (static_cast<double>(cell) - 1e-9) / inverse_step;
    while (j < last && breakpoints[j + 1] <= start) ++j;
    first.push_back(j);
  }
}

}  // namespace zelos
