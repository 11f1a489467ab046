// SPDX-License-Identifier: BSD-3-Clause
#include "registry/library.hpp"

#ifndef BOOST_DLL_USE_STD_FS
#define BOOST_DLL_USE_STD_FS
#endif
#include <algorithm>
#include <boost/dll/runtime_symbol_info.hpp>
#include <boost/dll/shared_library.hpp>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string_view>

#include "registry/elf_check.hpp"

namespace zelos::registry {

namespace fs = std::filesystem;

void refuse(const fs::path& file, const std::string& what, zelos_status status) {
  throw Error(status, "plugin '" + file.string() + "': " + what);
}

fs::path library_file(const fs::path& given) {
  std::error_code code;
  fs::path file = fs::canonical(given, code);
  if (code) refuse(given, "expected a file, found none (" + code.message() + ")", ZELOS_E_IO);
  if (!fs::is_regular_file(file, code)) {
    refuse(file,
           std::string("expected a regular file, found ") +
               (fs::is_directory(file, code) ? "a directory" : "something else"),
           ZELOS_E_IO);
  }
  return file;
}

const void* load_symbol(const fs::path& file, const std::string& symbol) {
  // Never destroyed: plugins stay loaded, and may be asked for while the process ends. A library is kept also when its
  // tables turn out to be wrong: unloading code is the larger risk.
  static std::mutex& mutex = *new std::mutex;
  static auto& libraries = *new std::map<fs::path, boost::dll::shared_library>;
  const std::lock_guard lock(mutex);
  auto at = libraries.find(file);
  if (at == libraries.end()) {
    check_shared_library(file, symbol);
    try {
      using boost::dll::load_mode::rtld_local;
      using boost::dll::load_mode::rtld_now;
      at = libraries.emplace(file, boost::dll::shared_library(file, rtld_now | rtld_local)).first;
    } catch (const std::exception& e) {
      refuse(file, std::string("the loader refused it: ") + e.what(), ZELOS_E_IO);
    }
  }
  if (!at->second.has(symbol)) refuse(file, "expected the symbol '" + symbol + "', found none", ZELOS_E_MISSING);
  return &at->second.get<const char>(symbol);
}

SearchPath search_path(const char* variable, const char* beside) {
  SearchPath path;
  if (const char* value = std::getenv(variable)) {
    std::string_view rest = value;
    while (!rest.empty()) {
      const std::size_t end = std::min(rest.find(':'), rest.size());
      const fs::path folder(rest.substr(0, end));
      if (folder.is_absolute()) path.folders.push_back(folder);
      if (end > 0 && !folder.is_absolute()) {
        path.problems.push_back(std::string(variable) + ": expected absolute folders, found '" + folder.string() + "'");
      }
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }
  path.n_named = path.folders.size();
  try {
    path.folders.push_back(boost::dll::this_line_location().parent_path() / beside);
  } catch (const std::exception& e) {
    path.problems.push_back(std::string("the folder of zelos is not known: ") + e.what());
  }
  return path;
}

}  // namespace zelos::registry
