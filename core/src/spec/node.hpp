// SPDX-License-Identifier: BSD-3-Clause
/// YAML text as a tree that knows where each node was written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace zelos::spec {

inline constexpr std::size_t kMaxBytes = 1u << 20;
inline constexpr std::size_t kMaxDepth = 32;
inline constexpr std::size_t kMaxNodes = 100000;

/// source 0 is the spec's text, source i the i-th override; line and column count from 1.
struct Position {
  std::uint32_t source = 0;
  std::uint32_t line = 1;
  std::uint32_t column = 1;
};

struct Key {
  std::string text;
  Position at;
};

struct Node {
  enum class Kind { null, scalar, sequence, map };
  Kind kind = Kind::null;
  bool quoted = false;  ///< of a scalar
  std::string text;     ///< of a scalar
  Position at;
  std::vector<Key> keys;    ///< of a map, without duplicates; keys[i] belongs to items[i]
  std::vector<Node> items;  ///< of a sequence or map

  /// The value of a map's key, or nullptr.
  Node* find(std::string_view key);
  const Node* find(std::string_view key) const;
};

/// Names the texts that positions refer to, and throws the errors about them.
class Sources {
 public:
  Sources(std::string file_name, std::vector<std::string> overrides)
      : file_name_(std::move(file_name)), overrides_(std::move(overrides)) {}

  [[noreturn]] void fail(const Position& at, const std::string& path, const std::string& what) const;

 private:
  std::string file_name_;
  std::vector<std::string> overrides_;
};

/// Parses one document within the limits; aliases are refused before anything is expanded.
Node parse_tree(std::string_view text, std::uint32_t source, const Sources& sources);

/// Makes a map of a list of one-key maps; leaves a map as it is. False if the node is neither.
/// An empty list is no map.
bool make_map(Node& node, const std::string& path, const Sources& sources);

/// True for a list of one-key maps with at least one entry.
bool is_list_of_entries(const Node& node);

/// `value` if the text is a number (finite or not), nothing if it is something else.
struct Number {
  double value = 0;
  std::optional<std::int64_t> integer;  ///< if written without point and exponent, and it fits
  bool finite = true;
};
std::optional<Number> number_of(const Node& node);

/// "the text 'many'", "a list", ... for messages.
std::string describe(const Node& node);

/// Printable and short, for messages.
std::string excerpt(std::string_view text);

std::string child_path(const std::string& path, const std::string& key);

}  // namespace zelos::spec
