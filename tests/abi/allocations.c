/* SPDX-License-Identifier: BSD-3-Clause */
/* An evaluation inside the region allocates nothing: this program's own malloc family counts.
 * Floating-point flags stay down as well, so that a host may trap them. */
#include <errno.h>
#include <fenv.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#include "check.h"

static atomic_int counted, counting;

extern void* __libc_malloc(size_t size);
extern void* __libc_calloc(size_t n, size_t size);
extern void* __libc_realloc(void* p, size_t size);
extern void* __libc_memalign(size_t alignment, size_t size);

static void count(void) {
  if (atomic_load(&counting)) atomic_fetch_add(&counted, 1);
}

void* malloc(size_t size) {
  count();
  return __libc_malloc(size);
}
void* calloc(size_t n, size_t size) {
  count();
  return __libc_calloc(n, size);
}
void* realloc(void* p, size_t size) {
  count();
  return __libc_realloc(p, size);
}
void* aligned_alloc(size_t alignment, size_t size) {
  count();
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** p, size_t alignment, size_t size) {
  count();
  *p = __libc_memalign(alignment, size);
  return *p == NULL ? ENOMEM : 0;
}

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  zelos_emulator* emulator = open_artifact(argv[1]);
  if (emulator == NULL) return 1;
  zelos_query *query = query_all(emulator), *solved = NULL;
  zelos_workspace *workspace = NULL, *solving = NULL;
  const char* const names[7] = {"ombh2", "omch2", "thetastar", "tau", "As", "ns", "mnu"};
  const zelos_request hubble = {sizeof hubble, "Hubble", NULL, NULL};
  CHECK(zelos_query_create(emulator, 7, names, 1, &hubble, &solved, NULL) == ZELOS_OK);
  CHECK(zelos_workspace_create(query, &workspace, NULL) == ZELOS_OK);
  CHECK(zelos_workspace_create(solved, &solving, NULL) == ZELOS_OK);
  const size_t n = (size_t)zelos_query_size(query);
  double *out = malloc(sizeof(double) * n), *jacobian = malloc(sizeof(double) * n * 7),
         *ones = malloc(sizeof(double) * n);
  double pulled[7], errors[9];
  const double angle[7] = {0.0226, 0.121, 0.0104, 0.055, 2.1e-9, 0.96, 0.06};
  const double along[7] = {1e-4, 1e-3, 1e-5, 0.01, 1e-10, 0.01, 0}; /* mnu is held fixed */
  for (size_t i = 0; i < n; ++i) ones[i] = 1;
  zelos_verdict verdict = {.struct_size = sizeof verdict};
  zelos_error error = {.struct_size = sizeof error};

  zelos_error_model* model = NULL;
  CHECK(zelos_error_model_create(query, NULL, &model, &error) == ZELOS_OK);

  atomic_store(&counting, 1);
  free(malloc(1));
  CHECK(atomic_exchange(&counted, 0) == 1); /* the counter counts */
  feclearexcept(FE_ALL_EXCEPT);
  int bad = 0;
  for (int i = 0; i < 300; ++i) {
    bad += zelos_evaluate(query, kPoint, out, workspace, &verdict, &error) != ZELOS_OK;
    bad += zelos_evaluate_batch(query, 1, kPoint, out, NULL, workspace, &error) != ZELOS_OK;
    bad += zelos_evaluate(solved, angle, out, solving, &verdict, &error) != ZELOS_OK;
    bad += zelos_verdict_at(query, kPoint, workspace, &verdict, &error) != ZELOS_OK;
    bad += zelos_predicted_error(query, kPoint, errors, workspace, &error) != ZELOS_OK;
    bad += zelos_error_model_evaluate(model, kPoint, errors, errors + 1, workspace, &error) != ZELOS_OK;
    if (i % 10) continue;
    bad += zelos_jacobian(query, kPoint, out, jacobian, workspace, &verdict, &error) != ZELOS_OK;
    bad += zelos_jvp(query, kPoint, ones, out, jacobian, workspace, &verdict, &error) != ZELOS_OK;
    bad += zelos_vjp(query, kPoint, ones, out, pulled, workspace, &verdict, &error) != ZELOS_OK;
    bad += zelos_jvp(solved, angle, along, out, jacobian, solving, &verdict, &error) != ZELOS_OK;
  }
  const int raised = fetestexcept(FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW);
  atomic_store(&counting, 0);
  CHECK(bad == 0);
  CHECK(atomic_load(&counted) == 0);
  CHECK(raised == 0);
  if (raised) {
    fprintf(stderr, "raised:%s%s%s\n", raised & FE_INVALID ? " invalid" : "", raised & FE_DIVBYZERO ? " divbyzero" : "",
            raised & FE_OVERFLOW ? " overflow" : "");
  }
  free(out), free(jacobian), free(ones);
  zelos_error_model_destroy(model);
  zelos_workspace_destroy(solving);
  zelos_workspace_destroy(workspace);
  zelos_query_destroy(solved);
  zelos_query_destroy(query);
  zelos_emulator_close(emulator);
  return failures != 0;
}
