// SPDX-License-Identifier: BSD-3-Clause
#include "spectrum/neighbours.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "spectrum/few_points.hpp"

namespace zelos::spectrum {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

NeighbourProcess::NeighbourProcess(std::shared_ptr<const WeightProblem> problem, VectorXd theta, int neighbours)
    : problem_(std::move(problem)), theta_(std::move(theta)), count_(neighbours) {
  const WeightData& data = problem_->data;
  const Layout& layout = problem_->layout;
  VectorXd power = data.weights.colwise().squaredNorm().transpose();
  power /= power.sum();
  inverse_.setZero(layout.d);
  for (Index i = 0; i < layout.m; ++i) {
    inverse_.array() += power[i] * (-2.0 * theta_.segment(layout.length(i), layout.d).array()).exp();
  }
  inverse_ = inverse_.cwiseSqrt();
  scaled_ = data.points * inverse_.asDiagonal();
}

std::vector<Index> NeighbourProcess::nearest(const RowMatrix& points, Index without) const {
  const Index n = scaled_.rows(), count = std::min(count_, n - (without >= 0 ? 1 : 0));
  std::vector<Index> best, found;
  VectorXd square(n);
  // Equal distances are told apart by the index, so that the answer is one.
  const auto nearer = [&](Index i, Index j) { return square[i] != square[j] ? square[i] < square[j] : i < j; };
  for (Index a = 0; a < points.rows(); ++a) {
    square.setZero();
    for (Index d = 0; d < points.cols(); ++d) {
      square.array() += (scaled_.col(d).array() - points(a, d) * inverse_[d]).square();
    }
    if (without >= 0) square[without] = std::numeric_limits<double>::infinity();
    best.clear();  // a heap with the farthest on top
    for (Index i = 0; i < n; ++i) {
      if (static_cast<Index>(best.size()) == count) {
        if (!(square[i] < square[best.front()])) continue;  // of equal ones the earlier is in
        std::pop_heap(best.begin(), best.end(), nearer);
        best.back() = i;
      } else {
        best.push_back(i);
      }
      std::push_heap(best.begin(), best.end(), nearer);
    }
    found.insert(found.end(), best.begin(), best.end());
  }
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  return found;
}

WeightData NeighbourProcess::part(const std::vector<Index>& rows) const {
  WeightData part;
  part.kernel = problem_->data.kernel;
  part.own_noise = problem_->data.own_noise;
  part.mean_degree = problem_->data.mean_degree;
  part.grid_algebra = false;
  const auto count = static_cast<Index>(rows.size());
  part.points.resize(count, problem_->layout.d);
  part.weights.resize(count, problem_->layout.m);
  for (Index k = 0; k < count; ++k) {
    part.points.row(k) = problem_->data.points.row(rows[static_cast<std::size_t>(k)]);
    part.weights.row(k) = problem_->data.weights.row(rows[static_cast<std::size_t>(k)]);
  }
  return part;
}

std::vector<std::unique_ptr<Component>> NeighbourProcess::conditioned(const std::vector<Index>& rows) const {
  WeightData near = part(rows);
  auto local = std::make_shared<const WeightProblem>(near);
  std::vector<std::unique_ptr<Component>> components;
  for (Index i = 0; i < problem_->layout.m; ++i) {
    const ComponentTheta theta(problem_->layout, theta_, i);
    auto component = try_dense_component(local, i, theta);
    while (!component && near.mean_degree >= 0) {
      --near.mean_degree;
      local = std::make_shared<const WeightProblem>(near);
      component = try_dense_component(local, i, theta);
    }
    if (!component) fail_not_positive_definite();
    components.push_back(std::move(component));
  }
  return components;
}

WeightProcess::Prediction NeighbourProcess::predict_from(const std::vector<Index>& rows, const VectorXd& point,
                                                         bool slopes) const {
  const WeightData near = part(rows);
  WeightProcess::Prediction prediction;
  for (int degree = near.mean_degree; degree >= -1; --degree) {
    const Trend trend(near.points, degree);
    if (predict_from_few(near, trend, problem_->layout, theta_, point, slopes, prediction)) return prediction;
  }
  fail_not_positive_definite();
}

WeightProcess::Prediction NeighbourProcess::predict(const VectorXd& point, bool slopes) const {
  return predict_from(nearest(point.transpose(), -1), point, slopes);
}

void NeighbourProcess::predict_jointly(const RowMatrix& points, VectorXd& mean, MatrixXd& covariance) const {
  gather_jointly(conditioned(nearest(points, -1)), points, mean, covariance);
}

void NeighbourProcess::left_out(const std::vector<Index>& chosen, RowMatrix& errors, RowMatrix& variances) const {
  const Layout& layout = problem_->layout;
  const auto count = static_cast<Index>(chosen.size());
  errors.resize(count, layout.m);
  variances.resize(count, layout.m);
  for (Index k = 0; k < count; ++k) {
    const Index row = chosen[static_cast<std::size_t>(k)];
    const VectorXd point = problem_->data.points.row(row).transpose();
    const auto p = predict_from(nearest(point.transpose(), row), point, false);
    errors.row(k) = p.mean.transpose() - problem_->data.weights.row(row);
    for (Index i = 0; i < layout.m; ++i) {
      variances(k, i) = p.covariance(i, i) + std::exp(layout.log_noise(theta_, i));
    }
  }
}

}  // namespace zelos::spectrum
