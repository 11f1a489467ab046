// SPDX-License-Identifier: BSD-3-Clause
#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "region/hull.hpp"
#include "region/hull_arrays.hpp"

namespace zelos {

std::shared_ptr<const EllipsoidHull> EllipsoidHull::fit(const Eigen::Ref<const Eigen::MatrixXd>& points,
                                                        double margin) {
  const Eigen::VectorXd center = points.colwise().mean();
  const Eigen::MatrixXd centered = points.rowwise() - center.transpose();
  const Eigen::MatrixXd covariance = centered.transpose() * centered / static_cast<double>(points.rows());
  const Eigen::MatrixXd metric = covariance.inverse();
  const Eigen::VectorXd squared = (centered * metric).cwiseProduct(centered).rowwise().sum();
  return std::make_shared<EllipsoidHull>(center, metric, std::sqrt(squared.maxCoeff()) * (1 + margin));
}

double EllipsoidHull::distance(const double* x) const {
  double squared = 0;
  for (int64_t i = 0; i < center_.size(); ++i) {
    double row = 0;
    for (int64_t j = 0; j < center_.size(); ++j) row += metric_(i, j) * (x[j] - center_[j]);
    squared += row * (x[i] - center_[i]);
  }
  return std::sqrt(squared);
}

int EllipsoidHull::explain(const double* x, Verdict* verdict) const {
  verdict->value = distance(x);
  verdict->upper = radius_;
  verdict->excess = std::max(verdict->value / radius_ - 1, std::numeric_limits<double>::epsilon());
  const Eigen::VectorXd out = Eigen::Map<const Eigen::VectorXd>(x, center_.size()) - center_;
  int most = 0;
  out.cwiseProduct(metric_ * out).maxCoeff(&most);
  return most;
}

Eigen::VectorXd EllipsoidHull::point(const Eigen::VectorXd& u) const {
  // The surfaces of cubes become spheres.
  Eigen::VectorXd ball = 2 * u.array() - 1;
  const double length = ball.norm();
  if (length > 0) ball *= radius_ * ball.cwiseAbs().maxCoeff() / length;
  return center_ + Eigen::LLT<Eigen::MatrixXd>(metric_).matrixU().solve(ball);
}

void EllipsoidHull::store(nlohmann::json* region, std::map<std::string, artifact::Array>* arrays) const {
  (*region)["radius"] = radius_;
  (*arrays)["region/center"] = array_of(center_);
  (*arrays)["region/metric"] = array_of(Eigen::MatrixXd(metric_.transpose()));  // as ever: column after column
}

}  // namespace zelos
