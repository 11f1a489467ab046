/* SPDX-License-Identifier: BSD-3-Clause */
/* The C ABI from outside: versions agree, and a missing file is a status with a message that names it. */
#include <stdio.h>
#include <string.h>
#include <zelos/abi/zelos.h>

int main(void) {
  uint32_t major = 0, minor = 0;
  zelos_error error = {.struct_size = sizeof error};
  zelos_emulator *emulator = NULL;
  zelos_status status;

  zelos_abi_version(&major, &minor);
  if (major != ZELOS_ABI_MAJOR || minor < ZELOS_ABI_MINOR) {
    printf("ABI %u.%u, header %d.%d\n", major, minor, ZELOS_ABI_MAJOR, ZELOS_ABI_MINOR);
    return 1;
  }
  status = zelos_emulator_open("/no/such/file.h5", NULL, &emulator, &error);
  if (status != ZELOS_E_IO || emulator != NULL || strstr(error.message, "/no/such/file.h5") == NULL) {
    printf("status %d (%s): %s\n", (int)status, zelos_status_text(status), error.message);
    return 1;
  }
  return 0;
}
