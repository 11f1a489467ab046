// SPDX-License-Identifier: BSD-3-Clause
// point_transform.hpp: output maps that act on each value separately, with exact inverses and derivatives.
//
// In training a value y becomes a smoother g; at run time g becomes y again. Transforms are applied in the order in
// which the spec names them, and undone in reverse.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "transforms/background.hpp"

namespace zelos {

struct PointTransform {
  enum class Kind {
    log,          ///< g = ln y, y > 0
    arcsinh,      ///< g = asinh(y / scale)
    amplitude,    ///< after log: g = y - f; before: g = y exp(-f). f is a logarithmic amplitude feature
    tilt,         ///< after log: g = y - (f - offset) ln(x / pivot); before: g = y (x / pivot)^-(f - offset)
    ratio,        ///< g = y / a, a another output on the same axes
    correlation,  ///< g = y / sqrt(a b), a and b other outputs on the same axes
    background,  ///< after log: g = y - power ln B(z); before: g = y B^-power, and 1 where B = y = 0. B: background.hpp
  };
  Kind kind;
  bool logarithmic = false;  ///< amplitude, tilt, background: stands after a log
  int feature = -1;          ///< amplitude, tilt
  double offset = 0, pivot = 1, scale = 1;
  int axis = 0;             ///< tilt, background: which axis x or z is
  int other[2] = {-1, -1};  ///< ratio, correlation: output indices
  double power = 1;         ///< background
  BackgroundQuantity quantity = BackgroundQuantity::hubble;
  BackgroundSource source{};
};

/// What a transform may look at, at one point of parameter space.
struct PointContext {
  int64_t n = 0;  ///< values, padded to a multiple of 8
  int n_tangents = 0;
  const double* features = nullptr;          ///< by index
  const double* feature_tangents = nullptr;  ///< [n_tangents][n_features]
  int64_t n_features = 0;
  const double* log_axis = nullptr;                      ///< ln(x / pivot) of each value (tilt)
  const double* other[2] = {nullptr, nullptr};           ///< values of the other outputs
  const double* other_tangents[2] = {nullptr, nullptr};  ///< [n_tangents][n]
  const int32_t* at = nullptr;                           ///< background: which point of the axis a value belongs to
  const double* background = nullptr;                    ///< power ln B at the points of the axis
  const double* background_tangents = nullptr;           ///< [n_tangents][n_background]
  int64_t n_background = 0;
};

/// values[n]: g -> y in place, and tangents[n_tangents][n]: dg -> dy. No allocation.
void undo(const PointTransform& transform, const PointContext& context, double* values, double* tangents);

/// values[n]: y -> g in place (training). Throws Error(ZELOS_E_NUMERIC) naming the transform when a value is outside
/// its domain.
void apply(const PointTransform& transform, const PointContext& context, double* values);

/// {"type": ..., ...} as stored in the artifact. Feature and output indices are resolved by the caller's functions.
const char* to_string(PointTransform::Kind kind);

}  // namespace zelos
