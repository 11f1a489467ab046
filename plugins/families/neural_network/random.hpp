// SPDX-License-Identifier: BSD-3-Clause
/// random.hpp: random numbers that are the same with every standard library, and need no stored
/// state: a stream is named by a seed and a number (0: first weights, 1: validation split, 2 +
/// epoch: order of the points).
#pragma once

#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

namespace zelos::nn {

/// SplitMix64 (Steele, Lea & Flood 2014).
class Random {
 public:
  Random(std::uint64_t seed, std::uint64_t stream) : state_(seed ^ (stream * 0xd1342543de82ef95u)) {
    state_ = next() + stream;
  }
  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  /// In [0, 1).
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }

 private:
  std::uint64_t state_;
};

/// 0 to n-1 in random order (Fisher & Yates).
inline std::vector<std::int64_t> permutation(std::int64_t n, Random random) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.next() % i]);
  return order;
}

}  // namespace zelos::nn
