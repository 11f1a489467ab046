// SPDX-License-Identifier: BSD-3-Clause
#include "spectrum/correlation.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/kernels.hpp"

namespace zelos::spectrum {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

void correlate(Kernel kernel, double* x, double* slope, Index n) {
  if (kernel == Kernel::squared_exponential) {
    for (Index i = 0; i < n; ++i) x[i] *= -0.5;
    exponential(x, n);
    if (slope != nullptr) std::copy(x, x + n, slope);
    return;
  }
  constexpr Index kChunk = 256;
  double s[kChunk];
  for (Index first = 0; first < n; first += kChunk) {
    const Index count = std::min(kChunk, n - first);
    double* at = x + first;
    for (Index i = 0; i < count; ++i) {
      s[i] = std::sqrt(5.0 * at[i]);
      at[i] = -s[i];
    }
    exponential(at, count);
    for (Index i = 0; i < count; ++i) {
      const double e = at[i];
      if (slope != nullptr) slope[first + i] = 5.0 / 3.0 * (1.0 + s[i]) * e;
      at[i] = (1.0 + s[i] + s[i] * s[i] / 3.0) * e;
    }
  }
}

long double correlation(Kernel kernel, long double square) {
  if (kernel == Kernel::squared_exponential) return std::exp(-0.5L * square);
  const long double s = std::sqrt(5.0L * square);
  return (1.0L + s + s * s / 3.0L) * std::exp(-s);
}

MatrixXd scaled(const RowMatrix& points, const double* log_length) {
  const Index n = points.rows();
  MatrixXd u(padded(n), points.cols());
  for (Index k = 0; k < points.cols(); ++k) {
    u.col(k).head(n) = points.col(k) * std::exp(-log_length[k]);
    u.col(k).tail(u.rows() - n).setConstant(u(n - 1, k));
  }
  return u;
}

void correlation_matrix(Kernel kernel, const MatrixXd& u, Index n, MatrixXd& k, MatrixXd* slope) {
  k.resize(u.rows(), n);
  if (slope != nullptr) slope->resize(u.rows(), n);
  for (Index j = 0; j < n; ++j) {
    const Index first = j / 8 * 8, count = u.rows() - first;
    double* out = k.col(j).data() + first;
    std::fill(out, out + count, 0.0);
    for (Index d = 0; d < u.cols(); ++d) {
      const double* p = u.col(d).data() + first;
      const double centre = u(j, d);
      for (Index i = 0; i < count; ++i) out[i] += (p[i] - centre) * (p[i] - centre);
    }
    correlate(kernel, out, slope == nullptr ? nullptr : slope->col(j).data() + first, count);
  }
}

VectorXd correlations_with(Kernel kernel, const MatrixXd& u, Index n, const VectorXd& point, const double* log_length,
                           MatrixXd* slopes) {
  MatrixXd step(u.rows(), u.cols());
  VectorXd inverse_length(u.cols());
  for (Index p = 0; p < u.cols(); ++p) {
    inverse_length[p] = std::exp(-log_length[p]);
    step.col(p) = point[p] * inverse_length[p] - u.col(p).array();
  }
  VectorXd k = step.rowwise().squaredNorm();
  VectorXd slope(slopes == nullptr ? 0 : k.size());
  correlate(kernel, k.data(), slopes == nullptr ? nullptr : slope.data(), k.size());
  if (slopes != nullptr) {
    slopes->resize(n, u.cols());
    for (Index p = 0; p < u.cols(); ++p) {
      slopes->col(p) = -inverse_length[p] * slope.head(n).cwiseProduct(step.col(p).head(n));
    }
  }
  k.conservativeResize(n);
  return k;
}

}  // namespace zelos::spectrum
