// SPDX-License-Identifier: BSD-3-Clause
// Gaussian processes of PCA weights: likelihood, training, prediction.
#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <random>
#include <string>

#include "base/kernels.hpp"
#include "spectrum/minimise.hpp"
#include "spectrum/parallel.hpp"
#include "zelos/spectrum.hpp"

namespace zelos::spectrum {
namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

// Beyond these, double precision is all there is: the sums of an extended Cholesky take M^3.
constexpr Index kMaxExtendedPoints = 1000;
// M v / noise, which bounds the condition of a block: from here on rounding could cost 1e-10 of log L.
constexpr double kExtendedCondition = 1e6;

template <class Scalar>
using Matrix = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>;
template <class Scalar>
using Vector = Eigen::Matrix<Scalar, Eigen::Dynamic, 1>;

// Where each hyperparameter stands in the vector.
struct Layout {
  Index m, d;
  bool own_noise;

  explicit Layout(const WeightData& data) : m(data.weights.cols()), d(data.points.cols()), own_noise(data.own_noise) {}
  Index noises() const { return own_noise ? m : 1; }
  Index noise(Index i) const { return own_noise ? i : 0; }
  Index variance(Index i) const { return noises() + i; }
  Index length(Index i) const { return noises() + m + i * d; }
  Index size() const { return noises() + m + m * d; }
  // log of the noise variance: of a nugget, or of 1 / lambda_xi.
  double log_noise(const VectorXd& theta, Index i) const { return own_noise ? theta[i] : -theta[0]; }
  double noise_sign() const { return own_noise ? 1.0 : -1.0; }
};

void check(const WeightData& data) {
  const Index n = data.points.rows();
  const Index m = data.weights.cols();
  const auto fail = [](const std::string& message) { throw Error(ZELOS_E_ARGUMENT, "spectral emulator: " + message); };
  if (n < 2 || data.points.cols() < 1) fail("expected at least two grid points with one parameter");
  if (data.weights.rows() != n || m < 1) {
    fail("expected weights of " + std::to_string(n) + " grid points, found " + std::to_string(data.weights.rows()));
  }
  if (!data.points.allFinite() || !data.weights.allFinite()) fail("a grid point or a weight is not finite");
  if (data.gram.size() > 0) {
    if (data.gram.rows() != m || data.gram.cols() != m || !data.gram.allFinite()) {
      fail("the inner products of the eigenspectra have the wrong shape or are not finite");
    }
    if (data.mean_degree >= 0) fail("a polynomial mean needs orthonormal eigenspectra");
    if (data.own_noise) fail("a nugget for each component needs orthonormal eigenspectra");
  }
  if (data.mean_degree > 3) fail("a polynomial mean has degree 0 to 3");
}

void check(const WeightData& data, const VectorXd& theta) {
  check(data);
  const Index expected = Layout(data).size();
  if (theta.size() != expected) {
    throw Error(ZELOS_E_ARGUMENT, "spectral emulator: expected " + std::to_string(expected) +
                                      " hyperparameters, found " + std::to_string(theta.size()));
  }
  if (!theta.allFinite()) throw Error(ZELOS_E_ARGUMENT, "spectral emulator: a hyperparameter is not finite");
}

// --- kernels as functions of the scaled distance ---

// On entry x = squared distance (n a multiple of 8); on exit the correlation, and minus twice its derivative by the
// squared distance.
void correlate(Kernel kernel, double* x, double* slope, Index n) {
  if (kernel == Kernel::squared_exponential) {
    for (Index i = 0; i < n; ++i) x[i] *= -0.5;
    exponential(x, n);
    if (slope != nullptr) std::copy(x, x + n, slope);
    return;
  }
  std::vector<double> s(static_cast<std::size_t>(n));
  for (Index i = 0; i < n; ++i) {
    s[static_cast<std::size_t>(i)] = std::sqrt(5.0 * x[i]);
    x[i] = -s[static_cast<std::size_t>(i)];
  }
  exponential(x, n);
  for (Index i = 0; i < n; ++i) {
    const double si = s[static_cast<std::size_t>(i)];
    const double e = x[i];
    if (slope != nullptr) slope[i] = 5.0 / 3.0 * (1.0 + si) * e;
    x[i] = (1.0 + si + si * si / 3.0) * e;
  }
}

long double correlation(Kernel kernel, long double square) {
  if (kernel == Kernel::squared_exponential) return std::exp(-0.5L * square);
  const long double s = std::sqrt(5.0L * square);
  return (1.0L + s + s * s / 3.0L) * std::exp(-s);
}

Index padded(Index n) { return (n + 7) / 8 * 8; }

// Points over length scales, a column for each dimension, padded with the last point.
MatrixXd scaled(const RowMatrix& points, const double* log_length) {
  const Index n = points.rows();
  MatrixXd u(padded(n), points.cols());
  for (Index k = 0; k < points.cols(); ++k) {
    u.col(k).head(n) = points.col(k) * std::exp(-log_length[k]);
    u.col(k).tail(u.rows() - n).setConstant(u(n - 1, k));
  }
  return u;
}

// Correlations of all scaled points with one of them; rows from `first` (a multiple of 8) on.
void correlation_column(Kernel kernel, const MatrixXd& u, Index column, Index first, double* out, double* slope) {
  const Index n = u.rows() - first;
  std::fill(out, out + n, 0.0);
  for (Index k = 0; k < u.cols(); ++k) {
    const double* p = u.col(k).data() + first;
    const double centre = u(column, k);
    for (Index i = 0; i < n; ++i) out[i] += (p[i] - centre) * (p[i] - centre);
  }
  correlate(kernel, out, slope, n);
}

// (M padded, M), lower triangle: correlations and slopes.
void correlation_matrix(Kernel kernel, const MatrixXd& u, Index n, MatrixXd& k, MatrixXd* slope) {
  k.resize(u.rows(), n);
  if (slope != nullptr) slope->resize(u.rows(), n);
  for (Index j = 0; j < n; ++j) {
    const Index first = j / 8 * 8;
    correlation_column(kernel, u, j, first, k.col(j).data() + first,
                       slope == nullptr ? nullptr : slope->col(j).data() + first);
  }
}

// --- polynomial mean ---

class Trend {
 public:
  Trend(const RowMatrix& points, int degree) : centre_(points.cols()), half_(points.cols()) {
    if (degree < 0) return;
    const Index d = points.cols();
    for (Index k = 0; k < d; ++k) {
      const double low = points.col(k).minCoeff(), high = points.col(k).maxCoeff();
      centre_[k] = 0.5 * (low + high);
      half_[k] = high > low ? 0.5 * (high - low) : 1.0;
    }
    std::vector<int> powers(static_cast<std::size_t>(d), 0);
    const auto add = [&](const auto& self, Index k, int left) -> void {
      if (k == d) {
        powers_.push_back(powers);
        return;
      }
      for (int p = 0; p <= left; ++p) {
        powers[static_cast<std::size_t>(k)] = p;
        self(self, k + 1, left - p);
      }
      powers[static_cast<std::size_t>(k)] = 0;
    };
    add(add, 0, degree);
    if (static_cast<Index>(powers_.size()) >= points.rows()) {
      throw Error(ZELOS_E_ARGUMENT, "spectral emulator: a mean of degree " + std::to_string(degree) + " has " +
                                        std::to_string(powers_.size()) + " terms, for " +
                                        std::to_string(points.rows()) + " grid points");
    }
  }

