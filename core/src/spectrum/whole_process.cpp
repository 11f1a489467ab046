// SPDX-License-Identifier: BSD-3-Clause
#include "spectrum/whole_process.hpp"

#include <cmath>
#include <limits>

#include "spectrum/correlation.hpp"

namespace zelos::spectrum {
namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

// V (m M, m M), component-major; its lower triangle.
MatrixXd whole_matrix(const WeightProblem& problem, const VectorXd& theta) {
  const WeightData& data = problem.data;
  const Layout& layout = problem.layout;
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

VectorXd stacked(const RowMatrix& weights) {
  const MatrixXd columns = weights;
  return Eigen::Map<const VectorXd>(columns.data(), columns.size());
}

}  // namespace

double whole_log_likelihood(const WeightProblem& problem, const VectorXd& theta, VectorXd* gradient) {
  const WeightData& data = problem.data;
  const Layout& layout = problem.layout;
  const Index n = data.points.rows(), m = layout.m;
  const VectorXd y = stacked(data.weights);
  Solved<double> s;
  if (!solve(whole_matrix(problem, theta), MatrixXd(m * n, 0), y, s)) return -std::numeric_limits<double>::infinity();
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

WholeProcess::WholeProcess(std::shared_ptr<const WeightProblem> problem, VectorXd theta)
    : problem_(std::move(problem)), theta_(std::move(theta)) {
  const WeightData& data = problem_->data;
  for (Index i = 0; i < problem_->layout.m; ++i) {
    u_.push_back(scaled(data.points, theta_.data() + problem_->layout.length(i)));
  }
  const VectorXd y = stacked(data.weights);
  if (!solve(whole_matrix(*problem_, theta_), MatrixXd(y.size(), 0), y, solved_)) fail_not_positive_definite();
  dual_ = dual_weights(solved_);
}

VectorXd WholeProcess::covariance(Index i, const VectorXd& point, MatrixXd* slopes) const {
  const double v = std::exp(theta_[problem_->layout.variance(i)]);
  const VectorXd k =
      correlations_with(problem_->data.kernel, u_[static_cast<std::size_t>(i)], problem_->data.points.rows(), point,
                        theta_.data() + problem_->layout.length(i), slopes);
  if (slopes != nullptr) *slopes *= v;
  return v * k;
}

WeightProcess::Prediction WholeProcess::predict(const VectorXd& point, bool slopes) const {
  const Layout& layout = problem_->layout;
  const Index n = problem_->data.points.rows(), m = layout.m, d = layout.d;
  MatrixXd k = MatrixXd::Zero(m * n, m);
  std::vector<MatrixXd> by(static_cast<std::size_t>(m));
  for (Index i = 0; i < m; ++i) {
    k.col(i).segment(i * n, n) = covariance(i, point, slopes ? &by[static_cast<std::size_t>(i)] : nullptr);
  }
  WeightProcess::Prediction p;
  p.mean = k.transpose() * dual_;
  MatrixXd z = std::move(k);
  solved_.factor.triangularView<Eigen::Lower>().solveInPlace(z);
  p.covariance = -z.transpose() * z;
  for (Index i = 0; i < m; ++i) p.covariance(i, i) += std::exp(theta_[layout.variance(i)]);
  if (!slopes) return p;
  p.mean_slope.resize(m, d);
  solved_.factor.transpose().triangularView<Eigen::Upper>().solveInPlace(z);
  for (Index q = 0; q < d; ++q) {
    MatrixXd dz(m, m);
    for (Index i = 0; i < m; ++i) {
      const auto column = by[static_cast<std::size_t>(i)].col(q);
      p.mean_slope(i, q) = column.dot(dual_.segment(i * n, n));
      dz.row(i) = column.transpose() * z.middleRows(i * n, n);
    }
    p.covariance_slope.emplace_back(-(dz + dz.transpose()));
  }
  return p;
}

void WholeProcess::predict_jointly(const RowMatrix& points, VectorXd& mean, MatrixXd& covariance_of) const {
  const Layout& layout = problem_->layout;
  const Index n = problem_->data.points.rows(), m = layout.m, count = points.rows();
  MatrixXd k = MatrixXd::Zero(m * n, m * count);
  covariance_of.setZero(m * count, m * count);
  for (Index i = 0; i < m; ++i) {
    for (Index a = 0; a < count; ++a) {
      k.col(i * count + a).segment(i * n, n) = covariance(i, points.row(a).transpose(), nullptr);
    }
    covariance_of.block(i * count, i * count, count, count) =
        prior_covariance(*problem_, ComponentTheta(layout, theta_, i), points);
  }
  mean = k.transpose() * dual_;
  solved_.factor.triangularView<Eigen::Lower>().solveInPlace(k);
  covariance_of.noalias() -= k.transpose() * k;
}

}  // namespace zelos::spectrum
