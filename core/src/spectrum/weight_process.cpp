// SPDX-License-Identifier: BSD-3-Clause
#include <numeric>
#include <string>

#include "spectrum/neighbours.hpp"
#include "spectrum/parallel.hpp"
#include "spectrum/weight_problem.hpp"
#include "spectrum/whole_process.hpp"

namespace zelos::spectrum {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

WeightProcess::Prediction gather(const std::vector<std::unique_ptr<Component>>& components, const VectorXd& point,
                                 bool slopes) {
  const auto m = static_cast<Index>(components.size()), d = point.size();
  WeightProcess::Prediction p;
  p.mean.resize(m);
  p.covariance = MatrixXd::Zero(m, m);
  if (slopes) {
    p.mean_slope.resize(m, d);
    p.covariance_slope.assign(static_cast<std::size_t>(d), MatrixXd::Zero(m, m));
  }
  for (Index i = 0; i < m; ++i) {
    const auto answer = components[static_cast<std::size_t>(i)]->predict(point, slopes);
    p.mean[i] = answer.mean;
    p.covariance(i, i) = answer.variance;
    if (!slopes) continue;
    p.mean_slope.row(i) = answer.mean_slope.transpose();
    for (Index q = 0; q < d; ++q) p.covariance_slope[static_cast<std::size_t>(q)](i, i) = answer.variance_slope[q];
  }
  return p;
}

void gather_jointly(const std::vector<std::unique_ptr<Component>>& components, const RowMatrix& points, VectorXd& mean,
                    MatrixXd& covariance) {
  const auto m = static_cast<Index>(components.size()), count = points.rows();
  mean.resize(m * count);
  covariance.setZero(m * count, m * count);
  VectorXd one;
  MatrixXd block;
  for (Index i = 0; i < m; ++i) {
    components[static_cast<std::size_t>(i)]->predict_jointly(points, one, block);
    mean.segment(i * count, count) = one;
    covariance.block(i * count, i * count, count, count) = block;
  }
}

struct WeightProcess::State {
  std::shared_ptr<const WeightProblem> problem;
  VectorXd theta;  // the components point to it
  std::vector<std::unique_ptr<Component>> components;
  std::unique_ptr<WholeProcess> whole;
  std::unique_ptr<NeighbourProcess> neighbours;
};

WeightProcess::WeightProcess(const WeightModel& model, const VectorXd& theta, int neighbours, int n_threads)
    : state_(std::make_unique<State>()) {
  State& s = *state_;
  s.problem = model.problem_;
  s.problem->check(theta);
  s.theta = theta;
  if (neighbours < 0) {
    throw Error(ZELOS_E_ARGUMENT,
                "spectral emulator: expected no or some neighbours, found " + std::to_string(neighbours));
  }
  const Layout& layout = s.problem->layout;
  if (s.problem->data.gram.size() > 0) {
    if (neighbours > 0) {
      throw Error(ZELOS_E_ARGUMENT, "spectral emulator: predictions from neighbours need orthonormal eigenspectra");
    }
    s.whole = std::make_unique<WholeProcess>(s.problem, s.theta);
    return;
  }
  if (neighbours > 0 && !s.problem->grid && neighbours < s.problem->data.points.rows()) {
    s.neighbours = std::make_unique<NeighbourProcess>(s.problem, s.theta, neighbours);
    return;
  }
  s.components.resize(static_cast<std::size_t>(layout.m));
  parallel(static_cast<int>(layout.m), n_threads, [&](int i) {
    const ComponentTheta component(layout, s.theta, i);
    s.components[static_cast<std::size_t>(i)] =
        s.problem->grid ? grid_component(s.problem, i, component) : dense_component(s.problem, i, component);
  });
}

WeightProcess::~WeightProcess() = default;
WeightProcess::WeightProcess(WeightProcess&&) noexcept = default;

Index WeightProcess::components() const noexcept { return state_->problem->layout.m; }
Index WeightProcess::dimensions() const noexcept { return state_->problem->layout.d; }

WeightProcess::Prediction WeightProcess::predict(const VectorXd& point, bool slopes) const {
  const State& s = *state_;
  VectorXd by_parameter;
  const VectorXd at = s.problem->on_scales(point, slopes ? &by_parameter : nullptr);
  Prediction p = s.whole        ? s.whole->predict(at, slopes)
                 : s.neighbours ? s.neighbours->predict(at, slopes)
                                : gather(s.components, at, slopes);
  if (slopes) {
    p.mean_slope *= by_parameter.asDiagonal();
    for (Index q = 0; q < at.size(); ++q) p.covariance_slope[static_cast<std::size_t>(q)] *= by_parameter[q];
  }
  return p;
}

void WeightProcess::predict_jointly(const RowMatrix& points, VectorXd& mean, MatrixXd& covariance) const {
  const State& s = *state_;
  RowMatrix at(points.rows(), points.cols());
  for (Index a = 0; a < points.rows(); ++a) {
    at.row(a) = s.problem->on_scales(points.row(a).transpose(), nullptr).transpose();
  }
  if (s.whole) return s.whole->predict_jointly(at, mean, covariance);
  if (s.neighbours) return s.neighbours->predict_jointly(at, mean, covariance);
  gather_jointly(s.components, at, mean, covariance);
}

void WeightProcess::left_out(const std::vector<Index>& chosen, RowMatrix& errors, RowMatrix& variances) const {
  const State& s = *state_;
  if (s.whole) {
    throw Error(ZELOS_E_ARGUMENT, "spectral emulator: predictions of left-out points need orthonormal eigenspectra");
  }
  const Index n = s.problem->data.points.rows();
  std::vector<Index> rows = chosen;
  if (rows.empty()) {
    rows.resize(static_cast<std::size_t>(n));
    std::iota(rows.begin(), rows.end(), Index{0});
  }
  for (const Index row : rows) {
    if (row < 0 || row >= n) {
      throw Error(ZELOS_E_ARGUMENT, "spectral emulator: expected a grid point from 0 to " + std::to_string(n - 1) +
                                        ", found " + std::to_string(row));
    }
  }
  if (s.neighbours) return s.neighbours->left_out(rows, errors, variances);
  const auto count = static_cast<Index>(rows.size());
  errors.resize(count, components());
  variances.resize(count, components());
  VectorXd error, variance;
  for (Index i = 0; i < components(); ++i) {
    s.components[static_cast<std::size_t>(i)]->left_out(error, variance);
    for (Index k = 0; k < count; ++k) {
      errors(k, i) = error[rows[static_cast<std::size_t>(k)]];
      variances(k, i) = variance[rows[static_cast<std::size_t>(k)]];
    }
  }
}

}  // namespace zelos::spectrum
