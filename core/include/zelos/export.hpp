// SPDX-License-Identifier: BSD-3-Clause
// export.hpp: marks what libzelos exports.
#pragma once

#if defined(__GNUC__)
#define ZELOS_API __attribute__((visibility("default")))
#else
#define ZELOS_API
#endif
