// SPDX-License-Identifier: BSD-3-Clause
#include <stdexcept>

#include "fallback.hpp"

namespace {
zelos_status raise(const zelos_code_options*, zelos_code**, zelos_error*) { throw std::runtime_error("no licence"); }
constexpr zelos_fallback_entry bad() {
  zelos_fallback_entry entry = good();
  entry.create = raise;
  return entry;
}
}  // namespace
const zelos_fallback_entry ZELOS_FALLBACK_ENTRY = bad();
