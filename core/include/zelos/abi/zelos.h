/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * zelos.h: the C interface of zelos for samplers and other languages. This header is the specification.
 *
 * The objects
 *   zelos_emulator   an opened artifact; immutable
 *   zelos_query      a bound question: which parameters the caller hands over, in which order, and which outputs it
 * wants on which axes; immutable; keeps its emulator alive zelos_workspace  scratch memory of one thread, for one query
 *
 * A program opens an artifact once, makes one query, makes one workspace for each thread, and then evaluates.
 *
 * Rules
 *   - Every function returns a zelos_status unless said otherwise. On any status but ZELOS_OK the outputs are untouched
 *     and `error`, if given, holds one line that says what was expected and what was found.
 *   - Strings are UTF-8 and zero-terminated. Strings that zelos returns belong to the object they were asked of, and
 * live as long as it does.
 *   - Arrays are double, C order (row-major, the last index runs fastest), owned by the caller.
 *   - No exception, C++ type or memory to be freed crosses this boundary. zelos never prints, aborts or exits.
 *   - Threads: a function on a const handle may be called from any thread at any time, also at once. A workspace
 * belongs to one thread at a time. Destroying a handle needs that nobody uses it; NULL may be destroyed.
 *   - Structs that the caller fills or passes for filling begin with struct_size: set it to sizeof(the struct) before
 *     the call. zelos uses the members that struct_size covers, so that a program compiled against an older header runs
 *     with a newer library and the other way round.
 *   - Evaluation (zelos_evaluate and what follows it) takes no lock, and allocates nothing for a point inside.
 *   - Functions that return a status answer ZELOS_E_ARGUMENT to a NULL that is not allowed, and to a workspace of
 * another query. Those that return something else need a handle that is not NULL.
 *
 * Units are those of the artifact (zelos_output_info.unit). For the emulators that ship with zelos: C_ell in muK^2
 * without any ell factor (pp: without unit), k in 1/Mpc, P(k) in Mpc^3, H in km/s/Mpc, distances in Mpc.
 */
#ifndef ZELOS_ABI_ZELOS_H
#define ZELOS_ABI_ZELOS_H

#include <stddef.h>
#include <stdint.h>

#include "zelos_status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ZELOS_ABI_MAJOR 1
#define ZELOS_ABI_MINOR 2

typedef struct zelos_emulator zelos_emulator;
typedef struct zelos_query zelos_query;
typedef struct zelos_workspace zelos_workspace;

/** Version of the library, "major.minor.patch". Static. */
ZELOS_EXPORT const char* zelos_version(void);
/** ABI of the library: compare the major number with ZELOS_ABI_MAJOR. */
ZELOS_EXPORT void zelos_abi_version(uint32_t* major, uint32_t* minor);
/** A short English name of a status, static; never NULL. */
ZELOS_EXPORT const char* zelos_status_text(zelos_status status);

/* --- opening --------------------------------------------------------------------------------------------------- */

typedef struct zelos_open_options {
  uint32_t struct_size;
  int32_t skip_probes; /**< nonzero: do not re-evaluate the stored probe points (default 0: re-evaluate) */
} zelos_open_options;

/** Opens NAME.h5. options may be NULL. ZELOS_E_IO, ZELOS_E_FORMAT (damaged, mislabelled, a newer format),
 *  ZELOS_E_MISSING (a regression family that is not installed). Opening never runs code from the file. */
ZELOS_EXPORT ZELOS_MUST_CHECK zelos_status zelos_emulator_open(const char* path, const zelos_open_options* options,
                                                               zelos_emulator** emulator, zelos_error* error);
/** The same from the bytes of an .h5 file; the bytes may be freed afterwards. `name` is for messages. */
ZELOS_EXPORT ZELOS_MUST_CHECK zelos_status zelos_emulator_open_memory(const void* bytes, size_t size, const char* name,
                                                                      const zelos_open_options* options,
                                                                      zelos_emulator** emulator, zelos_error* error);
