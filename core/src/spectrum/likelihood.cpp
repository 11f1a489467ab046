// SPDX-License-Identifier: BSD-3-Clause
// Likelihood with a covariance that is banded plus low-rank: C = B + U U^T, B = L L^T banded.
//   V = L^-1 U, y = L^-1 r, A = 1 + V^T V = M M^T
//   log|C| = 2 sum log L_ii + 2 sum log M_ii,  r^T C^-1 r = y^T y - (V^T y)^T A^-1 (V^T y)
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/aligned_buffer.hpp"
#include "spectrum/tiles.hpp"
#include "zelos/spectrum.hpp"

namespace zelos::spectrum {
namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

constexpr int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// Columns of the factor one after another, `stride` apart: element (i, j), i >= j, is at j * stride + i - j. Read with
// the leading dimension stride - 1, a block on the diagonal is an ordinary dense matrix. Behind the band there are
// `block` zeros, so that a panel of that many columns is a rectangle, then what tiles above the diagonal may write to.
struct Factor {
  int64_t n = 0, width = 0, block = 1, stride = 1;
  double* data = nullptr;  // this thread's workspace

  double* at(int64_t j) { return data + j * stride; }
  const double* at(int64_t j) const { return data + j * stride; }
};

// Fresh pages would cost more than the factorisation of a narrow band: each thread keeps its block, but a huge one only
// until the next call.
double* workspace(int64_t size) {
  constexpr std::size_t kKept = std::size_t{1} << 23;  // doubles
  thread_local std::vector<double> block;
  const auto wanted = static_cast<std::size_t>(size);
  if (block.size() < wanted || (block.size() > kKept && wanted <= kKept)) {
    block = std::vector<double>();
    block.resize(wanted);
  }
  return block.data();
}

// Rows of `stride` numbers, as many as pixels: the right-hand sides.
struct Sides {
  int64_t n = 0, stride = 0;
  std::vector<double> data;
  double* row(int64_t i) { return data.data() + i * stride; }
};

template <class Pack>
ZELOS_ALWAYS_INLINE void panel(double* a, int64_t lead, int64_t columns, int64_t rows, double* packed, int64_t ldp) {
  // rows below the diagonal block: X L^T = A; X stays in place and, padded with zeros, in `packed`.
  constexpr int kLanes = simd::lanes<Pack>;
  for (int64_t c = 0; c < columns; ++c) std::fill(packed + c * ldp + rows, packed + (c + 1) * ldp, 0.0);
  const int64_t whole = rows / kLanes * kLanes;
  for (int64_t r = 0; r < whole; r += kLanes) {
    for (int64_t c = 0; c < columns; ++c) {
      double* column = a + c * lead + columns + r;
      Pack x = simd::load<Pack>(column), odd = {};
      int64_t p = 0;
      for (; p + 2 <= c; p += 2) {
        x -= a[c + p * lead] * simd::load<Pack>(packed + p * ldp + r);
        odd -= a[c + (p + 1) * lead] * simd::load<Pack>(packed + (p + 1) * ldp + r);
      }
      if (p < c) x -= a[c + p * lead] * simd::load<Pack>(packed + p * ldp + r);
      x = (x + odd) * (1.0 / a[c + c * lead]);
      simd::store(column, x);
      simd::store(packed + c * ldp + r, x);
    }
  }
  for (int64_t r = whole; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      double x = a[c * lead + columns + r];
      for (int64_t p = 0; p < c; ++p) x -= a[c + p * lead] * packed[p * ldp + r];
      x *= 1.0 / a[c + c * lead];
      a[c * lead + columns + r] = x;
      packed[c * ldp + r] = x;
    }
  }
}

// In place; false where a pivot is not positive.
template <class Pack>
ZELOS_ALWAYS_INLINE bool factorise(Factor& f, double* packed, int64_t ldp) {
  const int64_t lead = f.stride - 1;
  for (int64_t j0 = 0; j0 < f.n; j0 += f.block) {
    const int64_t columns = std::min(f.block, f.n - j0);
    const int64_t rows = std::min(f.width, f.n - j0 - columns);
    double* a = f.at(j0);
    for (int64_t c = 0; c < columns; ++c) {
      double* column = a + c * lead;
      if (!(column[c] > 0.0) || !std::isfinite(column[c])) return false;
      const double pivot = std::sqrt(column[c]), inverse = 1.0 / pivot;
      column[c] = pivot;
      for (int64_t i = c + 1; i < columns; ++i) column[i] *= inverse;
      for (int64_t k = c + 1; k < columns; ++k) {
        double* __restrict right = a + k * lead;
        const double* __restrict left = column;
        const double factor = left[k];
        for (int64_t i = k; i < columns; ++i) right[i] -= factor * left[i];
      }
    }
    if (rows == 0) continue;
    panel<Pack>(a, lead, columns, rows, packed, ldp);
    subtract_product<Pack>(packed, ldp, packed, ldp, columns, rows, rows, true, a + columns * (lead + 1), lead);
  }
  return true;
}

