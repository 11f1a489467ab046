// SPDX-License-Identifier: BSD-3-Clause
#include "family.hpp"

static constexpr zelos_family change(zelos_family family) {
  family.predict = nullptr;
  return family;
}
static const zelos_family kFamily = change(make_family("org.example.null_function"));
static const zelos_family* family(uint32_t) { return &kFamily; }
const zelos_plugin_entry ZELOS_PLUGIN_ENTRY = make_entry(one, family);
