// SPDX-License-Identifier: BSD-3-Clause
// Writes golden.h5 and answers.json of the current format version into the folder that is named
// (see README.md).
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "toy.hpp"

namespace {

using nlohmann::json;

/// Of the largest value of an answer: what the fits reach (tests/unit/test_formulas.cpp), with room
/// for a few points.
const std::map<std::string, double> kFormulaTolerance{{"Cl.tt", 3e-3},     {"Cl.ee", 3e-3},        {"Cl.te", 5e-3},
                                                      {"Pk.linear", 5e-4}, {"Pk.nonlinear", 5e-4}, {"Hubble", 5e-4},
                                                      {"signal", 3e-2},    {"flux", 2e-3},         {"derived", 1e-3}};

json answer_of(const zelos::Emulator& emulator, const std::vector<std::string>& names,
               const std::vector<toy::Point>& points, const zelos::Request& request) {
  const zelos::Query query = emulator.query(names, {request});
  zelos::Workspace workspace = query.workspace();
  json answer{{"output", request.output},
              {"axes", request.axes},
              {"formula_tolerance", kFormulaTolerance.at(request.output)},
              {"values", json::array()},
              {"formula", json::array()}};
  for (const toy::Point& point : points) {
    std::vector<double> out(query.size()), formula;
    if (!query.evaluate(point.data(), out.data(), workspace).inside()) throw std::runtime_error("a point is outside");
    for (double x : request.axes[0]) {
      // The emulator has fewer derived quantities than the runs.
      if (request.output == "derived") x = x == 2 ? 3 : x;
      for (const double y : request.axes.size() > 1 ? request.axes[1] : std::vector<double>{0}) {
        formula.push_back(toy::truth(request.output, point, x, y));
      }
    }
    answer["values"].push_back(out);
    answer["formula"].push_back(formula);
  }
  return answer;
}

void write(const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  toy::train(toy::kSpec, 160, folder / "golden.h5");
  const zelos::Emulator emulator = zelos::Emulator::open(folder / "golden.h5");
  std::vector<std::string> names;
  for (const zelos::Parameter& p : emulator.parameters()) names.push_back(p.name);
  const std::vector<toy::Point> points{toy::interior(emulator, 0), toy::interior(emulator, 0.3),
                                       toy::interior(emulator, -0.45)};
  json golden{{"id", emulator.id()}, {"names", names}, {"points", points}, {"answers", json::array()}};
  // On native points, between them, and between segments.
  const std::vector<double> ell{2, 12, 29, 30, 60, 89, 90, 120, 150}, x{1, 1.2, 5.5, 10};
  for (const zelos::Request& request : std::vector<zelos::Request>{{"Cl.tt", {ell}},
                                                                   {"Cl.ee", {ell}},
                                                                   {"Cl.te", {ell}},
                                                                   {"Pk.linear", {{0.001, 0.0123, 1}, {0, 0.7, 3}}},
                                                                   {"Pk.nonlinear", {{0.001, 0.0123, 1}, {0, 0.7, 3}}},
                                                                   {"Hubble", {{0, 0.1, 3}}},
                                                                   {"signal", {x}},
                                                                   {"flux", {x}},
                                                                   {"derived", {{0, 1, 2}}}}) {
    golden["answers"].push_back(answer_of(emulator, names, points, request));
  }
  std::ofstream(folder / "answers.json") << golden.dump(1) << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  try {
    write(argv[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