/** Closes; queries that were made from it stay usable. */
ZELOS_EXPORT void zelos_emulator_close(zelos_emulator* emulator);

/* --- what it is ------------------------------------------------------------------------------------------------ */

ZELOS_EXPORT const char* zelos_emulator_name(const zelos_emulator* emulator);
ZELOS_EXPORT const char* zelos_emulator_version(const zelos_emulator* emulator);
/** SHA-256 of the artifact's body, 64 hex digits: names the emulator beyond doubt. */
ZELOS_EXPORT const char* zelos_emulator_id(const zelos_emulator* emulator);
/** Everything the artifact says of itself, a JSON object: name, version, author, parameters, outputs, fixed, families,
 *  region, accuracy, provenance (code, version, settings, seeds, training set), spec (the YAML text). */
ZELOS_EXPORT const char* zelos_emulator_info_json(const zelos_emulator* emulator);

typedef struct zelos_parameter_info {
  uint32_t struct_size;
  const char* name;
  const char* unit;
  const char* latex;
  double min, max; /**< the box, inclusive */
  int32_t n_synonyms;
  const char* const* synonyms; /**< other names understood for it, one to one */
} zelos_parameter_info;

ZELOS_EXPORT int32_t zelos_emulator_n_parameters(const zelos_emulator* emulator);
ZELOS_EXPORT ZELOS_MUST_CHECK zelos_status zelos_emulator_parameter(const zelos_emulator* emulator, int32_t index,
                                                                    zelos_parameter_info* info, zelos_error* error);

typedef struct zelos_output_info {
  uint32_t struct_size;
  const char* name; /**< "Cl.tt", "Pk.linear", "derived" */
  const char* unit;
  const char* family; /**< the regression behind it */
  int32_t n_axes;     /**< 1 or 2 */
  int64_t shape[4];   /**< length of each native axis */
} zelos_output_info;

typedef struct zelos_axis_info {
  uint32_t struct_size;
  const char* name; /**< "ell", "k", "z", "wavelength", "name" */
  const char* unit;
  int64_t size;
  const double* values;      /**< ascending; 0, 1, 2, ... for a labelled axis */
  const char* const* labels; /**< names of a labelled axis ("H0", "sigma8", ...), else NULL */
} zelos_axis_info;

ZELOS_EXPORT int32_t zelos_emulator_n_outputs(const zelos_emulator* emulator);
ZELOS_EXPORT ZELOS_MUST_CHECK zelos_status zelos_emulator_output(const zelos_emulator* emulator, int32_t index,
                                                                 zelos_output_info* info, zelos_error* error);
ZELOS_EXPORT ZELOS_MUST_CHECK zelos_status zelos_emulator_axis(const zelos_emulator* emulator, int32_t output,
                                                               int32_t axis, zelos_axis_info* info, zelos_error* error);

/* --- asking ---------------------------------------------------------------------------------------------------- */

typedef struct zelos_request {
  uint32_t struct_size;
  const char* output;        /**< name of an output */
  const int64_t* axis_sizes; /**< per axis of the output: number of points; 0, or a NULL array, for the native axis */
  const double* const* axis_values; /**< per axis: ascending points inside the native range; read during the call */
} zelos_request;

/** Binds parameter names to positions and requests to blocks of the answer. Names may be canonical or synonyms
 *  ("omega_b", "H0", "h", "logA", "As", "thetastar", "cosmomc_theta", ...), and may include physics that the emulator
 *  holds fixed ("mnu"): such a value must then equal the one it was trained with. Missing, unknown and conflicting
 * names are ZELOS_E_ARGUMENT, named in the message. */
ZELOS_EXPORT ZELOS_MUST_CHECK zelos_status zelos_query_create(const zelos_emulator* emulator, int32_t n_parameters,
                                                              const char* const* parameter_names, int32_t n_requests,
                                                              const zelos_request* requests, zelos_query** query,
                                                              zelos_error* error);
