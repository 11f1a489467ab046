// SPDX-License-Identifier: BSD-3-Clause
#include "likelihood.hpp"

#include <limits>
#include <numeric>

namespace zelos::family {

KernelTerms KernelTerms::single(int64_t d) {
  std::vector<int64_t> all(static_cast<size_t>(d));
  std::iota(all.begin(), all.end(), 0);
  return KernelTerms({all});
}

int64_t KernelTerms::first_length(int64_t t) const {
  int64_t at = 0;
  for (int64_t i = 0; i < t; ++i) at += static_cast<int64_t>(inputs[static_cast<size_t>(i)].size());
  return at;
}

Eigen::VectorXd KernelTerms::amplitudes(const Eigen::VectorXd& theta) const {
  Eigen::VectorXd a = Eigen::VectorXd::Ones(count());
  for (int64_t t = 1; t < count(); ++t) a[t] = std::exp(theta[amplitude(t)]);
  return a / a.sum();
}

Likelihood::Likelihood(Correlation kind, KernelTerms terms, const RowMatrix& x, Eigen::MatrixXd trend,
                       Eigen::MatrixXd y)
    : kind_(kind), layout_(std::move(terms)), n_(x.rows()), h_(std::move(trend)), y_(std::move(y)) {
  const Eigen::Index rows = padded(n_);
  for (const std::vector<int64_t>& inputs : layout_.inputs) {
    const auto d = static_cast<Eigen::Index>(inputs.size());
    Term term{Eigen::MatrixXd(n_, d), Eigen::MatrixXd::Zero(rows, d), Eigen::MatrixXd(rows, n_),
              Eigen::MatrixXd(rows, n_)};
    for (Eigen::Index j = 0; j < d; ++j) term.x.col(j) = x.col(inputs[static_cast<size_t>(j)]);
    terms_.push_back(std::move(term));
  }
}

bool Likelihood::factorise(const Eigen::VectorXd& theta) {
  const Eigen::Index n = n_;
  const Eigen::VectorXd amplitudes = layout_.amplitudes(theta);
  for (int64_t t = 0; t < layout_.count(); ++t) {
    Term& term = terms_[static_cast<size_t>(t)];
    const Eigen::Index d = term.x.cols(), first_length = layout_.first_length(t);
    for (Eigen::Index j = 0; j < d; ++j)
      term.scaled.col(j).head(n) = term.x.col(j) * std::exp(-theta[first_length + j]);
    const RowMatrix points = term.scaled.topRows(n);
    const Eigen::VectorXd ones = Eigen::VectorXd::Ones(d);
    const VectorKernels& kernels = vector_kernels();
    Eigen::MatrixXd squares(term.scaled.rows(), d);
    for (Eigen::Index i = 0; i < n; ++i) {
      const Eigen::Index first = i / kLane * kLane;
      const Eigen::Index rows = term.scaled.rows() - first;
      kernels.square_differences(term.scaled.data() + first, term.scaled.rows(), rows, points.row(i).data(), d,
                                 squares.data(), squares.rows());
      kernels.correlate(kind_, squares.data(), squares.rows(), rows, ones.data(), d, 1.0, false,
                        term.value.col(i).data() + first, term.slope.col(i).data() + first);
    }
    if (t == 0) {
      factor_ = amplitudes[0] * term.value.topRows(n);
    } else {
      factor_.triangularView<Eigen::Lower>() += amplitudes[t] * term.value.topRows(n);
    }
  }
  factor_.diagonal().array() += std::exp(theta[layout_.noise()]);
  Eigen::Ref<Eigen::MatrixXd> in_place(factor_);
  const Eigen::LLT<Eigen::Ref<Eigen::MatrixXd>> llt(in_place);
  if (llt.info() != Eigen::Success || !(factor_.diagonal().minCoeff() > 0.0)) return false;

  const auto lower = factor_.triangularView<Eigen::Lower>();
  whitened_h_ = h_;
  lower.solveInPlace(whitened_h_);
  weights_ = y_;
  lower.solveInPlace(weights_);
  Eigen::MatrixXd normal = whitened_h_.transpose() * whitened_h_;
  trend_llt_.compute(normal);
  if (trend_llt_.info() != Eigen::Success) return false;
  trend_ = trend_llt_.solve(whitened_h_.transpose() * weights_);
  weights_.noalias() -= whitened_h_ * trend_;
  signal_ = weights_.colwise().squaredNorm().transpose() / static_cast<double>(n - h_.cols());
  signal_ = signal_.cwiseMax(std::numeric_limits<double>::min());
  factor_.transpose().triangularView<Eigen::Upper>().solveInPlace(weights_);
  return true;
}

// Lower triangle of Q.
void Likelihood::invert() {
  const Eigen::Index n = factor_.rows();
  Eigen::MatrixXd root = Eigen::MatrixXd::Identity(n, n);
  // Block columns: the rows above the diagonal block stay zero and are skipped.
  constexpr Eigen::Index kBlock = 64;
  for (Eigen::Index j = 0; j < n; j += kBlock) {
    const Eigen::Index width = std::min(kBlock, n - j);
    factor_.bottomRightCorner(n - j, n - j).triangularView<Eigen::Lower>().solveInPlace(root.block(j, j, n - j, width));
  }
  inverse_.setZero(n, n);
  for (Eigen::Index j = 0; j < n; j += kBlock) {
    const Eigen::Index width = std::min(kBlock, n - j);
    // Rows of L^-1 from j on reach the columns up to j + width.
    inverse_.topLeftCorner(j + width, j + width)
        .selfadjointView<Eigen::Lower>()
        .rankUpdate(root.block(j, 0, width, j + width).transpose());
  }
  Eigen::MatrixXd projected = whitened_h_;
  factor_.transpose().triangularView<Eigen::Upper>().solveInPlace(projected);
  trend_llt_.matrixU().solveInPlace<Eigen::OnTheRight>(projected);
  inverse_.selfadjointView<Eigen::Lower>().rankUpdate(projected, -1.0);
}

double Likelihood::operator()(const Eigen::VectorXd& theta, Eigen::VectorXd& gradient) {
  const Eigen::Index n = n_;
  const double m = static_cast<double>(y_.cols());
  const double scale = 0.5 / (static_cast<double>(n) * m);
  gradient.setZero(theta.size());
  if (!factorise(theta)) return 1e6;
  const double log_det =
      2.0 * (factor_.diagonal().array().log().sum() + trend_llt_.matrixLLT().diagonal().array().log().sum());
  const double value = static_cast<double>(n - h_.cols()) * signal_.array().log().sum() + m * log_det;
  if (!std::isfinite(value)) return 1e6;

  // d(-2 log L) = sum_ij W_ij dC_ij with W = m Q - sum_o w_o w_o^T / s_o^2.
  invert();
  inverse_ *= m;
  const Eigen::MatrixXd unit = weights_ * signal_.cwiseInverse().cwiseSqrt().asDiagonal();
  inverse_.selfadjointView<Eigen::Lower>().rankUpdate(unit, -1.0);
  gradient[layout_.noise()] = scale * std::exp(theta[layout_.noise()]) * inverse_.trace();
  const Eigen::VectorXd amplitudes = layout_.amplitudes(theta);
  Eigen::VectorXd sums = Eigen::VectorXd::Zero(layout_.count());  // of W_ij k_ij, term by term
  for (int64_t t = 0; t < layout_.count(); ++t) {
    const Term& term = terms_[static_cast<size_t>(t)];
    if (layout_.count() > 1) {
      const Eigen::MatrixXd product = inverse_.cwiseProduct(term.value.topRows(n));
      sums[t] = 2.0 * product.triangularView<Eigen::StrictlyLower>().toDenseMatrix().sum() + product.trace();
    }
    // dC_ij / d log l_k = -a slope_ij (u_ik - u_jk)^2: with Z = -a W * slope, sum_ij Z_ij (u_ik - u_jk)^2
    // = 2 sum_i u_ik^2 (Z 1)_i - 2 u_k^T Z u_k. The diagonal of Z drops out.
    Eigen::MatrixXd z_lower = Eigen::MatrixXd::Zero(n, n);
    z_lower.triangularView<Eigen::StrictlyLower>() = inverse_.cwiseProduct(-amplitudes[t] * term.slope.topRows(n));
    const Eigen::Index d = term.x.cols();
    Eigen::MatrixXd right(n, d + 1);
    right.leftCols(d) = term.scaled.topRows(n);
    right.col(d).setOnes();
    const Eigen::MatrixXd z = z_lower.selfadjointView<Eigen::Lower>() * right;
    for (Eigen::Index k = 0; k < d; ++k) {
      gradient[layout_.first_length(t) + k] =
          2.0 * scale * (right.col(k).cwiseAbs2().dot(z.col(d)) - right.col(k).dot(z.col(k)));
    }
  }
  const double mean = amplitudes.dot(sums);
  for (int64_t t = 1; t < layout_.count(); ++t)
    gradient[layout_.amplitude(t)] = scale * amplitudes[t] * (sums[t] - mean);
  if (!gradient.allFinite()) {
    gradient.setZero();
    return 1e6;
  }
  return scale * value;
}

Eigen::VectorXd Likelihood::leave_one_out(const Eigen::VectorXd& theta) {
  if (!factorise(theta)) return Eigen::VectorXd::Constant(y_.cols(), std::numeric_limits<double>::infinity());
  return left_out_errors().colwise().squaredNorm().transpose() / static_cast<double>(n_);
}

Eigen::MatrixXd Likelihood::left_out_errors() {
  invert();
  return inverse_.diagonal().cwiseInverse().asDiagonal() * weights_;
}

Eigen::MatrixXd Likelihood::left_out_errors(const Eigen::VectorXd& theta, const Eigen::MatrixXd& weights) {
  factorise_or_throw(theta);
  weights_ = weights;
  return left_out_errors();
}

void Likelihood::factorise_or_throw(const Eigen::VectorXd& theta) {
  if (factorise(theta)) return;
  throw Error(ZELOS_E_NUMERIC,
              "gaussian_process: the covariance of the points is not positive definite; raise the lower end of "
              "'noise_to_signal_bounds'");
}

Likelihood::Fit Likelihood::fit(const Eigen::VectorXd& theta) {
  factorise_or_throw(theta);
  return {factor_, whitened_h_, trend_llt_.matrixL(), trend_, weights_, signal_, left_out_errors()};
}

}  // namespace zelos::family
