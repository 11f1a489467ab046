// SPDX-License-Identifier: BSD-3-Clause
#include "spectrum/complete_grid.hpp"

#include <algorithm>

namespace zelos::spectrum {

using Eigen::Index;
using Eigen::VectorXd;

std::optional<CompleteGrid> CompleteGrid::find(const RowMatrix& points) {
  CompleteGrid grid;
  Index full = 1;
  for (Index d = 0; d < points.cols(); ++d) {
    VectorXd axis = points.col(d);
    std::sort(axis.begin(), axis.end());
    axis.conservativeResize(std::unique(axis.begin(), axis.end()) - axis.begin());
    if (full > points.rows() / axis.size()) return std::nullopt;
    full *= axis.size();
    grid.axes.push_back(std::move(axis));
  }
  if (full != points.rows()) return std::nullopt;
  std::vector<bool> seen(static_cast<std::size_t>(full), false);
  for (Index i = 0; i < points.rows(); ++i) {
    Index position = 0;
    for (Index d = 0; d < points.cols(); ++d) {
      const VectorXd& axis = grid.axes[static_cast<std::size_t>(d)];
      position = position * axis.size() + (std::lower_bound(axis.begin(), axis.end(), points(i, d)) - axis.begin());
    }
    if (seen[static_cast<std::size_t>(position)]) return std::nullopt;
    seen[static_cast<std::size_t>(position)] = true;
    grid.positions.push_back(position);
  }
  return grid;
}

Index CompleteGrid::stride(std::size_t axis) const {
  Index product = 1;
  for (std::size_t d = axis + 1; d < axes.size(); ++d) product *= length(d);
  return product;
}

}  // namespace zelos::spectrum