ZELOS_EXPORT void zelos_query_destroy(zelos_query* query);
/** Length of the answer in doubles. */
ZELOS_EXPORT int64_t zelos_query_size(const zelos_query* query);
/** Where the block of request `index` begins, and its length. */
ZELOS_EXPORT ZELOS_MUST_CHECK zelos_status zelos_query_block(const zelos_query* query, int32_t index, int64_t* offset,
                                                             int64_t* size, zelos_error* error);

ZELOS_EXPORT ZELOS_MUST_CHECK zelos_status zelos_workspace_create(const zelos_query* query, zelos_workspace** workspace,
                                                                  zelos_error* error);
ZELOS_EXPORT void zelos_workspace_destroy(zelos_workspace* workspace);

/* --- verdicts -------------------------------------------------------------------------------------------------- */

typedef enum zelos_reason {
  ZELOS_INSIDE = 0,          /**< inside the validated region */
  ZELOS_NOT_FINITE = 1,      /**< a value is NaN or infinite */
  ZELOS_FIXED_PARAMETER = 2, /**< physics that was held fixed in training has another value */
  ZELOS_BOX = 3,             /**< a parameter left its range */
  ZELOS_HULL = 4,            /**< inside the box, outside the hull of the training points */
  ZELOS_ERROR_BOUND = 5,     /**< the predicted error is above the tolerance */
  ZELOS_NO_SOLUTION = 6,     /**< nothing inside the box gives the value asked for (thetastar in place of H0) */
  ZELOS_REASON_FORCE32 = 0x7fffffff
} zelos_reason;

typedef struct zelos_verdict {
  uint32_t struct_size;
  zelos_reason reason;
  char parameter[64];  /**< the parameter that failed (hull: that takes the point out most), or "" */
  double value;        /**< what was found */
  double lower, upper; /**< what is allowed */
  double excess;       /**< by how much: in units of the range, the hull's size, the tolerance */
  char message[376];   /**< the same as one sentence */
} zelos_verdict;

/* --- evaluating ------------------------------------------------------------------------------------------------ */
/* values: one double per bound name, in the order of zelos_query_create. verdict may be NULL.
 * A point outside the region is ZELOS_E_OUTSIDE: nothing is computed, the verdict says why. */

ZELOS_EXPORT ZELOS_MUST_CHECK zelos_status zelos_evaluate(const zelos_query* query, const double* values, double* out,
                                                          zelos_workspace* workspace, zelos_verdict* verdict,
                                                          zelos_error* error);
/** n points: values[n * n_parameters], out[n * size]. inside[n], if given, is 1 or 0; rows outside stay untouched.
 *  ZELOS_OK also if some are outside. On another status the rows before the one that failed have been written. */
ZELOS_EXPORT ZELOS_MUST_CHECK zelos_status zelos_evaluate_batch(const zelos_query* query, int64_t n,
                                                                const double* values, double* out, int32_t* inside,
                                                                zelos_workspace* workspace, zelos_error* error);
/** out[size] and jacobian[size * n_parameters], d out_i / d value_j: exact derivatives along the bound names.
 *  ZELOS_E_ARGUMENT if one of them is of physics that was held fixed in training: there is no such derivative. */
ZELOS_EXPORT ZELOS_MUST_CHECK zelos_status zelos_jacobian(const zelos_query* query, const double* values, double* out,
                                                          double* jacobian, zelos_workspace* workspace,
                                                          zelos_verdict* verdict, zelos_error* error);
/** out[size], product[size] = J * direction[n_parameters]. ZELOS_E_ARGUMENT if the direction is not 0 along physics
 * that was held fixed. */
ZELOS_EXPORT ZELOS_MUST_CHECK zelos_status zelos_jvp(const zelos_query* query, const double* values,
                                                     const double* direction, double* out, double* product,
                                                     zelos_workspace* workspace, zelos_verdict* verdict,
                                                     zelos_error* error);
