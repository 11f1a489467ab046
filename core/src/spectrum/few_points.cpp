// SPDX-License-Identifier: BSD-3-Clause
// With C = L L^T of n points, k the covariances with the point, y the weights, H the terms of the mean there and h at
// the point, one elimination of the rows
//   C, k^T, y^T, H^T   leaves   L, z^T = (L^-1 k)^T, w^T = (L^-1 y)^T, W^T = (L^-1 H)^T
// and a second one of   G = W^T W, (W^T w)^T, u^T = (h - W^T z)^T   leaves   R, g^T = (R^-1 W^T w)^T, v^T = (R^-1 u)^T:
//   mean = z^T w + v^T g,  variance = k(0) - z^T z + v^T v
#include "spectrum/few_points.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "zelos/simd/vector_math.hpp"

namespace zelos::spectrum {
namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

// Rows that are eliminated together.
constexpr int64_t kRows = 4;

constexpr int64_t in_fours(int64_t rows) { return (rows + kRows - 1) / kRows * kRows; }

template <class Pack>
ZELOS_ALWAYS_INLINE Pack at(const double* matrix, int64_t columns, int64_t i, int64_t j) {
  return simd::load<Pack>(matrix + (i * columns + j) * simd::lanes<Pack>);
}

template <class Pack>
ZELOS_ALWAYS_INLINE void put(double* matrix, int64_t columns, int64_t i, int64_t j, Pack value) {
  simd::store(matrix + (i * columns + j) * simd::lanes<Pack>, value);
}

// The first n of `rows` rows (rows in fours, n) are the lower triangle of a matrix and become its root L; a row r below
// becomes L^-1 r. Returns false where a pivot is not positive.
template <class Pack>
ZELOS_ALWAYS_INLINE bool eliminate(double* a, int64_t rows, int64_t n, double* inverse_pivots) {
  for (int64_t first = 0; first < rows; first += kRows) {
    for (int64_t j = 0; j < std::min(first + kRows, n); ++j) {
      Pack sum[kRows];
      for (int64_t r = 0; r < kRows; ++r) sum[r] = at<Pack>(a, n, first + r, j);
      for (int64_t k = 0; k < j; ++k) {
        const Pack column = at<Pack>(a, n, j, k);
        for (int64_t r = 0; r < kRows; ++r) sum[r] -= at<Pack>(a, n, first + r, k) * column;
      }
      int64_t below = 0;
      if (j >= first) {
        below = j - first + 1;
        const Pack square = sum[j - first];
        for (int lane = 0; lane < simd::lanes<Pack>; ++lane) {
          if (!(square[lane] > 0.0) || !std::isfinite(square[lane])) return false;
        }
        Pack pivot = square;
        for (int lane = 0; lane < simd::lanes<Pack>; ++lane) pivot[lane] = std::sqrt(square[lane]);
        put(a, n, j, j, pivot);
        put(inverse_pivots, 1, j, 0, Pack(1.0 / pivot));
      }
      const Pack inverse = at<Pack>(inverse_pivots, 1, j, 0);
      for (int64_t r = below; r < kRows; ++r) put(a, n, first + r, j, Pack(sum[r] * inverse));
    }
  }
  return true;
}

// x <- L^-T x
template <class Pack>
ZELOS_ALWAYS_INLINE void back_substitute(const double* a, int64_t n, const double* inverse_pivots, double* x) {
  for (int64_t i = n - 1; i >= 0; --i) {
    const Pack value = at<Pack>(x, 1, i, 0) * at<Pack>(inverse_pivots, 1, i, 0);
    put(x, 1, i, 0, value);
    for (int64_t j = 0; j < i; ++j) put(x, 1, j, 0, Pack(at<Pack>(x, 1, j, 0) - at<Pack>(a, n, i, j) * value));
  }
}

template <class Pack>
ZELOS_ALWAYS_INLINE Pack dot(const double* a, int64_t n, int64_t i, int64_t j) {
  Pack sum{};
  for (int64_t k = 0; k < n; ++k) sum += at<Pack>(a, n, i, k) * at<Pack>(a, n, j, k);
  return sum;
}

struct Shared {
  const WeightData& near;
  const Trend& trend;
  const Layout& layout;
  const VectorXd& theta;
  const VectorXd& point;
  bool slopes;
  RowMatrix squares;  // (n (n + 1) / 2 + n, D): squared differences of the points, by pairs; of the point
  MatrixXd terms;     // (n, t)
  VectorXd here;      // (t): terms at the point
  MatrixXd by_here;   // (t, D): their derivatives
};

template <class Pack>
ZELOS_ALWAYS_INLINE Pack correlate(Kernel kernel, Pack square, Pack& slope) {
  if (kernel == Kernel::squared_exponential) {
    slope = simd::exp(Pack(-0.5 * square));
    return slope;
  }
  const Pack s = simd::sqrt(Pack(5.0 * square)), e = simd::exp(Pack(-s));
  slope = 5.0 / 3.0 * (1.0 + s) * e;
  return (1.0 + s + s * s / 3.0) * e;
}

template <class Pack>
ZELOS_ALWAYS_INLINE bool predict_lanes(const Shared& s, Index first, WeightProcess::Prediction& p) {
  constexpr int64_t kLanes = simd::lanes<Pack>;
  const int64_t n = s.near.points.rows(), d = s.point.size(), t = s.here.size();
  const int64_t rows = in_fours(n + 2 + t), small = in_fours(t + 2);
  thread_local std::vector<double> memory;
  memory.assign(static_cast<std::size_t>(kLanes * (rows * n + small * t + (s.slopes ? 4 : 1) * n + 3 * t + d)), 0.0);
  double* a = memory.data();
  double* pivots = a + kLanes * rows * n;
  double* g = pivots + kLanes * n;
  double* g_pivots = g + kLanes * small * t;
  double* b = g_pivots + kLanes * t;
  double* u = b + kLanes * t;
  double* inverse_square = u + kLanes * t;
  double* dual = inverse_square + kLanes * d;  // the rest for slopes
  double* back = dual + kLanes * n;
  double* by_square = back + kLanes * n;
  Pack v, noise;
  const auto component = [&](int64_t lane) { return std::min<Index>(first + lane, s.layout.m - 1); };
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    const ComponentTheta theta(s.layout, s.theta, component(lane));
    v[lane] = std::exp(theta.log_variance);
    noise[lane] = std::exp(theta.log_noise);
    for (int64_t q = 0; q < d; ++q) inverse_square[q * kLanes + lane] = std::exp(-2.0 * theta.log_length[q]);
  }
  Pack slope;
  const double* square = s.squares.data();
  for (int64_t i = 0; i <= n; ++i) {
    for (int64_t j = 0; j < (i < n ? i + 1 : n); ++j, square += d) {
      Pack sum{};
      for (int64_t q = 0; q < d; ++q) sum += square[q] * at<Pack>(inverse_square, 1, q, 0);
      Pack c = v * correlate(s.near.kernel, sum, slope);
      if (i == j && i < n) c = v + noise;
      put(a, n, i, j, c);
      if (i == n && s.slopes) put(by_square, 1, j, 0, Pack(v * slope));
    }
  }
  for (int64_t j = 0; j < n; ++j) {
    Pack y;
    for (int64_t lane = 0; lane < kLanes; ++lane) y[lane] = s.near.weights(j, component(lane));
    put(a, n, n + 1, j, y);
    for (int64_t k = 0; k < t; ++k) put(a, n, n + 2 + k, j, simd::splat<Pack>(s.terms(j, k)));
  }
  if (!eliminate<Pack>(a, rows, n, pivots)) return false;
  Pack mean = dot<Pack>(a, n, n, n + 1), variance = v - dot<Pack>(a, n, n, n);
  if (t > 0) {
    for (int64_t k = 0; k < t; ++k) {
      for (int64_t l = 0; l <= k; ++l) put(g, t, k, l, dot<Pack>(a, n, n + 2 + k, n + 2 + l));
      put(g, t, t, k, dot<Pack>(a, n, n + 2 + k, n + 1));
      put(g, t, t + 1, k, Pack(s.here[k] - dot<Pack>(a, n, n + 2 + k, n)));
    }
    if (!eliminate<Pack>(g, small, t, g_pivots)) return false;
    mean += dot<Pack>(g, t, t, t + 1);
    variance += dot<Pack>(g, t, t + 1, t + 1);
  }
  for (int64_t lane = 0; lane < kLanes && first + lane < s.layout.m; ++lane) {
    const double least = least_variance(v[lane]);
    p.mean[first + lane] = mean[lane];
    p.covariance(first + lane, first + lane) = std::max(variance[lane], least);
  }
  if (!s.slopes) return true;
  // L^-T (w - W b) with b = R^-T g, and L^-T (z + W t) with t = R^-T v.
  std::copy_n(g + kLanes * t * t, kLanes * t, b);
  std::copy_n(g + kLanes * t * (t + 1), kLanes * t, u);
  back_substitute<Pack>(g, t, g_pivots, b);
  back_substitute<Pack>(g, t, g_pivots, u);
  for (int64_t j = 0; j < n; ++j) {
    Pack x = at<Pack>(a, n, n + 1, j), y = at<Pack>(a, n, n, j);
    for (int64_t k = 0; k < t; ++k) {
      x -= at<Pack>(a, n, n + 2 + k, j) * at<Pack>(b, 1, k, 0);
      y += at<Pack>(a, n, n + 2 + k, j) * at<Pack>(u, 1, k, 0);
    }
    put(dual, 1, j, 0, x);
    put(back, 1, j, 0, y);
  }
  back_substitute<Pack>(a, n, pivots, dual);
  back_substitute<Pack>(a, n, pivots, back);
  for (int64_t q = 0; q < d; ++q) {
    Pack by_mean{}, by_variance{};
    for (int64_t j = 0; j < n; ++j) {
      const Pack dk =
          at<Pack>(by_square, 1, j, 0) * at<Pack>(inverse_square, 1, q, 0) * (s.near.points(j, q) - s.point[q]);
      by_mean += dk * at<Pack>(dual, 1, j, 0);
      by_variance -= 2.0 * dk * at<Pack>(back, 1, j, 0);
    }
    for (int64_t k = 0; k < t; ++k) {
      by_mean += s.by_here(k, q) * at<Pack>(b, 1, k, 0);
      by_variance += 2.0 * s.by_here(k, q) * at<Pack>(u, 1, k, 0);
    }
    for (int64_t lane = 0; lane < kLanes && first + lane < s.layout.m; ++lane) {
      const Index i = first + lane;
      const bool resolved = variance[lane] > least_variance(v[lane]);
      p.mean_slope(i, q) = by_mean[lane];
      p.covariance_slope[static_cast<std::size_t>(q)](i, i) = resolved ? by_variance[lane] : 0.0;
    }
  }
  return true;
}

