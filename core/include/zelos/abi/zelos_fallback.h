/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * zelos_fallback.h: what a fallback plugin is.
 *
 * A fallback is a real code (or anything that is trusted like one) behind a table of C functions. zelos loads it when
 * a host asks for it, configures it with the settings that an emulator was trained with, and asks it for the points
 * that the emulator may not answer. A plugin
 *   - answers the point that it is given, or says why it can't: it never answers another one, and never a guess;
 *   - never lets an exception, an STL type or memory that the other side must free cross this boundary;
 *   - never prints, aborts or exits: a code that does any of this runs in a process of its own.
 *
 * Conventions
 *   Strings are UTF-8 and zero-terminated. Sizes are int64_t. Arrays are double, C order (the last axis runs fastest),
 *   and belong to zelos. Names and units of parameters and outputs are those of the emulator (zelos.h).
 *   A status other than ZELOS_OK leaves output buffers in an unspecified state, and `error`, if given, filled.
 *
 * Thread rule, given with each function:
 *   [any]        any thread, also while the same object is used elsewhere; a code that can't do this is behind a lock
 *   [exclusive]  no other call on this object at the same time
 *
 * Growth: structs begin with struct_size; a reader uses a member only if struct_size covers it. Capabilities are
 * asked for by id string (get_extension). The major version is part of the entry symbol's name.
 */
#ifndef ZELOS_ABI_ZELOS_FALLBACK_H
#define ZELOS_ABI_ZELOS_FALLBACK_H

#include <stddef.h>
#include <stdint.h>

#include "zelos_status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ZELOS_FALLBACK_ABI_MAJOR 1u
#define ZELOS_FALLBACK_ABI_MINOR 1u
/* The one exported symbol of a plugin: `const zelos_fallback_entry zelos_fallback_entry_v1`. */
#define ZELOS_FALLBACK_ENTRY zelos_fallback_entry_v1
#define ZELOS_FALLBACK_ENTRY_SYMBOL "zelos_fallback_entry_v1"

/* A configured code: opaque, defined by the plugin. */
typedef struct zelos_code zelos_code;

/* --- what zelos asks for ------------------------------------------------------------------------------------------ */

/* One output, on the axes on which it is wanted. Lives as long as the call that passes it. */
typedef struct zelos_code_output {
  uint32_t struct_size;
  int32_t n_axes;                   /* 1 or 2 */
  const char* name;                 /* "Cl.tt", "Pk.linear", "derived" */
  const char* unit;                 /* in which the values are expected; "" where labels are given */
  const char* const* axis_names;    /* "ell", "k", "z", "name" */
  const int64_t* axis_sizes;        /* at least 1 each */
  const double* const* axis_values; /* ascending; NULL for a labelled axis */
  const char* const* labels;        /* of the only axis of a set of scalars ("H0", "sigma8"), else NULL */
  const char* const* label_units;   /* of each label, where there are labels; an entry may be NULL: any */
} zelos_code_output;

typedef struct zelos_code_options {
  uint32_t struct_size;
  int32_t n_outputs;
  const zelos_code_output* const* outputs; /* pointers, since the struct may grow */
  const char* code;                        /* which code: "camb" */
  const char* config_json;  /* JSON object: settings that stay fixed, in the code's own words, as in the training */
  const char* ini;          /* text of the code's settings file that config_json builds on, or NULL */
  const char* options_json; /* JSON object: what the user tells this plugin; an unknown key is ZELOS_E_ARGUMENT */
} zelos_code_options;

/* --- what a plugin says of a configured code ------------------------------------------------------------------------
 */

/* An output that the code computes. */
typedef struct zelos_code_kind {
  uint32_t struct_size;
  int32_t n_axes;
  const char* name;
  const char* unit;
  const char* const* axis_names;
} zelos_code_kind;

/* Strings and arrays live as long as the zelos_code. */
typedef struct zelos_code_info {
  uint32_t struct_size;
  int32_t n_kinds;
  const zelos_code_kind* const* kinds; /* all outputs that it computes, without sets of scalars */
  int32_t n_scalars;
  int32_t n_parameters;
  const char* const* scalars;    /* names of all scalars that it computes ("derived") */
  const char* const* parameters; /* names that it takes; n_parameters 0: not known before it is asked */
  const char* code;              /* "camb": as in an artifact's provenance */
  const char* version;           /* exact: two that compute different numbers have different ones */
  const char* library_sha256;    /* of the compiled code, 64 hex digits, or "" */
  /* Since 1.1. Nonzero: the answers lie between runs of the code, which made none at the point itself. zelos keeps no
   * such answer in a cache. */
  int32_t interpolates;
} zelos_code_info;

/* Called by a plugin to hand over a text; the callee copies it before it returns. */
typedef void (*zelos_take_text)(void* data, const char* text);

/* --- entry ----------------------------------------------------------------------------------------------------------
 */
typedef struct zelos_fallback_entry {
  uint32_t abi_major, abi_minor;
  uint32_t struct_size;
  const char* build_id; /* free text: compiler, date, commit */
  const char* id;       /* "python"; third parties: "org.example.name" */
  const char* version;  /* of the plugin, not of a code */
  const char* summary;  /* one line for people */

  /* [any] Makes a code ready to compute these outputs. ZELOS_E_MISSING: the code is not installed. ZELOS_E_ARGUMENT: it
   * does not know a setting, or can not give an output, on these axes, in this unit; the message names it. */
  zelos_status (*create)(const zelos_code_options* options, zelos_code** out, zelos_error* error);
  /* [exclusive] Never fails; NULL is allowed. */
  void (*destroy)(zelos_code* code);
  /* [any] Fills what info->struct_size covers. */
  zelos_status (*describe)(const zelos_code* code, zelos_code_info* info, zelos_error* error);
  /* [any] Every setting that the code would compute this point with, as the code itself reports it; equal text, equal
   * physics. zelos compares it (and its SHA-256) with that of the training runs, and asks for other axes than theirs
   * only where it stays the same. */
  zelos_status (*settings)(zelos_code* code, int32_t n_parameters, const char* const* names, const double* values,
                           zelos_take_text take, void* data, zelos_error* error);
  /* [any] All outputs at one point: out[i] has room for output i of `create`. Long-running. ZELOS_E_NUMERIC: the code
   * has no finite answer at this point; ZELOS_E_OUTSIDE: the point is outside what this fallback covers;
   * ZELOS_E_CANCELLED: it took longer than its options allow; ZELOS_E_IO: it died. */
  zelos_status (*evaluate)(zelos_code* code, int32_t n_parameters, const char* const* names, const double* values,
                           double* const* out, zelos_error* error);

  /* [any] A capability by id, NULL if absent. */
  const void* (*get_extension)(const char* id);
} zelos_fallback_entry;

#ifdef __cplusplus
}
#endif

#endif