/** out[size], product[n_parameters] = J^T * cotangent[size]. ZELOS_E_ARGUMENT as zelos_jacobian. */
ZELOS_EXPORT ZELOS_MUST_CHECK zelos_status zelos_vjp(const zelos_query* query, const double* values,
                                                     const double* cotangent, double* out, double* product,
                                                     zelos_workspace* workspace, zelos_verdict* verdict,
                                                     zelos_error* error);
/** The verdict alone; ZELOS_OK also for a point outside. */
ZELOS_EXPORT ZELOS_MUST_CHECK zelos_status zelos_verdict_at(const zelos_query* query, const double* values,
                                                            zelos_workspace* workspace, zelos_verdict* verdict,
                                                            zelos_error* error);
/** Predicted error per request: the expected sum over the output's values of (error / sigma)^2, sigma that of its
 * whitening (of spectra: delta chi^2 of the ideal experiment), or NaN; ZELOS_E_OUTSIDE as for the error model. */
ZELOS_EXPORT ZELOS_MUST_CHECK zelos_status zelos_predicted_error(const zelos_query* query, const double* values,
                                                                 double* errors, zelos_workspace* workspace,
                                                                 zelos_error* error);

/* --- what an error does to a likelihood ----------------------------------------------------------------------------
 */
/* Since ABI 1.2. With r = matrix * (emulator - real code), delta chi^2 = r^T covariance^-1 r: -2 delta log L where the
 * data are the real code's answer. Its mean and its 95 % quantile follow from the variances that the families predict;
 * the quantile is calibrated with the errors at points that were left out of the training, if the artifact has them. */

typedef struct zelos_error_model zelos_error_model;

typedef struct zelos_likelihood {
  uint32_t struct_size;
  int64_t n_data;           /**< rows of matrix and covariance; without a matrix: zelos_query_size */
  const double* covariance; /**< [n_data * n_data], positive definite. NULL: an ideal experiment: of spectra cosmic
                               variance; of TT, TE and EE, if all are asked for, jointly; of all else the sigma that
                               they were whitened with. On all points of the outputs then, whatever the query's axes */
  const double* matrix;     /**< [n_data * zelos_query_size]: the data are matrix * answer. NULL: they are the answer */
  const double* reference;  /**< [n_parameters]: where the answer is linearised. NULL: the middle of the region */
} zelos_likelihood;

/** Takes up to a second; the arrays may be freed afterwards. likelihood may be NULL: the ideal experiment.
 *  ZELOS_E_ARGUMENT: sizes that do not fit, a covariance that is not positive definite, a reference without an answer.
 */
ZELOS_EXPORT ZELOS_MUST_CHECK zelos_status zelos_error_model_create(const zelos_query* query,
                                                                    const zelos_likelihood* likelihood,
                                                                    zelos_error_model** model, zelos_error* error);
ZELOS_EXPORT void zelos_error_model_destroy(zelos_error_model* model);
/** mean and quantile (each may be NULL) of delta chi^2 at a point, which may be outside the region; NaN where a family
 *  predicts no error. The workspace is one of the query. ZELOS_E_OUTSIDE: a value is not finite,
 *  has no solution, or is of other physics than the training held fixed. */
ZELOS_EXPORT ZELOS_MUST_CHECK zelos_status zelos_error_model_evaluate(const zelos_error_model* model,
                                                                      const double* values, double* mean,
                                                                      double* quantile, zelos_workspace* workspace,
                                                                      zelos_error* error);
/** What the calibration multiplies the quantile by, and how many points that were left out it rests on (0: none, and
 *  the factor is 1). Each may be NULL. */
ZELOS_EXPORT void zelos_error_model_calibration(const zelos_error_model* model, double* factor, int64_t* n_left_out);

