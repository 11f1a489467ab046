// SPDX-License-Identifier: BSD-3-Clause
// left_out_variance.hpp: a predictive variance measured by leaving points out.
//
//   var_o(x) = c_o [l(x) / L]^g_o,  l(x) = h(x)^T (H^T H)^-1 h(x),  L = mean_i l_i / (1 - l_i)
//
// h: the polynomials up to degree 2, H: their values at the n training points (a lower degree where
// the points do not determine them). l is the leverage, the variance of a least-squares fit, which
// grows towards the edge of the points; at point i, left out, it is l_i / (1 - l_i). c_o and
// 0 <= g_o <= 8 maximise the likelihood of the leave-one-out errors e_oi ~ N(0, var_oi), so that
// mean_i e_oi^2 / var_oi = 1. The variance is that of a run of the real code at a new point, the
// code's own noise included; it needs no memory of the points. e_oi / sqrt(var_oi) is stored as well: what the core
// calibrates its quantiles with.
//
// Conditioning a Gaussian process on a subset of its points instead is never too small, but for CMB
// spectra (640 points, 96 in the subset) 5 to 20 times too large, and where it is large the errors
// are not.
#pragma once

#include <cmath>
#include <limits>

#include "legendre_basis.hpp"
#include "training.hpp"

namespace zelos::family {

/// The param and setting `variance`: as here; the family's own from its posterior; or none.
enum class VarianceKind { kLeaveOneOut, kPosterior, kNone };
constexpr const char* kVarianceNames[] = {"leave_one_out", "posterior", "none"};

inline const char* to_string(VarianceKind kind) { return kVarianceNames[static_cast<int>(kind)]; }

inline VarianceKind variance_param(const nlohmann::json& params) {
  const std::string name = params.at("variance").get<std::string>();
  int kind = 0;
  while (kind < 3 && name != kVarianceNames[kind]) ++kind;
  require_param(kind < 3, params, "variance", "\"leave_one_out\", \"posterior\" or \"none\"");
  return static_cast<VarianceKind>(kind);
}

/// The setting of a stored state; ZELOS_E_FORMAT.
inline VarianceKind stored_variance(const zelos_state& state) {
  const auto settings = nlohmann::json::parse(state.settings_json);
  try {
    return variance_param(settings);
  } catch (const std::exception& e) {
    throw Error(ZELOS_E_FORMAT, std::string("settings of the stored state: ") + e.what());
  }
}

/// ZELOS_E_MISSING for a model of `family` that has no variance.
inline zelos_status no_variance(const char* family, zelos_error* error) {
  char message[80];  // no allocation: an evaluation may ask
  std::snprintf(message, sizeof message, "%s: trained with params variance: none", family);
  return fill_error(error, ZELOS_E_MISSING, message);
}

class LeftOutVariance {
 public:
  /// What is stored: `leverage_factor` (p, p), lower triangle, l(x) / L = |leverage_factor h(x)|^2;
  /// `variance_terms` (m, 2): c and g of each output; `left_out_errors` (n, m): e_oi / sqrt(var_oi), in steps of 1/32.
  struct Fit {
    RowMatrix leverage_factor, variance_terms, left_out_errors;

    void add_to(StateBuilder& builder) const {
      builder.add("leverage_factor", leverage_factor);
      builder.add("variance_terms", variance_terms);
      builder.add(ZELOS_LEFT_OUT_ERRORS, left_out_errors);
    }
  };

  /// x (n, d) and the errors (n, m) there of predictions that did not know the point: leave-one-out errors, or with
  /// `first` > 0 those of the points from there on, which were kept out, among all.
  static Fit fit(const RowMatrix& x, const Eigen::MatrixXd& all_errors, Eigen::Index first = 0) {
    Fit out;
    const Eigen::Index n = x.rows() - first;
    const Eigen::ArrayXd leverage = left_out_leverage(x, &out.leverage_factor).tail(n);
    const Eigen::MatrixXd errors = all_errors.bottomRows(n);
    out.variance_terms.resize(errors.cols(), 2);
    for (Eigen::Index o = 0; o < errors.cols(); ++o) {
      const Eigen::ArrayXd square = errors.col(o).array().square();
      constexpr int kSteps = 64, kStepsPerUnit = 8;
      double best = std::numeric_limits<double>::infinity();
      out.variance_terms.row(o).setZero();
      for (int step = 0; step <= kSteps && square.maxCoeff() > 0.0; ++step) {
        const double g = static_cast<double>(step) / kStepsPerUnit;
        const double c = (square / leverage.pow(g)).mean();
        const double value = std::log(c) + g * leverage.log().mean();
        if (!(value < best)) continue;
        best = value;
        out.variance_terms.row(o) << c, g;
      }
    }
    out.left_out_errors = standardise(leverage, errors, out.variance_terms);
    return out;
  }

  /// The `left_out_errors` that fit() stores, from its `variance_terms` and leave-one-out errors (n, m).
  static RowMatrix standardise(const RowMatrix& x, const Eigen::MatrixXd& errors, const RowMatrix& variance_terms) {
    RowMatrix unused;
    return standardise(left_out_leverage(x, &unused), errors, variance_terms);
  }

