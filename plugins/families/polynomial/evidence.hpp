// SPDX-License-Identifier: BSD-3-Clause
// evidence.hpp: Bayesian linear regression on a polynomial basis, for outputs that share their
// shrinkage.
//
//   y_o = Phi c_o + e_o,  e_o ~ N(0, s_o^2),  c_o,a ~ N(0, s_o^2 lambda_a),  lambda_a = tau prod_j
//   r_j^(2 a_j)
//
// theta = (log tau, log r_1 .. log r_d). With B = I + L A L, A = Phi^T Phi, L = diag(lambda)^(1/2),
// the posterior mean is c_o = L B^-1 L Phi^T y_o and the noise is profiled: s_o^2 = Q_o / n, Q_o =
// y^T M^-1 y with M = I + Phi L^2 Phi^T.
#pragma once

#include <Eigen/Dense>
#include <vector>

#include "legendre_basis.hpp"

namespace zelos::family {

class Evidence {
 public:
  /// phi (n, terms), y (n, outputs), alpha (terms, inputs). Keeps copies of what it needs.
  Evidence(Eigen::MatrixXd phi, Eigen::MatrixXd y, Eigen::MatrixXd alpha);

  /// Negative log evidence per point and output, sum_o (n log(Q_o / n) + log |B|) / (2 n outputs),
  /// and its gradient.
  double operator()(const Eigen::VectorXd& theta, Eigen::VectorXd& gradient);

  struct Posterior {
    Eigen::MatrixXd coefficients;  ///< (terms, outputs)
    Eigen::VectorXd noise;         ///< s_o^2
    Eigen::MatrixXd factor;        ///< lower triangle of F = chol(B)^-1 L: covariance of c_o is s_o^2 F^T F
  };
  Posterior posterior(const Eigen::VectorXd& theta);

 private:
  void solve(const Eigen::VectorXd& theta);

  Eigen::MatrixXd phi_, y_, alpha_, gram_, projection_;
  Eigen::VectorXd log_lambda_, root_, misfit_;
  Eigen::MatrixXd b_, coefficients_, scaled_;
  Eigen::LLT<Eigen::MatrixXd> llt_;
};

}  // namespace zelos::family