  Index size() const { return static_cast<Index>(powers_.size()); }

  // Terms at a point, and their derivative by coordinate `by` if that is not negative.
  VectorXd terms(const VectorXd& point, Index by = -1) const {
    VectorXd h(size());
    for (Index t = 0; t < size(); ++t) {
      double product = 1.0;
      for (Index k = 0; k < point.size(); ++k) {
        const int p = powers_[static_cast<std::size_t>(t)][static_cast<std::size_t>(k)];
        const double x = (point[k] - centre_[k]) / half_[k];
        if (k == by) {
          product *= p == 0 ? 0.0 : p * std::pow(x, p - 1) / half_[k];
        } else if (p > 0) {
          product *= std::pow(x, p);
        }
      }
      h[t] = product;
    }
    return h;
  }

  MatrixXd matrix(const RowMatrix& points) const {
    MatrixXd h(points.rows(), size());
    for (Index i = 0; i < points.rows(); ++i) h.row(i) = terms(points.row(i).transpose()).transpose();
    return h;
  }

 private:
  VectorXd centre_, half_;
  std::vector<std::vector<int>> powers_;
};

// --- one block: C = v K + n 1 ---

// C = L L^T in the lower triangle of `c`; false if C is not positive definite.
template <class Scalar>
bool factorise(Matrix<Scalar>& c) {
  Eigen::Ref<Matrix<Scalar>> in_place(c);
  const Eigen::LLT<Eigen::Ref<Matrix<Scalar>>> llt(in_place);
  return llt.info() == Eigen::Success && c.diagonal().minCoeff() > Scalar(0);
}

template <class Scalar>
struct Solved {
  Matrix<Scalar> factor;             // lower triangle: L
  Matrix<Scalar> whitened_trend;     // L^-1 H
  Eigen::LLT<Matrix<Scalar>> trend;  // H^T C^-1 H
  Vector<Scalar> coefficients;       // b
  Vector<Scalar> whitened;           // L^-1 (y - H b)
  Scalar log_likelihood = 0;
};

template <class Scalar>
bool solve(Matrix<Scalar> c, const MatrixXd& h, const VectorXd& y, Solved<Scalar>& s) {
  s.factor = std::move(c);
  if (!factorise(s.factor)) return false;
  const auto lower = s.factor.template triangularView<Eigen::Lower>();
  s.whitened = y.cast<Scalar>();
  lower.solveInPlace(s.whitened);
  Scalar log_det = 2 * s.factor.diagonal().array().log().sum();
  if (h.cols() > 0) {
    s.whitened_trend = h.cast<Scalar>();
    lower.solveInPlace(s.whitened_trend);
    s.trend.compute(s.whitened_trend.transpose() * s.whitened_trend);
    if (s.trend.info() != Eigen::Success) return false;
    s.coefficients = s.trend.solve(s.whitened_trend.transpose() * s.whitened);
    s.whitened.noalias() -= s.whitened_trend * s.coefficients;
    log_det += 2 * s.trend.matrixLLT().diagonal().array().log().sum();
  }
  s.log_likelihood = -(log_det + s.whitened.squaredNorm()) / 2;
  return std::isfinite(static_cast<double>(s.log_likelihood));
}

// Lower triangle of C^-1 from L, less what the trend takes.
MatrixXd inverse(const Solved<double>& s) {
  const Index n = s.factor.rows();
  MatrixXd root = MatrixXd::Identity(n, n);
  constexpr Index kBlock = 64;
  // Rows above the diagonal block stay zero and are skipped.
  for (Index j = 0; j < n; j += kBlock) {
    const Index width = std::min(kBlock, n - j);
    s.factor.bottomRightCorner(n - j, n - j)
        .triangularView<Eigen::Lower>()
        .solveInPlace(root.block(j, j, n - j, width));
  }
  MatrixXd result = MatrixXd::Zero(n, n);
  for (Index j = 0; j < n; j += kBlock) {
    const Index width = std::min(kBlock, n - j);
    result.topLeftCorner(j + width, j + width)
        .selfadjointView<Eigen::Lower>()
        .rankUpdate(root.block(j, 0, width, j + width).transpose());
  }
  if (s.whitened_trend.cols() > 0) {
    MatrixXd projected = s.whitened_trend;
    s.factor.transpose().triangularView<Eigen::Upper>().solveInPlace(projected);
    s.trend.matrixU().solveInPlace<Eigen::OnTheRight>(projected);
    result.selfadjointView<Eigen::Lower>().rankUpdate(projected, -1.0);
  }
  return result;
}

VectorXd dual_weights(const Solved<double>& s) {
  VectorXd alpha = s.whitened;
  s.factor.transpose().triangularView<Eigen::Upper>().solveInPlace(alpha);
  return alpha;
}

class Block {
 public:
  Block(const WeightData& data, const Trend& trend, const MatrixXd& h, Index i)
      : data_(data), trend_(trend), h_(h), y_(data.weights.col(i)) {}

