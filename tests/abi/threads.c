/* SPDX-License-Identifier: BSD-3-Clause */
/* Eight threads on one query, a workspace each: bit for bit the serial answers. */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdlib.h>

#include "check.h"

enum { kThreads = 8, kPoints = 20 };

struct job {
  const zelos_query* query;
  double* out;
  int failed;
};

static void* work(void* data) {
  struct job* job = data;
  zelos_workspace* workspace = NULL;
  const int64_t n = zelos_query_size(job->query);
  job->failed = zelos_workspace_create(job->query, &workspace, NULL) != ZELOS_OK;
  for (int i = 0; i < kPoints && !job->failed; ++i) {
    double point[6];
    memcpy(point, kPoint, sizeof point);
    point[2] += 0.3 * i;
    job->failed = zelos_evaluate(job->query, point, job->out + n * i, workspace, NULL, NULL) != ZELOS_OK;
  }
  zelos_workspace_destroy(workspace);
  return NULL;
}

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  zelos_emulator* emulator = open_artifact(argv[1]);
  if (emulator == NULL) return 1;
  zelos_query* query = query_all(emulator);
  const size_t bytes = sizeof(double) * (size_t)zelos_query_size(query) * kPoints;
  struct job serial = {query, malloc(bytes), 0}, jobs[kThreads];
  pthread_t threads[kThreads];
  work(&serial);
  CHECK(!serial.failed);
  for (int t = 0; t < kThreads; ++t) {
    jobs[t] = (struct job){query, malloc(bytes), 0};
    CHECK(pthread_create(&threads[t], NULL, work, &jobs[t]) == 0);
  }
  for (int t = 0; t < kThreads; ++t) {
    CHECK(pthread_join(threads[t], NULL) == 0);
    CHECK(!jobs[t].failed && !memcmp(jobs[t].out, serial.out, bytes));
    free(jobs[t].out);
  }
  free(serial.out);
  zelos_query_destroy(query);
  zelos_emulator_close(emulator);
  return failures != 0;
}
