// SPDX-License-Identifier: BSD-3-Clause
#include "family.hpp"

static const zelos_family kFamily = make_family("");
static const zelos_family* family(uint32_t) { return &kFamily; }
const zelos_plugin_entry ZELOS_PLUGIN_ENTRY = make_entry(one, family);
