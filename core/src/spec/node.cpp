// SPDX-License-Identifier: BSD-3-Clause
#include "node.hpp"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <charconv>
#include <sstream>
#include <unordered_map>

#include "zelos/error.hpp"

namespace zelos::spec {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Position of the first byte that is not UTF-8 (RFC 3629) or is NUL; text.size() if all is well.
std::size_t first_bad_byte(std::string_view text) {
  const auto byte = [&](std::size_t i) -> unsigned {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
  };
  const auto continues = [&](std::size_t i) { return (byte(i) & 0xC0u) == 0x80u; };
  std::size_t i = 0;
  while (i < text.size()) {
    const unsigned lead = byte(i);
    std::size_t length = 0;
    if (lead != 0 && lead < 0x80) {
      length = 1;
    } else if (lead >= 0xC2 && lead <= 0xDF) {
      length = 2;
    } else if (lead >= 0xE0 && lead <= 0xEF) {
      const unsigned next = byte(i + 1);
      const bool overlong = lead == 0xE0 && next < 0xA0;
      const bool surrogate = lead == 0xED && next > 0x9F;
      length = overlong || surrogate ? 0 : 3;
    } else if (lead >= 0xF0 && lead <= 0xF4) {
      const unsigned next = byte(i + 1);
      const bool overlong = lead == 0xF0 && next < 0x90;
      const bool too_large = lead == 0xF4 && next > 0x8F;
      length = overlong || too_large ? 0 : 4;
    }
    if (length == 0) return i;
    for (std::size_t k = 1; k < length; ++k) {
      if (!continues(i + k)) return i;
    }
    i += length;
  }
  return text.size();
}

Position position_of_byte(std::string_view text, std::size_t offset, std::uint32_t source) {
  const std::string_view before = text.substr(0, offset);
  const auto lines = static_cast<std::uint32_t>(std::count(before.begin(), before.end(), '\n'));
  const std::size_t line_begin = lines == 0 ? 0 : before.rfind('\n') + 1;
  return {source, lines + 1, static_cast<std::uint32_t>(offset - line_begin) + 1};
}

class TreeBuilder : public YAML::EventHandler {
 public:
  TreeBuilder(std::string_view text, std::uint32_t source, const Sources& sources)
      : text_(text), source_(source), sources_(sources) {}