  LeftOutVariance() = default;

  /// From a stored state of a model with n_inputs and n_outputs; ZELOS_E_FORMAT. Keeps pointers
  /// into it.
  LeftOutVariance(const zelos_state& state, int64_t n_inputs, int64_t n_outputs) : n_outputs_(n_outputs) {
    const ConstRowMap factor = matrix(state, "leverage_factor");
    const ConstRowMap terms = matrix(state, "variance_terms");
    for (int degree = kDegree; degree >= 0 && basis_.terms() == 0; --degree) {
      const LegendreBasis candidate = basis(n_inputs, degree);
      if (candidate.terms() == factor.rows()) basis_ = candidate;
    }
    if (basis_.terms() == 0 || factor.cols() != factor.rows()) {
      throw Error(ZELOS_E_FORMAT,
                  "array 'leverage_factor' should have one row and column per polynomial up to degree 2");
    }
    if (terms.rows() != n_outputs || terms.cols() != 2 || !(terms.array() >= 0.0).all()) {
      throw Error(ZELOS_E_FORMAT, "array 'variance_terms' should have two numbers, not negative, per output");
    }
    factor_ = factor.data();
    terms_ = terms.data();
  }

  /// Doubles of scratch.
  int64_t workspace() const { return basis_.padded_terms() + basis_.workspace(); }

  void evaluate(const double* x, double* variance, double* work) const {
    basis_.evaluate(x, work, work + basis_.padded_terms());
    double leverage = 0.0;
    const int64_t p = basis_.terms();
    for (int64_t t = 0; t < p; ++t) {
      const double v = vector_kernels().dot(factor_ + t * p, work, t + 1);
      leverage += v * v;
    }
    const double log_leverage = std::log(leverage);
    for (int64_t o = 0; o < n_outputs_; ++o) {
      variance[o] = terms_[2 * o] * std::exp(terms_[2 * o + 1] * log_leverage);
    }
  }

 private:
  static constexpr int kDegree = 2;

  static std::vector<MultiIndex> basis_indices(int64_t n_inputs, int degree) {
    return index_set(static_cast<int>(n_inputs), degree, std::vector<double>(static_cast<size_t>(n_inputs), 1.0), 1.0,
                     100000);
  }
  static LegendreBasis basis(int64_t n_inputs, int degree) { return LegendreBasis(basis_indices(n_inputs, degree)); }

  static RowMatrix standardise(const Eigen::ArrayXd& leverage, const Eigen::MatrixXd& errors,
                               const RowMatrix& variance_terms) {
    constexpr double kPerUnit = 32.0;
    RowMatrix out = RowMatrix::Zero(errors.rows(), errors.cols());
    for (Eigen::Index o = 0; o < errors.cols(); ++o) {
      const double c = variance_terms(o, 0), g = variance_terms(o, 1);
      if (!(c > 0.0)) continue;
      const Eigen::ArrayXd standard = errors.col(o).array() / (c * leverage.pow(g)).sqrt();
      out.col(o) = (standard * kPerUnit).round().matrix() / kPerUnit;
    }
    return out;
  }

  /// l_i / (1 - l_i) over its mean.
  static Eigen::ArrayXd left_out_leverage(const RowMatrix& x, RowMatrix* factor) {
    for (int degree = kDegree; degree > 0; --degree) {
      const std::vector<MultiIndex> all = basis_indices(x.cols(), degree);
      const std::vector<MultiIndex> kept = independent_terms(all, x);
      const Eigen::MatrixXd h = LegendreBasis(kept).design(x);
      if (2 * h.cols() > h.rows()) continue;
      const Eigen::LLT<Eigen::MatrixXd> llt(h.transpose() * h);
      if (llt.info() != Eigen::Success || llt.rcond() < 1e-12) continue;
      RowMatrix inverse = RowMatrix::Identity(h.cols(), h.cols());
      llt.matrixL().solveInPlace(inverse);
      const Eigen::ArrayXd leverage = (h * inverse.transpose()).rowwise().squaredNorm();
      if (!(leverage.maxCoeff() < 0.999)) continue;
      const Eigen::ArrayXd left_out = leverage / (1.0 - leverage);
      // The terms that are left out have zeros: what is stored does not say which they are.
      *factor = RowMatrix::Zero(static_cast<Eigen::Index>(all.size()), static_cast<Eigen::Index>(all.size()));
      std::vector<Eigen::Index> at;
      for (const MultiIndex& alpha : kept) at.push_back(std::find(all.begin(), all.end(), alpha) - all.begin());
      for (size_t a = 0; a < at.size(); ++a) {
        for (size_t b = 0; b <= a; ++b) {
          (*factor)(at[a], at[b]) =
              inverse(static_cast<Eigen::Index>(a), static_cast<Eigen::Index>(b)) / std::sqrt(left_out.mean());
        }
      }
      return left_out / left_out.mean();
    }
    *factor = RowMatrix::Ones(1, 1);
    return Eigen::ArrayXd::Ones(x.rows());
  }

  LegendreBasis basis_;
  int64_t n_outputs_ = 0;
  const double* factor_ = nullptr;
  const double* terms_ = nullptr;
};

}  // namespace zelos::family