  // gradient: (log noise, log v, log l_1 .. log l_D). -infinity where C is not positive definite.
  double value(double log_noise, double log_v, const double* log_length, double* gradient) const {
    const Index n = data_.points.rows();
    const Index d = data_.points.cols();
    const double v = std::exp(log_v), noise = std::exp(log_noise);
    const MatrixXd u = scaled(data_.points, log_length);
    MatrixXd k, slope;
    correlation_matrix(data_.kernel, u, n, k, gradient == nullptr ? nullptr : &slope);
    MatrixXd c = v * k.topRows(n);
    c.diagonal().array() += noise;
    Solved<double> s;
    if (!solve(std::move(c), h_, y_, s)) return -std::numeric_limits<double>::infinity();
    if (gradient == nullptr) return s.log_likelihood;

    // d log L = 1/2 sum_ij W_ij dC_ij with W = a a^T - Q.
    MatrixXd w = -inverse(s);
    const VectorXd alpha = dual_weights(s);
    w.selfadjointView<Eigen::Lower>().rankUpdate(alpha);
    gradient[0] = 0.5 * noise * w.trace();
    double with_k = 0.5 * w.trace();
    for (Index j = 0; j < n; ++j) {
      with_k += w.col(j).tail(n - j - 1).dot(k.col(j).segment(j + 1, n - j - 1));
    }
    gradient[1] = v * with_k;
    // d k / d log l_d = slope (u_id - u_jd)^2; Z = W * slope off the diagonal is symmetric, so that
    // sum_ij Z_ij (u_id - u_jd)^2 = 2 sum_i u_id^2 (Z 1)_i - 2 u_d^T Z u_d.
    w.triangularView<Eigen::StrictlyLower>() = w.cwiseProduct(slope.topRows(n));
    w.diagonal().setZero();
    MatrixXd right(n, d + 1);
    right.leftCols(d) = u.topRows(n).rowwise() - u.topRows(n).colwise().mean();
    right.col(d).setOnes();
    const MatrixXd z = w.selfadjointView<Eigen::Lower>() * right;
    for (Index p = 0; p < d; ++p) {
      gradient[2 + p] = v * (right.col(p).cwiseAbs2().dot(z.col(d)) - right.col(p).dot(z.col(p)));
    }
    return s.log_likelihood;
  }

  double extended_value(double log_noise, double log_v, const double* log_length) const {
    const Index n = data_.points.rows();
    const long double v = std::exp(static_cast<long double>(log_v));
    std::vector<long double> inverse_length;
    for (Index p = 0; p < data_.points.cols(); ++p) {
      inverse_length.push_back(std::exp(-static_cast<long double>(log_length[p])));
    }
    Matrix<long double> c(n, n);
    for (Index j = 0; j < n; ++j) {
      for (Index i = j; i < n; ++i) {
        long double square = 0.0L;
        for (Index p = 0; p < data_.points.cols(); ++p) {
          const long double step = (static_cast<long double>(data_.points(i, p)) - data_.points(j, p)) *
                                   inverse_length[static_cast<std::size_t>(p)];
          square += step * step;
        }
        c(i, j) = v * correlation(data_.kernel, square);
      }
      c(j, j) += std::exp(static_cast<long double>(log_noise));
    }
    Solved<long double> s;
    if (!solve(std::move(c), h_, y_, s)) return -std::numeric_limits<double>::infinity();
    return static_cast<double>(s.log_likelihood);
  }

