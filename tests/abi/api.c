/* SPDX-License-Identifier: BSD-3-Clause */
/* Every function of zelos.h on the artifact named by the first argument: answers, refusals, what
 * stays untouched, and how long handles and strings live. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "check.h"

static void versions(void) {
  uint32_t major = 99, minor = 99;
  zelos_abi_version(&major, &minor);
  CHECK(major == ZELOS_ABI_MAJOR && minor == ZELOS_ABI_MINOR);
  zelos_abi_version(NULL, NULL);
  CHECK(strchr(zelos_version(), '.') != NULL);
  for (int s = ZELOS_OK; s <= ZELOS_E_INTERNAL; ++s) {
    CHECK(strlen(zelos_status_text((zelos_status)s)) > 1);
    for (int t = ZELOS_OK; t < s; ++t)
      CHECK(strcmp(zelos_status_text((zelos_status)s), zelos_status_text((zelos_status)t)));
  }
  CHECK(strlen(zelos_status_text((zelos_status)77)) > 1);
}

static void opening(const char* path) {
  zelos_emulator* emulator = NULL;
  const zelos_open_options skip = {.struct_size = sizeof skip, .skip_probes = 1};
  const zelos_open_options older = {.struct_size = sizeof(uint32_t), .skip_probes = 1};
  CHECK_FAILS(zelos_emulator_open("/no/such.h5", NULL, &emulator, error), ZELOS_E_IO, "/no/such.h5");
  CHECK_FAILS(zelos_emulator_open(NULL, NULL, &emulator, error), ZELOS_E_ARGUMENT, "NULL");
  CHECK_FAILS(zelos_emulator_open(path, NULL, NULL, error), ZELOS_E_ARGUMENT, "NULL");
  CHECK(zelos_emulator_open("/no/such.h5", NULL, &emulator, NULL) == ZELOS_E_IO);
  CHECK(emulator == NULL);
  CHECK(zelos_emulator_open(path, &skip, &emulator, NULL) == ZELOS_OK);
  zelos_emulator_close(emulator);
  CHECK(zelos_emulator_open(path, &older, &emulator, NULL) == ZELOS_OK);

  FILE* file = fopen(path, "rb");
  CHECK(file != NULL);
  fseek(file, 0, SEEK_END);
  const size_t size = (size_t)ftell(file);
  char* bytes = malloc(size);
  rewind(file);
  CHECK(fread(bytes, 1, size, file) == size);
  fclose(file);
  zelos_emulator* from_memory = NULL;
  CHECK_FAILS(zelos_emulator_open_memory(NULL, 0, "x", NULL, &from_memory, error), ZELOS_E_ARGUMENT, "NULL");
  CHECK_FAILS(zelos_emulator_open_memory(bytes, size, "x", NULL, NULL, error), ZELOS_E_ARGUMENT, "NULL");
  CHECK_FAILS(zelos_emulator_open_memory(bytes, size - 1, "cut.h5", NULL, &from_memory, error), ZELOS_E_FORMAT,
              "cut.h5");
  CHECK_FAILS(zelos_emulator_open_memory(bytes, 0, NULL, NULL, &from_memory, error), ZELOS_E_FORMAT, "memory");
  CHECK(zelos_emulator_open_memory(bytes, size, NULL, NULL, &from_memory, NULL) == ZELOS_OK);
  memset(bytes, 0, size);
  free(bytes);
  CHECK(!strcmp(zelos_emulator_id(from_memory), zelos_emulator_id(emulator)));
  zelos_emulator_close(from_memory);
  zelos_emulator_close(emulator);
  zelos_emulator_close(NULL);
}

static void errors(void) {
  /* A record of an older, shorter kind is filled as far as it goes; one that was not set up is left
   * alone. */
  zelos_emulator* emulator = NULL;
  zelos_error shorter;
  memset(&shorter, 'x', sizeof shorter);
  shorter.struct_size = offsetof(zelos_error, message) + 10;
  CHECK(zelos_emulator_open("/no/such.h5", NULL, &emulator, &shorter) == ZELOS_E_IO);
  CHECK(shorter.code == ZELOS_E_IO && strlen(shorter.message) == 9 && shorter.message[10] == 'x');
  memset(&shorter, 0, sizeof shorter);
  CHECK(zelos_emulator_open("/no/such.h5", NULL, &emulator, &shorter) == ZELOS_E_IO);
  CHECK(shorter.code == 0 && shorter.message[0] == 0);
}

