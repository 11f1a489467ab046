// SPDX-License-Identifier: BSD-3-Clause
/// From every notation of a spec to plain maps.
#pragma once

#include <string>
#include <vector>

#include "node.hpp"

namespace zelos::spec {

/// The keys of each section; the JSON schema in configs/schema lists the same.
const std::vector<std::string>& keys_of_spec();
const std::vector<std::string>& keys_of_emulator_fn();
const std::vector<std::string>& keys_of_training();
const std::vector<std::string>& keys_of_output();  ///< next to the axes

/// Makes plain maps of the root, of `config`, `emulator_fn`, `training` and `outputs`: nests what a
/// list without indentation has after an empty `params` or output. Leaves wrong types to the
/// reader.
void normalise(Node& root, const Sources& sources);

/// Sets `key.path=value` in a normalised tree; `source` is the override's number, from 1.
void apply_override(Node& root, const std::string& override_text, std::uint32_t source, const Sources& sources);

}  // namespace zelos::spec
