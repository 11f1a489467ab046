// SPDX-License-Identifier: BSD-3-Clause
#include "evidence.hpp"

#include <limits>

namespace zelos::family {

Evidence::Evidence(Eigen::MatrixXd phi, Eigen::MatrixXd y, Eigen::MatrixXd alpha)
    : phi_(std::move(phi)), y_(std::move(y)), alpha_(std::move(alpha)) {
  gram_.setZero(phi_.cols(), phi_.cols());
  gram_.selfadjointView<Eigen::Lower>().rankUpdate(phi_.transpose());
  gram_.triangularView<Eigen::StrictlyUpper>() = gram_.transpose();
  projection_.noalias() = phi_.transpose() * y_;
}

void Evidence::solve(const Eigen::VectorXd& theta) {
  log_lambda_ = 2.0 * (alpha_ * theta.tail(alpha_.cols()));
  log_lambda_.array() += theta[0];
  root_ = (0.5 * log_lambda_).array().exp();
  b_ = root_.asDiagonal() * gram_ * root_.asDiagonal();
  b_.diagonal().array() += 1.0;
  llt_.compute(b_);
  if (llt_.info() != Eigen::Success)
    throw Error(ZELOS_E_NUMERIC, "polynomial: the posterior precision is not positive");
  scaled_ = root_.asDiagonal() * projection_;
  llt_.solveInPlace(scaled_);
  coefficients_ = root_.asDiagonal() * scaled_;
  // y^T M^-1 y as misfit plus penalty: no cancellation, and errors of the coefficients enter
  // squared.
  misfit_ = (y_ - phi_ * coefficients_).colwise().squaredNorm() + scaled_.colwise().squaredNorm();
  misfit_ = misfit_.cwiseMax(std::numeric_limits<double>::min());
}

double Evidence::operator()(const Eigen::VectorXd& theta, Eigen::VectorXd& gradient) {
  solve(theta);
  const double n = static_cast<double>(phi_.rows());
  const double m = static_cast<double>(y_.cols());
  const double log_det = 2.0 * llt_.matrixLLT().diagonal().array().log().sum();
  const double value = n * (misfit_ / n).array().log().sum() + m * log_det;

  Eigen::MatrixXd inverse = Eigen::MatrixXd::Identity(b_.rows(), b_.cols());
  llt_.matrixL().solveInPlace(inverse);
  const Eigen::VectorXd diagonal = inverse.colwise().squaredNorm();
  const Eigen::VectorXd weight = n * misfit_.cwiseInverse();
  const Eigen::VectorXd along = m * (1.0 - diagonal.array()).matrix() - scaled_.array().square().matrix() * weight;
  gradient.resize(theta.size());
  gradient[0] = along.sum();
  gradient.tail(alpha_.cols()) = 2.0 * (alpha_.transpose() * along);
  gradient /= 2.0 * n * m;
  return value / (2.0 * n * m);
}

Evidence::Posterior Evidence::posterior(const Eigen::VectorXd& theta) {
  solve(theta);
  Posterior result;
  result.coefficients = coefficients_;
  result.noise = misfit_ / static_cast<double>(phi_.rows());
  result.factor = root_.asDiagonal();
  llt_.matrixL().solveInPlace(result.factor);
  return result;
}

}  // namespace zelos::family
