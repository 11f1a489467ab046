/* SPDX-License-Identifier: BSD-3-Clause */
/* The C ABI from outside: versions agree, a missing file is a status with a message that names it,
 * and the artifact named by the argument answers. */
#include <stdio.h>
#include <string.h>
#include <zelos/abi/zelos.h>

static int failed(const char* what, zelos_status status, const zelos_error* error) {
  printf("%s: status %d (%s): %s\n", what, (int)status, zelos_status_text(status), error->message);
  return 1;
}

int main(int argc, char** argv) {
  uint32_t major = 0, minor = 0;
  zelos_error error = {.struct_size = sizeof error};
  zelos_emulator* emulator = NULL;
  zelos_query* query = NULL;
  zelos_workspace* workspace = NULL;
  zelos_status status;

  if (argc != 2) return 2;
  zelos_abi_version(&major, &minor);
  if (major != ZELOS_ABI_MAJOR || minor < ZELOS_ABI_MINOR) {
    printf("ABI %u.%u, header %d.%d\n", major, minor, ZELOS_ABI_MAJOR, ZELOS_ABI_MINOR);
    return 1;
  }
  status = zelos_emulator_open("/no/such/file.h5", NULL, &emulator, &error);
  if (status != ZELOS_E_IO || emulator != NULL || strstr(error.message, "/no/such/file.h5") == NULL) {
    return failed("a file that does not exist", status, &error);
  }
  status = zelos_emulator_open(argv[1], NULL, &emulator, &error);
  if (status != ZELOS_OK) return failed("open", status, &error);

  const char* const names[] = {"ombh2", "omch2", "h", "tau", "As", "ns"};
  const double point[] = {0.0224, 0.12, 0.68, 0.054, 2.1e-9, 0.965};
  const zelos_request request = {.struct_size = sizeof request, .output = "Hubble"};
  double hubble[64];
  status = zelos_query_create(emulator, 6, names, 1, &request, &query, &error);
  if (status != ZELOS_OK) return failed("query", status, &error);
  status = zelos_workspace_create(query, &workspace, &error);
  if (status != ZELOS_OK) return failed("workspace", status, &error);
  if (zelos_query_size(query) > 64) return 1;
  status = zelos_evaluate(query, point, hubble, workspace, NULL, &error);
  if (status != ZELOS_OK) return failed("evaluate", status, &error);
  zelos_workspace_destroy(workspace);
  zelos_query_destroy(query);
  zelos_emulator_close(emulator);
  if (hubble[0] < 67.9 || hubble[0] > 68.1) {
    printf("H(0) = %g, expected 68\n", hubble[0]);
    return 1;
  }
  return 0;
}