  Node take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (documents_++ > 0) {
      sources_.fail(position(mark), "",
                    "expected one YAML document, found a second one; a line '---' or '...' or a "
                    "stray bracket divides documents: remove it");
    }
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Node node;
    add(std::move(node), mark, anchor);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    sources_.fail(position(mark), path(), "YAML aliases (*name) are not allowed in a spec");
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    Node node;
    node.kind = Node::Kind::scalar;
    node.quoted = tag == "!";
    node.text = value;
    refuse_tag(mark, tag);
    add(std::move(node), mark, anchor);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(Node::Kind::sequence, mark, tag, anchor);
  }
  void OnSequenceEnd() override { open_.pop_back(); }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(Node::Kind::map, mark, tag, anchor);
  }
  void OnMapEnd() override { open_.pop_back(); }

 private:
  struct Frame {
    Node* node;
    bool has_key = false;
    std::unordered_map<std::string, std::uint32_t> line_of_key = {};
  };

  Position position(const YAML::Mark& mark) const {
    return {source_, static_cast<std::uint32_t>(mark.line + 1), static_cast<std::uint32_t>(mark.column + 1)};
  }

  std::string path() const {
    std::string path;
    for (const Frame& frame : open_) {
      const bool inside = &frame != &open_.back() || frame.has_key;
      if (inside && !frame.node->keys.empty()) {
        path = child_path(path, frame.node->keys.back().text);
      }
    }
    return path;
  }

  // yaml-cpp reports a quoted scalar and the tag "!" alike; the text tells them apart.
  void refuse_tag(const YAML::Mark& mark, const std::string& tag) const {
    const auto offset = static_cast<std::size_t>(std::max(mark.pos, 0));
    const bool written = offset < text_.size() && text_[offset] == '!';
    if (written || (tag != "!" && tag != "?" && !tag.empty())) {
      sources_.fail(position(mark), path(), "YAML tags (!name) are not allowed in a spec");
    }
  }

  /// The pointer stays valid while the node is the last of its parent, that is until it is closed.
  Node* add(Node node, const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (anchor != YAML::NullAnchor) {
      sources_.fail(position(mark), path(), "YAML anchors (&name) are not allowed in a spec");
    }
    if (++nodes_ > kMaxNodes) {
      sources_.fail(position(mark), path(), "more than " + std::to_string(kMaxNodes) + " YAML nodes");
    }
    node.at = position(mark);
    if (open_.empty()) {
      root_ = std::move(node);
      return &root_;
    }
    Frame& frame = open_.back();
    if (frame.node->kind == Node::Kind::map && !frame.has_key) {
      add_key(frame, node);
      return nullptr;
    }
    frame.has_key = false;
    frame.node->items.push_back(std::move(node));
    return &frame.node->items.back();
  }

  void add_key(Frame& frame, Node& key) {
    if (key.kind != Node::Kind::scalar) {
      sources_.fail(key.at, path(), "expected a name as key, found " + describe(key) + " or an open bracket");
    }
    const auto [entry, is_new] = frame.line_of_key.emplace(key.text, key.at.line);
    if (!is_new) {
      sources_.fail(key.at, child_path(path(), key.text),
                    "duplicate key, first given in line " + std::to_string(entry->second));
    }
    frame.node->keys.push_back({std::move(key.text), key.at});
    frame.has_key = true;
  }

  void open(Node::Kind kind, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    refuse_tag(mark, tag);
    if (open_.size() >= kMaxDepth) {
      sources_.fail(position(mark), path(), "lists and maps nested more than " + std::to_string(kMaxDepth) + " deep");
    }
    Node node;
    node.kind = kind;
    open_.push_back({add(std::move(node), mark, anchor)});
  }

  std::string_view text_;
  std::uint32_t source_;
  const Sources& sources_;
  Node root_;
  std::vector<Frame> open_;
  std::size_t nodes_ = 0;
  int documents_ = 0;
};

bool is_not_finite(std::string_view text) {
  if (!text.empty() && (text[0] == '+' || text[0] == '-')) text.remove_prefix(1);
  if (!text.empty() && text[0] == '.') text.remove_prefix(1);
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c); });
  return lower == "nan" || lower == "inf" || lower == "infinity";
}

/// [-+]? (0 | [1-9][0-9]*)? (. [0-9]*)? ([eE] [-+]? [0-9]+)?, with a digit before the exponent.
bool is_number(std::string_view text, bool& is_integer) {
  std::size_t i = 0;
  const auto digits = [&] {
    const std::size_t begin = i;
    while (i < text.size() && is_digit(text[i])) ++i;
    return i - begin;
  };
  if (i < text.size() && (text[i] == '+' || text[i] == '-')) ++i;
  const std::size_t begin = i;
  const std::size_t whole = digits();
  if (whole > 1 && text[begin] == '0') return false;
  std::size_t fraction = 0;
  is_integer = true;
  if (i < text.size() && text[i] == '.') {
    ++i;
    fraction = digits();
    is_integer = false;
  }
  if (whole + fraction == 0) return false;
  if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    ++i;
    if (i < text.size() && (text[i] == '+' || text[i] == '-')) ++i;
    if (digits() == 0) return false;
    is_integer = false;
  }
  return i == text.size();
}

}  // namespace

Node* Node::find(std::string_view key) { return const_cast<Node*>(static_cast<const Node*>(this)->find(key)); }

const Node* Node::find(std::string_view key) const {
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (keys[i].text == key) return &items[i];
  }
  return nullptr;
}

void Sources::fail(const Position& at, const std::string& path, const std::string& what) const {
  std::string message;
  if (at.source == 0) {
    message = file_name_ + ":" + std::to_string(at.line) + ":" + std::to_string(at.column);
  } else {
    message = "--set " + excerpt(overrides_.at(at.source - 1));
  }
  if (!path.empty()) message += ": " + excerpt(path);
  throw Error(ZELOS_E_ARGUMENT, message + ": " + what);
}

