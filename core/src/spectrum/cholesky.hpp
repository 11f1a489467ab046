// SPDX-License-Identifier: BSD-3-Clause
/// cholesky.hpp: a Gaussian process by Cholesky factorisation of its covariance.
#pragma once

#include <Eigen/Dense>
#include <cmath>

namespace zelos::spectrum {

template <class Scalar>
using Dense = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>;
template <class Scalar>
using Column = Eigen::Matrix<Scalar, Eigen::Dynamic, 1>;

/// C = L L^T in the lower triangle of `c`; false if C is not positive definite.
template <class Scalar>
bool factorise(Dense<Scalar>& c) {
  Eigen::Ref<Dense<Scalar>> in_place(c);
  const Eigen::LLT<Eigen::Ref<Dense<Scalar>>> llt(in_place);
  return llt.info() == Eigen::Success && c.diagonal().minCoeff() > Scalar(0);
}

template <class Scalar>
struct Solved {
  Dense<Scalar> factor;             // lower triangle: L
  Dense<Scalar> whitened_trend;     // L^-1 H
  Eigen::LLT<Dense<Scalar>> trend;  // H^T C^-1 H
  Column<Scalar> coefficients;      // b
  Column<Scalar> whitened;          // L^-1 (y - H b)
  Scalar log_likelihood = 0;
};

/// Values y with covariance C (its lower triangle) about a mean H b; false if C is not positive definite.
template <class Scalar>
bool solve(Dense<Scalar> c, const Eigen::MatrixXd& h, const Eigen::VectorXd& y, Solved<Scalar>& s) {
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

/// Lower triangle of C^-1, less what the trend takes.
Eigen::MatrixXd inverse(const Solved<double>& s);

/// C^-1 (y - H b)
Eigen::VectorXd dual_weights(const Solved<double>& s);

}  // namespace zelos::spectrum