template <class Pack, int kPacks>
ZELOS_ALWAYS_INLINE void forward(const Factor& f, double* y, int64_t stride) {
  constexpr int kLanes = simd::lanes<Pack>;
  for (int64_t j = 0; j < f.n; ++j) {
    const double* column = f.at(j);
    const double inverse = 1.0 / column[0];
    double* row = y + j * stride;
    Pack x[kPacks];
    for (int p = 0; p < kPacks; ++p) {
      x[p] = simd::load<Pack>(row + p * kLanes) * inverse;
      simd::store(row + p * kLanes, x[p]);
    }
    const int64_t last = std::min(f.width, f.n - 1 - j);
    for (int64_t d = 1; d <= last; ++d) {
      row += stride;
      for (int p = 0; p < kPacks; ++p) {
        simd::store(row + p * kLanes, simd::load<Pack>(row + p * kLanes) - column[d] * x[p]);
      }
    }
  }
}

template <class Pack, int kPacks>
ZELOS_ALWAYS_INLINE void backward(const Factor& f, double* y, int64_t stride) {
  constexpr int kLanes = simd::lanes<Pack>;
  for (int64_t j = f.n - 1; j >= 0; --j) {
    const double* column = f.at(j);
    double* row = y + j * stride;
    Pack sum[2][kPacks] = {};
    const int64_t last = std::min(f.width, f.n - 1 - j);
    int64_t d = 1;
    for (; d + 1 <= last; d += 2) {
      for (int p = 0; p < kPacks; ++p) {
        sum[0][p] += column[d] * simd::load<Pack>(row + d * stride + p * kLanes);
        sum[1][p] += column[d + 1] * simd::load<Pack>(row + (d + 1) * stride + p * kLanes);
      }
    }
    if (d <= last) {
      for (int p = 0; p < kPacks; ++p) sum[0][p] += column[d] * simd::load<Pack>(row + d * stride + p * kLanes);
    }
    const double inverse = 1.0 / column[0];
    for (int p = 0; p < kPacks; ++p) {
      simd::store(row + p * kLanes, (simd::load<Pack>(row + p * kLanes) - sum[0][p] - sum[1][p]) * inverse);
    }
  }
}

template <class Pack>
ZELOS_ALWAYS_INLINE void substitute(const Factor& f, double* y, int64_t stride, bool transposed) {
  int64_t at = 0;
  for (; at + 2 * simd::lanes<Pack> <= stride; at += 2 * simd::lanes<Pack>) {
    transposed ? backward<Pack, 2>(f, y + at, stride) : forward<Pack, 2>(f, y + at, stride);
  }
  if (at < stride) transposed ? backward<Pack, 1>(f, y + at, stride) : forward<Pack, 1>(f, y + at, stride);
}

