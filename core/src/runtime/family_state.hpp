// SPDX-License-Identifier: BSD-3-Clause
// family_state.hpp: what a family stores of a trained model, on its way to and from an artifact.
#pragma once

#include <string>
#include <vector>

#include "artifact/container.hpp"
#include "zelos/abi/zelos_plugin.h"

namespace zelos {

/// A zelos_state that owns its arrays.
struct FamilyState {
  std::vector<std::string> names;
  std::vector<artifact::Array> arrays;
  std::string settings;  ///< JSON object

  static FamilyState copy(const zelos_state& source);
  /// A zelos_save_state whose `data` is a FamilyState.
  static zelos_status save(void* data, const zelos_state* source, zelos_error* error);
  /// Valid while this and `views` live.
  zelos_state view(std::vector<zelos_array>* views) const;
  /// Moves the arrays to `contents`, each to PATH/model/NAME.
  void store(const std::string& path, artifact::Contents* contents) &&;
};

/// The arrays at PATH/model of `contents`, with these settings. Valid while `contents`, `views` and `settings` live.
zelos_state stored_state(const artifact::Contents& contents, const std::string& path, const std::string& settings,
                         std::vector<zelos_array>* views);

/// A host that offers nothing.
zelos_host empty_host();

}  // namespace zelos
