// SPDX-License-Identifier: BSD-3-Clause
/// trend.hpp: the monomials of a polynomial of order 0, 1 or 2: 1, x_i, x_i x_j (i <= j).
#pragma once

#include <cstdint>

namespace zelos::nn {

inline std::int64_t trend_terms(std::int64_t n_inputs, int order) {
  return 1 + (order > 0 ? n_inputs : 0) + (order > 1 ? n_inputs * (n_inputs + 1) / 2 : 0);
}

inline void trend_values(std::int64_t n_inputs, int order, const double* x, double* terms) {
  *terms++ = 1.0;
  if (order > 0) {
    for (std::int64_t i = 0; i < n_inputs; ++i) *terms++ = x[i];
  }
  if (order > 1) {
    for (std::int64_t i = 0; i < n_inputs; ++i) {
      for (std::int64_t j = i; j < n_inputs; ++j) *terms++ = x[i] * x[j];
    }
  }
}

/// terms[t] = d(term t)/dx_k
inline void trend_derivatives(std::int64_t n_inputs, int order, const double* x, std::int64_t k, double* terms) {
  *terms++ = 0.0;
  if (order > 0) {
    for (std::int64_t i = 0; i < n_inputs; ++i) *terms++ = i == k ? 1.0 : 0.0;
  }
  if (order > 1) {
    for (std::int64_t i = 0; i < n_inputs; ++i) {
      for (std::int64_t j = i; j < n_inputs; ++j) *terms++ = (i == k ? x[j] : 0.0) + (j == k ? x[i] : 0.0);
    }
  }
}

}  // namespace zelos::nn
