// SPDX-License-Identifier: BSD-3-Clause
#include "bindings.hpp"
#include "zelos/abi/zelos.h"

PYBIND11_MODULE(_core, module) {
  module.doc() = "The zelos core; private, see the package zelos.";
  zelos::python::bind_errors(module);
  zelos::python::bind_emulator(module);
  zelos::python::bind_fallback(module);
  zelos::python::bind_spec(module);
  zelos::python::bind_spectrum(module);
  zelos::python::bind_training(module);
  module.def("version", [] { return std::string(zelos_version()); });
  module.def("commit", [] { return std::string(ZELOS_COMMIT); });
}
