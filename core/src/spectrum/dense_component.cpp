// SPDX-License-Identifier: BSD-3-Clause
// A component by Cholesky factorisation of C, for any points and kernel.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "spectrum/cholesky.hpp"
#include "spectrum/correlation.hpp"
#include "spectrum/weight_problem.hpp"

namespace zelos::spectrum {
namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

// Beyond these, double precision is all there is: the sums of an extended Cholesky take M^3.
constexpr Index kMaxExtendedPoints = 1000;
// M v / noise, which bounds the condition of C: from here on rounding could cost 1e-10 of log L.
constexpr double kExtendedCondition = 1e6;

double extended_value(const WeightProblem& problem, Index component, const ComponentTheta& theta) {
  const RowMatrix& points = problem.data.points;
  const Index n = points.rows();
  const long double v = std::exp(static_cast<long double>(theta.log_variance));
  std::vector<long double> inverse_length;
  for (Index p = 0; p < points.cols(); ++p) {
    inverse_length.push_back(std::exp(-static_cast<long double>(theta.log_length[p])));
  }
  Dense<long double> c(n, n);
  for (Index j = 0; j < n; ++j) {
    for (Index i = j; i < n; ++i) {
      long double square = 0.0L;
      for (Index p = 0; p < points.cols(); ++p) {
        const long double step =
            (static_cast<long double>(points(i, p)) - points(j, p)) * inverse_length[static_cast<std::size_t>(p)];
        square += step * step;
      }
      c(i, j) = v * correlation(problem.data.kernel, square);
    }
    c(j, j) += std::exp(static_cast<long double>(theta.log_noise));
  }
  Solved<long double> s;
  if (!solve(std::move(c), problem.trend_matrix, problem.data.weights.col(component), s)) {
    return -std::numeric_limits<double>::infinity();
  }
  return static_cast<double>(s.log_likelihood);
}

class DenseComponent final : public Component {
 public:
  DenseComponent(std::shared_ptr<const WeightProblem> problem, Index i, const ComponentTheta& theta)
      : problem_(std::move(problem)),
        theta_(theta),
        v_(std::exp(theta.log_variance)),
        u_(scaled(problem_->data.points, theta.log_length)) {
    const Index n = problem_->data.points.rows();
    MatrixXd k;
    correlation_matrix(problem_->data.kernel, u_, n, k, nullptr);
    MatrixXd c = v_ * k.topRows(n);
    c.diagonal().array() += std::exp(theta.log_noise);
    definite_ = solve(std::move(c), problem_->trend_matrix, problem_->data.weights.col(i), solved_);
    if (definite_) dual_ = dual_weights(solved_);
  }

  bool definite() const { return definite_; }

  Answer predict(const VectorXd& point, bool slopes) const override {
    const Trend& trend = problem_->trend;
    MatrixXd dk;
    const VectorXd k = covariance(point, slopes ? &dk : nullptr);
    VectorXd z = k;
    solved_.factor.triangularView<Eigen::Lower>().solveInPlace(z);
    Answer answer;
    answer.mean = k.dot(dual_);
    answer.variance = v_ - z.squaredNorm();
    VectorXd u, t;
    if (trend.size() > 0) {
      const VectorXd h = trend.terms(point);
      answer.mean += h.dot(solved_.coefficients);
      u = h - solved_.whitened_trend.transpose() * z;
      t = solved_.trend.solve(u);
      answer.variance += u.dot(t);
    }
    const bool resolved = answer.variance > least_variance(v_);
    if (!resolved) answer.variance = least_variance(v_);
    if (!slopes) return answer;
    solved_.factor.transpose().triangularView<Eigen::Upper>().solveInPlace(z);
    answer.mean_slope = dk.transpose() * dual_;
    answer.variance_slope = -2.0 * dk.transpose() * z;
    if (trend.size() > 0) {
      VectorXd back = solved_.whitened_trend * t;  // C^-1 H (H^T C^-1 H)^-1 u
      solved_.factor.transpose().triangularView<Eigen::Upper>().solveInPlace(back);
      for (Index q = 0; q < dk.cols(); ++q) {
        const VectorXd dh = trend.terms(point, q);
        answer.mean_slope[q] += dh.dot(solved_.coefficients);
        answer.variance_slope[q] += 2.0 * (dh.dot(t) - dk.col(q).dot(back));
      }
    }
    if (!resolved) answer.variance_slope.setZero();
    return answer;
  }

