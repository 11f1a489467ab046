/* SPDX-License-Identifier: BSD-3-Clause */
/* The fallback's part of zelos.h. Arguments: the artifact of the small toy, the template plugin. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "../expect.h"

static const char* const kNames[] = {"omch2", "logA"};
static const zelos_request kSigma8 = {sizeof(zelos_request), "derived", NULL, NULL};

/* The formula of the template. */
static double sigma8(const double* p) { return 0.8 * exp((p[1] - 3.05) / 2) * pow(p[0] / 0.12, 0.6); }

static void opening(const zelos_emulator* emulator, const char* plugin) {
  zelos_fallback* fallback = NULL;
  const zelos_fallback_options unknown = {sizeof unknown, 0, "{\"workers\": 2}", NULL};
  const zelos_fallback_options older = {offsetof(zelos_fallback_options, settings_json), 0, "never read", "never read"};
  CHECK_FAILS(zelos_fallback_open(NULL, plugin, NULL, &fallback, error), ZELOS_E_ARGUMENT, "NULL");
  CHECK_FAILS(zelos_fallback_open(emulator, NULL, NULL, &fallback, error), ZELOS_E_ARGUMENT, "NULL");
  CHECK_FAILS(zelos_fallback_open(emulator, plugin, NULL, NULL, error), ZELOS_E_ARGUMENT, "NULL");
  CHECK_FAILS(zelos_fallback_open(emulator, "/no/such.so", NULL, &fallback, error), ZELOS_E_IO, "/no/such.so");
  CHECK_FAILS(zelos_fallback_open(emulator, plugin, &unknown, &fallback, error), ZELOS_E_ARGUMENT, "expected none");
  CHECK(fallback == NULL);
  CHECK(zelos_fallback_open(emulator, plugin, &older, &fallback, NULL) == ZELOS_OK);
  CHECK(!strcmp(zelos_fallback_code(fallback), "formulas") && !strcmp(zelos_fallback_version(fallback), "1"));
  CHECK(!strcmp(zelos_fallback_differences(fallback), ""));
  zelos_fallback_close(fallback);
  zelos_fallback_close(NULL);
}

static void answering(const zelos_emulator* emulator, const zelos_fallback* fallback) {
  zelos_query* query = NULL;
  zelos_workspace* workspace = NULL;
  CHECK(zelos_query_create(emulator, 2, kNames, 1, &kSigma8, &query, NULL) == ZELOS_OK);
  CHECK(zelos_workspace_create(query, &workspace, NULL) == ZELOS_OK);
  const double inside[] = {0.12, 3.05}, outside[] = {0.2, 3.05}, bad[] = {-0.2, 3.05}, not_a_number[] = {NAN, 3.05};
  zelos_verdict verdict = {.struct_size = sizeof verdict};
  zelos_source source = ZELOS_SOURCE_NONE;
  double out = -77;

  CHECK(zelos_answer(query, fallback, inside, &out, workspace, &verdict, &source, NULL) == ZELOS_OK);
  CHECK(source == ZELOS_SOURCE_EMULATOR && verdict.reason == ZELOS_INSIDE && fabs(out / sigma8(inside) - 1) < 1e-3);
  CHECK(zelos_answer(query, fallback, outside, &out, workspace, &verdict, &source, NULL) == ZELOS_OK);
  CHECK(source == ZELOS_SOURCE_FALLBACK && verdict.reason == ZELOS_BOX && !strcmp(verdict.parameter, "omch2"));
  CHECK(fabs(out / sigma8(outside) - 1) < 1e-14);
  CHECK(zelos_answer(query, fallback, outside, &out, workspace, NULL, NULL, NULL) == ZELOS_OK);
  CHECK(zelos_fallback_evaluate(fallback, query, inside, &out, NULL, NULL) == ZELOS_OK);
  CHECK(fabs(out / sigma8(inside) - 1) < 1e-14);

  /* What nobody answers leaves the numbers as they were. */
  out = -77;
  CHECK_FAILS(zelos_answer(query, fallback, bad, &out, workspace, &verdict, &source, error), ZELOS_E_NUMERIC,
              "omch2 = -0.2");
  CHECK(source == ZELOS_SOURCE_NONE && out == -77);
  CHECK_FAILS(zelos_answer(query, fallback, not_a_number, &out, workspace, &verdict, &source, error), ZELOS_E_OUTSIDE,
              "'omch2'");
  CHECK_FAILS(zelos_answer(query, NULL, outside, &out, workspace, &verdict, &source, error), ZELOS_E_OUTSIDE,
              "'omch2'");
  CHECK_FAILS(zelos_fallback_evaluate(fallback, query, not_a_number, &out, NULL, error), ZELOS_E_OUTSIDE, "'omch2'");
  CHECK(out == -77 && source == ZELOS_SOURCE_NONE);
  CHECK_FAILS(zelos_answer(NULL, fallback, inside, &out, workspace, NULL, NULL, error), ZELOS_E_ARGUMENT, "NULL");
  CHECK_FAILS(zelos_answer(query, fallback, inside, NULL, workspace, NULL, NULL, error), ZELOS_E_ARGUMENT, "NULL");
  CHECK_FAILS(zelos_fallback_evaluate(NULL, query, inside, &out, NULL, error), ZELOS_E_ARGUMENT, "NULL");
  CHECK_FAILS(zelos_fallback_evaluate(fallback, query, inside, NULL, NULL, error), ZELOS_E_ARGUMENT, "NULL");
  zelos_workspace_destroy(workspace);
  zelos_query_destroy(query);
}

static void counting(const zelos_fallback* fallback) {
  zelos_fallback_statistics s = {.struct_size = sizeof s};
  CHECK(zelos_fallback_count(fallback, &s, NULL) == ZELOS_OK);
  CHECK(s.points == 5 && s.runs == 2 && s.repeated == 1 && s.from_cache == 0 && s.failed == 2 && s.seconds > 0);
  CHECK_FAILS(zelos_fallback_count(NULL, &s, error), ZELOS_E_ARGUMENT, "NULL");
  const size_t size = zelos_fallback_report_json(fallback, NULL, 0);
  char* text = malloc(size);
  CHECK(zelos_fallback_report_json(fallback, text, size) == size && strlen(text) + 1 == size);
  CHECK(strstr(text, "\"reasons\":{\"omch2\":3}") && strstr(text, "\"runs\":2") && strstr(text, "last_failure"));
  CHECK(zelos_fallback_report_json(fallback, text, 8) == size && strlen(text) == 7);
  free(text);
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  zelos_emulator* emulator = NULL;
  zelos_fallback* fallback = NULL;
  if (zelos_emulator_open(argv[1], NULL, &emulator, NULL) != ZELOS_OK) return 1;
  opening(emulator, argv[2]);
  if (zelos_fallback_open(emulator, argv[2], NULL, &fallback, NULL) != ZELOS_OK) return 1;
  answering(emulator, fallback);
  counting(fallback);
  zelos_emulator_close(emulator);
  CHECK(!strcmp(zelos_fallback_code(fallback), "formulas")); /* lives on */
  zelos_fallback_close(fallback);
  if (failures) fprintf(stderr, "%d checks failed\n", failures);
  return failures != 0;
}