 private:
  const WeightData& data_;
  const Trend& trend_;
  const MatrixXd& h_;
  VectorXd y_;
};

// --- the whole matrix, for eigenspectra that are not orthonormal ---

// V (m M, m M), component-major; its lower triangle.
MatrixXd whole_matrix(const WeightData& data, const VectorXd& theta) {
  const Layout layout(data);
  const Index n = data.points.rows(), m = layout.m;
  const MatrixXd inverse_gram = data.gram.inverse() * std::exp(-theta[0]);
  MatrixXd v = MatrixXd::Zero(m * n, m * n);
  for (Index i = 0; i < m; ++i) {
    const MatrixXd u = scaled(data.points, theta.data() + layout.length(i));
    MatrixXd k;
    correlation_matrix(data.kernel, u, n, k, nullptr);
    v.block(i * n, i * n, n, n).triangularView<Eigen::Lower>() = std::exp(theta[layout.variance(i)]) * k.topRows(n);
    for (Index j = 0; j <= i; ++j) v.block(i * n, j * n, n, n).diagonal().array() += inverse_gram(i, j);
  }
  return v;
}

double whole_log_likelihood(const WeightData& data, const VectorXd& theta, VectorXd* gradient) {
  const Layout layout(data);
  const Index n = data.points.rows(), m = layout.m;
  const VectorXd y = Eigen::Map<const VectorXd>(MatrixXd(data.weights).data(), m * n);
  Solved<double> s;
  if (!solve(whole_matrix(data, theta), MatrixXd(m * n, 0), y, s)) return -std::numeric_limits<double>::infinity();
  if (gradient == nullptr) return s.log_likelihood;
  MatrixXd w = -inverse(s);
  w.selfadjointView<Eigen::Lower>().rankUpdate(dual_weights(s));
  const MatrixXd inverse_gram = data.gram.inverse() * std::exp(-theta[0]);
  double by_noise = 0.0;
  for (Index i = 0; i < m; ++i) {
    for (Index j = 0; j <= i; ++j) {
      by_noise += (i == j ? 0.5 : 1.0) * inverse_gram(i, j) * w.block(i * n, j * n, n, n).trace();
    }
  }
  (*gradient)[0] = -by_noise;
  for (Index i = 0; i < m; ++i) {
    const MatrixXd u = scaled(data.points, theta.data() + layout.length(i));
    MatrixXd k, slope;
    correlation_matrix(data.kernel, u, n, k, &slope);
    const double v = std::exp(theta[layout.variance(i)]);
    const auto wi = w.block(i * n, i * n, n, n);
    double with_k = 0.5 * wi.trace();
    VectorXd by_length = VectorXd::Zero(layout.d);
    for (Index b = 0; b < n; ++b) {
      for (Index a = b + 1; a < n; ++a) {
        with_k += wi(a, b) * k(a, b);
        for (Index p = 0; p < layout.d; ++p) {
          const double step = u(a, p) - u(b, p);
          by_length[p] += wi(a, b) * slope(a, b) * step * step;
        }
      }
    }
    (*gradient)[layout.variance(i)] = v * with_k;
    gradient->segment(layout.length(i), layout.d) = v * by_length;
  }
  return s.log_likelihood;
}

double log_likelihood_or_minus_infinity(const WeightData& data, const VectorXd& theta, VectorXd* gradient,
                                        int n_threads) {
  if (gradient != nullptr) gradient->setZero(theta.size());
  if (data.gram.size() > 0) return whole_log_likelihood(data, theta, gradient);
  const Layout layout(data);
  const Trend trend(data.points, data.mean_degree);
  const MatrixXd h = trend.matrix(data.points);
  const double points = static_cast<double>(data.points.rows());
  VectorXd values(layout.m);
  MatrixXd slopes(2 + layout.d, layout.m);
  parallel(static_cast<int>(layout.m), n_threads, [&](int i) {
    const Block block(data, trend, h, i);
    const double log_noise = layout.log_noise(theta, i), log_v = theta[layout.variance(i)];
    const double* lengths = theta.data() + layout.length(i);
    const bool extended = gradient == nullptr && data.points.rows() <= kMaxExtendedPoints &&
                          points * std::exp(log_v - log_noise) > kExtendedCondition;
    values[i] = extended ? block.extended_value(log_noise, log_v, lengths)
                         : block.value(log_noise, log_v, lengths, gradient ? slopes.col(i).data() : nullptr);
  });
  const double sum = values.sum();
  if (gradient != nullptr && std::isfinite(sum)) {
    for (Index i = 0; i < layout.m; ++i) {
      (*gradient)[layout.noise(i)] += layout.noise_sign() * slopes(0, i);
      (*gradient)[layout.variance(i)] = slopes(1, i);
      gradient->segment(layout.length(i), layout.d) = slopes.col(i).tail(layout.d);
    }
  }
  return sum;
}

// log density of Gamma up to a constant, at x = exp(sign * log_x), and its derivative by log_x.
double log_prior(const GammaPrior& prior, double log_x, double sign, double& slope) {
  const double x = std::exp(sign * log_x);
  slope += sign * ((prior.shape - 1.0) - prior.rate * x);
  return (prior.shape - 1.0) * sign * log_x - prior.rate * x;
}

double log_posterior(const WeightData& data, const WeightTraining& training, const VectorXd& theta, VectorXd& gradient,
                     int n_threads) {
  double value = log_likelihood_or_minus_infinity(data, theta, &gradient, n_threads);
  if (!std::isfinite(value) || !gradient.allFinite()) return -std::numeric_limits<double>::infinity();
  const Layout layout(data);
  for (Index i = 0; i < layout.noises(); ++i) {
    value += log_prior(training.noise_prior, theta[i], -layout.noise_sign(), gradient[i]);
  }
  if (!training.length_priors.empty()) {
    for (Index i = 0; i < layout.m; ++i) {
      for (Index p = 0; p < layout.d; ++p) {
        const Index at = layout.length(i) + p;
        value += log_prior(training.length_priors[static_cast<std::size_t>(p)], theta[at], 1.0, gradient[at]);
      }
    }
  }
  return value;
}

struct Bounds {
  VectorXd lower, upper;
};

Bounds bounds(const WeightData& data) {
  const Layout layout(data);
  const double points = static_cast<double>(data.points.rows());
  const VectorXd power =
      (data.weights.colwise().squaredNorm() / points).cwiseMax(std::numeric_limits<double>::min()).transpose();
  Bounds b{VectorXd(layout.size()), VectorXd(layout.size())};
  for (Index i = 0; i < layout.noises(); ++i) {
    // The noise of a weight lies between 1e-13 and 10 of its mean square.
    const double log_power = std::log(layout.own_noise ? power[i] : power.maxCoeff());
    const double log_least = std::log(layout.own_noise ? power[i] : power.minCoeff());
    const double low = std::log(1e-13) + log_least, high = std::log(10.0) + log_power;
    b.lower[i] = layout.own_noise ? low : -high;
    b.upper[i] = layout.own_noise ? high : -low;
  }
  for (Index i = 0; i < layout.m; ++i) {
    b.lower[layout.variance(i)] = std::log(power[i]) - 12.0;
    b.upper[layout.variance(i)] = std::log(power[i]) + 18.0;
    for (Index p = 0; p < layout.d; ++p) {
      std::vector<double> x(data.points.col(p).begin(), data.points.col(p).end());
      std::sort(x.begin(), x.end());
      double least = x.back() - x.front();
      for (std::size_t k = 1; k < x.size(); ++k) {
        if (x[k] > x[k - 1]) least = std::min(least, x[k] - x[k - 1]);
      }
      const double range = x.back() > x.front() ? x.back() - x.front() : 1.0;
      b.lower[layout.length(i) + p] = std::log(0.1 * (least > 0.0 ? least : range));
      b.upper[layout.length(i) + p] = std::log(100.0 * range);
    }
  }
  return b;
}

VectorXd random_start(const WeightData& data, std::uint64_t seed) {
  const Layout layout(data);
  std::mt19937_64 generator(seed);
  // std::uniform_real_distribution differs between libraries.
  const auto uniform = [&generator](double low, double high) {
    return low + (high - low) * static_cast<double>(generator() >> 11) * 0x1.0p-53;
  };
  const VectorXd power =
      (data.weights.colwise().squaredNorm() / static_cast<double>(data.points.rows())).cwiseMax(1e-300).transpose();
  VectorXd start(layout.size());
  for (Index i = 0; i < layout.noises(); ++i) {
    const double noise = std::log(layout.own_noise ? power[i] : power.mean()) - uniform(6.0, 16.0);
    start[i] = layout.own_noise ? noise : -noise;
  }
  for (Index i = 0; i < layout.m; ++i) {
    start[layout.variance(i)] = std::log(power[i]) + uniform(0.0, 6.0);
    for (Index p = 0; p < layout.d; ++p) {
      const double range = data.points.col(p).maxCoeff() - data.points.col(p).minCoeff();
      start[layout.length(i) + p] = std::log(range > 0.0 ? range : 1.0) + uniform(-1.2, 1.6);
    }
  }
  return start;
}

// Component i alone, with its own noise.
WeightData component(const WeightData& data, Index i) {
  WeightData one = data;
  one.weights = data.weights.col(i);
  return one;
}

VectorXd component(const WeightData& data, const VectorXd& theta, Index i) {
  const Layout layout(data);
  VectorXd one(2 + layout.d);
  one << theta[i], theta[layout.variance(i)], theta.segment(layout.length(i), layout.d);
  return one;
}

void put(const WeightData& data, const VectorXd& one, Index i, VectorXd& theta) {
  const Layout layout(data);
  theta[i] = one[0];
  theta[layout.variance(i)] = one[1];
  theta.segment(layout.length(i), layout.d) = one.tail(layout.d);
}

struct Stopped {};

}  // namespace