ZELOS_TARGET_AVX512 bool predict_avx512(const Shared& s, Index first, WeightProcess::Prediction& p) {
  return predict_lanes<simd::Pack8>(s, first, p);
}
ZELOS_TARGET_AVX2 bool predict_avx2(const Shared& s, Index first, WeightProcess::Prediction& p) {
  return predict_lanes<simd::Pack4>(s, first, p);
}
bool predict_base(const Shared& s, Index first, WeightProcess::Prediction& p) {
  return predict_lanes<simd::Pack2>(s, first, p);
}

}  // namespace

bool predict_from_few(const WeightData& near, const Trend& trend, const Layout& layout, const VectorXd& theta,
                      const VectorXd& point, bool slopes, WeightProcess::Prediction& p) {
  const Index n = near.points.rows(), d = point.size(), m = layout.m;
  Shared s{near, trend, layout, theta, point, slopes, {}, {}, {}, {}};
  s.squares.resize(n * (n + 1) / 2 + n, d);
  Index row = 0;
  for (Index i = 0; i < n; ++i) {
    for (Index j = 0; j <= i; ++j) s.squares.row(row++) = (near.points.row(i) - near.points.row(j)).cwiseAbs2();
  }
  for (Index j = 0; j < n; ++j) s.squares.row(row++) = (point.transpose() - near.points.row(j)).cwiseAbs2();
  s.terms = trend.matrix(near.points);
  s.here = trend.size() > 0 ? trend.terms(point) : VectorXd();
  if (slopes) {
    s.by_here.resize(trend.size(), d);
    for (Index q = 0; q < d && trend.size() > 0; ++q) s.by_here.col(q) = trend.terms(point, q);
    p.mean_slope.resize(m, d);
    p.covariance_slope.assign(static_cast<std::size_t>(d), MatrixXd::Zero(m, m));
  }
  p.mean.resize(m);
  p.covariance = MatrixXd::Zero(m, m);
  const auto isa = simd::isa();
  const auto run = isa == simd::Isa::kAvx512 ? predict_avx512 : isa == simd::Isa::kAvx2 ? predict_avx2 : predict_base;
  const Index lanes = isa == simd::Isa::kAvx512 ? 8 : isa == simd::Isa::kAvx2 ? 4 : 2;
  for (Index first = 0; first < m; first += lanes) {
    if (!run(s, first, p)) return false;
  }
  return true;
}

}  // namespace zelos::spectrum
