/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A whole family in one file, to start your own from: inverse distance weighting (Shepard 1968),
 *
 *   y(x) = sum_i w_i y_i / sum_i w_i,   w_i = (|x - x_i|^2 + s)^-2.
 *
 * The contract is in zelos/abi/zelos_plugin.h; here is what to change. Any language that can export
 * one C struct will do. In C++, catch every exception before it leaves one of these functions.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "zelos/abi/zelos_plugin.h"

/* 1. What a trained model holds. zelos keeps the arrays alive until `close`, so pointers into them
 * are enough. */
struct zelos_model {
  int64_t n, n_inputs, n_outputs;
  const double *x, *y;
};

static const double kSoftening = 1e-6;

static zelos_status fail(zelos_error* error, zelos_status status, const char* message) {
  if (error != NULL) {
    error->code = status;
    snprintf(error->message, sizeof error->message, "inverse_distance: %s", message);
  }
  return status;
}

/* 2. From stored arrays to a model. They may come from a damaged file: check names, ranks and
 * shapes. */
static const zelos_array* find_matrix(const zelos_state* state, const char* name) {
  for (uint32_t i = 0; i < state->n_arrays; ++i) {
    const zelos_array* a = &state->arrays[i];
    if (strcmp(a->name, name) == 0) return a->rank == 2 && a->shape[0] > 0 && a->shape[1] > 0 ? a : NULL;
  }
  return NULL;
}

static zelos_status open_model(const zelos_host* host, const zelos_state* state, zelos_model** out,
                               zelos_error* error) {
  (void)host;
  const zelos_array* x = find_matrix(state, "x");
  const zelos_array* y = find_matrix(state, "y");
  if (x == NULL || y == NULL || x->shape[0] != y->shape[0]) {
    return fail(error, ZELOS_E_FORMAT, "expected matrices 'x' and 'y' with the same number of rows");
  }
  zelos_model* model = malloc(sizeof *model);
  if (model == NULL) return fail(error, ZELOS_E_MEMORY, "out of memory");
  model->n = x->shape[0];
  model->n_inputs = x->shape[1];
  model->n_outputs = y->shape[1];
  model->x = x->data;
  model->y = y->data;
  *out = model;
  return ZELOS_OK;
}

static void close_model(zelos_model* model) { free(model); }

static void shape(const zelos_model* model, int64_t* n_inputs, int64_t* n_outputs) {
  *n_inputs = model->n_inputs;
  *n_outputs = model->n_outputs;
}

/* 3. Scratch memory that `predict` needs is allocated by zelos, once per thread. This family needs
 * none. */
static size_t workspace_bytes(const zelos_model* model) {
  (void)model;
  return 0;
}

static double distance(const zelos_model* model, int64_t i, const double* x) {
  double sum = kSoftening;
  for (int64_t k = 0; k < model->n_inputs; ++k) {
    const double step = x[k] - model->x[i * model->n_inputs + k];
    sum += step * step;
  }
  return sum;
}

/* 4. The function itself. No allocation, no lock, no file: zelos calls this from many threads at
 * once. */
static double weighted_mean(const zelos_model* model, const double* x, double* y) {
  double total = 0.0;
  memset(y, 0, sizeof *y * (size_t)model->n_outputs);
  for (int64_t i = 0; i < model->n; ++i) {
    const double d = distance(model, i, x);
    const double weight = 1.0 / (d * d);
    total += weight;
    for (int64_t j = 0; j < model->n_outputs; ++j) y[j] += weight * model->y[i * model->n_outputs + j];
  }
  for (int64_t j = 0; j < model->n_outputs; ++j) y[j] /= total;
  return total;
}

static zelos_status predict(const zelos_model* model, const double* x, double* y, void* workspace, zelos_error* error) {
  (void)workspace;
  (void)error;
  weighted_mean(model, x, y);
  return ZELOS_OK;
}

/* 5. Its exact derivatives: dw_i/dx_k = -4 (x_k - x_ik) w_i / (|x - x_i|^2 + s). */
static zelos_status predict_jacobian(const zelos_model* model, const double* x, double* y, double* jacobian,
                                     void* workspace, zelos_error* error) {
  (void)workspace;
  (void)error;
  const double total = weighted_mean(model, x, y);
  memset(jacobian, 0, sizeof *jacobian * (size_t)(model->n_outputs * model->n_inputs));
  for (int64_t i = 0; i < model->n; ++i) {
    const double d = distance(model, i, x);
    const double slope = -4.0 / (d * d * d * total);
    for (int64_t j = 0; j < model->n_outputs; ++j) {
      const double lift = slope * (model->y[i * model->n_outputs + j] - y[j]);
      for (int64_t k = 0; k < model->n_inputs; ++k) {
        jacobian[j * model->n_inputs + k] += lift * (x[k] - model->x[i * model->n_inputs + k]);
      }
    }
  }
  return ZELOS_OK;
}

/* 6. Training: here the training set is the model. Long trainings call options->progress and
 * options->checkpoint, and start from options->resume. This family has no params: any key is an
 * error. */
static zelos_status train(const zelos_host* host, const zelos_training_set* set, const zelos_train_options* options,
                          zelos_save_state save, void* save_data, zelos_error* error) {
  (void)host;
  if (options->params_json != NULL && strchr(options->params_json, '"') != NULL) {
    return fail(error, ZELOS_E_ARGUMENT, "emulator_fn params: expected none");
  }
  const zelos_array arrays[2] = {{"x", set->x, 2, {set->n, set->n_inputs, 0, 0}},
                                 {"y", set->y, 2, {set->n, set->n_outputs, 0, 0}}};
  const zelos_state state = {sizeof state, 2, arrays, "{}"};
  return save(save_data, &state, error);
}

static const zelos_train kTrain = {sizeof(zelos_train), "{}", train, NULL};

static const void* get_extension(const char* id) { return strcmp(id, ZELOS_EXT_TRAIN) == 0 ? &kTrain : NULL; }

/* 7. The table. Choose an id under a domain that is yours; the version is that of the stored state.
 */
static const zelos_family kFamily = {
    sizeof(zelos_family),
    "org.example.inverse_distance",
    "1.0.0",
    "inverse distance weighting (template)",
    open_model,
    close_model,
    shape,
    workspace_bytes,
    predict,
    predict_jacobian,
    get_extension,
};

static uint32_t count(void) { return 1; }

static const zelos_family* family(uint32_t index) { return index == 0 ? &kFamily : NULL; }

/* 8. The one exported symbol. */
extern ZELOS_EXPORT const zelos_plugin_entry ZELOS_PLUGIN_ENTRY;
const zelos_plugin_entry ZELOS_PLUGIN_ENTRY = {
    ZELOS_PLUGIN_ABI_MAJOR, ZELOS_PLUGIN_ABI_MINOR, sizeof(zelos_plugin_entry), "template", count, family,
};
