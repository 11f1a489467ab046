// SPDX-License-Identifier: BSD-3-Clause
// Trains the toy of tests/unit/toy.hpp into the file that is named: what the programs in C open.
#include <cstdio>
#include <exception>

#include "toy.hpp"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  try {
    toy::train(toy::kSpec, 160, argv[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
