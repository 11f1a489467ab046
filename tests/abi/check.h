/* SPDX-License-Identifier: BSD-3-Clause */
/* check.h: what the tests in C on the toy's artifact share. */
#pragma once

#include "expect.h"

static const char* const kNames[6] = {"ombh2", "omch2", "H0", "tau", "logA", "ns"};
static const double kPoint[6] = {0.0226, 0.121, 69, 0.055, 3.02, 0.96};

static zelos_emulator* open_artifact(const char* path) {
  zelos_emulator* emulator = NULL;
  zelos_error error = {.struct_size = sizeof error};
  if (zelos_emulator_open(path, NULL, &emulator, &error) != ZELOS_OK) {
    fprintf(stderr, "%s\n", error.message);
    ++failures;
  }
  return emulator;
}

/* All outputs on their native axes, from kNames. */
static zelos_query* query_all(const zelos_emulator* emulator) {
  zelos_query* query = NULL;
  zelos_request requests[16];
  const int32_t n = zelos_emulator_n_outputs(emulator);
  for (int32_t i = 0; i < n && i < 16; ++i) {
    zelos_output_info info = {.struct_size = sizeof info};
    CHECK(zelos_emulator_output(emulator, i, &info, NULL) == ZELOS_OK);
    requests[i] = (zelos_request){sizeof(zelos_request), info.name, NULL, NULL};
  }
  CHECK(zelos_query_create(emulator, 6, kNames, n, requests, &query, NULL) == ZELOS_OK);
  return query;
}
