// SPDX-License-Identifier: BSD-3-Clause
#include "family.hpp"

static const zelos_family kFamily = make_family("org.example.same_id_twice");
static const zelos_family* family(uint32_t) { return &kFamily; }
static uint32_t two() { return 2; }
const zelos_plugin_entry ZELOS_PLUGIN_ENTRY = make_entry(two, family);
