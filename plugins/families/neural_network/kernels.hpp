// SPDX-License-Identifier: BSD-3-Clause
/// kernels.hpp: the hot loops of the neural network, chosen once for the processor at hand.
#pragma once

#include <cstdint>

namespace zelos::nn {

enum class Activation { kTanh, kSilu, kGelu };

/// C[m, n] = sum_k A[m * a_row + k * a_col] B[k * n_cols + n], plus bias[n] or the old C.
/// B is K x n_cols and C is M x n_cols, row-major and contiguous; n_cols is a multiple of
/// simd::kLanes. C overlaps nothing.
struct Product {
  std::int64_t rows, inner, n_cols;
  const double* a;
  std::int64_t a_row, a_col;
  const double* b;
  double* c;
  const double* bias;  ///< n_cols values, or NULL
  bool accumulate;     ///< adds to C instead (bias is then not used)
};

/// One step of Adam on n weights (Kingma & Ba 2014, algorithm 1), with decoupled weight decay.
struct AdamStep {
  std::int64_t n;
  double *theta, *first, *second;
  const double* gradient;
  double rate;         ///< learning rate
  double correction1;  ///< 1 / (1 - beta1^t)
  double correction2;  ///< 1 / (1 - beta2^t)
  double decay;        ///< weight decay per unit of learning rate
};

/// Any thread; no allocation. n is a multiple of simd::kLanes.
struct Kernels {
  const char* name;
  void (*product)(const Product& product);
  /// h = act(z), slope = act'(z); slope may be NULL; h may be z.
  void (*activate)(Activation activation, std::int64_t n, const double* z, double* h, double* slope);
  /// y *= x, element by element.
  void (*multiply)(std::int64_t n, const double* x, double* y);
  void (*adam)(const AdamStep& step);
};

/// The kernels for this processor.
const Kernels& kernels() noexcept;
/// The kernels without any instruction set beyond the baseline, for comparison.
const Kernels& baseline_kernels() noexcept;

}  // namespace zelos::nn
