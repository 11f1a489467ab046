// SPDX-License-Identifier: BSD-3-Clause
// likelihood.hpp: marginal likelihood of Gaussian processes that share length scales and
// noise-to-signal ratio.
//
//   y_o = H b_o + f_o + e_o,  cov(f_o + e_o) = s_o^2 C,  C_ij = k(|(x_i - x_j) / l|) + nu delta_ij
//
// theta = (log l_1 .. log l_d, log nu). The trend coefficients b_o have a flat prior and are
// integrated out, the signal variances s_o^2 are set to their best values (p columns in H):
//   Q = C^-1 - C^-1 H (H^T C^-1 H)^-1 H^T C^-1,  s_o^2 = y_o^T Q y_o / (n - p)
//   -log L = sum_o [ (n - p) log s_o^2 + log |C| + log |H^T C^-1 H| ] / 2 + constant
#pragma once

#include <Eigen/Dense>

#include "family_support.hpp"
#include "vector_kernels.hpp"

namespace zelos::family {

class Likelihood {
 public:
  /// x (n, d), trend H (n, p) with p < n, y (n, outputs). Keeps copies.
  Likelihood(Correlation kind, RowMatrix x, Eigen::MatrixXd trend, Eigen::MatrixXd y);

  /// -log L without its constant, per point and output, and its gradient in theta. A theta at which
  /// C is not positive definite in double precision has the value 1e6 and gradient 0.
  double operator()(const Eigen::VectorXd& theta, Eigen::VectorXd& gradient);

  /// Mean square of the leave-one-out prediction errors of each output at theta: e_i = (Q y)_i /
  /// Q_ii. Infinite where C is not positive definite.
  Eigen::VectorXd leave_one_out(const Eigen::VectorXd& theta);

  struct Fit {
    Eigen::MatrixXd factor;           ///< (n, n), lower triangle: C = L L^T
    Eigen::MatrixXd whitened_trend;   ///< L^-1 H
    Eigen::MatrixXd trend_factor;     ///< (p, p), lower triangle: H^T C^-1 H = T T^T
    Eigen::MatrixXd trend;            ///< (p, outputs): b_o
    Eigen::MatrixXd weights;          ///< (n, outputs): C^-1 (y_o - H b_o)
    Eigen::VectorXd signal_variance;  ///< s_o^2
    Eigen::MatrixXd left_out_errors;  ///< (n, outputs): see leave_one_out
  };
  /// ZELOS_E_NUMERIC if C is not positive definite.
  Fit fit(const Eigen::VectorXd& theta);

 private:
  bool factorise(const Eigen::VectorXd& theta);
  void invert();
  Eigen::MatrixXd left_out_errors();

  Correlation kind_;
  RowMatrix x_;
  Eigen::MatrixXd h_, y_;
  Eigen::MatrixXd scaled_;     // (n padded, d): inputs over length scales, one column each
  Eigen::MatrixXd c_, slope_;  // (n padded, n)
  Eigen::MatrixXd factor_, inverse_, whitened_h_, trend_, weights_;
  Eigen::LLT<Eigen::MatrixXd> trend_llt_;
  Eigen::VectorXd signal_;
};

}  // namespace zelos::family
