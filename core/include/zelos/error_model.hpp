// SPDX-License-Identifier: BSD-3-Clause
// error_model.hpp: how far the emulator's error may move a likelihood.
//
// With r = A (emulator - real code), linear in the errors e of the emulator's weights,
//   Delta chi^2 = r^T C^-1 r = e^T M e,
// which is -2 Delta log L where the data are the real code's answer. (Noise in the data, of covariance C, adds to
// -2 log L a term of mean 0 and variance 4 Delta chi^2, most of which is the same at neighbouring points.) The
// families' variances v of e give
//   mean    sum_k M_kk v_k + what the PCA drops
//   95 %    s * that of the gamma distribution with this mean, and the variance 2 sum_kl M_kl^2 v_k v_l + that of what
//           the PCA drops
// What it drops is the residual at the training points as if it had not known them. s is the calibration: with it the
// quantile covers 95 % of the errors that the training made at points that were left out of it. Where the artifact
// holds none of these, s = 1.
#pragma once

#include <memory>
#include <vector>

#include "zelos/emulator.hpp"

namespace zelos {

/// What is measured, and how well.
struct Likelihood {
  /// C, n x n, symmetric and positive definite. Empty: an ideal experiment: of spectra cosmic variance (beyond the
  /// `last` of a whitening {cosmic_variance: last} it grows as that does); of TT, TE and EE, if all are asked for,
  /// jointly; of all else the sigma that the outputs were whitened with. On all points of the outputs then, whatever
  /// the axes of the query.
  std::vector<double> covariance;
  /// A, n x Query::size(): the data are A times the answer. Empty: they are the answer.
  std::vector<double> matrix;
  /// Values of the query's names where M is taken; it hardly depends on the point. Empty: the middle of the region.
  std::vector<double> reference;
};

struct ErrorEstimate {
  double mean = 0, quantile = 0;  ///< of Delta chi^2; quantile: 95 %
};

/// Immutable, safe from any number of threads.
class ZELOS_API ErrorModel {
 public:
  /// Costs up to a second. Throws Error(ZELOS_E_ARGUMENT) for sizes that do not fit, a covariance that is not positive
  /// definite, and a reference that is not finite or has no solution.
  ErrorModel(const Query& query, const Likelihood& likelihood);

  /// The workspace is one of the query. No allocation. The point must be finite and solvable, with the physics of the
  /// training (`fixed`), or nothing is written, but may be outside the region otherwise. NaN where a family predicts no
  /// error.
  Verdict evaluate(const double* values, ErrorEstimate* estimate, Workspace& workspace) const;

  /// The query's verdict; of a point inside error_bound where the quantile is above `tolerance` or NaN.
  Verdict verdict(const double* values, double tolerance, Workspace& workspace) const;

  /// Whether a workspace of this query will do.
  bool fits(const Query::Impl* query) const;
  /// s above.
  double calibration() const;
  /// How many points that were left out it rests on; 0: it is 1 for want of any.
  int64_t n_left_out() const;

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

}  // namespace zelos