static void description(const zelos_emulator* emulator) {
  CHECK(!strcmp(zelos_emulator_name(emulator), "toy"));
  CHECK(!strcmp(zelos_emulator_version(emulator), "1.2.0"));
  CHECK(strlen(zelos_emulator_id(emulator)) == 64);
  CHECK(zelos_emulator_info_json(emulator)[0] == '{');
  CHECK(strstr(zelos_emulator_info_json(emulator), zelos_emulator_id(emulator)) != NULL);

  zelos_parameter_info parameter = {.struct_size = sizeof parameter};
  CHECK(zelos_emulator_n_parameters(emulator) == 6);
  for (int32_t i = 0; i < 6; ++i) {
    CHECK(zelos_emulator_parameter(emulator, i, &parameter, NULL) == ZELOS_OK);
    CHECK(!strcmp(parameter.name, kNames[i]) && parameter.min < kPoint[i] && parameter.max > kPoint[i]);
  }
  CHECK(zelos_emulator_parameter(emulator, 2, &parameter, NULL) == ZELOS_OK);
  CHECK(!strcmp(parameter.unit, "km/s/Mpc") && parameter.n_synonyms == 1 && !strcmp(parameter.synonyms[0], "h"));
  CHECK_FAILS(zelos_emulator_parameter(emulator, 6, &parameter, error), ZELOS_E_ARGUMENT, "range");
  CHECK_FAILS(zelos_emulator_parameter(emulator, -1, &parameter, error), ZELOS_E_ARGUMENT, "range");
  CHECK_FAILS(zelos_emulator_parameter(NULL, 0, &parameter, error), ZELOS_E_ARGUMENT, "NULL");
  CHECK_FAILS(zelos_emulator_parameter(emulator, 0, NULL, error), ZELOS_E_ARGUMENT, "NULL");
  /* A caller with an older, shorter struct gets what it has room for. */
  memset(&parameter, 0x5a, sizeof parameter);
  parameter.struct_size = offsetof(zelos_parameter_info, latex);
  CHECK(zelos_emulator_parameter(emulator, 2, &parameter, NULL) == ZELOS_OK);
  CHECK(parameter.struct_size == offsetof(zelos_parameter_info, latex));
  CHECK(!strcmp(parameter.name, "H0") && ((unsigned char*)&parameter.latex)[0] == 0x5a &&
        parameter.n_synonyms == 0x5a5a5a5a);
  parameter.struct_size = 0;
  CHECK_FAILS(zelos_emulator_parameter(emulator, 0, &parameter, error), ZELOS_E_ARGUMENT, "struct_size");

  zelos_output_info output = {.struct_size = sizeof output};
  zelos_axis_info axis = {.struct_size = sizeof axis};
  CHECK(zelos_emulator_n_outputs(emulator) == 9);
  CHECK(zelos_emulator_output(emulator, 3, &output, NULL) == ZELOS_OK);
  CHECK(!strcmp(output.name, "Pk.linear") && output.n_axes == 2 && output.shape[0] == 16 && output.shape[1] == 5);
  CHECK(!strcmp(output.family, "polynomial"));
  CHECK(zelos_emulator_axis(emulator, 3, 1, &axis, NULL) == ZELOS_OK);
  CHECK(!strcmp(axis.name, "z") && axis.size == 5 && axis.values[1] == 0.5 && axis.labels == NULL);
  CHECK(zelos_emulator_axis(emulator, 8, 0, &axis, NULL) == ZELOS_OK);
  CHECK(axis.size == 3 && !strcmp(axis.labels[1], "sigma8"));
  CHECK_FAILS(zelos_emulator_output(emulator, 9, &output, error), ZELOS_E_ARGUMENT, "range");
  CHECK_FAILS(zelos_emulator_output(NULL, 0, &output, error), ZELOS_E_ARGUMENT, "NULL");
  CHECK_FAILS(zelos_emulator_output(emulator, 0, NULL, error), ZELOS_E_ARGUMENT, "NULL");
  CHECK_FAILS(zelos_emulator_axis(emulator, 3, 2, &axis, error), ZELOS_E_ARGUMENT, "range");
  CHECK_FAILS(zelos_emulator_axis(emulator, 99, 0, &axis, error), ZELOS_E_ARGUMENT, "range");
  CHECK_FAILS(zelos_emulator_axis(NULL, 0, 0, &axis, error), ZELOS_E_ARGUMENT, "NULL");
  output.struct_size = 2;
  CHECK_FAILS(zelos_emulator_output(emulator, 0, &output, error), ZELOS_E_ARGUMENT, "struct_size");
  axis.struct_size = 2;
  CHECK_FAILS(zelos_emulator_axis(emulator, 0, 0, &axis, error), ZELOS_E_ARGUMENT, "struct_size");
}

