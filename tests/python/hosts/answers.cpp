// SPDX-License-Identifier: BSD-3-Clause
// answers ARTIFACT FOLDER: what every host is compared with, from the C++ API. Writes, as doubles,
//   points.bin   20 points inside the region, 6 numbers each: ombh2 omch2 H0 tau logA ns
//   answers.bin  per point the answers to the requests below, one after the other
// compare.c, compare.f90 and compare.jl make the same requests. Axes are sums of powers of two, so that every language
// makes the same numbers.
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <vector>
#include <zelos/emulator.hpp>

namespace {

std::vector<zelos::Request> requests() {
  std::vector<double> ell, k;
  for (int l = 2; l <= 2500; ++l) ell.push_back(l);
  for (int i = 1; i <= 64; ++i) k.push_back(i / 64.0);
  const std::vector<double> z{0, 0.5, 1, 2}, z_background{0, 0.125, 0.5, 1, 2.5};
  std::vector<zelos::Request> list;
  for (const char* name : {"Cl.tt", "Cl.te", "Cl.ee", "Cl.bb", "Cl.pp"}) list.push_back({name, {ell}});
  for (const char* name : {"Pk.linear", "Pk.nonlinear"}) list.push_back({name, {k, z}});
  for (const char* name : {"Hubble", "comoving_radial_distance", "angular_diameter_distance"}) {
    list.push_back({name, {z_background}});
  }
  for (const char* name : {"sigma8_z", "fsigma8"}) list.push_back({name, {z}});
  list.push_back({"derived", {}});
  return list;
}

void write(const std::filesystem::path& file, const std::vector<double>& values) {
  std::ofstream out(file, std::ios::binary);
  out.write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(8 * values.size()));
  if (!out) throw std::runtime_error("can not write " + file.string());
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 3) return 2;
  const zelos::Emulator emulator = zelos::Emulator::open(argv[1]);
  const zelos::Query query = emulator.query({"ombh2", "omch2", "H0", "tau", "logA", "ns"}, requests());
  zelos::Workspace workspace = query.workspace();
  // Kronecker's sequence in the inner 70 % of the box.
  const double step[6] = {0.9108, 0.8294, 0.7554, 0.6880, 0.6266, 0.5707};
  std::vector<double> points, answers, out(static_cast<size_t>(query.size()));
  for (int i = 1; points.size() < 20 * 6 && i < 1000; ++i) {
    std::vector<double> point;
    for (int j = 0; j < 6; ++j) {
      const zelos::Parameter& p = emulator.parameters().at(static_cast<size_t>(j));
      point.push_back(p.min + (p.max - p.min) * (0.15 + 0.7 * std::fmod(i * step[j], 1.0)));
    }
    if (!query.evaluate(point.data(), out.data(), workspace).inside()) continue;
    points.insert(points.end(), point.begin(), point.end());
    answers.insert(answers.end(), out.begin(), out.end());
  }
  if (points.size() != 20 * 6) throw std::runtime_error("fewer than 20 points are inside");
  write(std::filesystem::path(argv[2]) / "points.bin", points);
  write(std::filesystem::path(argv[2]) / "answers.bin", answers);
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
