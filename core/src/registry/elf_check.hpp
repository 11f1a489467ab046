// SPDX-License-Identifier: BSD-3-Clause
/// elf_check.hpp: looks into a shared library before the loader does. The loader maps a truncated
/// file and dies by SIGBUS, and its messages for a wrong file mislead.
#pragma once

#include <filesystem>
#include <string>

namespace zelos::registry {

/// Throws Error unless `file` is a whole ELF shared library for the machine of this process
/// (ZELOS_E_IO, ZELOS_E_FORMAT) that exports `symbol` (ZELOS_E_MISSING). Reads the file, runs
/// nothing from it. Any thread.
void check_shared_library(const std::filesystem::path& file, const std::string& symbol);

}  // namespace zelos::registry
