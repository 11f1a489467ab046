// SPDX-License-Identifier: BSD-3-Clause
#include "region/region.hpp"

#include <cmath>
#include <cstdio>

namespace zelos {

Region::Region(std::vector<std::string> names, std::vector<double> lower, std::vector<double> upper)
    : names_(std::move(names)), lower_(std::move(lower)), upper_(std::move(upper)) {}

void Region::set_ellipsoid(Eigen::VectorXd center, Eigen::MatrixXd metric, double radius) {
  center_ = std::move(center);
  metric_ = std::move(metric);
  radius_ = radius;
  has_ellipsoid_ = true;
}

void Region::fit_ellipsoid(const Eigen::Ref<const Eigen::MatrixXd>& points, double margin, Eigen::VectorXd* center,
                           Eigen::MatrixXd* metric, double* radius) {
  *center = points.colwise().mean();
  const Eigen::MatrixXd centered = points.rowwise() - center->transpose();
  const Eigen::MatrixXd covariance = centered.transpose() * centered / static_cast<double>(points.rows());
  *metric = covariance.inverse();
  const Eigen::VectorXd squared = (centered * *metric).cwiseProduct(centered).rowwise().sum();
  *radius = std::sqrt(squared.maxCoeff()) * (1 + margin);
}

Verdict Region::check_parameter(size_t i, double x) const {
  Verdict verdict;
  const bool finite = std::isfinite(x);
  if (finite && x >= lower_[i] && x <= upper_[i]) return verdict;
  verdict.reason = finite ? Verdict::Reason::box : Verdict::Reason::not_finite;
  verdict.parameter = names_[i];
  verdict.value = x;
  verdict.lower = lower_[i];
  verdict.upper = upper_[i];
  verdict.excess = std::max(lower_[i] - x, x - upper_[i]) / (upper_[i] - lower_[i]);
  return verdict;
}

Verdict Region::check(const double* x) const {
  const size_t d = names_.size();
  for (size_t i = 0; i < d; ++i) {
    if (!(x[i] >= lower_[i] && x[i] <= upper_[i])) return check_parameter(i, x[i]);
  }
  Verdict verdict;
  if (!has_ellipsoid_) return verdict;
  double squared = 0;
  for (size_t i = 0; i < d; ++i) {
    double row = 0;
    for (size_t j = 0; j < d; ++j) row += metric_(i, j) * (x[j] - center_[j]);
    squared += row * (x[i] - center_[i]);
  }
  const double distance = std::sqrt(squared);
  if (distance <= radius_) return verdict;
  verdict.reason = Verdict::Reason::hull;
  verdict.value = distance;
  verdict.upper = radius_;
  verdict.excess = distance / radius_ - 1;
  return verdict;
}

std::string to_string(const Verdict& v) {
  char text[320];
  const char* name = v.parameter.c_str();
  switch (v.reason) {
    case Verdict::Reason::inside:
      return "inside the validated region";
    case Verdict::Reason::not_finite:
      std::snprintf(text, sizeof text, "parameter '%s' is %g; expected a finite number", name, v.value);
      break;
    case Verdict::Reason::fixed_parameter:
      std::snprintf(text, sizeof text, "parameter '%s' is %.10g; the emulator was trained with %s = %.10g", name,
                    v.value, name, v.lower);
      break;
    case Verdict::Reason::box:
      std::snprintf(text, sizeof text,
                    "parameter '%s' is %.10g; the validated range is [%.10g, %.10g] (outside by %.2g of it)", name,
                    v.value, v.lower, v.upper, v.excess);
      break;
    case Verdict::Reason::hull:
      std::snprintf(text, sizeof text,
                    "the point is outside the training hull: distance %.4g, radius %.4g (outside by %.2g of it)",
                    v.value, v.upper, v.excess);
      break;
    case Verdict::Reason::error_bound:
      std::snprintf(text, sizeof text, "the predicted error %.4g is above the tolerance %.4g", v.value, v.upper);
      break;
    case Verdict::Reason::no_solution:
      std::snprintf(text, sizeof text,
                    "no value inside the validated region gives %s = %.10g (it spans [%.10g, %.10g] here)", name,
                    v.value, v.lower, v.upper);
      break;
  }
  return text;
}

}  // namespace zelos
