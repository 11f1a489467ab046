// SPDX-License-Identifier: BSD-3-Clause
// cubic_pieces.hpp: a cubic spline made ready for many evaluations: its pieces as polynomials, and the look-up of the
// piece that holds a value.
#pragma once

#include <cstdint>
#include <vector>

#include "base/aligned_buffer.hpp"

namespace zelos {

/// Spline coefficients -> cubic pieces in powers of the offset from the left breakpoint.
struct CubicPieces {
  int64_t n = 0;  ///< pieces
  std::vector<double> breakpoints;
  AlignedBuffer value, slope;  ///< [3][n + 1]: weights of coefficients i, i+1, i+2 in value and slope at breakpoint i
  AlignedBuffer inverse_width;

  CubicPieces() = default;
  explicit CubicPieces(const std::vector<double>& points);

  /// c[8][stride] of the first n_used pieces, as piecewise_cubic takes them, from coef[n_used + 3]; node[2 * stride] is
  /// scratch.
  void polynomials(const double* coef, int64_t n_used, int64_t stride, double* node, double* c) const;
};

/// Look-up of the interval that holds a value: the table's cells are at most as wide as the narrowest interval, so the
/// answer is the cell's entry or the next.
struct IntervalTable {
  std::vector<int64_t> first;
  double origin = 0, inverse_step = 0;

  IntervalTable() = default;
  explicit IntervalTable(const std::vector<double>& breakpoints);
};

}  // namespace zelos
