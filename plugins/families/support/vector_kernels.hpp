// SPDX-License-Identifier: BSD-3-Clause
// vector_kernels.hpp: the inner loops of the families, compiled for several instruction sets and
// chosen at run time.
//
// Variants differ by rounding alone (order of sums, fused multiply-adds): 1e-12 relative.
// Lengths called n_padded are multiples of kLane; callers pad with points of zero weight. No
// function allocates.
#pragma once

#include <cstdint>

namespace zelos::family {

constexpr int64_t kLane = 8;

constexpr int64_t padded(int64_t n) { return (n + kLane - 1) / kLane * kLane; }

enum class Correlation : int { kSquaredExponential = 0, kMatern52 = 1 };

struct VectorKernels {
  const char* name;

  /// x[i] = exp(x[i]) in place, i < n_padded; relative error below 1e-15 for x in [-708, 709],
  /// clamped outside.
  void (*exponential)(double* x, int64_t n_padded);

  /// out[r * row_stride + c * col_stride] += sum_i a[r * a_stride + i] * b[c * b_stride + i], i <
  /// n_padded.
  void (*multiply_add)(const double* a, int64_t a_stride, int64_t rows, const double* b, int64_t b_stride, int64_t cols,
                       int64_t n_padded, double* out, int64_t row_stride, int64_t col_stride);

  /// out[j * stride + i] = (x_j - points[j * point_stride + i])^2, j < n_inputs.
  void (*square_differences)(const double* points, int64_t point_stride, int64_t n_padded, const double* x,
                             int64_t n_inputs, double* out, int64_t stride);

  /// Correlation k with points at the distance r, r^2 = sum_j weight[j] squares[j * stride + i]: value[i] = amplitude
  /// k(r), added to what is there if `add`, and slope[i], if not null, such that dk/dx_j = slope[i] weight[j] (x_j -
  /// p_ij).
  void (*correlate)(Correlation kind, const double* squares, int64_t stride, int64_t n_padded, const double* weight,
                    int64_t n_inputs, double amplitude, bool add, double* value, double* slope);

  /// out[i] = factor * slope[i] * (u - p[i]), added to what is there if `add`.
  void (*slope_along)(const double* slope, const double* p, int64_t n_padded, double u, double factor, bool add,
                      double* out);

  /// sum_i a[i] * b[i], i < n, any n and alignment.
  double (*dot)(const double* a, const double* b, int64_t n);
};

/// [any] The best variant for this machine.
const VectorKernels& vector_kernels() noexcept;

/// [any] Variant `index` that this machine can run, nullptr past the last; 0 is the portable one.
const VectorKernels* vector_kernels_variant(int index) noexcept;

}  // namespace zelos::family