Node parse_tree(std::string_view text, std::uint32_t source, const Sources& sources) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (text.substr(0, kByteOrderMark.size()) == kByteOrderMark) {
    text.remove_prefix(kByteOrderMark.size());
  }
  if (text.size() > kMaxBytes) {
    sources.fail(
        {source, 1, 1}, "",
        "expected at most " + std::to_string(kMaxBytes) + " bytes of YAML, found " + std::to_string(text.size()));
  }
  const std::size_t bad = first_bad_byte(text);
  if (bad < text.size()) {
    sources.fail(
        position_of_byte(text, bad, source), "",
        text[bad] == '\0' ? "expected text, found a NUL byte" : "expected UTF-8, found an invalid byte sequence");
  }
  TreeBuilder builder(text, source, sources);
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const YAML::Exception& e) {
    const Position at{source, static_cast<std::uint32_t>(std::max(e.mark.line, 0) + 1),
                      static_cast<std::uint32_t>(std::max(e.mark.column, 0) + 1)};
    sources.fail(at, "", "not valid YAML: " + e.msg);
  }
  return builder.take();
}

bool is_list_of_entries(const Node& node) {
  return node.kind == Node::Kind::sequence && !node.items.empty() &&
         std::all_of(node.items.begin(), node.items.end(),
                     [](const Node& item) { return item.kind == Node::Kind::map && item.items.size() == 1; });
}

bool make_map(Node& node, const std::string& path, const Sources& sources) {
  if (node.kind == Node::Kind::map) return true;
  if (!is_list_of_entries(node)) return false;
  Node map;
  map.kind = Node::Kind::map;
  map.at = node.at;
  std::unordered_map<std::string, std::uint32_t> line_of_key;
  for (Node& entry : node.items) {
    Key& key = entry.keys.front();
    const auto [first, is_new] = line_of_key.emplace(key.text, key.at.line);
    if (!is_new) {
      sources.fail(key.at, child_path(path, key.text),
                   "duplicate key, first given in line " + std::to_string(first->second));
    }
    map.keys.push_back(std::move(key));
    map.items.push_back(std::move(entry.items.front()));
  }
  node = std::move(map);
  return true;
}

std::optional<Number> number_of(const Node& node) {
  if (node.kind != Node::Kind::scalar || node.quoted) return std::nullopt;
  Number number;
  if (is_not_finite(node.text)) {
    number.finite = false;
    return number;
  }
  bool is_integer = false;
  if (!is_number(node.text, is_integer)) return std::nullopt;
  const char* begin = node.text.data() + (node.text[0] == '+' ? 1 : 0);
  const char* end = node.text.data() + node.text.size();
  number.finite = std::from_chars(begin, end, number.value).ec == std::errc();
  if (std::int64_t integer = 0; is_integer && std::from_chars(begin, end, integer).ec == std::errc()) {
    number.integer = integer;
  }
  return number;
}

std::string excerpt(std::string_view text) {
  constexpr std::size_t kLongest = 80;
  const bool cut = text.size() > kLongest;
  if (cut) {
    std::size_t end = kLongest;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0u) == 0x80u) --end;
    text = text.substr(0, end);
  }
  std::string shown;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    shown += byte < 0x20 || byte == 0x7F ? ' ' : c;
  }
  return cut ? shown + "..." : shown;
}

std::string describe(const Node& node) {
  switch (node.kind) {
    case Node::Kind::null:
      return "nothing";
    case Node::Kind::sequence:
      return "a list";
    case Node::Kind::map:
      return "a map";
    case Node::Kind::scalar:
      break;
  }
  const std::string shown = "'" + excerpt(node.text) + "'";
  if (node.quoted) return "the quoted text " + shown;
  return (number_of(node) ? "the number " : "the text ") + shown;
}

std::string child_path(const std::string& path, const std::string& key) {
  return path.empty() ? key : path + "." + key;
}

}  // namespace zelos::spec
