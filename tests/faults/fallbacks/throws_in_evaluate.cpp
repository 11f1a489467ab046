// SPDX-License-Identifier: BSD-3-Clause
#include <stdexcept>

#include "fallback.hpp"

namespace {
zelos_status raise(zelos_code*, int32_t, const char* const*, const double*, double* const*, zelos_error*) {
  throw std::runtime_error("no convergence");
}
constexpr zelos_fallback_entry bad() {
  zelos_fallback_entry entry = good();
  entry.evaluate = raise;
  return entry;
}
}  // namespace
const zelos_fallback_entry ZELOS_FALLBACK_ENTRY = bad();
