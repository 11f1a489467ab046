// SPDX-License-Identifier: BSD-3-Clause
#include "fallback/plugin.hpp"

#include <cmath>
#include <cstddef>
#include <filesystem>
#include <limits>
#include <string_view>

#include "base/text.hpp"
#include "registry/library.hpp"
#include "zelos/error.hpp"

namespace zelos::fallback {
namespace {

namespace fs = std::filesystem;
using registry::ask;
using registry::refuse;

constexpr const char* kSearchVariable = "ZELOS_FALLBACK_PATH";
constexpr const char* kFolder = "zelos_fallbacks";
/// Of version 1.0: later minor versions append.
constexpr std::size_t kEntrySize =
    offsetof(zelos_fallback_entry, get_extension) + sizeof(zelos_fallback_entry::get_extension);

std::string file_name(const std::string& name) { return "zelos_fallback_" + name + ".so"; }

bool is_path(const std::string& name) {
  constexpr std::string_view kSuffix = ".so";
  return name.find('/') != std::string::npos ||
         (name.size() > kSuffix.size() && name.compare(name.size() - kSuffix.size(), kSuffix.size(), kSuffix) == 0);
}

const zelos_fallback_entry& load(const fs::path& file) {
  const auto& entry =
      *static_cast<const zelos_fallback_entry*>(registry::load_symbol(file, ZELOS_FALLBACK_ENTRY_SYMBOL));
  if (entry.abi_major != ZELOS_FALLBACK_ABI_MAJOR) {
    refuse(file, "expected version " + std::to_string(ZELOS_FALLBACK_ABI_MAJOR) + " of the fallback ABI, found " +
                     std::to_string(entry.abi_major) + ": rebuild it against this zelos");
  }
  if (entry.struct_size < kEntrySize) {
    refuse(file, "zelos_fallback_entry: expected struct_size of at least " + std::to_string(kEntrySize) + ", found " +
                     std::to_string(entry.struct_size));
  }
  const std::pair<const char*, const char*> texts[] = {
      {"id", entry.id}, {"version", entry.version}, {"summary", entry.summary}};
  for (const auto& [what, text] : texts) {
    if (text == nullptr || *text == '\0') {
      refuse(file, "zelos_fallback_entry: '" + std::string(what) + "' is NULL or empty");
    }
  }
  const std::pair<const char*, bool> functions[] = {
      {"create", entry.create != nullptr},     {"destroy", entry.destroy != nullptr},
      {"describe", entry.describe != nullptr}, {"settings", entry.settings != nullptr},
      {"evaluate", entry.evaluate != nullptr}, {"get_extension", entry.get_extension != nullptr}};
  for (const auto& [what, there] : functions) {
    if (!there) refuse(file, "zelos_fallback_entry: the function '" + std::string(what) + "' is NULL");
  }
  return entry;
}

std::vector<const char*> pointers(const std::vector<std::string>& texts) {
  std::vector<const char*> list;
  for (const std::string& text : texts) list.push_back(text.c_str());
  return list;
}

/// An Output as the ABI has it. Does not move: it points into itself.
struct AbiOutput {
  explicit AbiOutput(const Output& o) {
    // A unit that the emulator does not know is not asked for.
    for (const std::string& unit : o.units) label_units.push_back(unit == kAnyUnit ? nullptr : unit.c_str());
    for (const Output::Axis& axis : o.axes) {
      names.push_back(axis.name.c_str());
      sizes.push_back(static_cast<std::int64_t>(axis.values.size()));
      values.push_back(axis.labels.empty() ? axis.values.data() : nullptr);
      if (!axis.labels.empty()) labels = pointers(axis.labels);
    }
    c.struct_size = sizeof c;
    c.n_axes = static_cast<std::int32_t>(o.axes.size());
    c.name = o.name.c_str();
    c.unit = o.unit.c_str();
    c.axis_names = names.data();
    c.axis_sizes = sizes.data();
    c.axis_values = values.data();
    c.labels = labels.empty() ? nullptr : labels.data();
    c.label_units = labels.empty() || label_units.size() != labels.size() ? nullptr : label_units.data();
  }
  AbiOutput(const AbiOutput&) = delete;
  AbiOutput& operator=(const AbiOutput&) = delete;
  std::vector<const char*> names, labels, label_units;
  std::vector<std::int64_t> sizes;
  std::vector<const double*> values;
  zelos_code_output c{};
};

struct AbiPoint {
  explicit AbiPoint(const Point& point) {
    for (const auto& [name, value] : point) {
      names.push_back(name.c_str());
      values.push_back(value);
    }
  }
  std::int32_t size() const { return static_cast<std::int32_t>(names.size()); }
  std::vector<const char*> names;
  std::vector<double> values;
};

/// A call of the plugin's table: its status becomes an Error that begins with the name of the code.
template <class Call>
void must(const Plugin& plugin, const std::string& code, const char* what, Call&& call) {
  zelos_error error{};
  error.struct_size = sizeof error;
  const zelos_status status = ask(plugin.file, what, [&] { return call(&error); });
  if (status == ZELOS_OK) return;
  error.message[sizeof error.message - 1] = '\0';
  const bool known = status > ZELOS_OK && status <= ZELOS_E_INTERNAL;
  const std::string text = error.message[0] != '\0' ? error.message : "it gave no reason";
  throw Error(known ? status : ZELOS_E_INTERNAL, "fallback '" + code + "': " + text);
}

std::string text_or_empty(const char* text) { return text == nullptr ? "" : text; }

std::string place(const Point& point) {
  std::vector<std::string> parts;
  for (const auto& [name, value] : point) parts.push_back(name + "=" + to_text(value));
  return " at " + join(parts, ", ");
}

}  // namespace

std::size_t size_of(const Output& output) {
  std::size_t size = 1;
  for (const Output::Axis& axis : output.axes) size *= axis.values.size();
  return size;
}

Plugin find_plugin(const std::string& name) {
  if (name.empty()) throw Error(ZELOS_E_ARGUMENT, "fallback: expected a path, a plugin or a code, found nothing");
  if (is_path(name)) {
    const fs::path file = registry::library_file(name);
    return {&load(file), file.string(), ""};
  }
  const registry::SearchPath path = registry::search_path(kSearchVariable, kFolder);
  for (const std::string& wanted : {name, std::string("python")}) {
    for (const fs::path& folder : path.folders) {
      std::error_code ignored;
      if (!fs::exists(folder / file_name(wanted), ignored)) continue;
      const fs::path file = registry::library_file(folder / file_name(wanted));
      return {&load(file), file.string(), wanted == name ? "" : name};
    }
  }
  std::vector<std::string> searched;
  for (const fs::path& folder : path.folders) searched.push_back(folder.string());
  std::string message = "no fallback '" + name + "': neither " + file_name(name) + " nor " + file_name("python") +
                        " is in " + join(searched, ", ");
  if (!path.problems.empty()) message += " (" + join(path.problems, "; ") + ")";
  throw Error(ZELOS_E_MISSING, message + "; " + kSearchVariable + " names more folders");
}

Code::Code(const Plugin& plugin, const CodeSettings& settings, std::vector<Output> outputs)
    : plugin_(plugin), outputs_(std::move(outputs)), code_(nullptr, Destroy{plugin.entry}), name_(settings.code) {
  std::vector<std::unique_ptr<AbiOutput>> wanted;
  std::vector<const zelos_code_output*> list;
  for (const Output& output : outputs_) {
    wanted.push_back(std::make_unique<AbiOutput>(output));
    list.push_back(&wanted.back()->c);
  }
  zelos_code_options options{};
  options.struct_size = sizeof options;
  options.n_outputs = static_cast<std::int32_t>(list.size());
  options.outputs = list.data();
  options.code = settings.code.c_str();
  options.config_json = settings.config_json.c_str();
  options.ini = settings.has_ini ? settings.ini.c_str() : nullptr;
  options.options_json = settings.options_json.c_str();
  zelos_code* made = nullptr;
  must(plugin_, name_, "create", [&](zelos_error* error) { return plugin_.entry->create(&options, &made, error); });
  code_.reset(made);
  if (made == nullptr) refuse(plugin_.file, "create said ok and made nothing", ZELOS_E_INTERNAL);

  zelos_code_info info{};
  info.struct_size = sizeof info;
  must(plugin_, name_, "describe", [&](zelos_error* error) { return plugin_.entry->describe(made, &info, error); });
  name_ = text_or_empty(info.code);
  version_ = text_or_empty(info.version);
  interpolates_ = info.interpolates != 0;
  if (name_.empty() || version_.empty()) {
    refuse(plugin_.file, "describe gave no name or no version of the code", ZELOS_E_INTERNAL);
  }
}

std::string Code::settings(const Point& point) const {
  const AbiPoint p(point);
  std::string all;
  const zelos_take_text take = [](void* data, const char* text) {
    *static_cast<std::string*>(data) = text_or_empty(text);
  };
  must(plugin_, name_, "settings", [&](zelos_error* error) {
    return plugin_.entry->settings(code_.get(), p.size(), p.names.data(), p.values.data(), take, &all, error);
  });
  return all;
}

std::vector<std::vector<double>> Code::evaluate(const Point& point) const {
  const AbiPoint p(point);
  std::vector<std::vector<double>> answer;
  std::vector<double*> out;
  // What a plugin forgets to fill is not finite.
  for (const Output& output : outputs_) {
    answer.emplace_back(size_of(output), std::numeric_limits<double>::quiet_NaN());
  }
  for (std::vector<double>& values : answer) out.push_back(values.data());
  try {
    must(plugin_, name_, "evaluate", [&](zelos_error* error) {
      return plugin_.entry->evaluate(code_.get(), p.size(), p.names.data(), p.values.data(), out.data(), error);
    });
  } catch (const Error& e) {
    throw Error(e.status(), e.what() + place(point));
  }
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    for (std::size_t j = 0; j < answer[i].size(); ++j) {
      if (std::isfinite(answer[i][j])) continue;
      throw Error(ZELOS_E_NUMERIC, "fallback '" + name_ + "': output '" + outputs_[i].name + "', value " +
                                       std::to_string(j) + " is " + to_text(answer[i][j]) + place(point));
    }
  }
  return answer;
}

}  // namespace zelos::fallback
