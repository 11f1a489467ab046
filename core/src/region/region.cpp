// SPDX-License-Identifier: BSD-3-Clause
#include "region/region.hpp"

#include <cmath>
#include <cstdio>

namespace zelos {

Region::Region(std::vector<std::string> names, std::vector<double> lower, std::vector<double> upper)
    : names_(std::move(names)), lower_(std::move(lower)), upper_(std::move(upper)) {}

namespace {

Verdict check_range(const std::string& name, double x, double lower, double upper) {
  Verdict verdict;
  const bool finite = std::isfinite(x);
  if (finite && x >= lower && x <= upper) return verdict;
  verdict.reason = finite ? Verdict::Reason::box : Verdict::Reason::not_finite;
  verdict.parameter = name;
  verdict.value = x;
  verdict.lower = lower;
  verdict.upper = upper;
  verdict.excess = std::max(lower - x, x - upper) / (upper - lower);
  return verdict;
}

}  // namespace

void Region::add_limit(std::string name, std::vector<double> coefficients, double lower, double upper) {
  limits_.push_back({std::move(name), std::move(coefficients), lower, upper});
}

Verdict Region::check_parameter(size_t i, double x) const { return check_range(names_[i], x, lower_[i], upper_[i]); }

Verdict Region::check(const double* x) const {
  const size_t d = names_.size();
  for (size_t i = 0; i < d; ++i) {
    if (!(x[i] >= lower_[i] && x[i] <= upper_[i])) return check_parameter(i, x[i]);
  }
  for (const Limit& limit : limits_) {
    double sum = 0;
    for (size_t i = 0; i < d; ++i) sum += limit.coefficients[i] * x[i];
    if (!(sum >= limit.lower && sum <= limit.upper)) return check_range(limit.name, sum, limit.lower, limit.upper);
  }
  Verdict verdict;
  if (hull_ == nullptr || hull_->holds(x)) return verdict;
  verdict.reason = Verdict::Reason::hull;
  verdict.hull = hull_->kind();
  verdict.parameter = names_[static_cast<size_t>(hull_->explain(x, &verdict))];
  return verdict;
}

std::vector<double> Region::point(const std::vector<double>& u) const {
  const size_t d = names_.size();
  const auto candidate = [&](const std::vector<double>& at) {
    std::vector<double> x(d);
    if (hull_ != nullptr) {
      Eigen::Map<Eigen::VectorXd>(x.data(), static_cast<int64_t>(d)) =
          hull_->point(Eigen::Map<const Eigen::VectorXd>(at.data(), static_cast<int64_t>(d)));
    } else {
      for (size_t i = 0; i < d; ++i) x[i] = lower_[i] + at[i] * (upper_[i] - lower_[i]);
    }
    return x;
  };
  std::vector<double> x = candidate(u);
  if (check(x.data()).inside()) return x;
  const std::vector<double> middle = candidate(std::vector<double>(d, 0.5));
  for (int k = 0; k < 16 && !check(x.data()).inside(); ++k) {
    for (size_t i = 0; i < d; ++i) x[i] = 0.75 * x[i] + 0.25 * middle[i];
  }
  return x;
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
      if (v.hull == "convex") {
        std::snprintf(text, sizeof text,
                      "the point is outside the convex hull of the training points, most in parameter '%s': %.6g times "
                      "its size, allowed %.6g (outside by %.2g of it)",
                      name, v.value, v.upper, v.excess);
      } else if (v.hull == "cells") {
        std::snprintf(text, sizeof text,
                      "the point is in no complete cell of the training grid: the nearest is %.6g of a width away in "
                      "parameter '%s', allowed %.6g",
                      v.value, name, v.upper);
      } else {
        std::snprintf(text, sizeof text,
                      "the point is outside the ellipsoid of the training points, most in parameter '%s': distance "
                      "%.4g, radius %.4g (outside by %.2g of it)",
                      name, v.value, v.upper, v.excess);
      }
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
