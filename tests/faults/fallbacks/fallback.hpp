// SPDX-License-Identifier: BSD-3-Clause
// A fallback that breaks no rule, for plugins that break one each: its code is "formulas" 1, its numbers are 1.
#pragma once

#include "zelos/abi/zelos_fallback.h"

struct zelos_code {
  int32_t n_outputs;
  int64_t sizes[16];
};

namespace {

[[maybe_unused]] zelos_status create(const zelos_code_options* options, zelos_code** out, zelos_error*) {
  static zelos_code code;
  code.n_outputs = options->n_outputs;
  for (int32_t i = 0; i < options->n_outputs; ++i) {
    code.sizes[i] = 1;
    for (int32_t a = 0; a < options->outputs[i]->n_axes; ++a) code.sizes[i] *= options->outputs[i]->axis_sizes[a];
  }
  *out = &code;
  return ZELOS_OK;
}
[[maybe_unused]] void destroy(zelos_code*) {}
[[maybe_unused]] zelos_status describe(const zelos_code*, zelos_code_info* info, zelos_error*) {
  info->code = "formulas";
  info->version = "1";
  info->library_sha256 = "";
  return ZELOS_OK;
}
[[maybe_unused]] zelos_status settings(zelos_code*, int32_t, const char* const*, const double*, zelos_take_text take,
                                       void* data, zelos_error*) {
  take(data, "none");
  return ZELOS_OK;
}
[[maybe_unused]] zelos_status evaluate(zelos_code* code, int32_t, const char* const*, const double*, double* const* out,
                                       zelos_error*) {
  for (int32_t i = 0; i < code->n_outputs; ++i) {
    for (int64_t j = 0; j < code->sizes[i]; ++j) out[i][j] = 1;
  }
  return ZELOS_OK;
}
[[maybe_unused]] const void* get_extension(const char*) { return nullptr; }

[[maybe_unused]] constexpr zelos_fallback_entry good() {
  return {ZELOS_FALLBACK_ABI_MAJOR,
          ZELOS_FALLBACK_ABI_MINOR,
          sizeof(zelos_fallback_entry),
          "test",
          "org.example.bad",
          "1.0.0",
          "test",
          create,
          destroy,
          describe,
          settings,
          evaluate,
          get_extension};
}

}  // namespace

extern "C" ZELOS_EXPORT const zelos_fallback_entry ZELOS_FALLBACK_ENTRY;
