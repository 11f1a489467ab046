/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * zelos_plugin.h: what a regression family is.
 *
 * A family is a regression y = f(x) behind a table of C functions. zelos loads it (built-in families from a static
 * table, others with dlopen), hands it checked arrays, and asks it for numbers. A family
 *   - never opens a file, and knows no hull, no parameter name, no unit and no fallback: it is a pure function;
 *   - never lets an exception, an STL type or memory that the other side must free cross this boundary;
 *   - never prints, aborts or exits.
 *
 * Conventions
 *   Inputs x are scaled by zelos to [-1, 1] over the training region (training points may lie slightly outside).
 *   Outputs y are standardised by zelos (mean 0) but not scaled: each column keeps its meaning in units of the
 *   whitened space, so that columns with small variance matter little.
 *   Matrices are row-major, one point per row.
 *   Strings are UTF-8 and zero-terminated. Sizes are int64_t.
 *   A status other than ZELOS_OK leaves output buffers in an unspecified state, and `error`, if given, filled.
 *
 * Thread rule, given with each function:
 *   [any]        any thread, also while the same object is used elsewhere
 *   [exclusive]  no other call on this object at the same time
 *
 * Growth: structs begin with struct_size; a reader uses a member only if struct_size covers it. Capabilities are
 * asked for by id string (get_extension). The major version is part of the entry symbol's name.
 */
#ifndef ZELOS_ABI_ZELOS_PLUGIN_H
#define ZELOS_ABI_ZELOS_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#include "zelos_status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ZELOS_PLUGIN_ABI_MAJOR 1u
#define ZELOS_PLUGIN_ABI_MINOR 1u
/* The one exported symbol of a plugin: `const zelos_plugin_entry zelos_plugin_entry_v1`. */
#define ZELOS_PLUGIN_ENTRY zelos_plugin_entry_v1
#define ZELOS_PLUGIN_ENTRY_SYMBOL "zelos_plugin_entry_v1"

/* A trained model: opaque, defined by the family. Immutable once opened. */
typedef struct zelos_model zelos_model;

/* A named array, C order. `data` is aligned to 64 bytes and lives as long as the call that passes it says. */
typedef struct zelos_array {
  const char* name;
  const double* data;
  int32_t rank;     /* 0 (scalar) to 4 */
  int64_t shape[4]; /* the first `rank` entries are used */
} zelos_array;

/* What a trained model is made of: arrays and a settings text (JSON object, "{}" if none). This is all that is stored
 * in an artifact, and all that `open` gets back. Names: letters, digits, '_', at most 64 characters. */
typedef struct zelos_state {
  uint32_t struct_size;
  uint32_t n_arrays;
  const zelos_array* arrays;
  const char* settings_json;
} zelos_state;

/* Services that zelos offers to a family: get_extension(host, id), NULL if absent. */
typedef struct zelos_host {
  uint32_t struct_size;
  void* data;
  const void* (*get_extension)(const struct zelos_host* host, const char* id);
} zelos_host;

typedef struct zelos_family {
  uint32_t struct_size;
  const char* id;      /* "polynomial", "gaussian_process", "neural_network"; third parties: "org.example.name" */
  const char* version; /* semantic version of the stored state: a family opens every state of its own major version */
  const char* summary; /* one line for people */

  /* [any] Makes a model from stored state. The arrays live until `close`: the model may keep pointers to them. */
  zelos_status (*open)(const zelos_host* host, const zelos_state* state, zelos_model** out, zelos_error* error);
  /* [exclusive] Never fails; NULL is allowed. */
  void (*close)(zelos_model* model);
  /* [any] Shape of the function: n_inputs and n_outputs. */
  void (*shape)(const zelos_model* model, int64_t* n_inputs, int64_t* n_outputs);
  /* [any] Bytes of scratch (64-byte aligned by the caller) that the functions below need for one point. */
  size_t (*workspace_bytes)(const zelos_model* model);

  /* [any] y[n_outputs] = f(x[n_inputs]); no allocation, no lock. */
  zelos_status (*predict)(const zelos_model* model, const double* x, double* y, void* workspace, zelos_error* error);
  /* [any] y as above, and jacobian[n_outputs * n_inputs], row-major, dy_i/dx_j, exact; no allocation. */
  zelos_status (*predict_jacobian)(const zelos_model* model, const double* x, double* y, double* jacobian,
                                   void* workspace, zelos_error* error);

  /* [any] A capability by id, NULL if absent: ZELOS_EXT_TRAIN, ZELOS_EXT_UNCERTAINTY, ZELOS_EXT_MIGRATE. */
  const void* (*get_extension)(const char* id);
} zelos_family;

