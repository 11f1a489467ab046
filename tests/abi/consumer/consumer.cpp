// SPDX-License-Identifier: BSD-3-Clause
// The C++ API from outside: the exception type of the library is caught by its own name.
#include <iostream>
#include <zelos/error.hpp>
#include <zelos/spec.hpp>

int main() {
  try {
    zelos::read_spec("/no/such/spec.yaml");
  } catch (const zelos::Error& error) {
    if (error.status() == ZELOS_E_IO) return 0;
    std::cout << "status " << error.status() << ": " << error.what() << '\n';
    return 1;
  }
  std::cout << "a spec that does not exist was read\n";
  return 1;
}
