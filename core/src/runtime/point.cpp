// SPDX-License-Identifier: BSD-3-Clause
// point.cpp: from the caller's values to canonical parameters, the verdict and the features.
#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/bound_query.hpp"

namespace zelos {

bool Query::Impl::solve(const NamePlan::Step& step, int n_tangents, double* w, Verdict* verdict) const {
  const SolvableParameter& s = model->solvable[step.solvable];
  double* features = w + features_at;
  double* tangents = w + feature_tangents_at;
  const int64_t d = static_cast<int64_t>(plan.solve_inputs.size()), f = n_features();
  const double* slots = w + slots_at;
  for (int64_t i = 0; i < d; ++i) {
    if (plan.solve_inputs[i] >= 0) features[i] = slots[plan.solve_inputs[i]];
  }
  // One tangent, along the unknown.
  const auto at = [&](double x, double* slope) {
    std::fill(tangents, tangents + f, 0.0);
    features[s.parameter] = x;
    tangents[s.parameter] = 1;
    for (int64_t i = d; i < f; ++i) {
      if (solve_feature[i]) evaluate_feature(static_cast<int>(i), 1, w);
    }
    *slope = tangents[s.feature];
    return features[s.feature];
  };
  const double target = slots[step.a];
  double lower = s.lower, upper = s.upper, slope = 0;
  const double at_lower = at(lower, &slope), at_upper = at(upper, &slope);
  const double sign = at_upper > at_lower ? 1 : -1;
  // Stays so if there is no solution: whatever the verdict says then, the point is not known.
  w[slots_at + step.out] = std::numeric_limits<double>::quiet_NaN();
  if (!(sign * (target - at_lower) >= 0 && sign * (at_upper - target) >= 0)) {
    // A parameter that left its range is the better answer: what the feature spans there means nothing.
    for (int64_t i = 0; i < d; ++i) {
      if (plan.solve_inputs[i] < 0) continue;
      *verdict = model->region.check_parameter(i, features[i]);
      if (!verdict->inside()) return false;
    }
    verdict->reason = std::isfinite(target) ? Verdict::Reason::no_solution : Verdict::Reason::not_finite;
    verdict->parameter = s.name;
    verdict->value = target;
    verdict->lower = std::min(at_lower, at_upper);
    verdict->upper = std::max(at_lower, at_upper);
    verdict->excess = std::max(verdict->lower - target, target - verdict->upper) / (verdict->upper - verdict->lower);
    return false;
  }
  // Newton, kept inside a bracket that shrinks.
  double x = lower + (upper - lower) * (target - at_lower) / (at_upper - at_lower);
  for (int iteration = 0; iteration < 60; ++iteration) {
    const double residual = at(x, &slope) - target;
    (sign * residual > 0 ? upper : lower) = x;
    double next = x - residual / slope;
    if (!(next >= lower && next <= upper)) next = 0.5 * (lower + upper);
    const double step_size = std::abs(next - x);
    x = next;
    if (step_size <= 4e-16 * std::abs(x)) break;
    if (step_size <= 1e-9 * std::abs(x) && iteration > 0) {
      const double last = at(x, &slope) - target;
      x -= last / slope;
      break;
    }
  }
  double* out = w + slots_at + step.out;
  *out = x;
  at(x, &slope);
  // Implicit derivative: dx = (dtarget - sum_j F_j dx_j) / F_x.
  const double* slot_tangents = w + slot_tangents_at;
  double derivative[64];
  for (int k = 0; k < n_tangents; ++k) derivative[k] = slot_tangents[k * plan.n_slots + step.a];
  if (n_tangents > 0) {
    for (int64_t j = 0; j < d; ++j) {
      if (plan.solve_inputs[j] < 0) continue;
      bool moves = false;
      for (int k = 0; k < n_tangents; ++k) moves |= slot_tangents[k * plan.n_slots + plan.solve_inputs[j]] != 0;
      if (!moves || !solve_feature[j]) continue;
      std::fill(tangents, tangents + f, 0.0);
      tangents[j] = 1;
      for (int64_t i = d; i < f; ++i) {
        if (solve_feature[i]) evaluate_feature(static_cast<int>(i), 1, w);
      }
      const double partial = tangents[s.feature];
      for (int k = 0; k < n_tangents; ++k) {
        derivative[k] -= partial * slot_tangents[k * plan.n_slots + plan.solve_inputs[j]];
      }
    }
    for (int k = 0; k < n_tangents; ++k) (w + slot_tangents_at)[k * plan.n_slots + step.out] = derivative[k] / slope;
  }
  return true;
}

void Query::Impl::evaluate_feature(int index, int n_tangents, double* w) const {
  const Feature& feature = model->features[index];
  double* f = w + features_at;
  double* df = w + feature_tangents_at;
  const int64_t stride = n_features();
  switch (feature.kind) {
    case Feature::Kind::parameter:
      return;
    case Feature::Kind::logarithm: {
      const double x = f[feature.of[0]];
      f[index] = std::log(x);
      for (int k = 0; k < n_tangents; ++k) df[k * stride + index] = df[k * stride + feature.of[0]] / x;
      return;
    }
    case Feature::Kind::linear: {
      f[index] = feature.constant;
      for (size_t i = 0; i < feature.of.size(); ++i) f[index] += feature.coefficients[i] * f[feature.of[i]];
      for (int k = 0; k < n_tangents; ++k) {
        double sum = 0;
        for (size_t i = 0; i < feature.of.size(); ++i) sum += feature.coefficients[i] * df[k * stride + feature.of[i]];
        df[k * stride + index] = sum;
      }
      return;
    }
    case Feature::Kind::step: {
      f[index] = f[feature.of[0]] > feature.constant ? 1 : 0;
      for (int k = 0; k < n_tangents; ++k) df[k * stride + index] = 0;
      return;
    }
    case Feature::Kind::emulated: {
      double* jacobian = n_tangents > 0 ? w + jacobian_at : nullptr;
      double y = 0;
      feature.regressor->evaluate(f, &y, jacobian, w + scratch_at);
      if (feature.amplitude >= 0) y += f[feature.amplitude];
      const double value = feature.exponential ? std::exp(y) : y;
      f[index] = value;
      for (int k = 0; k < n_tangents; ++k) {
        double sum = feature.amplitude >= 0 ? df[k * stride + feature.amplitude] : 0;
        for (int64_t i = 0; i < feature.regressor->n_inputs(); ++i) {
          sum += jacobian[i] * df[k * stride + feature.regressor->inputs()[i]];
        }
        df[k * stride + index] = feature.exponential ? value * sum : sum;
      }
      return;
    }
    case Feature::Kind::background: {
      double inputs[kBackgroundInputs], gradient[kBackgroundInputs];
      feature.source.read(f, inputs);
      background(feature.quantity, inputs, &feature.z, 1, f + index, n_tangents > 0 ? gradient : nullptr);
      for (int k = 0; k < n_tangents; ++k) df[k * stride + index] = feature.source.chain(gradient, df + k * stride);
      return;
    }
  }
}

Verdict Query::Impl::read_values(const double* values, double* slots) const {
  Verdict verdict;
  for (size_t i = 0; i < names.size(); ++i) {
    slots[i] = values[i];
    if (std::isfinite(values[i])) continue;
    verdict.reason = Verdict::Reason::not_finite;
    verdict.parameter = names[i];
    verdict.value = values[i];
    return verdict;
  }
  return verdict;
}

Verdict Query::Impl::prepare(const double* values, int n_tangents, const double* seeds, double* w) const {
  double* slots = w + slots_at;
  double* tangents = w + slot_tangents_at;
  const int64_t n = n_names(), s = plan.n_slots;
  Verdict verdict = read_values(values, slots);
  if (!verdict.inside()) return verdict;
  for (int k = 0; k < n_tangents; ++k) std::copy_n(seeds + k * n, n, tangents + k * s);
  for (const NamePlan::Step& step : plan.steps) {
    if (step.op == NamePlan::Op::solve) {
      if (!solve(step, n_tangents, w, &verdict)) return verdict;
      continue;
    }
    double da = 0, db = 0;
    slots[step.out] = elementary(step, slots[step.a], step.b >= 0 ? slots[step.b] : 0, &da, &db);
    for (int k = 0; k < n_tangents; ++k) {
      tangents[k * s + step.out] = da * tangents[k * s + step.a] + (step.b >= 0 ? db * tangents[k * s + step.b] : 0.0);
    }
  }
  const int64_t f = n_features();
  double* features = w + features_at;
  double* feature_tangents = w + feature_tangents_at;
  for (size_t i = 0; i < plan.canonical.size(); ++i) {
    features[i] = slots[plan.canonical[i]];
    for (int k = 0; k < n_tangents; ++k) feature_tangents[k * f + i] = tangents[k * s + plan.canonical[i]];
  }
  for (const NamePlan::Fixed& fixed : plan.fixed) {
    const double found = slots[fixed.slot];
    if (holds(found, fixed.value)) continue;
    verdict.reason = Verdict::Reason::fixed_parameter;
    verdict.parameter = fixed.name;
    verdict.value = found;
    verdict.lower = verdict.upper = fixed.value;
    verdict.excess = std::abs(found - fixed.value);
    return verdict;
  }
  return model->region.check(features);
}

bool Query::Impl::is_known(const Verdict& verdict, const double* w) const {
  if (verdict.reason == Verdict::Reason::not_finite) return false;
  return std::all_of(plan.steps.begin(), plan.steps.end(), [&](const NamePlan::Step& step) {
    return step.op != NamePlan::Op::solve || std::isfinite(w[slots_at + step.out]);
  });
}

Verdict Query::Impl::tell(const double* values, double* numbers, int32_t* told, double* w) const {
  double* slots = w + slots_at;
  Verdict verdict = read_values(values, slots);
  if (!verdict.inside()) return verdict;
  for (const NamePlan::Step& step : plan.steps) {
    double da, db;
    if (step.op == NamePlan::Op::solve) continue;
    slots[step.out] = elementary(step, slots[step.a], step.b >= 0 ? slots[step.b] : 0, &da, &db);
  }
  for (size_t i = 0; i < plan.told.size(); ++i) {
    const auto& [physics, slot] = plan.told[i];
    numbers[i] = slots[slot];
    if (told != nullptr) told[i] = physics.kind == Physics::Kind::fixed && holds(numbers[i], physics.held) ? 0 : 1;
  }
  return verdict;
}

}  // namespace zelos
