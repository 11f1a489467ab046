// SPDX-License-Identifier: BSD-3-Clause
/// plugin.hpp: fallback plugins: found, loaded, checked, and their codes with an owner.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "zelos/abi/zelos_fallback.h"
#include "zelos/emulator.hpp"

namespace zelos::fallback {

/// A loaded plugin, and the code that the name it was asked by means ("" if none).
struct Plugin {
  const zelos_fallback_entry* entry = nullptr;
  std::string file;
  std::string code;
};

/// From a path, a plugin's name or a code's name (Fallback::open says which is which). Throws Error.
Plugin find_plugin(const std::string& name);

/// What a code is configured with.
struct CodeSettings {
  std::string code, config_json, options_json;
  std::string ini;
  bool has_ini = false;
};

/// In place of the unit of a label: any will do.
constexpr const char* kAnyUnit = "*";

/// Parameters as a code is given them.
using Point = std::vector<std::pair<std::string, double>>;

/// Number of values of an output.
std::size_t size_of(const Output& output);

/// A zelos_code with its owner: calls are checked, exceptions of the plugin end here. Any thread.
class Code {
 public:
  /// Outputs with the axes on which they are wanted; a labelled output has one axis with labels. Throws Error.
  Code(const Plugin& plugin, const CodeSettings& settings, std::vector<Output> outputs);
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;

  const std::vector<Output>& outputs() const { return outputs_; }
  const std::string& name() const { return name_; }
  const std::string& version() const { return version_; }
  /// Whether its answers lie between runs of the code.
  bool interpolates() const { return interpolates_; }

  std::string settings(const Point& point) const;
  /// The values of each output. Throws Error; a value that is not finite is ZELOS_E_NUMERIC.
  std::vector<std::vector<double>> evaluate(const Point& point) const;

 private:
  struct Destroy {
    const zelos_fallback_entry* entry;
    void operator()(zelos_code* code) const { entry->destroy(code); }
  };
  Plugin plugin_;
  std::vector<Output> outputs_;
  std::unique_ptr<zelos_code, Destroy> code_;
  std::string name_, version_;
  bool interpolates_ = false;
};

}  // namespace zelos::fallback
