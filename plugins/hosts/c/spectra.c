/* SPDX-License-Identifier: BSD-3-Clause */
/* spectra.c: CMB spectra and derived parameters from an artifact such as CAMB_lcdm.h5, in C.
 *
 *   cc -std=c11 spectra.c $(pkg-config --cflags --libs zelos) -o spectra && ./spectra CAMB_lcdm.h5
 *
 * A program opens the artifact once, binds one question, makes one workspace for each thread, and then evaluates, which
 * allocates nothing. spectra.f90 (plugins/hosts/fortran) is the same program in Fortran and prints the same. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zelos/abi/zelos.h>

enum { kFirstEll = 2, kLastEll = 2500, kParameters = 6 };

static int index_of(const zelos_axis_info* axis, const char* label) {
  for (int64_t i = 0; axis->labels != NULL && i < axis->size; ++i) {
    if (strcmp(axis->labels[i], label) == 0) return (int)i;
  }
  return -1;
}

/* The labels of the derived parameters, or 0. */
static int derived_axis(const zelos_emulator* emulator, zelos_axis_info* axis, zelos_error* error) {
  for (int32_t i = 0; i < zelos_emulator_n_outputs(emulator); ++i) {
    zelos_output_info output = {.struct_size = sizeof output};
    if (zelos_emulator_output(emulator, i, &output, error) != ZELOS_OK) return 0;
    if (strcmp(output.name, "derived") == 0) return zelos_emulator_axis(emulator, i, 0, axis, error) == ZELOS_OK;
  }
  snprintf(error->message, sizeof error->message, "the emulator has no derived parameters");
  return 0;
}

int main(int argc, char** argv) {
  const char* const names[kParameters] = {"ombh2", "omch2", "H0", "tau", "logA", "ns"};
  const double points[][kParameters] = {{0.0224, 0.120, 67.4, 0.054, 3.045, 0.965},
                                        {0.0224, 0.120, 67.4, 0.250, 3.045, 0.965}};
  const double pi = acos(-1.0);
  zelos_error error = {.struct_size = sizeof error};
  zelos_emulator* emulator = NULL;
  zelos_query* query = NULL;
  zelos_workspace* workspace = NULL;
  zelos_axis_info labels = {.struct_size = sizeof labels};
  double* out = NULL;
  int status = 1;

  if (argc != 2) {
    fprintf(stderr, "usage: spectra ARTIFACT.h5\n");
    return 2;
  }
  if (zelos_emulator_open(argv[1], NULL, &emulator, &error) != ZELOS_OK) goto failed;
  if (!derived_axis(emulator, &labels, &error)) goto failed;
  const int64_t sigma8 = index_of(&labels, "sigma8"), rdrag = index_of(&labels, "rdrag");
  if (sigma8 < 0 || rdrag < 0) {
    fprintf(stderr, "%s has no sigma8 or no rdrag\n", argv[1]);
    goto done;
  }

  double ell[kLastEll - kFirstEll + 1];
  for (int i = 0; i <= kLastEll - kFirstEll; ++i) ell[i] = kFirstEll + i;
  const int64_t sizes[] = {kLastEll - kFirstEll + 1};
  const double* const axes[] = {ell};
  const zelos_request requests[] = {{sizeof(zelos_request), "Cl.tt", sizes, axes},
                                    {sizeof(zelos_request), "derived", NULL, NULL}};
  int64_t derived = 0;
  if (zelos_query_create(emulator, kParameters, names, 2, requests, &query, &error) != ZELOS_OK) goto failed;
  if (zelos_query_block(query, 1, &derived, NULL, &error) != ZELOS_OK) goto failed;
  if (zelos_workspace_create(query, &workspace, &error) != ZELOS_OK) goto failed;
  out = malloc((size_t)zelos_query_size(query) * sizeof *out);
  if (out == NULL) goto failed;

  for (size_t i = 0; i < sizeof points / sizeof points[0]; ++i) {
    zelos_verdict verdict = {.struct_size = sizeof verdict};
    const zelos_status answer = zelos_evaluate(query, points[i], out, workspace, &verdict, &error);
    if (answer == ZELOS_E_OUTSIDE) {
      printf("outside: %s\n", verdict.message); /* here the program runs its real code */
      continue;
    }
    if (answer != ZELOS_OK) goto failed;
    const int l = 220;
    printf("D_220 %.4f muK^2, sigma8 %.6f, rdrag %.4f Mpc\n", l * (l + 1) / (2 * pi) * out[l - kFirstEll],
           out[derived + sigma8], out[derived + rdrag]);
  }
  status = 0;
failed:
  if (status != 0) fprintf(stderr, "%s\n", error.message);
done:
  free(out);
  zelos_workspace_destroy(workspace);
  zelos_query_destroy(query);
  zelos_emulator_close(emulator);
  return status;
}
