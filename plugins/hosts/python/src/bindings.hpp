// SPDX-License-Identifier: BSD-3-Clause
/// What the bind_*.cpp files share. Each binds one area into the module `zelos._core`, which is private:
/// the typed Python in the package `zelos` is what users see.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>

#include "zelos/error.hpp"

namespace zelos::python {

/// A C-contiguous array of doubles; anything else that NumPy can convert is copied.
using Array = pybind11::array_t<double, pybind11::array::c_style | pybind11::array::forcecast>;

/// An Error that is about a spec: becomes zelos.SpecError.
class SpecFailure : public Error {
 public:
  using Error::Error;
};

/// zelos::Error -> the exceptions of zelos.errors, by status. Register before anything that throws.
void bind_errors(pybind11::module_& module);
void bind_emulator(pybind11::module_& module);
void bind_fallback(pybind11::module_& module);
void bind_spec(pybind11::module_& module);
void bind_spectrum(pybind11::module_& module);
void bind_training(pybind11::module_& module);

}  // namespace zelos::python
