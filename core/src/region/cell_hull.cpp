// SPDX-License-Identifier: BSD-3-Clause
#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "base/text.hpp"
#include "region/hull.hpp"
#include "region/hull_arrays.hpp"

namespace zelos {
CellHull::CellHull(std::vector<std::vector<double>> axes, std::vector<int64_t> cells, double margin)
    : axes_(std::move(axes)), cells_(std::move(cells)), margin_(margin) {}

std::shared_ptr<const CellHull> CellHull::fit(const Eigen::Ref<const Eigen::MatrixXd>& points, double margin,
                                              const std::vector<double>& lower, const std::vector<double>& upper) {
  const int d = static_cast<int>(points.cols());
  if (d > kMaxDimensions) {
    throw Error(ZELOS_E_ARGUMENT, "region: hull cells: at most " + std::to_string(kMaxDimensions) +
                                      " parameters, found " + std::to_string(d));
  }
  std::vector<std::vector<double>> axes(d);
  Eigen::Matrix<int64_t, -1, -1> node(points.rows(), d);
  double n_cells = 1;
  for (int j = 0; j < d; ++j) {
    std::vector<double>& axis = axes[j];
    std::vector<double> sorted(points.col(j).begin(), points.col(j).end());
    std::sort(sorted.begin(), sorted.end());
    // Values that differ by round-off alone are one.
    const double apart = 1e-9 * (upper[j] - lower[j]);
    for (const double x : sorted) {
      if (axis.empty() || x - axis.back() > apart) axis.push_back(x);
    }
    for (int64_t i = 0; i < points.rows(); ++i) {
      node(i, j) = std::upper_bound(axis.begin(), axis.end(), points(i, j)) - axis.begin() - 1;
    }
    if (axis.size() < 2) {
      throw Error(ZELOS_E_ARGUMENT, "region: hull cells: parameter " + std::to_string(j + 1) +
                                        " has one value in all training points; a grid has two at least");
    }
    if (std::abs(axis.front() - lower[j]) <= apart) axis.front() = lower[j];
    if (std::abs(axis.back() - upper[j]) <= apart) axis.back() = upper[j];
    n_cells *= static_cast<double>(axis.size() - 1);
  }
  if (!(n_cells < kMaxCells)) {
    throw Error(ZELOS_E_ARGUMENT,
                "region: hull cells: the training points do not lie on a grid: " + std::to_string(points.rows()) +
                    " points, and the grid of all their values has " + "more cells than can be counted");
  }
  std::set<std::vector<int64_t>> there;
  for (int64_t i = 0; i < points.rows(); ++i) {
    std::vector<int64_t> index(d);
    for (int j = 0; j < d; ++j) index[j] = node(i, j);
    there.insert(std::move(index));
  }
  std::vector<int64_t> cells;
  for (const std::vector<int64_t>& corner : there) {
    bool complete = true;
    for (int64_t bits = 0; complete && bits < int64_t{1} << d; ++bits) {
      std::vector<int64_t> other = corner;
      for (int j = 0; j < d; ++j) other[j] += bits >> j & 1;
      complete = there.count(other) != 0;
    }
    if (!complete) continue;
    int64_t number = 0;
    for (int j = 0; j < d; ++j) number = number * static_cast<int64_t>(axes[j].size() - 1) + corner[j];
    cells.push_back(number);
  }
  if (cells.empty()) {
    throw Error(ZELOS_E_ARGUMENT, "region: hull cells: the training points do not lie on a grid: there is no cell of " +
                                      std::to_string(int64_t{1} << d) + " corners among " +
                                      std::to_string(points.rows()) + " points");
  }
  std::sort(cells.begin(), cells.end());
  return std::make_shared<CellHull>(std::move(axes), std::move(cells), margin);
}

bool CellHull::reaches(int axis, int64_t cell, double x) const {
  const double low = axes_[axis][cell], high = axes_[axis][cell + 1], reach = margin_ * (high - low);
  return x >= low - reach && x <= high + reach;
}

bool CellHull::holds(const double* x) const {
  // For each axis the cells that may reach x: one, two at a grid value, more with a margin.
  const int d = static_cast<int>(axes_.size());
  int64_t first[kMaxDimensions], last[kMaxDimensions], at[kMaxDimensions];
  for (int j = 0; j < d; ++j) {
    const int64_t n = static_cast<int64_t>(axes_[j].size()) - 1;
    first[j] = 0, last[j] = n - 1;
    while (first[j] < n && !reaches(j, first[j], x[j])) ++first[j];
    while (last[j] > first[j] && !reaches(j, last[j], x[j])) --last[j];
    if (first[j] == n) return false;
    at[j] = first[j];
  }
  while (true) {
    int64_t number = 0;
    bool all = true;
    for (int j = 0; j < d; ++j) {
      number = number * static_cast<int64_t>(axes_[j].size() - 1) + at[j];
      all = all && reaches(j, at[j], x[j]);
    }
    if (all && std::binary_search(cells_.begin(), cells_.end(), number)) return true;
    int j = d - 1;
    while (j >= 0 && at[j] == last[j]) at[j] = first[j], --j;
    if (j < 0) return false;
    ++at[j];
  }
}

int CellHull::explain(const double* x, Verdict* verdict) const {
  const int d = static_cast<int>(axes_.size());
  double nearest = std::numeric_limits<double>::infinity();
  int most = 0;
  for (int64_t number : cells_) {
    double distance = 0;
    int farthest = 0;
    for (int j = d - 1; j >= 0; --j) {
      const int64_t n = static_cast<int64_t>(axes_[j].size()) - 1, k = number % n;
      number /= n;
      const double low = axes_[j][k], high = axes_[j][k + 1];
      const double away = std::max(low - x[j], x[j] - high) / (high - low);
      if (away > distance) distance = away, farthest = j;
    }
    if (distance < nearest) nearest = distance, most = farthest;
  }
  verdict->value = nearest;
  verdict->upper = margin_;
  verdict->excess = std::max(nearest - margin_, std::numeric_limits<double>::epsilon());
  return most;
}

Eigen::VectorXd CellHull::point(const Eigen::VectorXd& u) const {
  const auto n_cells = static_cast<double>(cells_.size());
  const double at = std::min(u[0] * n_cells, std::nextafter(n_cells, 0.0));
  int64_t number = cells_[static_cast<size_t>(at)];
  Eigen::VectorXd x(u.size());
  for (int64_t j = u.size() - 1; j >= 0; --j) {
    const int64_t n = static_cast<int64_t>(axes_[j].size()) - 1, k = number % n;
    number /= n;
    x[j] = axes_[j][k] + (j == 0 ? at - std::floor(at) : u[j]) * (axes_[j][k + 1] - axes_[j][k]);
  }
  return x;
}

void CellHull::store(nlohmann::json* region, std::map<std::string, artifact::Array>* arrays) const {
  (*region)["margin"] = margin_;
  for (size_t j = 0; j < axes_.size(); ++j) {
    (*arrays)["region/axis" + std::to_string(j)] =
        array_of(Eigen::Map<const Eigen::VectorXd>(axes_[j].data(), static_cast<int64_t>(axes_[j].size())).eval());
  }
  Eigen::VectorXd numbers(static_cast<int64_t>(cells_.size()));
  for (size_t i = 0; i < cells_.size(); ++i) numbers[static_cast<int64_t>(i)] = static_cast<double>(cells_[i]);
  (*arrays)["region/cells"] = array_of(numbers);
}

}  // namespace zelos
