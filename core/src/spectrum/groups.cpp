// SPDX-License-Identifier: BSD-3-Clause
#include "spectrum/groups.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace zelos::spectrum {
namespace {

using Eigen::Index;
using Eigen::VectorXd;

constexpr double kPi = 3.14159265358979323846;
constexpr double kLocalReach = 4.0;  // standard deviations

[[noreturn]] void fail(const std::string& message) { throw Error(ZELOS_E_ARGUMENT, "spectral covariance: " + message); }

// exp(-s), cos and sin at some distance, s and the angle of the taper.
struct At {
  double e = 1.0, c = 1.0, s = 0.0;

  void add(const Process& p, int64_t i) {
    e *= p.decay[i];
    const double turned = c * p.cosine[i] - s * p.sine[i];
    s = s * p.cosine[i] + c * p.sine[i];
    c = turned;
  }
};

}  // namespace

Steps::Steps(const VectorXd& position, double length) {
  const Index n = position.size() - 1;
  decay.setOnes(n);
  cosine.setOnes(n);
  sine.setZero(n);
  const double to_s = std::sqrt(3.0) / length, to_angle = kTaper / length;
  for (Index i = 0; i < n; ++i) {
    const double r = position[i + 1] - position[i], angle = to_angle * r;
    decay[i] = std::exp(-to_s * r);
    if (angle < 0.1) {  // most often; the rest of the series is below 1e-17
      const double x = angle * angle;
      sine[i] = angle * (1 + x * (-1.0 / 6 + x * (1.0 / 120 + x * (-1.0 / 5040 + x * (1.0 / 362880)))));
      cosine[i] = 1 + x * (-0.5 + x * (1.0 / 24 + x * (-1.0 / 720 + x * (1.0 / 40320 - x * (1.0 / 3628800)))));
    } else {
      sine[i] = std::sin(angle);
      cosine[i] = std::cos(angle);
    }
  }
}

void generate(const Process& p, const Group& group, int64_t next, double* block, int64_t stride, double* u,
              int64_t u_stride, double* v, int64_t v_stride, Transition& transition) {
  const int64_t n = group.count, first = group.first;
  const double to_s = std::sqrt(3.0) / p.length;
  const double* x = p.position;
  At at;
  for (int64_t i = 0; i < n; ++i) {
    if (i > 0) at.add(p, first + i - 1);
    const double z = to_s * (x[first + i] - x[first]), scale = p.scale[first + i];
    const double a = scale * at.e * (1.0 + z), b = scale * at.e * z;
    double* row = u + i * u_stride;
    row[0] = a;
    row[1] = a * at.c;
    row[2] = -a * at.s;
    row[3] = b;
    row[4] = b * at.c;
    row[5] = -b * at.s;
  }
  // Row by row, exp(-s) from the row before.
  for (int64_t j = 0; j < n; ++j) {
    At to;
    double* row = block + j * stride;
    const double half = 0.5 * p.scale[first + j], xj = x[first + j];
    row[j] += 2.0 * half * p.scale[first + j];
    for (int64_t i = j + 1; i < n; ++i) {
      to.add(p, first + i - 1);
      row[i] += half * p.scale[first + i] * to.e * (1.0 + to_s * (x[first + i] - xj)) * (1.0 + to.c);
    }
  }
  if (next < 0) return;
  At back;
  for (int64_t j = n - 1; j >= 0; --j) {
    back.add(p, first + j);
    const double z = to_s * (x[next] - x[first + j]), half = 0.5 * p.scale[first + j];
    const double a = half * back.e * (1.0 + z), b = -half * back.e * z;
    double* row = v + j * v_stride;
    row[0] = a;
    row[1] = a * back.c;
    row[2] = a * back.s;
    row[3] = b;
    row[4] = b * back.c;
    row[5] = b * back.s;
  }
  // `back` has come to the group's first pixel.
  const double z = to_s * (x[next] - x[first]);
  const double matern[2][2] = {{back.e * (1.0 + z), back.e * z}, {-back.e * z, back.e * (1.0 - z)}};
  transition.setZero();
  for (int m = 0; m < 2; ++m) {
    for (int k = 0; k < 2; ++k) {
      const double t = matern[m][k];
      transition(3 * m, 3 * k) = t;
      transition(3 * m + 1, 3 * k + 1) = transition(3 * m + 2, 3 * k + 2) = t * back.c;
      transition(3 * m + 1, 3 * k + 2) = -t * back.s;
      transition(3 * m + 2, 3 * k + 1) = t * back.s;
    }
  }
}

