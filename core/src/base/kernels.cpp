// SPDX-License-Identifier: BSD-3-Clause
#include "base/kernels.hpp"

#include <cmath>
#include <cstring>
#include <limits>

#include "zelos/simd/vector_math.hpp"

namespace zelos {
namespace {

template <class Pack>
ZELOS_ALWAYS_INLINE void product(const double* tiles, int64_t n, int64_t columns, const double* w, const double* start,
                                 double* out) {
  constexpr int kPacks = kTile / simd::lanes<Pack>;
  for (int64_t row = 0; row < n; row += kTile) {
    // Even and odd columns apart: twice as many sums hide the latency of the additions.
    Pack sum[kPacks], odd[kPacks] = {};
    for (int p = 0; p < kPacks; ++p) {
      sum[p] = start == nullptr ? Pack{} : simd::load<Pack>(start + row + p * simd::lanes<Pack>);
    }
    int64_t k = 0;
    for (; k + 2 <= columns; k += 2, tiles += 2 * kTile) {
      for (int p = 0; p < kPacks; ++p) {
        sum[p] += w[k] * simd::load<Pack>(tiles + p * simd::lanes<Pack>);
        odd[p] += w[k + 1] * simd::load<Pack>(tiles + kTile + p * simd::lanes<Pack>);
      }
    }
    for (; k < columns; ++k, tiles += kTile) {
      for (int p = 0; p < kPacks; ++p) sum[p] += w[k] * simd::load<Pack>(tiles + p * simd::lanes<Pack>);
    }
    for (int p = 0; p < kPacks; ++p) simd::store(out + row + p * simd::lanes<Pack>, sum[p] + odd[p]);
  }
}

template <class Pack>
ZELOS_ALWAYS_INLINE void exponentials(double* x, int64_t n) {
  for (int64_t i = 0; i < n; i += simd::lanes<Pack>) simd::store(x + i, simd::exp(simd::load<Pack>(x + i)));
}

/// Points lie closer than the breakpoints as a rule: a register of them then falls into two neighbouring pieces at
/// most, whose coefficients are spread and mixed, which is several times as fast as a look-up for each point.
template <class Pack, bool kSlope>
ZELOS_ALWAYS_INLINE void cubics(const double* c, int64_t stride, const int64_t* piece, const double* offset, int64_t n,
                                double* out, double* slope) {
  constexpr int kLanes = simd::lanes<Pack>;
  using Whole = decltype(Pack{} < Pack{});
  const double *c0 = c, *c1 = c + stride, *c2 = c + 2 * stride, *c3 = c + 3 * stride, *d0 = c + 4 * stride,
               *d1 = c + 5 * stride, *d2 = c + 6 * stride, *d3 = c + 7 * stride;
  for (int64_t i = 0; i < n; i += kLanes) {
    const int64_t left = piece[i], right = piece[i + kLanes - 1];
    Pack a0, a1, a2, a3;
    if (right <= left + 1) {
      Whole here;
      std::memcpy(&here, piece + i, sizeof here);
      const Pack zero = {}, one = zero + 1.0;
      const Pack in_right = here == left ? zero : one;
      a0 = in_right * d0[left] + c0[left], a1 = in_right * d1[left] + c1[left];
      a2 = in_right * d2[left] + c2[left], a3 = in_right * d3[left] + c3[left];
    } else {
      for (int lane = 0; lane < kLanes; ++lane) {
        const int64_t j = piece[i + lane];
        a0[lane] = c0[j], a1[lane] = c1[j], a2[lane] = c2[j], a3[lane] = c3[j];
      }
    }
    const Pack t = simd::load<Pack>(offset + i);
    simd::store(out + i, a0 + t * (a1 + t * (a2 + t * a3)));
    if constexpr (kSlope) simd::store(slope + i, a1 + t * (2.0 * a2 + t * 3.0 * a3));
  }
}

template <class Pack>
ZELOS_ALWAYS_INLINE void cubics(const double* c, int64_t stride, const int64_t* piece, const double* offset, int64_t n,
                                double* out, double* slope) {
  if (slope == nullptr) {
    cubics<Pack, false>(c, stride, piece, offset, n, out, slope);
  } else {
    cubics<Pack, true>(c, stride, piece, offset, n, out, slope);
  }
}

template <class Pack>
ZELOS_ALWAYS_INLINE bool finite(const double* x, int64_t n) {
  constexpr int kLanes = simd::lanes<Pack>, kSums = 4;
  Pack sum[kSums] = {};
  int64_t i = 0;
  for (; i + kSums * kLanes <= n; i += kSums * kLanes) {
    for (int k = 0; k < kSums; ++k) sum[k] += 0.0 * simd::load<Pack>(x + i + k * kLanes);
  }
  double rest = 0;
  for (; i < n; ++i) rest += 0 * x[i];
  return simd::lane_sum((sum[0] + sum[1]) + (sum[2] + sum[3])) + rest == 0;
}

template <class Pack>
ZELOS_ALWAYS_INLINE void roots(const double* a, const double* b, const double* da, const double* db, int64_t n,
                               int64_t stride, int n_tangents, double* v, double* dv) {
  for (int64_t i = 0; i < n; i += simd::lanes<Pack>) {
    const Pack x = simd::load<Pack>(a + i), y = simd::load<Pack>(b + i), old = simd::load<Pack>(v + i);
    const Pack root = simd::sqrt<Pack>(x * y);
    simd::store(v + i, old * root);
    if (n_tangents == 0) continue;
    const Pack half = 0.5 * old, along_x = half / x, along_y = half / y;
    for (int64_t k = i; k < i + n_tangents * stride; k += stride) {
      const Pack d = simd::load<Pack>(dv + k);
      simd::store(dv + k, root * (d + along_x * simd::load<Pack>(da + k) + along_y * simd::load<Pack>(db + k)));
    }
  }
}

ZELOS_ALWAYS_INLINE void intervals(const double* __restrict u, int64_t n, const double* __restrict breakpoints,
                                   const int64_t* __restrict table, double origin, double inverse_step,
                                   int64_t* __restrict piece, double* __restrict offset) {
  for (int64_t i = 0; i < n; ++i) {
    int64_t j = table[static_cast<int64_t>((u[i] - origin) * inverse_step)];
    j += u[i] >= breakpoints[j + 1] ? 1 : 0;
    piece[i] = j;
    offset[i] = u[i] - breakpoints[j];
  }
}

ZELOS_ALWAYS_INLINE void coefficients(const CubicPiecesView& p, const double* __restrict coef, int64_t n_used,
                                      int64_t stride, double* __restrict node, double* __restrict c) {
  double* __restrict v = node, * __restrict s = node + stride;
  const int64_t row = p.n + 1;
  for (int64_t i = 0; i <= n_used; ++i) {
    v[i] = p.value[i] * coef[i] + p.value[row + i] * coef[i + 1] + p.value[2 * row + i] * coef[i + 2];
    s[i] = p.slope[i] * coef[i] + p.slope[row + i] * coef[i + 1] + p.slope[2 * row + i] * coef[i + 2];
  }
  double* __restrict c2 = c + 2 * stride, * __restrict c3 = c + 3 * stride;
  for (int64_t i = 0; i < n_used; ++i) {
    const double w = p.inverse_width[i], rise = (v[i + 1] - v[i]) * w;
    c[i] = v[i];
    c[stride + i] = s[i];
    c2[i] = (3 * rise - 2 * s[i] - s[i + 1]) * w;
    c3[i] = (s[i] + s[i + 1] - 2 * rise) * w * w;
  }
  for (int64_t k = 0; k < 4; ++k) {
    const double* __restrict from = c + k * stride;
    double* __restrict difference = c + (4 + k) * stride;
    for (int64_t i = 0; i + 1 < n_used; ++i) difference[i] = from[i + 1] - from[i];
    difference[n_used - 1] = 0;
  }
}

template <class Pack>
ZELOS_ALWAYS_INLINE void ascending(const double* u, int64_t n, const double* breakpoints, int64_t n_pieces,
                                   int64_t* piece, double* offset) {
  constexpr int kLanes = simd::lanes<Pack>;
  int64_t at = 0;
  for (int64_t i = 0; i < n; i += kLanes) {
    // As in cubics(): in two neighbouring pieces as a rule.
    const double left = breakpoints[at], right = breakpoints[at + 1], last = u[i + kLanes - 1];
    if (at + 2 > n_pieces || last < breakpoints[at + 2]) {
      const Pack x = simd::load<Pack>(u + i);
      const auto beyond = x >= right;
      simd::store(offset + i, beyond ? x - right : x - left);
      const auto which = at - beyond;
      std::memcpy(piece + i, &which, sizeof which);
      at += last >= right ? 1 : 0;
      continue;
    }
    for (int lane = 0; lane < kLanes; ++lane) {
      while (u[i + lane] >= breakpoints[at + 1]) ++at;
      piece[i + lane] = at;
      offset[i + lane] = u[i + lane] - breakpoints[at];
    }
  }
}

template <class Pack>
ZELOS_ALWAYS_INLINE int64_t least(const double* points, int64_t stride, int64_t n, int64_t dimensions,
                                  const double* direction, double* value) {
  constexpr int kLanes = simd::lanes<Pack>;
  Pack here = {}, best = {}, at = {};
  for (int lane = 0; lane < kLanes; ++lane) here[lane] = lane, best[lane] = std::numeric_limits<double>::infinity();
  for (int64_t i = 0; i < n; i += kLanes) {
    Pack sum = {};
    for (int64_t j = 0; j < dimensions; ++j) sum += direction[j] * simd::load<Pack>(points + j * stride + i);
    const auto better = sum < best;
    best = better ? sum : best;
    at = better ? here : at;
    here += static_cast<double>(kLanes);
  }
  int found = 0;
  for (int lane = 1; lane < kLanes; ++lane) {
    if (best[lane] < best[found] || (best[lane] == best[found] && at[lane] < at[found])) found = lane;
  }
  *value = best[found];
  return static_cast<int64_t>(at[found]);
}

#define ZELOS_VARIANTS(TYPE, NAME, SIGNATURE, CALL8, CALL4, CALL2)   \
  ZELOS_TARGET_AVX512 TYPE NAME##_avx512 SIGNATURE { return CALL8; } \
  ZELOS_TARGET_AVX2 TYPE NAME##_avx2 SIGNATURE { return CALL4; }     \
  TYPE NAME##_base SIGNATURE { return CALL2; }

ZELOS_VARIANTS(void, product,
               (const double* tiles, int64_t n, int64_t columns, const double* w, const double* start, double* out),
               product<simd::Pack8>(tiles, n, columns, w, start, out),
               product<simd::Pack4>(tiles, n, columns, w, start, out),
               product<simd::Pack2>(tiles, n, columns, w, start, out))
ZELOS_VARIANTS(void, exponentials, (double* x, int64_t n), exponentials<simd::Pack8>(x, n),
               exponentials<simd::Pack4>(x, n), exponentials<simd::Pack2>(x, n))
ZELOS_VARIANTS(void, cubics,
               (const double* c, int64_t stride, const int64_t* piece, const double* offset, int64_t n, double* out,
                double* slope),
               cubics<simd::Pack8>(c, stride, piece, offset, n, out, slope),
               cubics<simd::Pack4>(c, stride, piece, offset, n, out, slope),
               cubics<simd::Pack2>(c, stride, piece, offset, n, out, slope))
ZELOS_VARIANTS(void, roots,
               (const double* a, const double* b, const double* da, const double* db, int64_t n, int64_t stride,
                int n_tangents, double* v, double* dv),
               roots<simd::Pack8>(a, b, da, db, n, stride, n_tangents, v, dv),
               roots<simd::Pack4>(a, b, da, db, n, stride, n_tangents, v, dv),
               roots<simd::Pack2>(a, b, da, db, n, stride, n_tangents, v, dv))
ZELOS_VARIANTS(bool, finite, (const double* x, int64_t n), finite<simd::Pack8>(x, n), finite<simd::Pack4>(x, n),
               finite<simd::Pack2>(x, n))
ZELOS_VARIANTS(void, ascending,
               (const double* u, int64_t n, const double* breakpoints, int64_t n_pieces, int64_t* piece,
                double* offset),
               ascending<simd::Pack8>(u, n, breakpoints, n_pieces, piece, offset),
               ascending<simd::Pack4>(u, n, breakpoints, n_pieces, piece, offset),
               ascending<simd::Pack2>(u, n, breakpoints, n_pieces, piece, offset))
#undef ZELOS_VARIANTS

ZELOS_TARGET_AVX512 int64_t least_avx512(const double* p, int64_t stride, int64_t n, int64_t d, const double* direction,
                                         double* value) {
  return least<simd::Pack8>(p, stride, n, d, direction, value);
}
ZELOS_TARGET_AVX2 int64_t least_avx2(const double* p, int64_t stride, int64_t n, int64_t d, const double* direction,
                                     double* value) {
  return least<simd::Pack4>(p, stride, n, d, direction, value);
}
int64_t least_base(const double* p, int64_t stride, int64_t n, int64_t d, const double* direction, double* value) {
  return least<simd::Pack2>(p, stride, n, d, direction, value);
}

#define ZELOS_SAME_CODE(TYPE, NAME, SIGNATURE, CALL)         \
  ZELOS_TARGET_AVX512 TYPE NAME##_avx512 SIGNATURE { CALL; } \
  ZELOS_TARGET_AVX2 TYPE NAME##_avx2 SIGNATURE { CALL; }     \
  TYPE NAME##_base SIGNATURE { CALL; }

ZELOS_SAME_CODE(void, intervals,
                (const double* u, int64_t n, const double* breakpoints, const int64_t* table, double origin,
                 double inverse_step, int64_t* piece, double* offset),
                intervals(u, n, breakpoints, table, origin, inverse_step, piece, offset))
ZELOS_SAME_CODE(void, coefficients,
                (const CubicPiecesView& p, const double* coef, int64_t n_used, int64_t stride, double* node, double* c),
                coefficients(p, coef, n_used, stride, node, c))
#undef ZELOS_SAME_CODE

}  // namespace

void tiled_product(const double* tiles, int64_t n, int64_t columns, const double* w, const double* start, double* out) {
  switch (simd::isa()) {
    case simd::Isa::kAvx512:
      return product_avx512(tiles, n, columns, w, start, out);
    case simd::Isa::kAvx2:
      return product_avx2(tiles, n, columns, w, start, out);
    case simd::Isa::kBase:
      return product_base(tiles, n, columns, w, start, out);
  }
}

void exponential(double* x, int64_t n) {
  switch (simd::isa()) {
    case simd::Isa::kAvx512:
      return exponentials_avx512(x, n);
    case simd::Isa::kAvx2:
      return exponentials_avx2(x, n);
    case simd::Isa::kBase:
      return exponentials_base(x, n);
  }
}

void piecewise_cubic(const double* c, int64_t stride, const int64_t* piece, const double* offset, int64_t n,
                     double* out, double* slope) {
  switch (simd::isa()) {
    case simd::Isa::kAvx512:
      return cubics_avx512(c, stride, piece, offset, n, out, slope);
    case simd::Isa::kAvx2:
      return cubics_avx2(c, stride, piece, offset, n, out, slope);
    case simd::Isa::kBase:
      return cubics_base(c, stride, piece, offset, n, out, slope);
  }
}

bool all_finite(const double* x, int64_t n) {
  switch (simd::isa()) {
    case simd::Isa::kAvx512:
      return finite_avx512(x, n);
    case simd::Isa::kAvx2:
      return finite_avx2(x, n);
    case simd::Isa::kBase:
      break;
  }
  return finite_base(x, n);
}

void multiply_root(const double* a, const double* b, const double* da, const double* db, int64_t n, int64_t stride,
                   int n_tangents, double* v, double* dv) {
  switch (simd::isa()) {
    case simd::Isa::kAvx512:
      return roots_avx512(a, b, da, db, n, stride, n_tangents, v, dv);
    case simd::Isa::kAvx2:
      return roots_avx2(a, b, da, db, n, stride, n_tangents, v, dv);
    case simd::Isa::kBase:
      return roots_base(a, b, da, db, n, stride, n_tangents, v, dv);
  }
}

int64_t least_product(const double* points, int64_t stride, int64_t n, int64_t dimensions, const double* direction,
                      double* value) {
  switch (simd::isa()) {
    case simd::Isa::kAvx512:
      return least_avx512(points, stride, n, dimensions, direction, value);
    case simd::Isa::kAvx2:
      return least_avx2(points, stride, n, dimensions, direction, value);
    case simd::Isa::kBase:
      break;
  }
  return least_base(points, stride, n, dimensions, direction, value);
}

void find_intervals(const double* u, int64_t n, const double* breakpoints, const int64_t* table, double origin,
                    double inverse_step, int64_t* piece, double* offset) {
  switch (simd::isa()) {
    case simd::Isa::kAvx512:
      return intervals_avx512(u, n, breakpoints, table, origin, inverse_step, piece, offset);
    case simd::Isa::kAvx2:
      return intervals_avx2(u, n, breakpoints, table, origin, inverse_step, piece, offset);
    case simd::Isa::kBase:
      return intervals_base(u, n, breakpoints, table, origin, inverse_step, piece, offset);
  }
}

void find_ascending_intervals(const double* u, int64_t n, const double* breakpoints, int64_t n_pieces, int64_t* piece,
                              double* offset) {
  switch (simd::isa()) {
    case simd::Isa::kAvx512:
      return ascending_avx512(u, n, breakpoints, n_pieces, piece, offset);
    case simd::Isa::kAvx2:
      return ascending_avx2(u, n, breakpoints, n_pieces, piece, offset);
    case simd::Isa::kBase:
      return ascending_base(u, n, breakpoints, n_pieces, piece, offset);
  }
}

void cubic_coefficients(const CubicPiecesView& pieces, const double* coef, int64_t n_used, int64_t stride, double* node,
                        double* c) {
  switch (simd::isa()) {
    case simd::Isa::kAvx512:
      return coefficients_avx512(pieces, coef, n_used, stride, node, c);
    case simd::Isa::kAvx2:
      return coefficients_avx2(pieces, coef, n_used, stride, node, c);
    case simd::Isa::kBase:
      return coefficients_base(pieces, coef, n_used, stride, node, c);
  }
}

}  // namespace zelos
