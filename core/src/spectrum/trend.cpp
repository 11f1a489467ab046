// SPDX-License-Identifier: BSD-3-Clause
#include "spectrum/trend.hpp"

#include <algorithm>
#include <set>
#include <string>

namespace zelos::spectrum {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

Trend::Trend(const RowMatrix& points, int degree) : centre_(points.cols()), half_(points.cols()) {
  if (degree < 0) return;
  const Index d = points.cols();
  for (Index k = 0; k < d; ++k) {
    const double low = points.col(k).minCoeff(), high = points.col(k).maxCoeff();
    centre_[k] = 0.5 * (low + high);
    half_[k] = high > low ? 0.5 * (high - low) : 1.0;
  }
  std::vector<int> most(static_cast<std::size_t>(d));
  for (Index k = 0; k < d; ++k) {
    const std::set<double> nodes(points.col(k).begin(), points.col(k).end());
    most[static_cast<std::size_t>(k)] = static_cast<int>(nodes.size()) - 1;
  }
  std::vector<int> powers(static_cast<std::size_t>(d), 0);
  const auto add = [&](const auto& self, Index k, int left) -> void {
    if (k == d) {
      powers_.push_back(powers);
      return;
    }
    for (int p = 0; p <= std::min(left, most[static_cast<std::size_t>(k)]); ++p) {
      powers[static_cast<std::size_t>(k)] = p;
      self(self, k + 1, left - p);
    }
    powers[static_cast<std::size_t>(k)] = 0;
  };
  add(add, 0, degree);
  if (static_cast<Index>(powers_.size()) >= points.rows()) {
    throw Error(ZELOS_E_ARGUMENT, "spectral emulator: a mean of degree " + std::to_string(degree) + " has " +
                                      std::to_string(powers_.size()) + " terms, for " + std::to_string(points.rows()) +
                                      " grid points");
  }
}

VectorXd Trend::terms(const VectorXd& point, Index by) const {
  const Index d = point.size();
  MatrixXd power(kMaxTrendDegree + 1, d);
  for (Index k = 0; k < d; ++k) {
    const double x = (point[k] - centre_[k]) / half_[k];
    power(0, k) = 1.0;
    for (int p = 1; p <= kMaxTrendDegree; ++p) power(p, k) = power(p - 1, k) * x;
  }
  VectorXd h(size());
  for (Index t = 0; t < size(); ++t) {
    double product = 1.0;
    for (Index k = 0; k < d; ++k) {
      const int p = powers_[static_cast<std::size_t>(t)][static_cast<std::size_t>(k)];
      product *= k != by ? power(p, k) : p == 0 ? 0.0 : p * power(p - 1, k) / half_[k];
    }
    h[t] = product;
  }
  return h;
}

MatrixXd Trend::matrix(const RowMatrix& points) const {
  MatrixXd h(points.rows(), size());
  for (Index i = 0; i < points.rows(); ++i) h.row(i) = terms(points.row(i).transpose()).transpose();
  return h;
}

}  // namespace zelos::spectrum
