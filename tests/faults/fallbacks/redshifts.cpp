// SPDX-License-Identifier: BSD-3-Clause
// Breaks no rule: a code whose numbers depend on the redshifts that it is asked for, as CAMB's spectra do, and whose
// settings say so. The scalar is their number N; Pk.linear(k, z) = N (2 + cos(50 ln k)) / (1 + z).
#include <cmath>
#include <string>
#include <vector>

#include "fallback.hpp"

namespace {

struct Redshifts : zelos_code {
  std::vector<double> k, z;
};

const Redshifts& of(const zelos_code* code) { return *static_cast<const Redshifts*>(code); }

zelos_status create_for(const zelos_code_options* options, zelos_code** out, zelos_error*) {
  auto* code = new Redshifts{};
  code->n_outputs = options->n_outputs;
  for (int32_t i = 0; i < options->n_outputs; ++i) {
    const zelos_code_output& o = *options->outputs[i];
    code->sizes[i] = o.n_axes;
    if (o.n_axes != 2) continue;
    code->k.assign(o.axis_values[0], o.axis_values[0] + o.axis_sizes[0]);
    code->z.assign(o.axis_values[1], o.axis_values[1] + o.axis_sizes[1]);
  }
  *out = code;
  return ZELOS_OK;
}

void destroy_it(zelos_code* code) { delete static_cast<Redshifts*>(code); }

zelos_status settings_of(zelos_code* code, int32_t, const char* const*, const double*, zelos_take_text take, void* data,
                         zelos_error*) {
  std::string text = "z =";
  for (const double z : of(code).z) text += " " + std::to_string(z);
  take(data, text.c_str());
  return ZELOS_OK;
}

zelos_status evaluate_it(zelos_code* code, int32_t, const char* const*, const double*, double* const* out,
                         zelos_error*) {
  const Redshifts& c = of(code);
  const auto n = static_cast<double>(c.z.size());
  for (int32_t i = 0; i < c.n_outputs; ++i) {
    double* at = out[i];
    if (c.sizes[i] == 1) *at = n;
    for (const double k : c.sizes[i] == 2 ? c.k : std::vector<double>{}) {
      for (const double z : c.z) *at++ = n * (2 + std::cos(50 * std::log(k))) / (1 + z);
    }
  }
  return ZELOS_OK;
}

constexpr zelos_fallback_entry entry() {
  zelos_fallback_entry e = good();
  e.create = create_for;
  e.destroy = destroy_it;
  e.settings = settings_of;
  e.evaluate = evaluate_it;
  return e;
}

}  // namespace

const zelos_fallback_entry ZELOS_FALLBACK_ENTRY = entry();
