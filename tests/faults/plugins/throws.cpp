// SPDX-License-Identifier: BSD-3-Clause
#include <stdexcept>

#include "family.hpp"

static const zelos_family kFamily = make_family("org.example.throws");
static const zelos_family* family(uint32_t) { return &kFamily; }
static uint32_t count() { throw std::runtime_error("no licence"); }
const zelos_plugin_entry ZELOS_PLUGIN_ENTRY = make_entry(count, family);
