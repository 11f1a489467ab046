// SPDX-License-Identifier: BSD-3-Clause
#include "family.hpp"

extern "C" uint32_t zelos_test_not_there();
static const zelos_family kFamily = make_family("org.example.undefined_function");
static const zelos_family* family(uint32_t) { return &kFamily; }
static uint32_t count() { return zelos_test_not_there(); }
const zelos_plugin_entry ZELOS_PLUGIN_ENTRY = make_entry(count, family);