// Elements of B^-1 within the band, from the end (Takahashi, Fagan & Chen 1973), by blocks: with J the columns of a
// block and I the rows below it, G = L_IJ L_JJ^-1:  Z_IJ = -Z_II G,  Z_JJ = (L_JJ L_JJ^T)^-1 - G^T Z_IJ.
// `out` is (n, width + 1).
template <class Pack>
ZELOS_ALWAYS_INLINE void inverse_band(const Factor& f, double* out) {
  constexpr int kLanes = simd::lanes<Pack>;
  const int64_t lead = f.stride - 1, w = f.width, nb = f.block;
  const int64_t ldz = round_up(w + nb, 8) + kTileSlack;
  const int64_t ldg = round_up(nb, 8) + kTileSlack;
  const auto zeros = [](int64_t rows, int64_t columns) {
    return std::vector<double>(static_cast<std::size_t>(rows * (columns + kTileSlack)), 0.0);
  };
  std::vector<double> z = zeros(ldz, w + nb), next = zeros(ldz, w + nb);
  std::vector<double> solved = zeros(ldz, nb), g = zeros(ldg, w);   // G by columns, and by rows
  std::vector<double> zij = zeros(ldz, nb), zji = zeros(ldg, w);    // Z_IJ by columns, and by rows
  std::vector<double> zjj = zeros(ldg, nb), root = zeros(ldg, nb);  // and the rows of L_JJ^-1
  for (int64_t j0 = (f.n - 1) / nb * nb; j0 >= 0; j0 -= nb) {
    const int64_t columns = std::min(nb, f.n - j0);
    const int64_t rows = std::min(w, f.n - j0 - columns);
    const double* a = f.at(j0);
    // Reads behind the panel: what is computed there is not used.
    for (int64_t r = 0; r < rows; r += kLanes) {
      for (int64_t c = columns - 1; c >= 0; --c) {
        Pack x = simd::load<Pack>(a + c * lead + columns + r), odd = {};
        int64_t p = c + 1;
        for (; p + 2 <= columns; p += 2) {
          x -= a[p + c * lead] * simd::load<Pack>(solved.data() + p * ldz + r);
          odd -= a[p + 1 + c * lead] * simd::load<Pack>(solved.data() + (p + 1) * ldz + r);
        }
        if (p < columns) x -= a[p + c * lead] * simd::load<Pack>(solved.data() + p * ldz + r);
        simd::store(solved.data() + c * ldz + r, (x + odd) * (1.0 / a[c + c * lead]));
      }
    }
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t c = 0; c < columns; ++c) g[i * ldg + c] = solved[c * ldz + i];
    }
    std::fill(zij.begin(), zij.end(), 0.0);
    subtract_product<Pack>(z.data(), ldz, g.data(), ldg, rows, rows, columns, false, zij.data(), ldz);
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t c = 0; c < columns; ++c) zji[i * ldg + c] = zij[c * ldz + i];
    }
    std::fill(root.begin(), root.end(), 0.0);
    for (int64_t i = 0; i < columns; ++i) {
      double* row = root.data() + i * ldg;
      row[i] = 1.0;
      for (int64_t p = 0; p < i; ++p) {
        const double factor = a[i + p * lead];
        const double* above = root.data() + p * ldg;
        for (int64_t c = 0; c <= p; ++c) row[c] -= factor * above[c];
      }
      const double inverse = 1.0 / a[i + i * lead];
      for (int64_t c = 0; c <= i; ++c) row[c] *= inverse;
    }
    std::fill(zjj.begin(), zjj.end(), 0.0);
    subtract_product<Pack>(root.data(), ldg, root.data(), ldg, columns, columns, columns, false, zjj.data(), ldg);
    for (auto& x : zjj) x = -x;
    subtract_product<Pack>(g.data(), ldg, zji.data(), ldg, rows, columns, columns, false, zjj.data(), ldg);
    for (int64_t c = 0; c < columns; ++c) {
      double* to = out + (j0 + c) * (w + 1);
      const int64_t inside = std::min(w + 1, columns - c);
      const int64_t below = std::min(rows, w + 1 - inside);
      std::copy_n(zjj.data() + c * ldg + c, inside, to);
      std::copy_n(zij.data() + c * ldz, below, to + inside);
      std::fill(to + inside + below, to + w + 1, 0.0);
    }
    // The next window: J and then I, as far as it reaches.
    const int64_t size = std::min(w, columns + rows), from_j = std::min(size, columns), from_i = size - from_j;
    for (int64_t c = 0; c < from_j; ++c) {
      std::copy_n(zjj.data() + c * ldg, from_j, next.data() + c * ldz);
      std::copy_n(zij.data() + c * ldz, from_i, next.data() + c * ldz + from_j);
    }
    for (int64_t c = 0; c < from_i; ++c) {
      double* to = next.data() + (from_j + c) * ldz;
      std::copy_n(zji.data() + c * ldg, from_j, to);
      std::copy_n(z.data() + c * ldz, from_i, to + from_j);
    }
    z.swap(next);
  }
}

// Inner products of all columns: gram(i, j) = sum_n y[n][i] y[n][j].
template <class Pack>
ZELOS_ALWAYS_INLINE void gram(const double* y, int64_t n, int64_t stride, double* out, int64_t ldo) {
  subtract_product<Pack>(y, stride, y, stride, n, stride, stride, false, out, ldo);
}