Index hyperparameter_count(const WeightData& data) { return Layout(data).size(); }

double weight_log_likelihood(const WeightData& data, const VectorXd& theta, VectorXd* gradient, int n_threads) {
  check(data, theta);
  const double value = log_likelihood_or_minus_infinity(data, theta, gradient, n_threads);
  if (!std::isfinite(value)) {
    throw Error(ZELOS_E_NUMERIC,
                "spectral emulator: the covariance of the weights is not positive definite in double precision");
  }
  return value;
}

WeightOptimum train_weights(const WeightData& data, const WeightTraining& training) {
  check(data, training.start);
  const Layout layout(data);
  if (!training.length_priors.empty() && static_cast<Index>(training.length_priors.size()) != layout.d) {
    throw Error(ZELOS_E_ARGUMENT, "spectral emulator: expected a prior for each of " + std::to_string(layout.d) +
                                      " length scales, found " + std::to_string(training.length_priors.size()));
  }
  const int n_starts = std::max(1, training.n_starts);
  // Independent processes are independent problems.
  const bool split = data.own_noise;
  const int n_problems = split ? static_cast<int>(layout.m) : 1;
  std::vector<WeightData> problems;
  for (int i = 0; i < n_problems; ++i) problems.push_back(split ? component(data, i) : data);

  std::mutex mutex;
  bool stopped = false;
  int evaluations = 0;
  VectorXd best_theta = training.start;
  std::vector<double> best(static_cast<std::size_t>(n_problems), -std::numeric_limits<double>::infinity());
  std::vector<Minimum> results(static_cast<std::size_t>(n_problems * n_starts));

  const auto run = [&](int task) {
    const int start = task / n_problems, problem = task % n_problems;
    const auto at = static_cast<std::size_t>(problem);
    const WeightData& one = problems[at];
    VectorXd theta = split ? component(data, training.start, problem) : training.start;
    if (start > 0) {
      theta = random_start(one, training.seed * 1000003u + static_cast<std::uint64_t>(start * n_problems + problem));
    }
    const auto negative = [&](const VectorXd& x, VectorXd& gradient) {
      const double value = log_posterior(one, training, x, gradient, split ? 1 : training.n_threads);
      {
        const std::lock_guard<std::mutex> lock(mutex);
        ++evaluations;
        if (value > best[at]) {
          best[at] = value;
          if (split) {
            put(data, x, problem, best_theta);
          } else {
            best_theta = x;
          }
        }
        double sum = 0.0;
        for (const double b : best) sum += b;
        if (!stopped && training.progress && !training.progress(evaluations, sum, best_theta)) stopped = true;
        if (stopped) throw Stopped();
      }
      if (!std::isfinite(value)) {
        gradient.setZero(x.size());
        return 1e30;
      }
      gradient = -gradient;
      return -value;
    };
    const Bounds limits = bounds(one);
    results[static_cast<std::size_t>(task)] =
        minimise(negative, theta, limits.lower, limits.upper, training.max_iterations, training.tolerance, 1e-4);
  };
  try {
    if (split) {
      parallel(n_problems * n_starts, training.n_threads, run);
    } else {
      for (int start = 0; start < n_starts; ++start) run(start);
    }
  } catch (const Stopped&) {
  }

  WeightOptimum optimum;
  optimum.evaluations = evaluations;
  optimum.stopped = stopped;
  optimum.hyperparameters = best_theta;
  optimum.start_values.assign(static_cast<std::size_t>(n_starts), 0.0);
  for (int start = 0; start < n_starts; ++start) {
    for (int i = 0; i < n_problems; ++i) {
      optimum.start_values[static_cast<std::size_t>(start)] -=
          results[static_cast<std::size_t>(start * n_problems + i)].value;
    }
  }
  optimum.log_posterior = 0.0;
  optimum.gradient_norm = 0.0;
  optimum.converged = !stopped;
  for (int i = 0; i < n_problems; ++i) {
    optimum.log_posterior += best[static_cast<std::size_t>(i)];
    const Minimum* winner = nullptr;
    for (int start = 0; start < n_starts; ++start) {
      const Minimum& result = results[static_cast<std::size_t>(start * n_problems + i)];
      if (winner == nullptr || result.value < winner->value) winner = &result;
    }
    optimum.gradient_norm = std::max(optimum.gradient_norm, winner->gradient_norm);
    if (!(winner->gradient_norm <= training.tolerance) && !winner->at_rounding) optimum.converged = false;
  }
  if (!std::isfinite(optimum.log_posterior)) {
    throw Error(ZELOS_E_NUMERIC,
                "spectral emulator: the covariance of the weights is not positive definite at any "
                "hyperparameters that were tried");
  }
  return optimum;
}

