// SPDX-License-Identifier: BSD-3-Clause
#include "spectrum/weight_problem.hpp"

#include <cmath>
#include <limits>
#include <string>

#include "spectrum/correlation.hpp"
#include "spectrum/parallel.hpp"
#include "spectrum/whole_process.hpp"

namespace zelos::spectrum {
namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

// A component on a grid takes about as long as a thread takes to start.
constexpr Index kThreadedGrid = 4000;

[[noreturn]] void fail(const std::string& message) { throw Error(ZELOS_E_ARGUMENT, "spectral emulator: " + message); }

void check(const WeightData& data) {
  const Index n = data.points.rows();
  const Index m = data.weights.cols();
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
  if (data.mean_degree > kMaxTrendDegree) {
    fail("a polynomial mean has degree 0 to " + std::to_string(kMaxTrendDegree) + ", found " +
         std::to_string(data.mean_degree));
  }
  if (!data.scales.empty() && static_cast<Index>(data.scales.size()) != data.points.cols()) {
    fail("expected a scale for each of " + std::to_string(data.points.cols()) + " parameters, found " +
         std::to_string(data.scales.size()));
  }
}

double on_scale(Scale scale, double x) {
  if (scale == Scale::linear) return x;
  if (!(x > 0.0)) fail("a parameter on a logarithmic or reciprocal scale is positive, found " + std::to_string(x));
  return scale == Scale::logarithm ? std::log(x) : 1.0 / x;
}

double scale_slope(Scale scale, double x) {
  return scale == Scale::linear ? 1.0 : scale == Scale::logarithm ? 1.0 / x : -1.0 / (x * x);
}

WeightData with_points_on_scales(WeightData data) {
  check(data);
  for (std::size_t d = 0; d < data.scales.size(); ++d) {
    for (double& x : data.points.col(static_cast<Index>(d))) x = on_scale(data.scales[d], x);
  }
  return data;
}

}  // namespace

WeightProblem::WeightProblem(WeightData given)
    : data(with_points_on_scales(std::move(given))),
      layout(data),
      trend(data.points, data.mean_degree),
      trend_matrix(trend.matrix(data.points)) {
  if (data.grid_algebra && data.kernel == Kernel::squared_exponential && data.gram.size() == 0) {
    grid = CompleteGrid::find(data.points);
  }
}

void WeightProblem::check(const VectorXd& theta) const {
  if (theta.size() != layout.size()) {
    fail("expected " + std::to_string(layout.size()) + " hyperparameters, found " + std::to_string(theta.size()));
  }
  if (!theta.allFinite()) fail("a hyperparameter is not finite");
}

VectorXd WeightProblem::on_scales(const VectorXd& point, VectorXd* slopes) const {
  if (point.size() != layout.d || !point.allFinite()) {
    fail("expected " + std::to_string(layout.d) + " finite parameters, found " + std::to_string(point.size()));
  }
  VectorXd result = point;
  if (slopes != nullptr) slopes->setOnes(point.size());
  for (std::size_t d = 0; d < data.scales.size(); ++d) {
    const auto k = static_cast<Index>(d);
    result[k] = on_scale(data.scales[d], point[k]);
    if (slopes != nullptr) (*slopes)[k] = scale_slope(data.scales[d], point[k]);
  }
  return result;
}

double WeightProblem::log_likelihood(const VectorXd& theta, VectorXd* gradient, int n_threads) const {
  if (gradient != nullptr) gradient->setZero(theta.size());
  if (data.gram.size() > 0) return whole_log_likelihood(*this, theta, gradient);
  VectorXd values(layout.m);
  MatrixXd slopes(2 + layout.d, layout.m);
  if (grid && grid->size() < kThreadedGrid) n_threads = 1;
  parallel(static_cast<int>(layout.m), n_threads, [&](int i) {
    const ComponentTheta component(layout, theta, i);
    double* slope = gradient == nullptr ? nullptr : slopes.col(i).data();
    values[i] =
        grid ? grid_log_likelihood(*this, i, component, slope) : dense_log_likelihood(*this, i, component, slope);
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

MatrixXd prior_covariance(const WeightProblem& problem, const ComponentTheta& theta, const RowMatrix& points) {
  const Index count = points.rows();
  MatrixXd among;
  correlation_matrix(problem.data.kernel, scaled(points, theta.log_length), count, among, nullptr);
  MatrixXd prior(count, count);
  prior.triangularView<Eigen::Lower>() = std::exp(theta.log_variance) * among.topRows(count);
  prior.triangularView<Eigen::StrictlyUpper>() = prior.transpose();
  return prior;
}

void fail_not_positive_definite() {
  throw Error(ZELOS_E_NUMERIC,
              "spectral emulator: the covariance of the weights is not positive definite in double precision");
}

WeightModel::WeightModel(WeightData data) : problem_(std::make_shared<const WeightProblem>(std::move(data))) {}

Index WeightModel::hyperparameter_count() const noexcept { return problem_->layout.size(); }
bool WeightModel::on_grid() const noexcept { return problem_->grid.has_value(); }

double WeightModel::log_likelihood(const VectorXd& theta, VectorXd* gradient, int n_threads) const {
  problem_->check(theta);
  const double value = problem_->log_likelihood(theta, gradient, n_threads);
  if (!std::isfinite(value)) fail_not_positive_definite();
  return value;
}

}  // namespace zelos::spectrum
