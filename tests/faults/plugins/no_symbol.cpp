// SPDX-License-Identifier: BSD-3-Clause
// A shared library of another kind.
extern "C" __attribute__((visibility("default"))) int answer() { return 42; }