/* --- the real code in the emulator's place ----------------------------------------------------------------------- */
/* Since ABI 1.1. A host whose point is outside runs the real code. What it tells it so that it computes the physics
 * that was asked for, under the emulator's names: each canonical parameter, or what is given in place of it; and what
 * was held fixed in training, as far as its name is bound. Settings that the training held (provenance in
 * zelos_emulator_info_json) come on top. */

typedef enum zelos_physics_kind {
  ZELOS_PHYSICS_PARAMETER = 0, /**< a canonical parameter */
  ZELOS_PHYSICS_SOLVED = 1,    /**< given in place of a canonical parameter (thetastar in place of H0), which is then
                                    not in the list: the real code solves for it, with all of its own physics */
  ZELOS_PHYSICS_FIXED = 2,     /**< held fixed in training */
  ZELOS_PHYSICS_FORCE32 = 0x7fffffff
} zelos_physics_kind;

typedef struct zelos_physics_info {
  uint32_t struct_size;
  zelos_physics_kind kind;
  const char* name;
  double held; /**< FIXED: the value of the training; else 0 */
} zelos_physics_info;

/** How many numbers a real code is told of a point of this query. */
ZELOS_EXPORT int32_t zelos_query_n_physics(const zelos_query* query);
ZELOS_EXPORT ZELOS_MUST_CHECK zelos_status zelos_query_physics(const zelos_query* query, int32_t index,
                                                               zelos_physics_info* info, zelos_error* error);
/** numbers[n_physics] of a point, wherever it lies. told[n_physics], if given: 0 for a fixed parameter that has the
 *  value of the training, which the real code's settings have already, 1 for the others. ZELOS_E_ARGUMENT names a value
 *  that is NaN or infinite. */
ZELOS_EXPORT ZELOS_MUST_CHECK zelos_status zelos_physics(const zelos_query* query, const double* values,
                                                         double* numbers, int32_t* told, zelos_workspace* workspace,
                                                         zelos_error* error);
/** A value of the parameter `name` as one of its synonym `other`, the name that a code knows: (3.044, "logA", "As")
 *  gives 2.0989e-9. ZELOS_E_ARGUMENT if they do not stand for the same quantity. */
ZELOS_EXPORT ZELOS_MUST_CHECK zelos_status zelos_convert(double value, const char* name, const char* other,
                                                         double* converted, zelos_error* error);

/* --- the real code, outside ------------------------------------------------------------------------------------ */
/* Since ABI 1.1. A fallback answers the queries of one emulator by a real code, which a plugin runs
 * (zelos_fallback.h); "python" ships with zelos and runs CAMB, CLASS and what else has a driver, in processes of their
 * own. It may be used from any number of threads at once; it takes locks and allocates, as a run costs seconds anyway.
 */

typedef struct zelos_fallback zelos_fallback;

typedef struct zelos_fallback_options {
  uint32_t struct_size;
  int32_t any_version;       /**< nonzero: take a code whose version or settings are not those of the training */
  const char* settings_json; /**< JSON object for the plugin (workers, timeout, retries, ...); NULL: its defaults */
  const char* cache;         /**< folder in which answers are kept and looked for; NULL: none. ZELOS_E_ARGUMENT with a
                                  fallback that interpolates between runs (a grid): it keeps a code's own answers */
} zelos_fallback_options;

/** `name`: the path of a plugin (it has a '/' or ends in ".so"); or NAME of a plugin zelos_fallback_NAME.so in a folder
 *  of the environment variable ZELOS_FALLBACK_PATH (absolute, separated by colons) or in zelos_fallbacks beside the
 *  library; else the name of a code ("camb", "classy") for the plugin "python". The code gets the settings of the
 *  training runs, and has to report the code, the version and the settings of the artifact's provenance: if it does
 *  not, ZELOS_E_ARGUMENT says what differs. ZELOS_E_MISSING: no such plugin or code, or a library that is no plugin;
 *  ZELOS_E_FORMAT: a plugin of another ABI version, or damaged; ZELOS_E_IO. options may be NULL. */
