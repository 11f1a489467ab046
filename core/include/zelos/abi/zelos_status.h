/* SPDX-License-Identifier: BSD-3-Clause */
/* zelos_status.h: status codes and the error record, common to zelos.h (hosts) and zelos_plugin.h (families). */
#ifndef ZELOS_ABI_ZELOS_STATUS_H
#define ZELOS_ABI_ZELOS_STATUS_H

#include <stdint.h>

#if defined(__GNUC__)
#define ZELOS_EXPORT __attribute__((visibility("default")))
#define ZELOS_MUST_CHECK __attribute__((warn_unused_result))
#else
#define ZELOS_EXPORT
#define ZELOS_MUST_CHECK
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum zelos_status {
  ZELOS_OK = 0,          /**< done */
  ZELOS_E_ARGUMENT = 1,  /**< an argument is wrong: null, wrong length, unknown name, unknown key */
  ZELOS_E_OUTSIDE = 2,   /**< the point is outside the region; the verdict says why; nothing was computed */
  ZELOS_E_FORMAT = 3,    /**< a file or state is damaged, of an unknown version, or not what it says it is */
  ZELOS_E_IO = 4,        /**< a file can't be read or written */
  ZELOS_E_NUMERIC = 5,   /**< a computation did not give a finite number, or did not converge */
  ZELOS_E_MEMORY = 6,    /**< out of memory */
  ZELOS_E_CANCELLED = 7, /**< stopped at the caller's wish */
  ZELOS_E_MISSING = 8,   /**< a plugin, family or capability is not there */
  ZELOS_E_INTERNAL = 9,  /**< a defect of zelos or of a plugin */
  ZELOS_STATUS_FORCE32 = 0x7fffffff
} zelos_status;

/** Caller-owned error record; every function that takes one accepts NULL. Set struct_size = sizeof(zelos_error) before
 *  the first use. The message is one line, UTF-8, zero-terminated, cut to fit; untouched on ZELOS_OK. */
typedef struct zelos_error {
  uint32_t struct_size;
  int32_t code; /**< the zelos_status that was returned */
  char message[1016];
} zelos_error;

#ifdef __cplusplus
}
#endif

#endif
