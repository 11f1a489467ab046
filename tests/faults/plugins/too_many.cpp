// SPDX-License-Identifier: BSD-3-Clause
#include "family.hpp"

static const zelos_family kFamily = make_family("org.example.too_many");
static const zelos_family* family(uint32_t) { return &kFamily; }
static uint32_t many() { return 4000000000u; }
const zelos_plugin_entry ZELOS_PLUGIN_ENTRY = make_entry(many, family);
