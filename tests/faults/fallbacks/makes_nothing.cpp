// SPDX-License-Identifier: BSD-3-Clause
#include "fallback.hpp"

namespace {
zelos_status make_nothing(const zelos_code_options*, zelos_code**, zelos_error*) { return ZELOS_OK; }
constexpr zelos_fallback_entry bad() {
  zelos_fallback_entry entry = good();
  entry.create = make_nothing;
  return entry;
}
}  // namespace
const zelos_fallback_entry ZELOS_FALLBACK_ENTRY = bad();
