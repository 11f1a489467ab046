// SPDX-License-Identifier: BSD-3-Clause
#include "base/kernels.hpp"

#include <cmath>

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

ZELOS_ALWAYS_INLINE void cubics(const double* c0, const double* c1, const double* c2, const double* c3,
                                const int64_t* piece, const double* offset, int64_t n, double* out, double* slope) {
  if (slope == nullptr) {
    for (int64_t i = 0; i < n; ++i) {
      const int64_t j = piece[i];
      const double t = offset[i];
      out[i] = c0[j] + t * (c1[j] + t * (c2[j] + t * c3[j]));
    }
    return;
  }
  for (int64_t i = 0; i < n; ++i) {
    const int64_t j = piece[i];
    const double t = offset[i];
    out[i] = c0[j] + t * (c1[j] + t * (c2[j] + t * c3[j]));
    slope[i] = c1[j] + t * (2 * c2[j] + t * 3 * c3[j]);
  }
}

ZELOS_ALWAYS_INLINE bool finite(const double* x, int64_t n) {
  double sum[8] = {};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    for (int j = 0; j < 8; ++j) sum[j] += 0 * x[i + j];
  }
  for (; i < n; ++i) sum[0] += 0 * x[i];
  bool ok = true;
  for (const double s : sum) ok = ok && s == 0;
  return ok;
}

ZELOS_ALWAYS_INLINE void roots(const double* __restrict a, const double* __restrict b, const double* da,
                               const double* db, int64_t n, int64_t stride, int n_tangents, double* __restrict v,
                               double* dv) {
  for (int k = 0; k < n_tangents; ++k) {
    double* __restrict d = dv + k * stride;
    const double* __restrict pa = da + k * stride;
    const double* __restrict pb = db + k * stride;
    for (int64_t i = 0; i < n; ++i) {
      d[i] = std::sqrt(a[i] * b[i]) * (d[i] + 0.5 * v[i] * (pa[i] / a[i] + pb[i] / b[i]));
    }
  }
  for (int64_t i = 0; i < n; ++i) v[i] *= std::sqrt(a[i] * b[i]);
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

#define ZELOS_VARIANTS(NAME, SIGNATURE, CALL8, CALL4, CALL2)  \
  ZELOS_TARGET_AVX512 void NAME##_avx512 SIGNATURE { CALL8; } \
  ZELOS_TARGET_AVX2 void NAME##_avx2 SIGNATURE { CALL4; }     \
  void NAME##_base SIGNATURE { CALL2; }

ZELOS_VARIANTS(product,
               (const double* tiles, int64_t n, int64_t columns, const double* w, const double* start, double* out),
               product<simd::Pack8>(tiles, n, columns, w, start, out),
               product<simd::Pack4>(tiles, n, columns, w, start, out),
               product<simd::Pack2>(tiles, n, columns, w, start, out))
ZELOS_VARIANTS(exponentials, (double* x, int64_t n), exponentials<simd::Pack8>(x, n), exponentials<simd::Pack4>(x, n),
               exponentials<simd::Pack2>(x, n))
#undef ZELOS_VARIANTS

#define ZELOS_SAME_CODE(TYPE, NAME, SIGNATURE, CALL)         \
  ZELOS_TARGET_AVX512 TYPE NAME##_avx512 SIGNATURE { CALL; } \
  ZELOS_TARGET_AVX2 TYPE NAME##_avx2 SIGNATURE { CALL; }     \
  TYPE NAME##_base SIGNATURE { CALL; }

ZELOS_SAME_CODE(bool, finite, (const double* x, int64_t n), return finite(x, n))
ZELOS_SAME_CODE(void, roots,
                (const double* a, const double* b, const double* da, const double* db, int64_t n, int64_t stride,
                 int n_tangents, double* v, double* dv),
                roots(a, b, da, db, n, stride, n_tangents, v, dv))
ZELOS_SAME_CODE(void, intervals,
                (const double* u, int64_t n, const double* breakpoints, const int64_t* table, double origin,
                 double inverse_step, int64_t* piece, double* offset),
                intervals(u, n, breakpoints, table, origin, inverse_step, piece, offset))
ZELOS_SAME_CODE(void, cubics,
                (const double* c0, const double* c1, const double* c2, const double* c3, const int64_t* piece,
                 const double* offset, int64_t n, double* out, double* slope),
                cubics(c0, c1, c2, c3, piece, offset, n, out, slope))
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

void piecewise_cubic(const double* c0, const double* c1, const double* c2, const double* c3, const int64_t* piece,
                     const double* offset, int64_t n, double* out, double* slope) {
  switch (simd::isa()) {
    case simd::Isa::kAvx512:
      return cubics_avx512(c0, c1, c2, c3, piece, offset, n, out, slope);
    case simd::Isa::kAvx2:
      return cubics_avx2(c0, c1, c2, c3, piece, offset, n, out, slope);
    case simd::Isa::kBase:
      return cubics_base(c0, c1, c2, c3, piece, offset, n, out, slope);
  }
}

bool all_finite(const double* x, int64_t n) {
  switch (simd::isa()) {
    case simd::Isa::kAvx512:
      return finite_avx512(x, n);
    case simd::Isa::kAvx2:
      return finite_avx2(x, n);
    case simd::Isa::kBase:
      return finite_base(x, n);
  }
  return false;
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

}  // namespace zelos