/* --- capability: predictive variance ------------------------------------------------------------------------------ */
#define ZELOS_EXT_UNCERTAINTY "zelos.uncertainty/1"
typedef struct zelos_uncertainty {
  uint32_t struct_size;
  /* [any] variance[n_outputs] of the prediction at x (in the square of y's units), >= 0; no allocation. */
  zelos_status (*variance)(const zelos_model* model, const double* x, double* variance, void* workspace,
                           zelos_error* error);
} zelos_uncertainty;

/* A trained state may hold an array of this name, (n, n_outputs): errors of predictions at points that were left out of
 * the training, each divided by the square root of the variance that the model gives there; row i of every state is of
 * the same point. zelos calibrates quantiles of the predicted error with them; `open` may ignore it. Without it they are
 * those of normal errors. */
#define ZELOS_LEFT_OUT_ERRORS "left_out_errors"

/* --- capability: training -------------------------------------------------------------------------------------- */
#define ZELOS_EXT_TRAIN "zelos.train/1"

/* The training set: x[n * n_inputs], y[n * n_outputs], row-major. y_scale[n_outputs] > 0 gives for each output the
 * error that is negligible (for whitened weights: 1 is one sigma of the ideal experiment); NULL: all 1. */
typedef struct zelos_training_set {
  uint32_t struct_size;
  int64_t n, n_inputs, n_outputs;
  const double *x, *y;
  const double* y_scale;
} zelos_training_set;

/* Called by a family while it trains: fraction done in [0, 1], current loss (any finite number that falls), and a short
 * text. Returns nonzero when the family should stop early and return ZELOS_E_CANCELLED. */
typedef int (*zelos_progress)(void* data, double fraction, double loss, const char* message);

/* Called by a family to hand over an intermediate or the final state; the callee copies it before it returns. */
typedef zelos_status (*zelos_save_state)(void* data, const zelos_state* state, zelos_error* error);

typedef struct zelos_train_options {
  uint32_t struct_size;
  /* the spec's `emulator_fn: params`, JSON object; unknown keys are an error (ZELOS_E_ARGUMENT). Names of
   * inputs in lists of lists have been replaced by their positions in x. */
  const char* params_json;
  uint64_t seed;               /* same seed, same data, same machine, same threads: same bytes */
  int32_t n_threads;           /* >= 1 */
  const zelos_state* resume;   /* last checkpoint, or NULL; a resumed training ends in the same state */
  void* data;                  /* passed to the callbacks */
  zelos_progress progress;     /* may be NULL */
  zelos_save_state checkpoint; /* may be NULL; called now and then */
} zelos_train_options;

typedef struct zelos_train {
  uint32_t struct_size;
  /* [any] Default params as a JSON object: every key that params_json may hold, with its default value. */
  const char* defaults_json;
  /* [any] Trains, and hands the final state to `save`. Long-running. */
  zelos_status (*train)(const zelos_host* host, const zelos_training_set* set, const zelos_train_options* options,
                        zelos_save_state save, void* save_data, zelos_error* error);
  /* [any] Since ABI 1.1, may be NULL: whether `train` would understand params_json for so many inputs. Asked before the
   * training set is made, which may take days. Without it zelos compares the keys with those of defaults_json. */
  zelos_status (*check)(const char* params_json, int64_t n_inputs, zelos_error* error);
} zelos_train;

/* --- capability: states of older versions ------------------------------------------------------------------------ */
#define ZELOS_EXT_MIGRATE "zelos.migrate/1"
typedef struct zelos_migrate {
  uint32_t struct_size;
  /* [any] Hands to `save` a state that `open` would open, with what this version of the family stores beside and an
   * older one did not, as far as it follows from what is there: the same predictions and variances, to the last bit.
   * A state that lacks nothing, or from which nothing follows, is handed over as it is. ZELOS_E_FORMAT if what is
   * stored contradicts itself. */
  zelos_status (*migrate)(const zelos_host* host, const zelos_state* state, zelos_save_state save, void* save_data,
                          zelos_error* error);
} zelos_migrate;

/* --- entry ----------------------------------------------------------------------------------------------------- */
typedef struct zelos_plugin_entry {
  uint32_t abi_major, abi_minor;
  uint32_t struct_size;
  const char* build_id;                          /* free text: compiler, date, commit */
  uint32_t (*count)(void);                       /* [any] number of families, constant */
  const zelos_family* (*family)(uint32_t index); /* [any] static const data, NULL when index >= count */
} zelos_plugin_entry;

#ifdef __cplusplus
}
#endif

#endif
