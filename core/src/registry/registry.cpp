// SPDX-License-Identifier: BSD-3-Clause
#include "registry/registry.hpp"

#include <algorithm>
#include <cstddef>
#include <mutex>
#include <set>
#include <string_view>
#include <utility>

#include "base/text.hpp"
#include "registry/library.hpp"
#include "zelos/error.hpp"

extern "C" {
const zelos_family* zelos_family_polynomial(void);
const zelos_family* zelos_family_gaussian_process(void);
const zelos_family* zelos_family_neural_network(void);
}

namespace zelos::registry {
namespace {

namespace fs = std::filesystem;

constexpr const char* kBuiltIn = "zelos itself";
constexpr std::uint32_t kMaxFamilies = 1024;
// Sizes of version 1.0: later minor versions append.
constexpr std::size_t kEntrySize = offsetof(zelos_plugin_entry, family) + sizeof(zelos_plugin_entry::family);
constexpr std::size_t kFamilySize = offsetof(zelos_family, get_extension) + sizeof(zelos_family::get_extension);

struct Known {
  const zelos_family* family;
  std::string source;
};

void check_entry(const fs::path& file, const zelos_plugin_entry& entry) {
  if (entry.abi_major != ZELOS_PLUGIN_ABI_MAJOR) {
    refuse(file, "expected ABI major version " + std::to_string(ZELOS_PLUGIN_ABI_MAJOR) + ", found " +
                     std::to_string(entry.abi_major) + ": rebuild it against this zelos");
  }
  if (entry.struct_size < kEntrySize) {
    refuse(file, "zelos_plugin_entry: expected struct_size of at least " + std::to_string(kEntrySize) + ", found " +
                     std::to_string(entry.struct_size));
  }
  if (entry.count == nullptr) refuse(file, "zelos_plugin_entry: the function 'count' is NULL");
  if (entry.family == nullptr) refuse(file, "zelos_plugin_entry: the function 'family' is NULL");
}

void check_family(const fs::path& file, std::uint32_t index, const zelos_family* family) {
  const std::string which = "family " + std::to_string(index);
  if (family == nullptr) refuse(file, which + " is NULL");
  if (family->struct_size < kFamilySize) {
    refuse(file, which + ": expected struct_size of at least " + std::to_string(kFamilySize) + ", found " +
                     std::to_string(family->struct_size));
  }
  const std::pair<const char*, const char*> texts[] = {
      {"id", family->id}, {"version", family->version}, {"summary", family->summary}};
  for (const auto& [name, text] : texts) {
    if (text == nullptr || *text == '\0') refuse(file, which + ": '" + name + "' is NULL or empty");
  }
  const std::pair<const char*, bool> functions[] = {{"open", family->open != nullptr},
                                                    {"close", family->close != nullptr},
                                                    {"shape", family->shape != nullptr},
                                                    {"workspace_bytes", family->workspace_bytes != nullptr},
                                                    {"predict", family->predict != nullptr},
                                                    {"predict_jacobian", family->predict_jacobian != nullptr},
                                                    {"get_extension", family->get_extension != nullptr}};
  for (const auto& [name, there] : functions) {
    if (!there) refuse(file, which + " '" + family->id + "': the function '" + name + "' is NULL");
  }
}

/// "zelos.emulators.NAME" means NAME.
std::string short_id(const std::string& id) {
  constexpr std::string_view kPrefix = "zelos.emulators.";
  return id.compare(0, kPrefix.size(), kPrefix) == 0 ? id.substr(kPrefix.size()) : id;
}

class Registry {
 public:
  /// Never destroyed: plugins stay loaded, and may be asked for while the process ends.
  static Registry& instance() {
    static Registry* registry = new Registry;
    return *registry;
  }

  const zelos_family& find(const std::string& id) {
    const std::lock_guard lock(mutex_);
    const std::string wanted = short_id(id);
    if (const Known* known = look_up(wanted)) return *known->family;
    scan();
    if (const Known* known = look_up(wanted)) return *known->family;

    std::vector<std::string> ids;
    for (const Known& known : families_) ids.emplace_back(known.family->id);
    std::string message = "no family '" + id + "'" + did_you_mean(wanted, ids) + " (known: " + join(ids, ", ") +
                          "; searched: " + (searched_.empty() ? "no folder" : join(searched_, ", "));
    if (!problems_.empty()) message += "; not loaded: " + join(problems_, "; ");
    throw Error(ZELOS_E_MISSING, message + ")");
  }

