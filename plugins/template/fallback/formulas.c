/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A whole fallback in one file, to start your own from: a "code" of two formulas,
 *
 *   Pk.linear(k, z) = 20 e^logA (k / 0.05)^ns (1 + k / q)^-2.5 (1 + z)^-2,   q = omch2 / 6
 *   sigma8          = 0.8 e^((logA - 3.05) / 2) (omch2 / 0.12)^0.6
 *
 * The contract is in zelos/abi/zelos_fallback.h; here is what to change. Any language that can export one C struct will
 * do. In C++, catch every exception before it leaves one of these functions.
 */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "zelos/abi/zelos_fallback.h"

/* 1. What a configured code holds: its settings, and the outputs with their axes, copied. */
typedef struct output {
  int is_sigma8;
  int64_t n_k, n_z;
  double *k, *z;
} output;

struct zelos_code {
  double ns; /* NAN: has to be a parameter */
  int32_t n_outputs;
  output* outputs;
};

static zelos_status fail(zelos_error* error, zelos_status status, const char* format, ...) {
  if (error != NULL) {
    va_list arguments;
    va_start(arguments, format);
    error->code = status;
    vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
  }
  return status;
}

/* 2. Settings: {"ns": 0.965} or {}. Use a JSON library for more. What is not known is refused: a setting that is
 * ignored would be a wrong number. */
static int read_config(const char* json, double* ns) {
  char key[64];
  int end = 0;
  *ns = NAN;
  if (sscanf(json, " { } %n", &end) == 0 && end > 0 && json[end] == '\0') return 1;
  return sscanf(json, " { \"%63[^\"]\" : %lf } %n", key, ns, &end) == 2 && strcmp(key, "ns") == 0 && end > 0 &&
         json[end] == '\0';
}

static double* copy(const double* values, int64_t n) {
  double* mine = malloc(sizeof *mine * (size_t)n);
  if (mine != NULL) memcpy(mine, values, sizeof *mine * (size_t)n);
  return mine;
}

/* 3. Outputs: check name, axes and unit. zelos hands over what the emulator has, which may be another code's. */
static zelos_status take_output(const zelos_code_output* wanted, output* mine, zelos_error* error) {
  if (strcmp(wanted->name, "Pk.linear") == 0 && wanted->n_axes == 2 && strcmp(wanted->axis_names[0], "k") == 0 &&
      strcmp(wanted->axis_names[1], "z") == 0) {
    mine->n_k = wanted->axis_sizes[0];
    mine->n_z = wanted->axis_sizes[1];
    mine->k = copy(wanted->axis_values[0], mine->n_k);
    mine->z = copy(wanted->axis_values[1], mine->n_z);
    return mine->k != NULL && mine->z != NULL ? ZELOS_OK : fail(error, ZELOS_E_MEMORY, "out of memory");
  }
  if (wanted->labels != NULL && wanted->axis_sizes[0] == 1 && strcmp(wanted->labels[0], "sigma8") == 0) {
    mine->is_sigma8 = 1;
    return ZELOS_OK;
  }
  return fail(error, ZELOS_E_ARGUMENT, "output '%s': expected Pk.linear(k, z) or the scalar sigma8", wanted->name);
}

static void destroy(zelos_code* code) {
  if (code == NULL) return;
  for (int32_t i = 0; code->outputs != NULL && i < code->n_outputs; ++i) {
    free(code->outputs[i].k);
    free(code->outputs[i].z);
  }
  free(code->outputs);
  free(code);
}

static zelos_status create(const zelos_code_options* options, zelos_code** out, zelos_error* error) {
  if (strcmp(options->options_json, "{}") != 0) return fail(error, ZELOS_E_ARGUMENT, "options: expected none");
  zelos_code* code = calloc(1, sizeof *code);
  if (code == NULL) return fail(error, ZELOS_E_MEMORY, "out of memory");
  code->n_outputs = options->n_outputs;
  code->outputs = calloc((size_t)options->n_outputs, sizeof *code->outputs);
  zelos_status status = code->outputs != NULL ? ZELOS_OK : fail(error, ZELOS_E_MEMORY, "out of memory");
  if (status == ZELOS_OK && !read_config(options->config_json, &code->ns)) {
    status = fail(error, ZELOS_E_ARGUMENT, "settings: expected {} or {\"ns\": NUMBER}, found %s", options->config_json);
  }
  for (int32_t i = 0; status == ZELOS_OK && i < options->n_outputs; ++i) {
    status = take_output(options->outputs[i], &code->outputs[i], error);
  }
  if (status == ZELOS_OK) {
    *out = code;
  } else {
    destroy(code);
  }
  return status;
}