  void predict_jointly(const RowMatrix& points, VectorXd& mean, MatrixXd& covariance_of) const override {
    MatrixXd k(problem_->data.points.rows(), points.rows());
    for (Index a = 0; a < points.rows(); ++a) k.col(a) = covariance(points.row(a).transpose(), nullptr);
    mean = k.transpose() * dual_;
    covariance_of = prior_covariance(*problem_, theta_, points);
    solved_.factor.triangularView<Eigen::Lower>().solveInPlace(k);
    covariance_of.noalias() -= k.transpose() * k;
    if (problem_->trend.size() == 0) return;
    const MatrixXd h = problem_->trend.matrix(points);
    mean += h * solved_.coefficients;
    const MatrixXd rest = h.transpose() - solved_.whitened_trend.transpose() * k;
    covariance_of.noalias() += rest.transpose() * solved_.trend.solve(rest);
  }

  void left_out(VectorXd& errors, VectorXd& variances) const override {
    const VectorXd diagonal = inverse(solved_).diagonal();
    errors = -dual_.cwiseQuotient(diagonal);
    variances = diagonal.cwiseInverse();
  }

 private:
  VectorXd covariance(const VectorXd& point, MatrixXd* slopes) const {
    VectorXd k =
        correlations_with(problem_->data.kernel, u_, problem_->data.points.rows(), point, theta_.log_length, slopes);
    if (slopes != nullptr) *slopes *= v_;
    return v_ * k;
  }

  std::shared_ptr<const WeightProblem> problem_;
  ComponentTheta theta_;
  double v_;
  MatrixXd u_;
  bool definite_;
  Solved<double> solved_;
  VectorXd dual_;
};

}  // namespace

double dense_log_likelihood(const WeightProblem& problem, Eigen::Index i, const ComponentTheta& theta,
                            double* gradient) {
  const WeightData& data = problem.data;
  const Index n = data.points.rows();
  const Index d = data.points.cols();
  if (gradient == nullptr && n <= kMaxExtendedPoints &&
      static_cast<double>(n) * std::exp(theta.log_variance - theta.log_noise) > kExtendedCondition) {
    return extended_value(problem, i, theta);
  }
  const double v = std::exp(theta.log_variance), noise = std::exp(theta.log_noise);
  const MatrixXd u = scaled(data.points, theta.log_length);
  MatrixXd k, slope;
  correlation_matrix(data.kernel, u, n, k, gradient == nullptr ? nullptr : &slope);
  MatrixXd c = v * k.topRows(n);
  c.diagonal().array() += noise;
  Solved<double> s;
  if (!solve(std::move(c), problem.trend_matrix, data.weights.col(i), s)) {
    return -std::numeric_limits<double>::infinity();
  }
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

std::unique_ptr<Component> try_dense_component(std::shared_ptr<const WeightProblem> problem, Eigen::Index i,
                                               const ComponentTheta& theta) {
  auto component = std::make_unique<DenseComponent>(std::move(problem), i, theta);
  return component->definite() ? std::move(component) : nullptr;
}

std::unique_ptr<Component> dense_component(std::shared_ptr<const WeightProblem> problem, Eigen::Index i,
                                           const ComponentTheta& theta) {
  auto component = try_dense_component(std::move(problem), i, theta);
  if (!component) fail_not_positive_definite();
  return component;
}

}  // namespace zelos::spectrum