  std::vector<const zelos_family*> list() {
    const std::lock_guard lock(mutex_);
    scan();
    std::vector<const zelos_family*> all;
    for (const Known& known : families_) all.push_back(known.family);
    return all;
  }

  std::vector<std::string> problems() {
    const std::lock_guard lock(mutex_);
    return problems_;
  }

  void load(const fs::path& file) {
    const std::lock_guard lock(mutex_);
    load_locked(file);
  }

 private:
  Registry() {
    for (const zelos_family* family :
         {zelos_family_polynomial(), zelos_family_gaussian_process(), zelos_family_neural_network()}) {
      families_.push_back({family, kBuiltIn});
    }
  }

  const Known* look_up(const std::string& id) const {
    const auto found =
        std::find_if(families_.begin(), families_.end(), [&](const Known& known) { return id == known.family->id; });
    return found == families_.end() ? nullptr : &*found;
  }

  void load_locked(const fs::path& given) {
    const fs::path file = library_file(given);
    if (accepted_.count(file) > 0) return;

    const auto& entry = *static_cast<const zelos_plugin_entry*>(load_symbol(file, ZELOS_PLUGIN_ENTRY_SYMBOL));
    check_entry(file, entry);
    const std::uint32_t n = ask(file, "count", [&] { return entry.count(); });
    if (n == 0 || n > kMaxFamilies) {
      refuse(file, "expected 1 to " + std::to_string(kMaxFamilies) + " families, found " + std::to_string(n));
    }
    std::vector<Known> found;
    for (std::uint32_t i = 0; i < n; ++i) {
      const zelos_family* family = ask(file, "family", [&] { return entry.family(i); });
      check_family(file, i, family);
      const Known* other = look_up(family->id);
      const auto twice = std::find_if(found.begin(), found.end(),
                                      [&](const Known& k) { return std::string_view(k.family->id) == family->id; });
      if (other != nullptr || twice != found.end()) {
        refuse(file,
               std::string("the family id '") + family->id + "' is taken by " +
                   (other == nullptr            ? "the same file"
                    : other->source == kBuiltIn ? kBuiltIn
                                                : "'" + other->source + "'"),
               ZELOS_E_ARGUMENT);
      }
      found.push_back({family, file.string()});
    }
    accepted_.insert(file);
    families_.insert(families_.end(), found.begin(), found.end());
  }

  void scan() {
    SearchPath path = search_path("ZELOS_PLUGIN_PATH", "plugins");
    searched_.clear();
    problems_ = std::move(path.problems);
    for (std::size_t i = 0; i < path.folders.size(); ++i) scan_folder(path.folders[i], i < path.n_named);
  }

  void scan_folder(const fs::path& folder, bool named_by_user) {
    searched_.push_back(folder.string());
    std::error_code code;
    std::vector<fs::path> files;
    fs::directory_iterator entries(folder, code);
    for (; !code && entries != fs::directory_iterator(); entries.increment(code)) {
      if (entries->path().extension() == ".so") files.push_back(entries->path());
    }
    if (code && named_by_user) problems_.push_back("ZELOS_PLUGIN_PATH: '" + folder.string() + "': " + code.message());
    std::sort(files.begin(), files.end());
    for (const fs::path& file : files) {
      try {
        load_locked(file);
      } catch (const std::exception& e) {
        problems_.emplace_back(e.what());
      }
    }
  }

  std::mutex mutex_;
  std::vector<Known> families_;
  std::set<fs::path> accepted_;
  std::vector<std::string> searched_, problems_;
};

}  // namespace

const zelos_family& find(const std::string& id) { return Registry::instance().find(id); }
std::vector<const zelos_family*> list() { return Registry::instance().list(); }
std::vector<std::string> problems() { return Registry::instance().problems(); }
void load_plugin(const std::filesystem::path& file) { Registry::instance().load(file); }

}  // namespace zelos::registry
