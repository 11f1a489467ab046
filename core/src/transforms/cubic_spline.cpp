// SPDX-License-Identifier: BSD-3-Clause
#include "transforms/cubic_spline.hpp"

#include <Eigen/SparseCholesky>
#include <Eigen/SparseLU>
#include <algorithm>

#include "zelos/error.hpp"

namespace zelos {

CubicSpline::CubicSpline(int degree, std::vector<double> breakpoints)
    : degree_(degree), breakpoints_(std::move(breakpoints)) {
  knots_.assign(degree_, breakpoints_.front());
  knots_.insert(knots_.end(), breakpoints_.begin(), breakpoints_.end());
  knots_.insert(knots_.end(), degree_, breakpoints_.back());
}

CubicSpline CubicSpline::on_breakpoints(std::vector<double> breakpoints) {
  if (breakpoints.size() < 2 ||
      std::adjacent_find(breakpoints.begin(), breakpoints.end(), std::greater_equal<>()) != breakpoints.end()) {
    throw Error(ZELOS_E_ARGUMENT, "spline breakpoints: expected at least 2 ascending values");
  }
  return CubicSpline(3, std::move(breakpoints));
}

CubicSpline CubicSpline::through_nodes(const std::vector<double>& nodes) {
  const int n = static_cast<int>(nodes.size());
  if (n < 4) {
    // A single node still needs an interval to live on: a constant.
    std::vector<double> ends{nodes.front(), n == 1 ? nodes.front() + 1 : nodes.back()};
    return CubicSpline(std::max(0, n - 1), ends);
  }
  std::vector<double> breakpoints(nodes);
  breakpoints.erase(breakpoints.end() - 2);
  breakpoints.erase(breakpoints.begin() + 1);
  return CubicSpline(3, breakpoints);
}

int64_t CubicSpline::basis(double x, double values[4]) const {
  const auto upper = std::upper_bound(breakpoints_.begin(), breakpoints_.end() - 1, x);
  const int64_t interval = std::max<int64_t>(0, upper - breakpoints_.begin() - 1);
  const int64_t k = interval + degree_;
  double left[4], right[4];
  values[0] = 1;
  for (int j = 1; j <= degree_; ++j) {
    left[j] = x - knots_[k + 1 - j];
    right[j] = knots_[k + j] - x;
    double saved = 0;
    for (int r = 0; r < j; ++r) {
      const double term = values[r] / (right[r + 1] + left[j - r]);
      values[r] = saved + right[r + 1] * term;
      saved = left[j - r] * term;
    }
    values[j] = saved;
  }
  return interval;
}

Eigen::SparseMatrix<double> CubicSpline::design(const std::vector<double>& x) const {
  std::vector<Eigen::Triplet<double>> entries;
  entries.reserve(x.size() * (degree_ + 1));
  for (size_t i = 0; i < x.size(); ++i) {
    double values[4];
    const int64_t first = basis(x[i], values);
    for (int j = 0; j <= degree_; ++j) {
      entries.emplace_back(static_cast<int>(i), static_cast<int>(first + j), values[j]);
    }
  }
  Eigen::SparseMatrix<double> matrix(static_cast<int64_t>(x.size()), size());
  matrix.setFromTriplets(entries.begin(), entries.end());
  return matrix;
}

Eigen::MatrixXd CubicSpline::interpolate(const std::vector<double>& x, const Eigen::MatrixXd& y) const {
  Eigen::SparseMatrix<double> matrix = design(x);
  matrix.makeCompressed();
  Eigen::SparseLU<Eigen::SparseMatrix<double>> solver(matrix);
  if (solver.info() != Eigen::Success) throw Error(ZELOS_E_NUMERIC, "spline interpolation: singular system");
  return solver.solve(y);
}

Eigen::MatrixXd CubicSpline::fit(const std::vector<double>& x, const Eigen::MatrixXd& y,
                                 const Eigen::VectorXd& weights) const {
  const Eigen::SparseMatrix<double> weighted = weights.asDiagonal() * design(x);
  const Eigen::SparseMatrix<double> normal = weighted.transpose() * weighted;
  Eigen::SimplicialLDLT<Eigen::SparseMatrix<double>> solver(normal);
  if (solver.info() != Eigen::Success) {
    throw Error(ZELOS_E_NUMERIC, "spline fit: singular system; are there breakpoints without data between them?");
  }
  return solver.solve(weighted.transpose() * (weights.asDiagonal() * y));
}

}  // namespace zelos
