// SPDX-License-Identifier: BSD-3-Clause
/// library.hpp: how shared libraries with a table of functions are found and loaded, for families and fallbacks alike.
/// A plugin is code: only folders and files that the user names are looked at. A loaded library is never unloaded.
/// Every function may be called from any thread.
#pragma once

#include <exception>
#include <filesystem>
#include <string>
#include <vector>

#include "zelos/error.hpp"

namespace zelos::registry {

/// Throws Error: "plugin 'FILE': WHAT".
[[noreturn]] void refuse(const std::filesystem::path& file, const std::string& what,
                         zelos_status status = ZELOS_E_FORMAT);

/// What the plugin's own code answers; its exceptions end here (ZELOS_E_INTERNAL).
template <class Call>
auto ask(const std::filesystem::path& file, const char* what, Call&& call) {
  const std::string threw = std::string(what) + " threw an exception, which no function of a plugin may do";
  try {
    return call();
  } catch (const std::exception& e) {
    refuse(file, threw + ": " + e.what(), ZELOS_E_INTERNAL);
  } catch (...) {
    refuse(file, threw, ZELOS_E_INTERNAL);
  }
}

/// The canonical path of a regular file; a relative one starts at the current folder. Throws Error(ZELOS_E_IO).
std::filesystem::path library_file(const std::filesystem::path& given);

/// The address of `symbol` in a library, which is looked into before the loader sees it (elf_check.hpp) and loaded
/// once. `file` is canonical. Throws Error: ZELOS_E_IO, ZELOS_E_FORMAT, ZELOS_E_MISSING as load_plugin() does.
const void* load_symbol(const std::filesystem::path& file, const std::string& symbol);

/// Where plugins are looked for.
struct SearchPath {
  std::vector<std::filesystem::path> folders;  ///< those that `variable` names (absolute, separated by colons), in its
                                               ///< order, then the folder `beside` where the library of zelos lies
  std::size_t n_named = 0;                     ///< how many of them stem from the variable
  std::vector<std::string> problems;           ///< what is wrong with the variable, one line each
};
SearchPath search_path(const char* variable, const char* beside);

}  // namespace zelos::registry
