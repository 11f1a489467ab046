/* SPDX-License-Identifier: BSD-3-Clause */
/* compare ARTIFACT FOLDER: the points of answers.cpp through zelos.h. Prints the greatest relative difference. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <zelos/abi/zelos.h>

enum { kPoints = 20, kParameters = 6 };

static double* read_all(const char* folder, const char* name, size_t n) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  double* values = malloc(n * sizeof *values);
  FILE* file = fopen(path, "rb");
  if (values == NULL || file == NULL || fread(values, sizeof *values, n, file) != n || fgetc(file) != EOF) {
    fprintf(stderr, "%s does not hold %zu doubles\n", path, n);
    exit(1);
  }
  fclose(file);
  return values;
}

static void need(zelos_status status, const zelos_error* error) {
  if (status == ZELOS_OK) return;
  fprintf(stderr, "%s\n", error->message);
  exit(1);
}

int main(int argc, char** argv) {
  const char* const names[kParameters] = {"ombh2", "omch2", "H0", "tau", "logA", "ns"};
  const char* const spectra[] = {"Cl.tt", "Cl.te", "Cl.ee", "Cl.bb", "Cl.pp"};
  const char* const powers[] = {"Pk.linear", "Pk.nonlinear"};
  const char* const background[] = {"Hubble", "comoving_radial_distance", "angular_diameter_distance"};
  const char* const growth[] = {"sigma8_z", "fsigma8"};
  double ell[2499], k[64];
  const double z[] = {0, 0.5, 1, 2}, z_background[] = {0, 0.125, 0.5, 1, 2.5};
  for (int i = 0; i < 2499; ++i) ell[i] = i + 2;
  for (int i = 0; i < 64; ++i) k[i] = (i + 1) / 64.0;
  const int64_t n_ell[] = {2499}, n_power[] = {64, 4}, n_background[] = {5}, n_growth[] = {4};
  const double *const at_ell[] = {ell}, *const at_power[] = {k, z}, *const at_background[] = {z_background},
                      *const at_growth[] = {z};
  zelos_request requests[13];
  int32_t n = 0;
  for (int i = 0; i < 5; ++i) requests[n++] = (zelos_request){sizeof(zelos_request), spectra[i], n_ell, at_ell};
  for (int i = 0; i < 2; ++i) requests[n++] = (zelos_request){sizeof(zelos_request), powers[i], n_power, at_power};
  for (int i = 0; i < 3; ++i)
    requests[n++] = (zelos_request){sizeof(zelos_request), background[i], n_background, at_background};
  for (int i = 0; i < 2; ++i) requests[n++] = (zelos_request){sizeof(zelos_request), growth[i], n_growth, at_growth};
  requests[n++] = (zelos_request){sizeof(zelos_request), "derived", NULL, NULL};

  zelos_error error = {.struct_size = sizeof error};
  zelos_emulator* emulator = NULL;
  zelos_query* query = NULL;
  zelos_workspace* workspace = NULL;
  if (argc != 3) return 2;
  need(zelos_emulator_open(argv[1], NULL, &emulator, &error), &error);
  need(zelos_query_create(emulator, kParameters, names, n, requests, &query, &error), &error);
  need(zelos_workspace_create(query, &workspace, &error), &error);
  const size_t size = (size_t)zelos_query_size(query);
  double* const points = read_all(argv[2], "points.bin", kPoints * kParameters);
  double* const expected = read_all(argv[2], "answers.bin", kPoints * size);
  double* const out = malloc(size * sizeof *out);
  double worst = 0;
  for (int p = 0; p < kPoints; ++p) {
    need(zelos_evaluate(query, points + p * kParameters, out, workspace, NULL, &error), &error);
    for (size_t i = 0; i < size; ++i) {
      const double e = expected[p * size + i];
      const double difference = e == 0 ? fabs(out[i]) : fabs(out[i] / e - 1);
      if (!(difference <= worst)) worst = difference;
    }
  }
  printf("%.3e\n", worst);
  free(out);
  free(expected);
  free(points);
  zelos_workspace_destroy(workspace);
  zelos_query_destroy(query);
  zelos_emulator_close(emulator);
  return 0;
}
