// SPDX-License-Identifier: BSD-3-Clause
// Breaks no rule: every number is 1.
#include "fallback.hpp"

const zelos_fallback_entry ZELOS_FALLBACK_ENTRY = good();
