// SPDX-License-Identifier: BSD-3-Clause
/// Small text helpers for messages. All functions are pure and thread-safe.
#pragma once

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdio>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

namespace zelos {

/// Number of single-character insertions, deletions, substitutions and swaps of neighbours that
/// turn `a` into `b` (optimal string alignment). ASCII case is ignored. O(len(a) * len(b)).
inline std::size_t edit_distance(std::string_view a, std::string_view b) {
  const auto same = [](char p, char q) {
    return std::tolower(static_cast<unsigned char>(p)) == std::tolower(static_cast<unsigned char>(q));
  };
  std::vector<std::size_t> before(b.size() + 1), above(b.size() + 1), row(b.size() + 1);
  std::iota(above.begin(), above.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substitution = above[j - 1] + (same(a[i - 1], b[j - 1]) ? 0 : 1);
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, substitution});
      if (i > 1 && j > 1 && same(a[i - 1], b[j - 2]) && same(a[i - 2], b[j - 1])) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    std::swap(before, above);
    std::swap(above, row);
  }
  return above[b.size()];
}

/// The candidate that `name` was probably meant to be, or "" if none is near. Near: at most one
/// edit in three characters of the longer of the two names. The first of equally near candidates
/// wins.
inline std::string nearest(std::string_view name, const std::vector<std::string>& candidates) {
  constexpr std::size_t kLongestName = 256;
  if (name.size() > kLongestName) return "";
  std::string best;
  std::size_t best_distance = kLongestName + 1;
  for (const std::string& candidate : candidates) {
    if (candidate.size() > kLongestName) continue;
    const std::size_t distance = edit_distance(name, candidate);
    const std::size_t allowed = std::max<std::size_t>(1, std::max(name.size(), candidate.size()) / 3);
    const bool is_rewrite = distance >= std::max(name.size(), candidate.size());
    if (distance <= allowed && !is_rewrite && distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

/// "; did you mean 'X'?" for the nearest candidate, or "" if none is near. Made to be appended to a
/// message.
inline std::string did_you_mean(std::string_view name, const std::vector<std::string>& candidates) {
  const std::string guess = nearest(name, candidates);
  return guess.empty() ? "" : "; did you mean '" + guess + "'?";
}

/// Ten significant digits, for messages: small numbers do not become 0.
inline std::string to_text(double x) {
  char text[32];
  std::snprintf(text, sizeof text, "%.10g", x);
  return text;
}

/// The parts with `separator` between them: join({"a", "b"}, ", ") is "a, b".
inline std::string join(const std::vector<std::string>& parts, std::string_view separator) {
  std::string text;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) text += separator;
    text += parts[i];
  }
  return text;
}

}  // namespace zelos
