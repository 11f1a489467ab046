// SPDX-License-Identifier: BSD-3-Clause
#include "spectrum/cholesky.hpp"

#include <algorithm>

namespace zelos::spectrum {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

MatrixXd inverse(const Solved<double>& s) {
  const Index n = s.factor.rows();
  MatrixXd root = MatrixXd::Identity(n, n);
  constexpr Index kBlock = 64;
  // Rows above the diagonal block stay zero and are skipped.
  for (Index j = 0; j < n; j += kBlock) {
    const Index width = std::min(kBlock, n - j);
    s.factor.bottomRightCorner(n - j, n - j)
        .triangularView<Eigen::Lower>()
        .solveInPlace(root.block(j, j, n - j, width));
  }
  MatrixXd result = MatrixXd::Zero(n, n);
  for (Index j = 0; j < n; j += kBlock) {
    const Index width = std::min(kBlock, n - j);
    result.topLeftCorner(j + width, j + width)
        .selfadjointView<Eigen::Lower>()
        .rankUpdate(root.block(j, 0, width, j + width).transpose());
  }
  if (s.whitened_trend.cols() > 0) {
    MatrixXd projected = s.whitened_trend;
    s.factor.transpose().triangularView<Eigen::Upper>().solveInPlace(projected);
    s.trend.matrixU().solveInPlace<Eigen::OnTheRight>(projected);
    result.selfadjointView<Eigen::Lower>().rankUpdate(projected, -1.0);
  }
  return result;
}

VectorXd dual_weights(const Solved<double>& s) {
  VectorXd alpha = s.whitened;
  s.factor.transpose().triangularView<Eigen::Upper>().solveInPlace(alpha);
  return alpha;
}

}  // namespace zelos::spectrum