/* A request as a later header may have it: with a member at the end that this library does not
 * know. */
struct later_request {
  zelos_request request;
  const void* unknown;
};

static void binding(const zelos_emulator* emulator) {
  zelos_query* query = NULL;
  const double k[3] = {0.002, 0.05, 0.9}, z[1] = {0.7};
  const int64_t sizes[2] = {3, 1}, native_k[2] = {0, 1}, negative[2] = {-1, 1};
  const double *const values[2] = {k, z}, *const only_z[2] = {NULL, z};
  const zelos_request pk = {sizeof pk, "Pk.linear", sizes, values};
  const zelos_request some[2] = {pk, {sizeof pk, "Pk.linear", native_k, only_z}};
  int64_t offset = -1, size = -1;
  CHECK(zelos_query_create(emulator, 6, kNames, 2, some, &query, NULL) == ZELOS_OK);
  CHECK(zelos_query_size(query) == 3 + 16);
  CHECK(zelos_query_block(query, 1, &offset, &size, NULL) == ZELOS_OK && offset == 3 && size == 16);
  CHECK(zelos_query_block(query, 0, NULL, NULL, NULL) == ZELOS_OK);
  CHECK_FAILS(zelos_query_block(query, 2, &offset, &size, error), ZELOS_E_ARGUMENT, "range");
  CHECK_FAILS(zelos_query_block(query, -1, &offset, &size, error), ZELOS_E_ARGUMENT, "range");
  CHECK_FAILS(zelos_query_block(NULL, 0, &offset, &size, error), ZELOS_E_ARGUMENT, "NULL");
  zelos_query_destroy(query);
  query = NULL;

  const struct later_request later[2] = {{{sizeof later[0], "Cl.tt", NULL, NULL}, NULL},
                                         {{sizeof later[0], "Hubble", NULL, NULL}, NULL}};
  CHECK(zelos_query_create(emulator, 6, kNames, 2, &later[0].request, &query, NULL) == ZELOS_OK);
  CHECK(zelos_query_size(query) == 149 + 13);
  zelos_query_destroy(query);
  query = NULL;

  const char* const unknown[6] = {"ombh2", "omch2", "H_0", "tau", "logA", "ns"};
  const char* const null_name[6] = {"ombh2", NULL, "H0", "tau", "logA", "ns"};
  const zelos_request unnamed = {sizeof unnamed, NULL, NULL, NULL}, unset = {0, "Cl.tt", NULL, NULL};
  const zelos_request no_values = {sizeof no_values, "Pk.linear", sizes, NULL};
  const zelos_request no_k = {sizeof no_k, "Pk.linear", sizes, only_z};
  const zelos_request minus = {sizeof minus, "Pk.linear", negative, values};
  CHECK_FAILS(zelos_query_create(emulator, 6, unknown, 1, &pk, &query, error), ZELOS_E_ARGUMENT, "H_0");
  CHECK_FAILS(zelos_query_create(emulator, 5, kNames, 1, &pk, &query, error), ZELOS_E_ARGUMENT, "ns");
  CHECK_FAILS(zelos_query_create(emulator, 6, null_name, 1, &pk, &query, error), ZELOS_E_ARGUMENT, "NULL");
  CHECK_FAILS(zelos_query_create(emulator, 6, NULL, 1, &pk, &query, error), ZELOS_E_ARGUMENT, "NULL");
  CHECK_FAILS(zelos_query_create(emulator, -1, kNames, 1, &pk, &query, error), ZELOS_E_ARGUMENT, "parameter_names");
  CHECK_FAILS(zelos_query_create(emulator, 6, kNames, 1, NULL, &query, error), ZELOS_E_ARGUMENT, "NULL");
  CHECK_FAILS(zelos_query_create(emulator, 6, kNames, -1, &pk, &query, error), ZELOS_E_ARGUMENT, "requests");
  CHECK_FAILS(zelos_query_create(NULL, 6, kNames, 1, &pk, &query, error), ZELOS_E_ARGUMENT, "NULL");
  CHECK_FAILS(zelos_query_create(emulator, 6, kNames, 1, &pk, NULL, error), ZELOS_E_ARGUMENT, "NULL");
  CHECK_FAILS(zelos_query_create(emulator, 6, kNames, 1, &unnamed, &query, error), ZELOS_E_ARGUMENT, "output");
  CHECK_FAILS(zelos_query_create(emulator, 6, kNames, 1, &unset, &query, error), ZELOS_E_ARGUMENT, "struct_size");
  CHECK_FAILS(zelos_query_create(emulator, 6, kNames, 1, &no_values, &query, error), ZELOS_E_ARGUMENT, "axis_values");
  CHECK_FAILS(zelos_query_create(emulator, 6, kNames, 1, &no_k, &query, error), ZELOS_E_ARGUMENT, "axis_values");
  CHECK_FAILS(zelos_query_create(emulator, 6, kNames, 1, &minus, &query, error), ZELOS_E_ARGUMENT, "axis_values");
  CHECK(query == NULL);
  zelos_query_destroy(NULL);
}

