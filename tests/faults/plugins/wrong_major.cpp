// SPDX-License-Identifier: BSD-3-Clause
#include "family.hpp"

static const zelos_family kFamily = make_family("org.example.wrong_major");
static const zelos_family* family(uint32_t) { return &kFamily; }
static constexpr zelos_plugin_entry change(zelos_plugin_entry entry) {
  entry.abi_major = ZELOS_PLUGIN_ABI_MAJOR + 1;
  return entry;
}
const zelos_plugin_entry ZELOS_PLUGIN_ENTRY = change(make_entry(one, family));