// --- prediction ---

struct WeightProcess::Model {
  WeightData data;
  VectorXd theta;
  Layout layout;
  Trend trend;
  std::vector<Solved<double>> blocks;  // of each component, or of the whole
  std::vector<VectorXd> alpha;
  std::vector<MatrixXd> points;  // scaled, of each component

  Model(WeightData given, const VectorXd& hyperparameters)
      : data(std::move(given)), theta(hyperparameters), layout(data), trend(data.points, data.mean_degree) {}

  bool whole() const { return data.gram.size() > 0; }

  // Covariance of component i at a point with the grid points, and its slopes (M, D).
  VectorXd covariance(Index i, const VectorXd& point, MatrixXd* slopes) const {
    const MatrixXd& u = points[static_cast<std::size_t>(i)];
    const Index n = data.points.rows();
    const double v = std::exp(theta[layout.variance(i)]);
    MatrixXd step(u.rows(), u.cols());
    VectorXd inverse_length(u.cols());
    for (Index p = 0; p < u.cols(); ++p) {
      inverse_length[p] = std::exp(-theta[layout.length(i) + p]);
      step.col(p) = point[p] * inverse_length[p] - u.col(p).array();
    }
    VectorXd k = step.rowwise().squaredNorm();
    VectorXd slope(slopes == nullptr ? 0 : k.size());
    correlate(data.kernel, k.data(), slopes == nullptr ? nullptr : slope.data(), k.size());
    if (slopes != nullptr) {
      slopes->resize(n, u.cols());
      for (Index p = 0; p < u.cols(); ++p) {
        slopes->col(p) = -v * inverse_length[p] * slope.head(n).cwiseProduct(step.col(p).head(n));
      }
    }
    return v * k.head(n);
  }
};

