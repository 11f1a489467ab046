// SPDX-License-Identifier: BSD-3-Clause
#include "fallback.hpp"

namespace {
constexpr zelos_fallback_entry bad() {
  zelos_fallback_entry entry = good();
  entry.evaluate = nullptr;
  return entry;
}
}  // namespace
const zelos_fallback_entry ZELOS_FALLBACK_ENTRY = bad();
