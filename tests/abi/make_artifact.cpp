// SPDX-License-Identifier: BSD-3-Clause
// Trains the toy of tests/unit/toy.hpp into the file that is named: what the programs in C open. With "small" after it:
// the small toy, with the provenance of runs of the fallback template.
#include <cstdio>
#include <exception>
#include <nlohmann/json.hpp>
#include <string>

#include "toy.hpp"

int main(int argc, char** argv) {
  const bool small = argc == 3 && std::string(argv[2]) == "small";
  if (argc != 2 && !small) return 2;
  try {
    if (small) {
      const nlohmann::json provenance = {{"code", "formulas"}, {"code_version", "1"}, {"config", {{"ns", 0.965}}}};
      zelos::TrainOptions options;
      options.provenance = &provenance;
      toy::train(toy::kSmallSpec, 40, argv[1], options);
    } else {
      toy::train(toy::kSpec, 160, argv[1]);
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