WeightProcess::WeightProcess(WeightData data, const VectorXd& hyperparameters, int n_threads) {
  check(data, hyperparameters);
  model_ = std::make_unique<Model>(std::move(data), hyperparameters);
  Model& model = *model_;
  const Layout& layout = model.layout;
  const Index n = model.data.points.rows();
  const auto fail = [] {
    throw Error(ZELOS_E_NUMERIC,
                "spectral emulator: the covariance of the weights is not positive definite in double precision");
  };
  model.points.resize(static_cast<std::size_t>(layout.m));
  for (Index i = 0; i < layout.m; ++i) {
    model.points[static_cast<std::size_t>(i)] = scaled(model.data.points, model.theta.data() + layout.length(i));
  }
  model.blocks.resize(model.whole() ? 1 : static_cast<std::size_t>(layout.m));
  if (model.whole()) {
    const VectorXd y = Eigen::Map<const VectorXd>(MatrixXd(model.data.weights).data(), layout.m * n);
    if (!solve(whole_matrix(model.data, model.theta), MatrixXd(layout.m * n, 0), y, model.blocks[0])) fail();
  } else {
    const MatrixXd h = model.trend.matrix(model.data.points);
    parallel(static_cast<int>(layout.m), n_threads, [&](int i) {
      MatrixXd k;
      correlation_matrix(model.data.kernel, model.points[static_cast<std::size_t>(i)], n, k, nullptr);
      MatrixXd c = std::exp(model.theta[layout.variance(i)]) * k.topRows(n);
      c.diagonal().array() += std::exp(layout.log_noise(model.theta, i));
      if (!solve(std::move(c), h, model.data.weights.col(i), model.blocks[static_cast<std::size_t>(i)])) fail();
    });
  }
  for (const auto& block : model.blocks) model.alpha.push_back(dual_weights(block));
}

WeightProcess::~WeightProcess() = default;
WeightProcess::WeightProcess(WeightProcess&&) noexcept = default;

Index WeightProcess::components() const noexcept { return model_->layout.m; }
Index WeightProcess::dimensions() const noexcept { return model_->layout.d; }

WeightProcess::Prediction WeightProcess::predict(const VectorXd& point, bool slopes) const {
  const Model& model = *model_;
  const Layout& layout = model.layout;
  const Index n = model.data.points.rows(), m = layout.m, d = layout.d;
  if (point.size() != d || !point.allFinite()) {
    throw Error(ZELOS_E_ARGUMENT, "spectral emulator: expected " + std::to_string(d) + " finite parameters, found " +
                                      std::to_string(point.size()));
  }
  Prediction p;
  p.mean.resize(m);
  p.covariance = MatrixXd::Zero(m, m);
  if (slopes) {
    p.mean_slope.resize(m, d);
    p.covariance_slope.assign(static_cast<std::size_t>(d), MatrixXd::Zero(m, m));
  }
  MatrixXd dk;
  if (model.whole()) {
    const auto& factor = model.blocks[0].factor;
    MatrixXd k = MatrixXd::Zero(m * n, m);
    std::vector<MatrixXd> by(static_cast<std::size_t>(m));
    for (Index i = 0; i < m; ++i) {
      k.col(i).segment(i * n, n) = model.covariance(i, point, slopes ? &by[static_cast<std::size_t>(i)] : nullptr);
    }
    p.mean = k.transpose() * model.alpha[0];
    MatrixXd z = k;
    factor.triangularView<Eigen::Lower>().solveInPlace(z);
    p.covariance.noalias() = -z.transpose() * z;
    for (Index i = 0; i < m; ++i) p.covariance(i, i) += std::exp(model.theta[layout.variance(i)]);
    if (slopes) {
      factor.transpose().triangularView<Eigen::Upper>().solveInPlace(z);
      for (Index q = 0; q < d; ++q) {
        MatrixXd dz(m, m);
        for (Index i = 0; i < m; ++i) {
          const auto column = by[static_cast<std::size_t>(i)].col(q);
          p.mean_slope(i, q) = column.dot(model.alpha[0].segment(i * n, n));
          dz.row(i) = column.transpose() * z.middleRows(i * n, n);
        }
        p.covariance_slope[static_cast<std::size_t>(q)] = -(dz + dz.transpose());
      }
    }
    return p;
  }
  for (Index i = 0; i < m; ++i) {
    const auto& block = model.blocks[static_cast<std::size_t>(i)];
    const VectorXd& alpha = model.alpha[static_cast<std::size_t>(i)];
    const double v = std::exp(model.theta[layout.variance(i)]);
    const VectorXd k = model.covariance(i, point, slopes ? &dk : nullptr);
    VectorXd z = k;
    block.factor.triangularView<Eigen::Lower>().solveInPlace(z);
    double mean = k.dot(alpha), variance = v - z.squaredNorm();
    VectorXd u, t;
    if (model.trend.size() > 0) {
      const VectorXd h = model.trend.terms(point);
      mean += h.dot(block.coefficients);
      u = h - block.whitened_trend.transpose() * z;
      t = block.trend.solve(u);
      variance += u.dot(t);
    }
    p.mean[i] = mean;
    // Rounding leaves this much of the difference of two numbers of size v.
    const double least = 1e-15 * v;
    p.covariance(i, i) = std::max(variance, least);
    if (!slopes) continue;
    block.factor.transpose().triangularView<Eigen::Upper>().solveInPlace(z);
    VectorXd back;
    if (model.trend.size() > 0) {  // C^-1 H (H^T C^-1 H)^-1 u
      back = block.whitened_trend * t;
      block.factor.transpose().triangularView<Eigen::Upper>().solveInPlace(back);
    }
    for (Index q = 0; q < d; ++q) {
      double dmean = dk.col(q).dot(alpha), dvariance = -2.0 * dk.col(q).dot(z);
      if (model.trend.size() > 0) {
        const VectorXd dh = model.trend.terms(point, q);
        dmean += dh.dot(block.coefficients);
        dvariance += 2.0 * (dh.dot(t) - dk.col(q).dot(back));
      }
      p.mean_slope(i, q) = dmean;
      p.covariance_slope[static_cast<std::size_t>(q)](i, i) = variance > least ? dvariance : 0.0;
    }
  }
  return p;
}