ZELOS_EXPORT ZELOS_MUST_CHECK zelos_status zelos_fallback_open(const zelos_emulator* emulator, const char* name,
                                                               const zelos_fallback_options* options,
                                                               zelos_fallback** fallback, zelos_error* error);
/** Ends its workers, too. */
ZELOS_EXPORT void zelos_fallback_close(zelos_fallback* fallback);
ZELOS_EXPORT const char* zelos_fallback_code(const zelos_fallback* fallback);
ZELOS_EXPORT const char* zelos_fallback_version(const zelos_fallback* fallback);
/** What differs from the training where any_version let it pass, one line; "" if nothing does. */
ZELOS_EXPORT const char* zelos_fallback_differences(const zelos_fallback* fallback);

/** out[zelos_query_size]: what the real code computes at the physics of a point, run as in the training: axes other
 *  than the emulator's are asked of it where they leave its settings unchanged, else it is interpolated between the
 *  emulator's own points (redshifts of CAMB's matter power). `why`, which may be NULL, is the
 *  emulator's verdict, for the statistics. ZELOS_E_OUTSIDE: a value is not finite, or the point is outside what this
 *  fallback covers; ZELOS_E_NUMERIC: the code failed, or gave what is not finite; ZELOS_E_CANCELLED: it took too long;
 *  ZELOS_E_IO: it died; ZELOS_E_ARGUMENT: it does not know a parameter, or the query is of another emulator. */
ZELOS_EXPORT ZELOS_MUST_CHECK zelos_status zelos_fallback_evaluate(const zelos_fallback* fallback,
                                                                   const zelos_query* query, const double* values,
                                                                   double* out, const zelos_verdict* why,
                                                                   zelos_error* error);

typedef enum zelos_source {
  ZELOS_SOURCE_NONE = 0, /**< nobody answered */
  ZELOS_SOURCE_EMULATOR = 1,
  ZELOS_SOURCE_FALLBACK = 2,
  ZELOS_SOURCE_FORCE32 = 0x7fffffff
} zelos_source;

/** The whole switch: inside the region the emulator answers, as zelos_evaluate does; outside, the fallback, as
 *  zelos_fallback_evaluate does (with fallback NULL: ZELOS_E_OUTSIDE). verdict and source may be NULL. A status other
 *  than ZELOS_OK leaves `out` untouched: a point that the real code fails at is answered by nobody. */
ZELOS_EXPORT ZELOS_MUST_CHECK zelos_status zelos_answer(const zelos_query* query, const zelos_fallback* fallback,
                                                        const double* values, double* out, zelos_workspace* workspace,
                                                        zelos_verdict* verdict, zelos_source* source,
                                                        zelos_error* error);

/** What a fallback did since it was opened. */
typedef struct zelos_fallback_statistics {
  uint32_t struct_size;
  int64_t points;     /**< asked for, those that failed included */
  int64_t runs;       /**< answered by a run of the code */
  int64_t from_cache; /**< answered by the cache */
  int64_t repeated;   /**< answered by a run that was just made for the same point */
  int64_t failed;
  double seconds; /**< in all of them together */
} zelos_fallback_statistics;
ZELOS_EXPORT ZELOS_MUST_CHECK zelos_status zelos_fallback_count(const zelos_fallback* fallback,
                                                                zelos_fallback_statistics* statistics,
                                                                zelos_error* error);
/** The same as a JSON object with, besides, "reasons" (what left the region -> points), "last_failure" and
 *  "cache_failure" (why an answer could not be kept). Writes at most `size` bytes, the final zero included, and returns
 *  how many the whole text needs; buffer may be NULL if size is 0. */
ZELOS_EXPORT size_t zelos_fallback_report_json(const zelos_fallback* fallback, char* buffer, size_t size);

#ifdef __cplusplus
}
#endif

#endif
