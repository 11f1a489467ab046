// SPDX-License-Identifier: BSD-3-Clause
// A fallback that says it is CAMB of a version that there never was; every number is 1.
#include "../../faults/fallbacks/fallback.hpp"

namespace {

zelos_status describe_camb(const zelos_code*, zelos_code_info* info, zelos_error*) {
  info->code = "camb";
  info->version = "0.0.1";
  info->library_sha256 = "";
  return ZELOS_OK;
}

constexpr zelos_fallback_entry camb() {
  zelos_fallback_entry entry = good();
  entry.describe = describe_camb;
  return entry;
}

}  // namespace

const zelos_fallback_entry ZELOS_FALLBACK_ENTRY = camb();