static int untouched(const double* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    if (x[i] != -77) return 0;
  }
  return 1;
}

static void evaluation(const zelos_query* query, zelos_workspace* workspace) {
  const int64_t n = zelos_query_size(query);
  double *out = malloc(sizeof(double) * (size_t)n), *again = malloc(sizeof(double) * (size_t)n);
  double *product = malloc(sizeof(double) * (size_t)n), *cotangent = malloc(sizeof(double) * (size_t)n);
  double* jacobian = malloc(sizeof(double) * 6 * (size_t)n);
  double direction[6] = {1e-4, 1e-3, 0.3, 1e-3, 1e-2, 1e-3}, pulled[6], errors[9];
  zelos_verdict verdict = {.struct_size = sizeof verdict};

  CHECK(zelos_evaluate(query, kPoint, out, workspace, &verdict, NULL) == ZELOS_OK);
  CHECK(verdict.reason == ZELOS_INSIDE && verdict.parameter[0] == 0 && verdict.message[0] == 0);
  CHECK(zelos_evaluate(query, kPoint, again, workspace, NULL, NULL) == ZELOS_OK);
  CHECK(!memcmp(out, again, sizeof(double) * (size_t)n));
  for (int64_t i = 0; i < n; ++i) CHECK(isfinite(out[i]));
  CHECK(zelos_jacobian(query, kPoint, again, jacobian, workspace, &verdict, NULL) == ZELOS_OK);
  CHECK(zelos_jvp(query, kPoint, direction, again, product, workspace, &verdict, NULL) == ZELOS_OK);
  for (int64_t i = 0; i < n; ++i) {
    double sum = 0, size = 0;
    for (int j = 0; j < 6; ++j)
      sum += jacobian[6 * i + j] * direction[j], size += fabs(jacobian[6 * i + j] * direction[j]);
    CHECK(fabs(sum - product[i]) <= 1e-12 * size);
    cotangent[i] = out[i] == 0 ? 0 : 1 / out[i];
  }
  CHECK(zelos_vjp(query, kPoint, cotangent, again, pulled, workspace, &verdict, NULL) == ZELOS_OK);
  for (int j = 0; j < 6; ++j) {
    double sum = 0, size = 0;
    for (int64_t i = 0; i < n; ++i)
      sum += jacobian[6 * i + j] * cotangent[i], size += fabs(jacobian[6 * i + j] * cotangent[i]);
    CHECK(fabs(sum - pulled[j]) <= 1e-12 * size);
  }
  CHECK(zelos_verdict_at(query, kPoint, workspace, &verdict, NULL) == ZELOS_OK && verdict.reason == ZELOS_INSIDE);
  CHECK(zelos_verdict_at(query, kPoint, workspace, NULL, NULL) == ZELOS_OK);
  CHECK(zelos_predicted_error(query, kPoint, errors, workspace, NULL) == ZELOS_OK && isnan(errors[0]));

  zelos_error_model* ideal = NULL;
  zelos_likelihood wrong = {.struct_size = sizeof wrong, .n_data = 3, .matrix = kPoint};
  double mean = -77, quantile = -77, factor = -77;
  int64_t left_out = -77;
  CHECK(zelos_error_model_create(query, NULL, &ideal, NULL) == ZELOS_OK);
  CHECK(zelos_error_model_evaluate(ideal, kPoint, &mean, &quantile, workspace, NULL) == ZELOS_OK && isnan(mean) &&
        isnan(quantile)); /* one of the outputs predicts no error */
  zelos_error_model_calibration(ideal, &factor, &left_out);
  zelos_error_model_calibration(ideal, NULL, NULL);
  CHECK(factor == 1 && left_out == 0);
  CHECK_FAILS(zelos_error_model_create(query, &wrong, &ideal, error), ZELOS_E_ARGUMENT, "needs a covariance");
  wrong.covariance = kPoint, wrong.matrix = NULL;
  CHECK_FAILS(zelos_error_model_create(query, &wrong, &ideal, error), ZELOS_E_ARGUMENT, "n_data");
  CHECK_FAILS(zelos_error_model_create(query, NULL, NULL, error), ZELOS_E_ARGUMENT, "NULL");
  CHECK_FAILS(zelos_error_model_evaluate(ideal, NULL, &mean, NULL, workspace, error), ZELOS_E_ARGUMENT, "NULL");
  zelos_error_model_destroy(ideal);
  zelos_error_model_destroy(NULL);

  /* Outside: a status, a verdict in words, and nothing touched. */
  double outside[6], nan_point[6];
  memcpy(outside, kPoint, sizeof outside);
  memcpy(nan_point, kPoint, sizeof nan_point);
  outside[3] = 0.5;
  nan_point[1] = NAN;
  for (int64_t i = 0; i < n; ++i) again[i] = product[i] = -77;
  for (int64_t i = 0; i < 6 * n; ++i) jacobian[i] = -77;
  for (int j = 0; j < 6; ++j) pulled[j] = -77;
  for (int j = 0; j < 9; ++j) errors[j] = -77;
  CHECK_FAILS(zelos_evaluate(query, outside, again, workspace, &verdict, error), ZELOS_E_OUTSIDE, "'tau'");
  CHECK(verdict.reason == ZELOS_BOX && !strcmp(verdict.parameter, "tau") && verdict.value == 0.5 &&
        verdict.lower == 0.04 && verdict.upper == 0.08 && fabs(verdict.excess - 10.5) < 1e-9 &&
        strstr(verdict.message, "tau"));
  CHECK_FAILS(zelos_jacobian(query, outside, again, jacobian, workspace, NULL, error), ZELOS_E_OUTSIDE, "'tau'");
  CHECK_FAILS(zelos_jvp(query, nan_point, direction, again, product, workspace, &verdict, error), ZELOS_E_OUTSIDE,
              "'omch2'");
  CHECK(verdict.reason == ZELOS_NOT_FINITE);
  CHECK_FAILS(zelos_vjp(query, nan_point, cotangent, again, pulled, workspace, NULL, error), ZELOS_E_OUTSIDE,
              "'omch2'");
  CHECK_FAILS(zelos_predicted_error(query, nan_point, errors, workspace, error), ZELOS_E_OUTSIDE, "'omch2'");
  CHECK(zelos_evaluate(query, outside, again, workspace, NULL, NULL) == ZELOS_E_OUTSIDE);
  CHECK(untouched(again, n) && untouched(product, n) && untouched(jacobian, 6 * n) && untouched(pulled, 6) &&
        untouched(errors, 9));
  CHECK(zelos_verdict_at(query, outside, workspace, &verdict, NULL) == ZELOS_OK && verdict.reason == ZELOS_BOX);
  /* A verdict of an older, shorter kind. */
  memset(&verdict, 0x5a, sizeof verdict);
  verdict.struct_size = offsetof(zelos_verdict, value);
  CHECK(zelos_verdict_at(query, outside, workspace, &verdict, NULL) == ZELOS_OK);
  CHECK(verdict.reason == ZELOS_BOX && !strcmp(verdict.parameter, "tau") &&
        ((unsigned char*)&verdict.value)[0] == 0x5a);

  /* NULL is answered, not followed. */
  CHECK_FAILS(zelos_evaluate(NULL, kPoint, out, workspace, NULL, error), ZELOS_E_ARGUMENT, "NULL");
  CHECK_FAILS(zelos_evaluate(query, NULL, out, workspace, NULL, error), ZELOS_E_ARGUMENT, "NULL");
  CHECK_FAILS(zelos_evaluate(query, kPoint, NULL, workspace, NULL, error), ZELOS_E_ARGUMENT, "NULL");
  CHECK_FAILS(zelos_evaluate(query, kPoint, out, NULL, NULL, error), ZELOS_E_ARGUMENT, "NULL");
  CHECK_FAILS(zelos_jacobian(query, kPoint, out, NULL, workspace, NULL, error), ZELOS_E_ARGUMENT, "NULL");
  CHECK_FAILS(zelos_jvp(query, kPoint, NULL, out, product, workspace, NULL, error), ZELOS_E_ARGUMENT, "NULL");
  CHECK_FAILS(zelos_vjp(query, kPoint, cotangent, out, NULL, workspace, NULL, error), ZELOS_E_ARGUMENT, "NULL");
  CHECK_FAILS(zelos_verdict_at(query, kPoint, NULL, &verdict, error), ZELOS_E_ARGUMENT, "NULL");
  CHECK_FAILS(zelos_predicted_error(query, kPoint, NULL, workspace, error), ZELOS_E_ARGUMENT, "NULL");
  free(out), free(again), free(product), free(cotangent), free(jacobian);
}