// By ln(length): d(exp(-s) (1 + s)) = s^2 exp(-s), d(exp(-s) s) = -s (1 - s) exp(-s), dcos = angle sin,
// dsin = -angle cos.
double degenerate(const Process& p, const Group& group, int64_t next, const double* block, int64_t stride,
                  const double* u, int64_t u_stride, const double* v, int64_t v_stride, const Transition& transition,
                  double* by_scale) {
  const int64_t n = group.count, first = group.first;
  const double to_s = std::sqrt(3.0) / p.length, to_angle = kTaper / p.length;
  const double* x = p.position;
  double by_length = 0.0;
  At at;
  for (int64_t i = 0; i < n; ++i) {
    if (i > 0) at.add(p, first + i - 1);
    const double r = x[first + i] - x[first], z = to_s * r, angle = to_angle * r, scale = p.scale[first + i];
    const double a = at.e * (1.0 + z), b = at.e * z, da = z * z * at.e, db = -z * (1.0 - z) * at.e;
    const double dc = angle * at.s, ds = -angle * at.c;
    const double* g = u + i * u_stride;
    const double along_a = g[0] + g[1] * at.c - g[2] * at.s, along_b = g[3] + g[4] * at.c - g[5] * at.s;
    by_scale[first + i] += a * along_a + b * along_b;
    by_length += scale * (da * along_a + db * along_b + a * (g[1] * dc - g[2] * ds) + b * (g[4] * dc - g[5] * ds));
  }
  for (int64_t j = 0; j < n; ++j) {
    At to;
    const double* row = block + j * stride;
    const double scale = p.scale[first + j], xj = x[first + j];
    double sum = row[j] * scale;
    for (int64_t i = j + 1; i < n; ++i) {
      to.add(p, first + i - 1);
      const double r = x[first + i] - xj, z = to_s * r;
      const double correlation = 0.5 * to.e * (1.0 + z) * (1.0 + to.c);
      const double w = row[i] * p.scale[first + i];
      sum += w * correlation;
      by_scale[first + i] += 2.0 * row[i] * scale * correlation;
      by_length += w * scale * to.e * (z * z * (1.0 + to.c) + (1.0 + z) * to_angle * r * to.s);
    }
    by_scale[first + j] += 2.0 * sum;
  }
  if (next < 0) return by_length;
  At back;
  for (int64_t j = n - 1; j >= 0; --j) {
    back.add(p, first + j);
    const double r = x[next] - x[first + j], z = to_s * r, angle = to_angle * r, half = 0.5 * p.scale[first + j];
    const double a = back.e * (1.0 + z), b = -back.e * z, da = z * z * back.e, db = z * (1.0 - z) * back.e;
    const double dc = angle * back.s, ds = -angle * back.c;
    const double* g = v + j * v_stride;
    const double along_a = g[0] + g[1] * back.c + g[2] * back.s, along_b = g[3] + g[4] * back.c + g[5] * back.s;
    by_scale[first + j] += 0.5 * (a * along_a + b * along_b);
    by_length += half * (da * along_a + db * along_b + a * (g[1] * dc + g[2] * ds) + b * (g[4] * dc + g[5] * ds));
  }
  const double r = x[next] - x[first], z = to_s * r, angle = to_angle * r;
  const double matern[2][2] = {{back.e * (1.0 + z), back.e * z}, {-back.e * z, back.e * (1.0 - z)}};
  const double change[2][2] = {{z * z * back.e, -z * (1.0 - z) * back.e},
                               {z * (1.0 - z) * back.e, z * (2.0 - z) * back.e}};
  const double dc = angle * back.s, ds = -angle * back.c;
  for (int m = 0; m < 2; ++m) {
    for (int k = 0; k < 2; ++k) {
      const auto& g = transition;
      const double cosine = g(3 * m + 1, 3 * k + 1) + g(3 * m + 2, 3 * k + 2);
      const double sine = g(3 * m + 2, 3 * k + 1) - g(3 * m + 1, 3 * k + 2);
      by_length += change[m][k] * (g(3 * m, 3 * k) + cosine * back.c + sine * back.s);
      by_length += matern[m][k] * (cosine * dc + sine * ds);
    }
  }
  return by_length;
}