void WeightProcess::predict_jointly(const RowMatrix& at, VectorXd& mean, MatrixXd& covariance) const {
  const Model& model = *model_;
  const Layout& layout = model.layout;
  const Index n = model.data.points.rows(), m = layout.m, count = at.rows();
  if (at.cols() != layout.d || !at.allFinite()) {
    throw Error(ZELOS_E_ARGUMENT, "spectral emulator: expected points of " + std::to_string(layout.d) +
                                      " finite parameters, found " + std::to_string(at.cols()));
  }
  mean.setZero(m * count);
  covariance.setZero(m * count, m * count);
  MatrixXd whole = model.whole() ? MatrixXd::Zero(m * n, m * count) : MatrixXd();
  for (Index i = 0; i < m; ++i) {
    MatrixXd k(n, count);
    for (Index a = 0; a < count; ++a) k.col(a) = model.covariance(i, at.row(a).transpose(), nullptr);
    const MatrixXd u = scaled(at, model.theta.data() + layout.length(i));
    MatrixXd among;
    correlation_matrix(model.data.kernel, u, count, among, nullptr);
    MatrixXd prior(count, count);
    prior.triangularView<Eigen::Lower>() = std::exp(model.theta[layout.variance(i)]) * among.topRows(count);
    prior.triangularView<Eigen::StrictlyUpper>() = prior.transpose();
    covariance.block(i * count, i * count, count, count) = prior;
    if (model.whole()) {
      whole.block(i * n, i * count, n, count) = k;
      continue;
    }
    const auto& block = model.blocks[static_cast<std::size_t>(i)];
    mean.segment(i * count, count) = k.transpose() * model.alpha[static_cast<std::size_t>(i)];
    block.factor.triangularView<Eigen::Lower>().solveInPlace(k);
    covariance.block(i * count, i * count, count, count).noalias() -= k.transpose() * k;
    if (model.trend.size() > 0) {
      const MatrixXd h = model.trend.matrix(at);
      mean.segment(i * count, count) += h * block.coefficients;
      const MatrixXd rest = h.transpose() - block.whitened_trend.transpose() * k;
      covariance.block(i * count, i * count, count, count).noalias() += rest.transpose() * block.trend.solve(rest);
    }
  }
  if (model.whole()) {
    mean = whole.transpose() * model.alpha[0];
    model.blocks[0].factor.triangularView<Eigen::Lower>().solveInPlace(whole);
    covariance.noalias() -= whole.transpose() * whole;
  }
}

void WeightProcess::left_out(RowMatrix& errors, RowMatrix& variances) const {
  const Model& model = *model_;
  if (model.whole()) {
    throw Error(ZELOS_E_ARGUMENT, "spectral emulator: predictions of left-out points need orthonormal eigenspectra");
  }
  const Index n = model.data.points.rows();
  errors.resize(n, model.layout.m);
  variances.resize(n, model.layout.m);
  for (Index i = 0; i < model.layout.m; ++i) {
    const VectorXd diagonal = inverse(model.blocks[static_cast<std::size_t>(i)]).diagonal();
    errors.col(i) = -model.alpha[static_cast<std::size_t>(i)].cwiseQuotient(diagonal);
    variances.col(i) = diagonal.cwiseInverse();
  }
}

}  // namespace zelos::spectrum
