/* SPDX-License-Identifier: BSD-3-Clause */
/* expect.h: the little that a test in C needs. */
#pragma once

#include <stdio.h>
#include <string.h>
#include <zelos/abi/zelos.h>

static int failures = 0;

#define CHECK(condition)                                                      \
  do {                                                                        \
    if (!(condition)) {                                                       \
      ++failures;                                                             \
      fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
    }                                                                         \
  } while (0)

/* Expects a status, and a message that holds `text`. */
#define CHECK_FAILS(call, expected, text)                                                                          \
  do {                                                                                                             \
    zelos_error check_error = {.struct_size = sizeof check_error};                                                 \
    zelos_error* error = &check_error;                                                                             \
    const zelos_status check_status = (call);                                                                      \
    if (check_status != (expected) || check_error.code != (int)(expected) || !strstr(check_error.message, text)) { \
      ++failures;                                                                                                  \
      fprintf(stderr, "%s:%d: %s: expected status %d with '%s', found %d: '%s'\n", __FILE__, __LINE__, #call,      \
              (int)(expected), text, (int)check_status, check_error.message);                                      \
    }                                                                                                              \
  } while (0)
