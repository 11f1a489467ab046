// SPDX-License-Identifier: BSD-3-Clause
#include "registry/registry.hpp"
#include "runtime/family_state.hpp"
#include "runtime/model.hpp"

namespace zelos {
namespace {

using nlohmann::json;

/// Storage of each array stays what it was.
void migrate_block(json* block, const std::string& path, const std::string& file, artifact::Contents* contents) {
  const zelos_family& family = registry::find(block->at("family").get<std::string>());
  const auto* extension = static_cast<const zelos_migrate*>(family.get_extension(ZELOS_EXT_MIGRATE));
  if (extension == nullptr) return;
  const std::string settings = block->at("settings").dump();
  std::vector<zelos_array> views;
  const zelos_state old = stored_state(*contents, path, settings, &views);
  const zelos_host host = empty_host();
  FamilyState state;
  zelos_error error{sizeof error, 0, {}};
  const zelos_status status = extension->migrate(&host, &old, FamilyState::save, &state, &error);
  if (status != ZELOS_OK) throw Error(status, file + ": " + path + ": " + error.message);
  for (size_t i = 0; i < state.names.size(); ++i) {
    const auto before = contents->arrays.find(path + "/model/" + state.names[i]);
    if (before != contents->arrays.end()) state.arrays[i].storage = before->second.storage;
  }
  for (const zelos_array& array : views) contents->arrays.erase(path + "/model/" + array.name);
  (*block)["settings"] = json::parse(state.settings);
  std::move(state).store(path, contents);
}

}  // namespace

std::string migrate(const std::filesystem::path& from, const std::filesystem::path& to) {
  Emulator::open(from);  // its probes: what is written has been seen to answer
  artifact::Contents contents = artifact::read(from).contents;
  for (json& feature : contents.document.at("features")) {
    if (!feature.contains("block")) continue;
    migrate_block(&feature["block"], "features/" + feature.at("name").get<std::string>(), from.string(), &contents);
  }
  for (json& output : contents.document.at("outputs")) {
    const std::string path = "outputs/" + output.at("name").get<std::string>();
    for (size_t s = 0; s < output.at("segments").size(); ++s) {
      json& blocks = output["segments"][s].at("blocks");
      for (size_t b = 0; b < blocks.size(); ++b) {
        migrate_block(&blocks[b], path + "/segment" + std::to_string(s) + "/block" + std::to_string(b), from.string(),
                      &contents);
      }
    }
  }
  return artifact::write(to, contents);
}

}  // namespace zelos