/* Found by hand: what differs between the codes' names, what is solved for, what the training held fixed. */
static void physics(const zelos_emulator* emulator) {
  const char* names[7] = {"omega_b", "omch2", "100thetastar", "tau", "As", "ns", "mnu"};
  const double held[7] = {0.0223, 0.12, 1.04, 0.06, 2.1e-9, 0.965, 0.06};
  const char* expected[7] = {"ombh2", "omch2", "thetastar", "tau", "logA", "ns", "mnu"};
  const double numbers[7] = {0.0223, 0.12, 0.0104, 0.06, 3.0445224377234217, 0.965, 0.06};
  zelos_query* query = NULL;
  zelos_workspace* workspace = NULL;
  CHECK(zelos_query_create(emulator, 7, names, 0, NULL, &query, NULL) == ZELOS_OK);
  CHECK(zelos_workspace_create(query, &workspace, NULL) == ZELOS_OK);
  CHECK(zelos_query_n_physics(query) == 7);
  zelos_physics_info info = {.struct_size = sizeof info};
  for (int i = 0; i < 7; ++i) {
    CHECK(zelos_query_physics(query, i, &info, NULL) == ZELOS_OK);
    CHECK(!strcmp(info.name, expected[i]));
    CHECK(info.kind == (i == 2 ? ZELOS_PHYSICS_SOLVED : i == 6 ? ZELOS_PHYSICS_FIXED : ZELOS_PHYSICS_PARAMETER));
    CHECK(info.held == (i == 6 ? 0.06 : 0));
  }
  double found[7], point[7];
  int32_t told[7];
  CHECK(zelos_physics(query, held, found, told, workspace, NULL) == ZELOS_OK);
  for (int i = 0; i < 7; ++i) CHECK(fabs(found[i] - numbers[i]) <= 1e-15 * fabs(numbers[i]) && told[i] == (i < 6));
  /* Far outside, with other physics than the training's: told all the same. */
  memcpy(point, held, sizeof point);
  point[1] = 0.9, point[6] = 0.3;
  CHECK(zelos_physics(query, point, found, told, workspace, NULL) == ZELOS_OK);
  CHECK(found[1] == 0.9 && found[6] == 0.3 && told[6] == 1);
  CHECK(zelos_physics(query, point, found, NULL, workspace, NULL) == ZELOS_OK);
  point[3] = NAN, found[0] = -77;
  CHECK_FAILS(zelos_physics(query, point, found, told, workspace, error), ZELOS_E_ARGUMENT, "'tau'");
  CHECK(found[0] == -77);
  /* An older, shorter struct; indices and NULL. */
  memset(&info, 0x5a, sizeof info);
  info.struct_size = offsetof(zelos_physics_info, name);
  CHECK(zelos_query_physics(query, 2, &info, NULL) == ZELOS_OK && info.kind == ZELOS_PHYSICS_SOLVED);
  CHECK(((unsigned char*)&info.name)[0] == 0x5a);
  CHECK_FAILS(zelos_query_physics(query, 7, &info, error), ZELOS_E_ARGUMENT, "out of range");
  CHECK_FAILS(zelos_query_physics(query, -1, &info, error), ZELOS_E_ARGUMENT, "out of range");
  CHECK_FAILS(zelos_query_physics(query, 0, NULL, error), ZELOS_E_ARGUMENT, "NULL");
  CHECK_FAILS(zelos_physics(query, held, NULL, told, workspace, error), ZELOS_E_ARGUMENT, "NULL");
  zelos_workspace_destroy(workspace);
  zelos_query_destroy(query);
  double x = -77;
  CHECK(zelos_convert(3.0445224377234217, "logA", "As", &x, NULL) == ZELOS_OK && fabs(x - 2.1e-9) < 1e-23);
  CHECK(zelos_convert(0.7, "h", "H0", &x, NULL) == ZELOS_OK && fabs(x - 70) < 1e-12);
  CHECK(zelos_convert(0.3, "mnu", "mnu", &x, NULL) == ZELOS_OK && x == 0.3);
  CHECK_FAILS(zelos_convert(1, "omch2", "ombh2", &x, error), ZELOS_E_ARGUMENT, "'omch2'");
  CHECK_FAILS(zelos_convert(1, "nonsense", "As", &x, error), ZELOS_E_ARGUMENT, "'nonsense'");
  CHECK_FAILS(zelos_convert(1, "logA", NULL, &x, error), ZELOS_E_ARGUMENT, "NULL");
}

