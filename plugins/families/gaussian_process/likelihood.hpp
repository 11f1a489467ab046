// SPDX-License-Identifier: BSD-3-Clause
// likelihood.hpp: marginal likelihood of Gaussian processes that share length scales and
// noise-to-signal ratio.
//
//   y_o = H b_o + f_o + e_o,  cov(f_o + e_o) = s_o^2 C,  C_ij = sum_t a_t k(|(x_i - x_j) / l_t|) + nu delta_ij
//
// Each term t has inputs and length scales of its own (Duvenaud et al. 2011, additive Gaussian processes); sum_t a_t
// = 1. theta: see KernelTerms. The trend coefficients b_o have a flat prior and are integrated out, the signal
// variances s_o^2 are set to their best values (p columns in H):
//   Q = C^-1 - C^-1 H (H^T C^-1 H)^-1 H^T C^-1,  s_o^2 = y_o^T Q y_o / (n - p)
//   -log L = sum_o [ (n - p) log s_o^2 + log |C| + log |H^T C^-1 H| ] / 2 + constant
#pragma once

#include <Eigen/Dense>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "family_support.hpp"
#include "vector_kernels.hpp"

namespace zelos::family {

/// The inputs of each term of the kernel, and where its hyperparameters stand in theta: the logarithms of all length
/// scales, term by term, then of a_t / a_0 of all terms but the first, then of the noise-to-signal ratio nu.
struct KernelTerms {
  std::vector<std::vector<int64_t>> inputs;

  explicit KernelTerms(std::vector<std::vector<int64_t>> of_each_term = {}) : inputs(std::move(of_each_term)) {}
  /// One term over all of d inputs.
  static KernelTerms single(int64_t d);

  int64_t count() const { return static_cast<int64_t>(inputs.size()); }
  int64_t first_length(int64_t t) const;
  int64_t amplitude(int64_t t) const { return first_length(count()) + t - 1; }  ///< t >= 1
  int64_t noise() const { return first_length(count()) + count() - 1; }
  int64_t n_theta() const { return noise() + 1; }
  Eigen::VectorXd amplitudes(const Eigen::VectorXd& theta) const;
};

class Likelihood {
 public:
  /// x (n, d), trend H (n, p) with p < n, y (n, outputs). Keeps copies.
  Likelihood(Correlation kind, KernelTerms terms, const RowMatrix& x, Eigen::MatrixXd trend, Eigen::MatrixXd y);

  /// -log L without its constant, per point and output, and its gradient in theta. A theta at which
  /// C is not positive definite in double precision has the value 1e6 and gradient 0.
  double operator()(const Eigen::VectorXd& theta, Eigen::VectorXd& gradient);

  /// Mean square of the leave-one-out prediction errors of each output at theta: e_i = (Q y)_i /
  /// Q_ii. Infinite where C is not positive definite.
  Eigen::VectorXd leave_one_out(const Eigen::VectorXd& theta);

  /// The same errors (n, outputs) of a fit at theta from its `weights`, whatever y was. ZELOS_E_NUMERIC as fit().
  Eigen::MatrixXd left_out_errors(const Eigen::VectorXd& theta, const Eigen::MatrixXd& weights);

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
  void factorise_or_throw(const Eigen::VectorXd& theta);
  void invert();
  Eigen::MatrixXd left_out_errors();

  struct Term {
    Eigen::MatrixXd x;             // (n, inputs of the term)
    Eigen::MatrixXd scaled;        // (n padded, inputs): over length scales
    Eigen::MatrixXd value, slope;  // (n padded, n)
  };
  Correlation kind_;
  KernelTerms layout_;
  Eigen::Index n_;
  std::vector<Term> terms_;
  Eigen::MatrixXd h_, y_;
  Eigen::MatrixXd factor_, inverse_, whitened_h_, trend_, weights_;
  Eigen::LLT<Eigen::MatrixXd> trend_llt_;
  Eigen::VectorXd signal_;
};

}  // namespace zelos::family
