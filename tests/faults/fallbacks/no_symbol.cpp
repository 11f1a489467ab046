// SPDX-License-Identifier: BSD-3-Clause
extern "C" __attribute__((visibility("default"))) int zelos_fallback_entry_v2;
int zelos_fallback_entry_v2 = 2;