static void batch(const zelos_query* query, zelos_workspace* workspace) {
  const int64_t n = zelos_query_size(query);
  double points[18], *out = malloc(sizeof(double) * 3 * (size_t)n), *one = malloc(sizeof(double) * (size_t)n);
  int32_t inside[3] = {7, 7, 7};
  for (int i = 0; i < 3; ++i) memcpy(points + 6 * i, kPoint, sizeof kPoint);
  points[6 + 5] = 2;
  points[12 + 2] = 71;
  for (int64_t i = 0; i < 3 * n; ++i) out[i] = -77;
  CHECK(zelos_evaluate_batch(query, 3, points, out, inside, workspace, NULL) == ZELOS_OK);
  CHECK(inside[0] == 1 && inside[1] == 0 && inside[2] == 1);
  CHECK(untouched(out + n, n));
  CHECK(zelos_evaluate(query, points + 12, one, workspace, NULL, NULL) == ZELOS_OK);
  CHECK(!memcmp(one, out + 2 * n, sizeof(double) * (size_t)n));
  CHECK(zelos_evaluate_batch(query, 3, points, out, NULL, workspace, NULL) == ZELOS_OK);
  CHECK(zelos_evaluate_batch(query, 0, NULL, NULL, NULL, workspace, NULL) == ZELOS_OK);
  CHECK_FAILS(zelos_evaluate_batch(query, -1, points, out, NULL, workspace, error), ZELOS_E_ARGUMENT, "negative");
  CHECK_FAILS(zelos_evaluate_batch(query, 3, NULL, out, NULL, workspace, error), ZELOS_E_ARGUMENT, "NULL");
  CHECK_FAILS(zelos_evaluate_batch(query, 3, points, NULL, NULL, workspace, error), ZELOS_E_ARGUMENT, "NULL");
  free(out), free(one);
}

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  versions();
  opening(argv[1]);
  errors();
  zelos_emulator* emulator = open_artifact(argv[1]);
  if (emulator == NULL) return 1;
  description(emulator);
  binding(emulator);
  zelos_query *query = query_all(emulator), *other = NULL;
  zelos_workspace *workspace = NULL, *foreign = NULL;
  const zelos_request hubble = {sizeof hubble, "Hubble", NULL, NULL};
  CHECK(zelos_query_create(emulator, 6, kNames, 1, &hubble, &other, NULL) == ZELOS_OK);
  CHECK_FAILS(zelos_workspace_create(NULL, &workspace, error), ZELOS_E_ARGUMENT, "NULL");
  CHECK_FAILS(zelos_workspace_create(query, NULL, error), ZELOS_E_ARGUMENT, "NULL");
  CHECK(zelos_workspace_create(query, &workspace, NULL) == ZELOS_OK);
  CHECK(zelos_workspace_create(other, &foreign, NULL) == ZELOS_OK);
  double out[13];
  CHECK_FAILS(zelos_evaluate(query, kPoint, out, foreign, NULL, error), ZELOS_E_ARGUMENT, "another query");
  zelos_workspace_destroy(foreign);
  zelos_workspace_destroy(NULL);
  zelos_query_destroy(other);
  physics(emulator);
  /* Queries keep what they need of a closed emulator. */
  zelos_emulator_close(emulator);
  evaluation(query, workspace);
  batch(query, workspace);
  zelos_workspace_destroy(workspace);
  zelos_query_destroy(query);
  if (failures) fprintf(stderr, "%d checks failed\n", failures);
  return failures != 0;
}