/* 4. What it is. The version is exact: change it with every change of a number. */
static const char* const kAxes[] = {"k", "z"};
static const zelos_code_kind kPower = {sizeof(zelos_code_kind), 2, "Pk.linear", "", kAxes};
static const zelos_code_kind* const kKinds[] = {&kPower};
static const char* const kScalars[] = {"sigma8"};
static const char* const kParameters[] = {"omch2", "logA", "ns"};

static zelos_status describe(const zelos_code* code, zelos_code_info* info, zelos_error* error) {
  (void)code;
  (void)error;
  const zelos_code_info full = {info->struct_size, 1, kKinds, 1, 3, kScalars, kParameters, "formulas", "1", "", 0};
  /* An older zelos has a shorter struct. */
  memcpy(info, &full, info->struct_size < sizeof full ? info->struct_size : sizeof full);
  return ZELOS_OK;
}

/* 5. From names to the code's own arguments. Every name has to be known, every argument has to be there. */
typedef struct cosmology {
  double omch2, logA, ns;
} cosmology;

static zelos_status read_point(const zelos_code* code, int32_t n, const char* const* names, const double* values,
                               cosmology* point, zelos_error* error) {
  const cosmology unset = {NAN, NAN, code->ns};
  *point = unset;
  for (int32_t i = 0; i < n; ++i) {
    double* place = strcmp(names[i], "omch2") == 0  ? &point->omch2
                    : strcmp(names[i], "logA") == 0 ? &point->logA
                    : strcmp(names[i], "ns") == 0   ? &point->ns
                                                    : NULL;
    if (place == NULL) return fail(error, ZELOS_E_ARGUMENT, "unknown parameter '%s'", names[i]);
    *place = values[i];
  }
  if (isnan(point->omch2) || isnan(point->logA) || isnan(point->ns)) {
    return fail(error, ZELOS_E_ARGUMENT, "expected the parameters omch2, logA and ns");
  }
  return ZELOS_OK;
}

/* 6. Every setting at a point, as a text: zelos compares it with that of the training runs. */
static zelos_status settings(zelos_code* code, int32_t n, const char* const* names, const double* values,
                             zelos_take_text take, void* data, zelos_error* error) {
  cosmology point;
  const zelos_status status = read_point(code, n, names, values, &point, error);
  if (status != ZELOS_OK) return status;
  char text[128];
  snprintf(text, sizeof text, "omch2 = %.17g\nlogA = %.17g\nns = %.17g\n", point.omch2, point.logA, point.ns);
  take(data, text);
  return ZELOS_OK;
}

/* 7. The numbers. What the code can't compute is an error that says why, never a guess. */
static zelos_status evaluate(zelos_code* code, int32_t n, const char* const* names, const double* values,
                             double* const* out, zelos_error* error) {
  cosmology p;
  const zelos_status status = read_point(code, n, names, values, &p, error);
  if (status != ZELOS_OK) return status;
  if (!(p.omch2 > 0)) return fail(error, ZELOS_E_NUMERIC, "omch2 = %g: expected a positive density", p.omch2);
  for (int32_t i = 0; i < code->n_outputs; ++i) {
    const output* o = &code->outputs[i];
    if (o->is_sigma8) out[i][0] = 0.8 * exp((p.logA - 3.05) / 2) * pow(p.omch2 / 0.12, 0.6);
    for (int64_t j = 0; j < o->n_k; ++j) {
      const double at_z0 = 20 * exp(p.logA) * pow(o->k[j] / 0.05, p.ns) / pow(1 + o->k[j] / (p.omch2 / 6), 2.5);
      for (int64_t l = 0; l < o->n_z; ++l) out[i][j * o->n_z + l] = at_z0 / ((1 + o->z[l]) * (1 + o->z[l]));
    }
  }
  return ZELOS_OK;
}

static const void* get_extension(const char* id) {
  (void)id;
  return NULL;
}

/* 8. The one exported symbol. */
extern ZELOS_EXPORT const zelos_fallback_entry ZELOS_FALLBACK_ENTRY;
const zelos_fallback_entry ZELOS_FALLBACK_ENTRY = {
    ZELOS_FALLBACK_ABI_MAJOR,
    ZELOS_FALLBACK_ABI_MINOR,
    sizeof(zelos_fallback_entry),
    "template",
    "org.example.formulas",
    "1.0.0",
    "a power spectrum and sigma8 from formulas (template)",
    create,
    destroy,
    describe,
    settings,
    evaluate,
    get_extension,
};
