// SPDX-License-Identifier: BSD-3-Clause
#include "transforms/point_transform.hpp"

#include <cmath>

#include "base/kernels.hpp"
#include "zelos/error.hpp"

namespace zelos {
namespace {

/// After a log g + f x, before it g exp(f x), with x = 1 (amplitude) or ln(axis / pivot) (tilt).
void undo_power(const PointTransform& t, const PointContext& c, double* v, double* dv) {
  const double f = c.features[t.feature] - t.offset;
  const double* x = t.kind == PointTransform::Kind::tilt ? c.log_axis : nullptr;
  const auto at = [x](int64_t i) { return x == nullptr ? 1.0 : x[i]; };
  if (t.logarithmic) {
    for (int64_t i = 0; i < c.n; ++i) v[i] += f * at(i);
  } else {
    for (int64_t i = 0; i < c.n; ++i) {
      const double factor = std::exp(f * at(i));
      v[i] *= factor;
      for (int k = 0; k < c.n_tangents; ++k) dv[k * c.n + i] *= factor;
    }
  }
  for (int k = 0; k < c.n_tangents; ++k) {
    const double df = c.feature_tangents[k * c.n_features + t.feature];
    double* d = dv + k * c.n;
    if (df == 0) continue;
    for (int64_t i = 0; i < c.n; ++i) d[i] += df * at(i) * (t.logarithmic ? 1.0 : v[i]);
  }
}

void undo_background(const PointTransform& t, const PointContext& c, double* v, double* dv) {
  if (t.logarithmic) {
    for (int64_t i = 0; i < c.n; ++i) v[i] += c.background[c.at[i]];
    for (int k = 0; k < c.n_tangents; ++k) {
      const double* db = c.background_tangents + k * c.n_background;
      for (int64_t i = 0; i < c.n; ++i) dv[k * c.n + i] += db[c.at[i]];
    }
    return;
  }
  for (int64_t i = 0; i < c.n; ++i) {
    const double factor = std::exp(c.background[c.at[i]]);
    v[i] *= factor;
    for (int k = 0; k < c.n_tangents; ++k) {
      double& d = dv[k * c.n + i];
      d = d * factor + v[i] * c.background_tangents[k * c.n_background + c.at[i]];
    }
  }
}

void undo_ratio(const PointContext& c, double* v, double* dv) {
  const double* a = c.other[0];
  for (int k = 0; k < c.n_tangents; ++k) {
    double* d = dv + k * c.n;
    const double* da = c.other_tangents[0] + k * c.n;
    for (int64_t i = 0; i < c.n; ++i) d[i] = d[i] * a[i] + v[i] * da[i];
  }
  for (int64_t i = 0; i < c.n; ++i) v[i] *= a[i];
}

}  // namespace

void undo(const PointTransform& t, const PointContext& c, double* v, double* dv) {
  switch (t.kind) {
    case PointTransform::Kind::log:
      exponential(v, c.n);
      for (int k = 0; k < c.n_tangents; ++k) {
        double* d = dv + k * c.n;
        for (int64_t i = 0; i < c.n; ++i) d[i] *= v[i];
      }
      return;
    case PointTransform::Kind::arcsinh:
      for (int64_t i = 0; i < c.n; ++i) {
        for (int k = 0; k < c.n_tangents; ++k) dv[k * c.n + i] *= t.scale * std::cosh(v[i]);
        v[i] = t.scale * std::sinh(v[i]);
      }
      return;
    case PointTransform::Kind::amplitude:
    case PointTransform::Kind::tilt:
      return undo_power(t, c, v, dv);
    case PointTransform::Kind::ratio:
      return undo_ratio(c, v, dv);
    case PointTransform::Kind::background:
      return undo_background(t, c, v, dv);
    case PointTransform::Kind::correlation:
      return multiply_root(c.other[0], c.other[1], c.other_tangents[0], c.other_tangents[1], c.n, c.n, c.n_tangents, v,
                           dv);
  }
}

void apply(const PointTransform& t, const PointContext& c, double* v) {
  const auto outside = [&](const char* expected, double found) {
    throw Error(ZELOS_E_NUMERIC, std::string("transform '") + to_string(t.kind) + "': expected " + expected +
                                     ", found " + std::to_string(found));
  };
  for (int64_t i = 0; i < c.n; ++i) {
    switch (t.kind) {
      case PointTransform::Kind::log:
        if (!(v[i] > 0)) outside("a positive value", v[i]);
        v[i] = std::log(v[i]);
        break;
      case PointTransform::Kind::arcsinh:
        v[i] = std::asinh(v[i] / t.scale);
        break;
      case PointTransform::Kind::amplitude:
      case PointTransform::Kind::tilt: {
        const double f = c.features[t.feature] - t.offset;
        const double shift = t.kind == PointTransform::Kind::tilt ? f * c.log_axis[i] : f;
        v[i] = t.logarithmic ? v[i] - shift : v[i] * std::exp(-shift);
        break;
      }
      case PointTransform::Kind::ratio:
        if (c.other[0][i] == 0) outside("a denominator other than 0", 0);
        v[i] /= c.other[0][i];
        break;
      case PointTransform::Kind::correlation: {
        const double product = c.other[0][i] * c.other[1][i];
        if (!(product > 0)) outside("a positive product of the two spectra", product);
        v[i] /= std::sqrt(product);
        break;
      }
      case PointTransform::Kind::background: {
        const double b = c.background[c.at[i]];
        if (std::isnan(b) || (std::isinf(b) && (t.logarithmic || v[i] != 0))) outside("a background to divide by", b);
        v[i] = t.logarithmic ? v[i] - b : std::isinf(b) ? 1 : v[i] * std::exp(-b);
        break;
      }
    }
  }
}

const char* to_string(PointTransform::Kind kind) {
  switch (kind) {
    case PointTransform::Kind::log:
      return "log";
    case PointTransform::Kind::arcsinh:
      return "arcsinh";
    case PointTransform::Kind::amplitude:
      return "amplitude";
    case PointTransform::Kind::tilt:
      return "tilt";
    case PointTransform::Kind::ratio:
      return "ratio";
    case PointTransform::Kind::correlation:
      return "correlation";
    case PointTransform::Kind::background:
      return "background";
  }
  return "";
}

}  // namespace zelos
