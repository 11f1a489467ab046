// SPDX-License-Identifier: BSD-3-Clause
#include "normalise.hpp"

#include <algorithm>

namespace zelos::spec {
namespace {

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

Node sequence_at(const Position& at) {
  Node node;
  node.kind = Node::Kind::sequence;
  node.at = at;
  return node;
}

/// Moves the entries that follow an empty `params` into it, up to the section's next own key.
void nest_params(Node& section, const std::vector<std::string>& own_keys) {
  if (!is_list_of_entries(section)) return;
  Node nested = sequence_at(section.at);
  Node* params = nullptr;
  for (Node& entry : section.items) {
    const std::string& key = entry.keys.front().text;
    if (params != nullptr && !contains(own_keys, key)) {
      if (params->kind == Node::Kind::null) *params = sequence_at(entry.at);
      params->items.push_back(std::move(entry));
      continue;
    }
    const bool opens = key == "params" && entry.items.front().kind == Node::Kind::null;
    nested.items.push_back(std::move(entry));
    params = opens ? &nested.items.back().items.front() : nullptr;
  }
  section = std::move(nested);
}

/// Moves the entries that follow an output without a value into it, up to the next such output.
void nest_outputs(Node& outputs) {
  if (!is_list_of_entries(outputs)) return;
  Node nested = sequence_at(outputs.at);
  Node* output = nullptr;
  for (Node& entry : outputs.items) {
    const bool opens =
        entry.items.front().kind == Node::Kind::null && !contains(keys_of_output(), entry.keys.front().text);
    if (output != nullptr && !opens) {
      if (output->kind == Node::Kind::null) *output = sequence_at(entry.at);
      output->items.push_back(std::move(entry));
      continue;
    }
    nested.items.push_back(std::move(entry));
    output = opens ? &nested.items.back().items.front() : nullptr;
  }
  outputs = std::move(nested);
}

Node empty_map_at(const Position& at) {
  Node node;
  node.kind = Node::Kind::map;
  node.at = at;
  return node;
}

void normalise_emulator_fn(Node& owner, const std::string& path, const Sources& sources) {
  Node* emulator_fn = owner.find("emulator_fn");
  if (emulator_fn == nullptr) return;
  nest_params(*emulator_fn, keys_of_emulator_fn());
  make_map(*emulator_fn, child_path(path, "emulator_fn"), sources);
}

}  // namespace

void normalise(Node& root, const Sources& sources) {
  if (!make_map(root, "", sources)) return;
  normalise_emulator_fn(root, "", sources);
  if (Node* training = root.find("training")) {
    nest_params(*training, keys_of_training());
    make_map(*training, "training", sources);
  }
  if (Node* config = root.find("config"); config != nullptr && config->kind == Node::Kind::scalar) {
    Node map = empty_map_at(config->at);
    map.keys.push_back({"ini", config->at});
    map.items.push_back(std::move(*config));
    *config = std::move(map);
  }
  if (Node* outputs = root.find("outputs")) {
    nest_outputs(*outputs);
    if (!make_map(*outputs, "outputs", sources)) return;
    for (std::size_t i = 0; i < outputs->items.size(); ++i) {
      const std::string path = child_path("outputs", outputs->keys[i].text);
      if (make_map(outputs->items[i], path, sources)) {
        normalise_emulator_fn(outputs->items[i], path, sources);
      }
    }
  }
}

void apply_override(Node& root, const std::string& override_text, std::uint32_t source, const Sources& sources) {
  const Position at{source, 1, 1};
  const std::size_t equals = override_text.find('=');
  if (equals == std::string::npos || equals == 0) {
    sources.fail(at, "", "expected key.path=value");
  }
  std::string rest = override_text.substr(0, equals);
  if (rest.front() == '.' || rest.back() == '.' || rest.find("..") != std::string::npos) {
    sources.fail(at, "", "expected a key between any two dots of the path");
  }
  Node value = parse_tree(std::string_view(override_text).substr(equals + 1), source, sources);

  Node* node = &root;
  std::string path;
  for (std::size_t depth = 0; depth < kMaxDepth; ++depth) {
    if (node->kind == Node::Kind::null) *node = empty_map_at(at);
    if (!make_map(*node, path, sources)) {
      sources.fail(at, path, "expected a map to set '" + excerpt(rest) + "' in, found " + describe(*node));
    }
    std::size_t child = node->keys.size();
    std::size_t length = 0;
    for (std::size_t i = 0; i < node->keys.size(); ++i) {
      const std::string& key = node->keys[i].text;
      const bool fits = rest.compare(0, key.size(), key) == 0 && (rest.size() == key.size() || rest[key.size()] == '.');
      if (fits && key.size() > length) {
        child = i;
        length = key.size();
      }
    }
    if (child == node->keys.size()) {
      length = std::min(rest.find('.'), rest.size());
      node->keys.push_back({rest.substr(0, length), at});
      node->items.emplace_back();
      node->items.back().at = at;
    }
    path = child_path(path, node->keys[child].text);
    if (length == rest.size()) {
      node->keys[child].at = at;
      node->items[child] = std::move(value);
      return;
    }
    rest.erase(0, length + 1);
    node = &node->items[child];
  }
  sources.fail(at, "", "a key path of more than " + std::to_string(kMaxDepth) + " keys");
}

}  // namespace zelos::spec