Patch::Patch(const VectorXd& wave, const LocalKernel& kernel) {
  if (!(kernel.centre > 0.0) || !std::isfinite(kernel.log_amplitude) || !std::isfinite(kernel.log_width)) {
    fail("a local kernel has a positive centre, finite log_amp and log_sigma");
  }
  sigma = std::exp(kernel.log_width);
  amplitude = std::exp(kernel.log_amplitude);
  const double reach = kLocalReach * sigma, extent = reach * kernel.centre / kLightSpeed;
  first = std::lower_bound(wave.begin(), wave.end(), kernel.centre - extent) - wave.begin();
  count = std::upper_bound(wave.begin(), wave.end(), kernel.centre + extent) - wave.begin() - first;
  distance = kLightSpeed / kernel.centre * (wave.segment(first, count).array() - kernel.centre).abs();
  gauss = (-0.5 * (distance / sigma).array().square()).exp();
  const Eigen::ArrayXd angle = kPi / reach * distance.array();
  taper = 0.5 + 0.5 * angle.cos();
  slope = -0.5 * (kPi / reach) * angle.sin();
}

Eigen::Vector3d Patch::slopes(const VectorXd& wave, const LocalKernel& kernel, int64_t origin, const double* block,
                              int64_t stride) const {
  // r = c |lambda - mu| / mu: dr/dmu = -+ c lambda / mu^2.
  VectorXd by_centre(count);
  for (Index i = 0; i < count; ++i) {
    const double lambda = wave[first + i];
    by_centre[i] = (lambda > kernel.centre ? -1.0 : 1.0) * kLightSpeed * lambda / (kernel.centre * kernel.centre);
  }
  Eigen::Vector3d sums = Eigen::Vector3d::Zero();
  for (Index j = 0; j < count; ++j) {
    const double* row = block + (first - origin + j) * stride + first - origin;
    for (Index i = j; i < count; ++i) {
      const double w = (i == j ? 1.0 : 2.0) * row[i] * amplitude * gauss[j] * gauss[i];
      const Index far = taper[i] < taper[j] ? i : j;
      const double si = distance[i] / sigma, sj = distance[j] / sigma;
      sums[0] += w * taper[far];
      sums[1] += w * (-taper[far] * (si * by_centre[i] + sj * by_centre[j]) / sigma + slope[far] * by_centre[far]);
      sums[2] += w * (taper[far] * (si * si + sj * sj) - slope[far] * distance[far]);
    }
  }
  return sums;
}

std::vector<Group> make_groups(int64_t pixels, const std::vector<Patch>& patches, int64_t size) {
  std::vector<std::pair<int64_t, int64_t>> whole;
  for (const auto& patch : patches) {
    if (patch.count > 0) whole.emplace_back(patch.first, patch.first + patch.count);
  }
  std::sort(whole.begin(), whole.end());
  std::vector<Group> groups;
  groups.reserve(static_cast<std::size_t>(pixels / size) + 2 * whole.size() + 1);
  int64_t at = 0;
  const auto cut = [&](int64_t end) {
    for (; at < end; at += groups.back().count) groups.push_back({at, std::min(size, end - at), false});
  };
  for (std::size_t i = 0; i < whole.size();) {
    const int64_t first = whole[i].first;
    int64_t end = whole[i].second;
    for (++i; i < whole.size() && whole[i].first < end; ++i) end = std::max(end, whole[i].second);
    cut(first);
    groups.push_back({first, end - first, true});
    at = end;
  }
  cut(pixels);
  return groups;
}

}  // namespace zelos::spectrum
