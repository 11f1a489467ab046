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

/// Piecewise cubics: out[i] = c0 + t (c1 + t (c2 + t c3)) with ck = c[k * stride + piece[i]] and t = offset[i];
/// slope[i], if not null, is the derivative with respect to t. Rows 4 to 7 of c hold the differences of rows 0 to 3
/// between the next piece and this one. i < n, n a multiple of 8. Fast where neighbouring points lie in one piece or
/// two.
void piecewise_cubic(const double* c, int64_t stride, const int64_t* piece, const double* offset, int64_t n,
                     double* out, double* slope);

/// From the coefficients of a cubic spline to its pieces; the arrays of CubicPieces.
struct CubicPiecesView {
  int64_t n;
  const double *value, *slope, *inverse_width;
};
/// See CubicPieces::polynomials.
void cubic_coefficients(const CubicPiecesView& pieces, const double* coef, int64_t n_used, int64_t stride, double* node,
                        double* c);

/// True if x[i], i < n, are all finite.
bool all_finite(const double* x, int64_t n);

/// v[i] *= sqrt(a[i] b[i]); dv[k * stride + i] is the tangent, likewise da, db.
void multiply_root(const double* a, const double* b, const double* da, const double* db, int64_t n, int64_t stride,
                   int n_tangents, double* v, double* dv);

/// The point p[i] = (points[j * stride + i]), i < n, n a multiple of 8, with the least sum_j direction[j] p[i]_j, which
/// is *least.
int64_t least_product(const double* points, int64_t stride, int64_t n, int64_t dimensions, const double* direction,
                      double* least);

/// Intervals of ascending breakpoints by look-up: for every u[i] in [front, back), piece[i] with
/// breakpoints[piece] <= u < breakpoints[piece + 1] and offset[i] = u - breakpoints[piece]. `table`, `origin` and
/// `inverse_step` are those of IntervalTable.
void find_intervals(const double* u, int64_t n, const double* breakpoints, const int64_t* table, double origin,
                    double inverse_step, int64_t* piece, double* offset);

/// The same for u that ascend, n a multiple of 8: the next point lies in the same piece or a little further on.
void find_ascending_intervals(const double* u, int64_t n, const double* breakpoints, int64_t n_pieces, int64_t* piece,
                              double* offset);

}  // namespace zelos
