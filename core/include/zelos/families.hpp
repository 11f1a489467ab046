// SPDX-License-Identifier: BSD-3-Clause
// families.hpp: which regression families there are.
#pragma once

#include <string>
#include <vector>

#include "zelos/export.hpp"

namespace zelos {

/// Ids of the families that a spec may name: the built-in ones, then those of the plugins found in ZELOS_PLUGIN_PATH
/// and beside the library. Any thread.
ZELOS_API std::vector<std::string> families();

}  // namespace zelos