#define ZELOS_EACH_ISA(RESULT, NAME, SIGNATURE, CALL)                              \
  ZELOS_TARGET_AVX512 RESULT NAME##_avx512 SIGNATURE { return CALL(simd::Pack8); } \
  ZELOS_TARGET_AVX2 RESULT NAME##_avx2 SIGNATURE { return CALL(simd::Pack4); }     \
  RESULT NAME##_base SIGNATURE { return CALL(simd::Pack2); }                       \
  RESULT run_##NAME SIGNATURE {                                                    \
    switch (simd::isa()) {                                                         \
      case simd::Isa::kAvx512:                                                     \
        return CALL##_BY(NAME##_avx512);                                           \
      case simd::Isa::kAvx2:                                                       \
        return CALL##_BY(NAME##_avx2);                                             \
      default:                                                                     \
        return CALL##_BY(NAME##_base);                                             \
    }                                                                              \
  }

#define FACTORISE(PACK) factorise<PACK>(f, packed, ldp)
#define FACTORISE_BY(NAME) NAME(f, packed, ldp)
ZELOS_EACH_ISA(bool, factorise, (Factor & f, double* packed, int64_t ldp), FACTORISE)
#define SUBSTITUTE(PACK) substitute<PACK>(f, y, stride, transposed)
#define SUBSTITUTE_BY(NAME) NAME(f, y, stride, transposed)
ZELOS_EACH_ISA(void, substitute, (const Factor& f, double* y, int64_t stride, bool transposed), SUBSTITUTE)
#define INVERSE(PACK) inverse_band<PACK>(f, out)
#define INVERSE_BY(NAME) NAME(f, out)
ZELOS_EACH_ISA(void, inverse, (const Factor& f, double* out), INVERSE)
#define GRAM(PACK) gram<PACK>(y, n, stride, out, ldo)
#define GRAM_BY(NAME) NAME(y, n, stride, out, ldo)
ZELOS_EACH_ISA(void, gram, (const double* y, int64_t n, int64_t stride, double* out, int64_t ldo), GRAM)

#undef FACTORISE
#undef FACTORISE_BY
#undef SUBSTITUTE
#undef SUBSTITUTE_BY
#undef INVERSE
#undef INVERSE_BY
#undef GRAM
#undef GRAM_BY
#undef ZELOS_EACH_ISA

Factor factorise(const RowMatrix& band) {
  Factor f;
  f.n = band.rows();
  f.width = std::min<int64_t>(band.cols() - 1, f.n - 1);
  f.block = f.width >= 8 ? 16 : std::max<int64_t>(f.width, 1);
  f.stride = f.width + f.block + 8;
  f.data = workspace((f.n + f.block + kTileSlack) * f.stride + kTileSlack);
  for (int64_t j = 0; j < f.n; ++j) {
    const int64_t count = std::min(f.width, f.n - 1 - j) + 1;
    std::copy_n(band.data() + j * band.cols(), count, f.at(j));
    std::fill(f.at(j) + count, f.at(j) + f.stride, 0.0);
  }
  std::fill(f.at(f.n), f.data + (f.n + f.block + kTileSlack) * f.stride + kTileSlack, 0.0);
  bool good = true;
  if (f.width == 0) {
    for (int64_t j = 0; j < f.n && good; ++j) {
      good = *f.at(j) > 0.0 && std::isfinite(*f.at(j));
      *f.at(j) = std::sqrt(*f.at(j));
    }
  } else {
    const int64_t ldp = round_up(f.width, 8) + kTileSlack;
    std::vector<double> packed(static_cast<std::size_t>(ldp * f.block + kTileSlack), 0.0);
    good = run_factorise(f, packed.data(), ldp);
  }
  if (!good) throw Error(ZELOS_E_NUMERIC, "spectral likelihood: the covariance of the pixels is not positive definite");
  return f;
}

// Sum of the logarithms; exponents apart, so that one logarithm is enough.
double log_of_pivots(const Factor& f) {
  double mantissa = 1.0;
  int64_t exponent = 0;
  for (int64_t j = 0; j < f.n; ++j) {
    int e = 0;
    mantissa = std::frexp(mantissa * *f.at(j), &e);
    exponent += e;
  }
  return std::log(mantissa) + static_cast<double>(exponent) * std::log(2.0);
}

