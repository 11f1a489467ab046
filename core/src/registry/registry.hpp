// SPDX-License-Identifier: BSD-3-Clause
/// registry.hpp: from a family's id to its table of functions.
///
/// Families are built in (a static table), or come from plugins: shared libraries with the one
/// symbol `zelos_plugin_entry_v1`. Plugins are searched, when an id is not known yet, in
///   1. the folders of the environment variable ZELOS_PLUGIN_PATH (absolute, separated by colons),
///   2. the folder `plugins` beside the library or module that holds zelos.
/// A plugin is code: only folders and files that the user names are looked at, never a path from an
/// artifact or a spec. A loaded plugin is never unloaded, so references to families are good until
/// the process ends. Every function may be called from any thread.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "zelos/abi/zelos_plugin.h"

namespace zelos::registry {

/// The family with this id. "zelos.emulators.NAME" is another way to write a built-in "NAME".
/// Throws Error(ZELOS_E_MISSING) that names the known ids, the folders searched and the plugins
/// that could not be loaded.
const zelos_family& find(const std::string& id);

/// All families: the built-in ones, then those of plugins in the order of loading. Looks into the
/// search folders.
std::vector<const zelos_family*> list();

/// Why files in the search folders were not loaded at the last look, one line each.
std::vector<std::string> problems();

/// Loads one plugin file; a relative path starts at the current folder. A file that is loaded
/// already is left alone. Throws Error that names the file, what was expected and what was found,
/// and changes nothing then:
///   ZELOS_E_IO        no such file, not a regular file, not readable, or the loader refused it
///   ZELOS_E_FORMAT    not a shared library for this machine, damaged, or a table that breaks the
///   ABI ZELOS_E_MISSING   no entry symbol: not a plugin for this version of zelos ZELOS_E_ARGUMENT
///   an id that another family has already; both files are named ZELOS_E_INTERNAL  the plugin threw
///   an exception
void load_plugin(const std::filesystem::path& file);

}  // namespace zelos::registry
