// SPDX-License-Identifier: BSD-3-Clause
// From rows at the pixels of an order to its spectrum and covariance, and back.
#include <string>

#include "zelos/spectrum.hpp"

namespace zelos::spectrum {
namespace {

using Eigen::Index;
using Eigen::Ref;
using Eigen::VectorXd;

[[noreturn]] void fail(const std::string& message) { throw Error(ZELOS_E_ARGUMENT, "spectral model: " + message); }

void check(const Ref<const RowMatrix>& rows, const RowCombination& c) {
  const Index m = c.weights.size();
  if (rows.cols() != m + 2) {
    fail("expected rows of " + std::to_string(m) + " weights, the mean and the residual, found " +
         std::to_string(rows.cols()));
  }
  if (c.root.rows() != m || (c.root.cols() != m && c.root.cols() != 1)) {
    fail("expected a root of the weights' covariance, (" + std::to_string(m) + ", " + std::to_string(m) +
         ") or a diagonal");
  }
  if (c.factor.size() != rows.rows()) fail("expected a factor for each of " + std::to_string(rows.rows()) + " pixels");
}

// With one component both are the same.
bool is_diagonal(const RowCombination& c) { return c.root.cols() == 1; }

}  // namespace

void combine(const Ref<const RowMatrix>& rows, const RowCombination& c, VectorXd& flux, PixelCovariance& covariance) {
  check(rows, c);
  const Index n = rows.rows(), m = c.weights.size(), k = m + (c.scale_error > 0.0 ? 1 : 0);
  flux.resize(n);
  covariance.factors.resize(n, k);
  covariance.spread.resize(c.spreads ? n : 0);
  const bool diagonal = is_diagonal(c);
  for (Index i = 0; i < n; ++i) {
    const double* row = rows.data() + i * rows.outerStride();
    double* to = covariance.factors.data() + i * k;
    const double q = c.factor[i];
    double sum = row[m];
    for (Index j = 0; j < m; ++j) sum += row[j] * c.weights[j];
    flux[i] = q * sum;
    if (diagonal) {
      for (Index j = 0; j < m; ++j) to[j] = q * row[j] * c.root(j, 0);
    }
    if (k > m) to[m] = flux[i] * c.scale_error;
    if (c.spreads) covariance.spread[i] = q * row[m + 1];
  }
  if (!diagonal) covariance.factors.leftCols(m).noalias() = c.factor.asDiagonal() * (rows.leftCols(m) * c.root);
}

CombinationSlopes combine_slopes(const Ref<const RowMatrix>& rows, const RowCombination& c,
                                 const Ref<const VectorXd>& by_flux, const Ref<const VectorXd>& by_spread,
                                 const Ref<const RowMatrix>& by_factors) {
  check(rows, c);
  const Index n = rows.rows(), m = c.weights.size();
  if (by_flux.size() != n || by_factors.rows() != n || by_factors.cols() < m ||
      by_spread.size() != (c.spreads ? n : 0)) {
    fail("the derivatives are of another spectrum");
  }
  CombinationSlopes by;
  by.factor.resize(n);
  by.rows.resize(n, m + 2);
  by.weights.setZero(m);
  const bool diagonal = is_diagonal(c);
  if (!diagonal) by.rows.leftCols(m).noalias() = by_factors.leftCols(m) * c.root.transpose();
  Eigen::RowVectorXd scaled(m);
  by.root.setZero(m, m);
  for (Index i = 0; i < n; ++i) {
    const double* row = rows.data() + i * rows.outerStride();
    const double* factors = by_factors.data() + i * by_factors.outerStride();
    double* to = by.rows.data() + i * (m + 2);
    const double q = c.factor[i], along = q * by_flux[i];
    double base = row[m], by_q = 0.0;
    for (Index j = 0; j < m; ++j) {
      if (diagonal) to[j] = factors[j] * c.root(j, 0);
      base += row[j] * c.weights[j];
      by_q += to[j] * row[j];
      by.weights[j] += along * row[j];
      scaled[j] = q * row[j];
      to[j] = q * to[j] + along * c.weights[j];
    }
    for (Index j = 0; j < m; ++j) {
      for (Index l = 0; l < m; ++l) by.root(l, j) += scaled[l] * factors[j];
    }
    by_q += by_flux[i] * base;
    to[m] = along;
    to[m + 1] = 0.0;
    if (c.spreads) {
      by_q += by_spread[i] * row[m + 1];
      to[m + 1] = q * by_spread[i];
    }
    by.factor[i] = by_q;
  }
  return by;
}

}  // namespace zelos::spectrum