void check(const VectorXd& residual, const RowMatrix& factors, const RowMatrix& band) {
  const auto fail = [](const std::string& message) {
    throw Error(ZELOS_E_ARGUMENT, "spectral likelihood: " + message);
  };
  const Index n = residual.size();
  if (n < 1 || factors.rows() != n || band.rows() != n || band.cols() < 1) {
    fail("expected " + std::to_string(n) + " pixels everywhere, found factors of " + std::to_string(factors.rows()) +
         " and a band of " + std::to_string(band.rows()));
  }
  if (!residual.allFinite()) fail("a residual is not finite");
  if (!factors.allFinite()) fail("the emulator's covariance is not finite");
}

}  // namespace

double log_likelihood(const VectorXd& residual, const RowMatrix& factors, const RowMatrix& band,
                      LikelihoodSlopes* slopes) {
  check(residual, factors, band);
  const Index n = residual.size(), k = factors.cols();
  const Factor f = factorise(band);
  Sides y;
  y.n = n;
  y.stride = round_up(k + 1, 8);
  y.data.assign(static_cast<std::size_t>(n * y.stride + kTileSlack), 0.0);
  for (Index i = 0; i < n; ++i) {
    y.row(i)[0] = residual[i];
    std::copy_n(factors.data() + i * k, k, y.row(i) + 1);
  }
  run_substitute(f, y.data.data(), y.stride, false);

  const int64_t ldo = y.stride + kTileSlack;
  MatrixXd products = MatrixXd::Zero(ldo, y.stride + kTileColumns);
  run_gram(y.data.data(), n, y.stride, products.data(), ldo);
  products *= -1.0;
  const double yy = products(0, 0);
  const VectorXd vy = products.block(1, 0, k, 1);
  MatrixXd a = products.block(1, 1, k, k);
  a.diagonal().array() += 1.0;
  const Eigen::LLT<MatrixXd> llt(a);
  if (llt.info() != Eigen::Success) {
    throw Error(ZELOS_E_NUMERIC, "spectral likelihood: the covariance of the weights is not positive definite");
  }
  const VectorXd t = llt.solve(vy);
  const double log_det = 2.0 * (log_of_pivots(f) + llt.matrixLLT().diagonal().array().log().sum());
  const double value = -0.5 * (log_det + yy - vy.dot(t));
  if (!std::isfinite(value)) throw Error(ZELOS_E_NUMERIC, "spectral likelihood: not finite");
  if (slopes == nullptr) return value;

  // One backward substitution: a = C^-1 r and P with C^-1 = B^-1 - P P^T.
  Eigen::Map<RowMatrix> sides(y.data.data(), n, y.stride);
  sides.col(0) -= sides.middleCols(1, k) * t;
  RowMatrix v = sides.middleCols(1, k);
  llt.matrixU().solveInPlace<Eigen::OnTheRight>(v);
  sides.middleCols(1, k) = v;
  run_substitute(f, y.data.data(), y.stride, true);
  const VectorXd alpha = sides.col(0);
  RowMatrix p = sides.middleCols(1, k);

  slopes->residual = -alpha;
  slopes->band.resize(n, band.cols());
  const Index w = f.width;
  if (w == 0) {
    for (Index j = 0; j < n; ++j) slopes->band(j, 0) = 1.0 / (*f.at(j) * *f.at(j));
  } else if (w + 1 == band.cols()) {
    run_inverse(f, slopes->band.data());
  } else {
    RowMatrix inverse(n, w + 1);
    run_inverse(f, inverse.data());
    slopes->band.setZero();
    slopes->band.leftCols(w + 1) = inverse;
  }
  // Columns of (a, P) are contiguous: the sums run along the band.
  const MatrixXd columns = sides.leftCols(k + 1);
  for (Index j = 0; j < n; ++j) {
    const Index count = std::min<Index>(w, n - 1 - j) + 1;
    double* to = slopes->band.data() + j * band.cols();
    for (Index d = 0; d < count; ++d) to[d] = -to[d];
    for (Index q = 0; q <= k; ++q) {
      const double left = columns(j, q);
      const double* right = columns.data() + q * n + j;
      for (Index d = 0; d < count; ++d) to[d] += left * right[d];
    }
    to[0] *= 0.5;
  }
  // (a a^T - C^-1) U with C^-1 U = P M^-1.
  slopes->factors = alpha * (alpha.transpose() * factors);
  llt.matrixL().solveInPlace<Eigen::OnTheRight>(p);
  slopes->factors -= p;
  return value;
}

}  // namespace zelos::spectrum
