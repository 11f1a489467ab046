// SPDX-License-Identifier: BSD-3-Clause
// kernels.hpp: the inner loops of an evaluation, compiled for several instruction sets and chosen at run time.
#pragma once

#include <cstdint>

namespace zelos {

/// Rows of a tile: a tiled matrix stores `kTile` rows of all its columns together, column after column, so that a
/// product streams through memory once. The last tile is padded with zeros.
constexpr int64_t kTile = 32;

constexpr int64_t padded_rows(int64_t n) { return (n + kTile - 1) / kTile * kTile; }

/// out[i] = start[i] + sum_k tiles[i, k] * w[k] for i < padded_rows(n); start may be null (zeros), out padded.
void tiled_product(const double* tiles, int64_t n, int64_t columns, const double* w, const double* start, double* out);

/// x[i] = exp(x[i]), i < n, n a multiple of 8. |x| is clamped to 700.
void exponential(double* x, int64_t n);

/// Piecewise cubics: out[i] = c0[j] + t (c1[j] + t (c2[j] + t c3[j])) with j = piece[i], t = offset[i]; slope[i], if
/// not null, is the derivative with respect to t. i < n, n a multiple of 8.
void piecewise_cubic(const double* c0, const double* c1, const double* c2, const double* c3, const int64_t* piece,
                     const double* offset, int64_t n, double* out, double* slope);

/// True if x[i], i < n, are all finite.
bool all_finite(const double* x, int64_t n);

/// v[i] *= sqrt(a[i] b[i]); dv[k * stride + i] is the tangent, likewise da, db.
void multiply_root(const double* a, const double* b, const double* da, const double* db, int64_t n, int64_t stride,
                   int n_tangents, double* v, double* dv);

/// Intervals of ascending breakpoints by look-up: for every u[i] in [front, back], piece[i] with
/// breakpoints[piece] <= u < breakpoints[piece + 1] and offset[i] = u - breakpoints[piece]. `table`, `origin` and
/// `inverse_step` are those of IntervalTable.
void find_intervals(const double* u, int64_t n, const double* breakpoints, const int64_t* table, double origin,
                    double inverse_step, int64_t* piece, double* offset);

}  // namespace zelos
