// SPDX-License-Identifier: BSD-3-Clause
#include "fallback.hpp"

namespace {
zelos_status refuse(zelos_code*, int32_t, const char* const*, const double*, double* const*, zelos_error*) {
  return static_cast<zelos_status>(77);
}
constexpr zelos_fallback_entry bad() {
  zelos_fallback_entry entry = good();
  entry.evaluate = refuse;
  return entry;
}
}  // namespace
const zelos_fallback_entry ZELOS_FALLBACK_ENTRY = bad();
