// SPDX-License-Identifier: BSD-3-Clause
// A family that breaks no rule, for plugins that break one each.
#pragma once

#include "zelos/abi/zelos_plugin.h"

namespace {

zelos_status open(const zelos_host*, const zelos_state*, zelos_model**, zelos_error*) { return ZELOS_E_FORMAT; }
void close(zelos_model*) {}
void shape(const zelos_model*, int64_t* n_inputs, int64_t* n_outputs) { *n_inputs = *n_outputs = 1; }
size_t workspace_bytes(const zelos_model*) { return 0; }
zelos_status predict(const zelos_model*, const double*, double*, void*, zelos_error*) { return ZELOS_E_NUMERIC; }
zelos_status predict_jacobian(const zelos_model*, const double*, double*, double*, void*, zelos_error*) {
  return ZELOS_E_NUMERIC;
}
const void* get_extension(const char*) { return nullptr; }

constexpr zelos_family make_family(const char* id) {
  return {sizeof(zelos_family), id,      "1.0.0",          "test",       open, close, shape,
          workspace_bytes,      predict, predict_jacobian, get_extension};
}

constexpr zelos_plugin_entry make_entry(uint32_t (*count)(), const zelos_family* (*family)(uint32_t)) {
  return {ZELOS_PLUGIN_ABI_MAJOR, ZELOS_PLUGIN_ABI_MINOR, sizeof(zelos_plugin_entry), "test", count, family};
}

[[maybe_unused]] uint32_t one() { return 1; }

}  // namespace

extern "C" ZELOS_EXPORT const zelos_plugin_entry ZELOS_PLUGIN_ENTRY;
