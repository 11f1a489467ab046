// SPDX-License-Identifier: BSD-3-Clause
// The C++ API from outside: the exception type of the library is caught by its own name, and an
// artifact answers.
#include <cmath>
#include <iostream>
#include <vector>
#include <zelos/emulator.hpp>
#include <zelos/error.hpp>
#include <zelos/spec.hpp>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  try {
    zelos::read_spec("/no/such/spec.yaml");
    std::cout << "a spec that does not exist was read\n";
    return 1;
  } catch (const zelos::Error& error) {
    if (error.status() != ZELOS_E_IO) {
      std::cout << "status " << error.status() << ": " << error.what() << '\n';
      return 1;
    }
  }
  const zelos::Emulator emulator = zelos::Emulator::open(argv[1]);
  const zelos::Query query = emulator.query({"ombh2", "omch2", "H0", "tau", "logA", "ns"}, {{"Hubble", {{0}}}});
  zelos::Workspace workspace = query.workspace();
  std::vector<double> point{0.0224, 0.12, 68, 0.054, 3.04, 0.965};
  double hubble = 0;
  if (!query.evaluate(point.data(), &hubble, workspace).inside() || std::abs(hubble - 68) > 0.1) {
    std::cout << "H(0) = " << hubble << ", expected 68\n";
    return 1;
  }
  point[2] = 100;
  const zelos::Verdict verdict = query.evaluate(point.data(), &hubble, workspace);
  if (verdict.reason != zelos::Verdict::Reason::box) {
    std::cout << to_string(verdict) << '\n';
    return 1;
  }
  return 0;
}
