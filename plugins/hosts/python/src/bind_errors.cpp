// SPDX-License-Identifier: BSD-3-Clause
#include "bindings.hpp"

namespace py = pybind11;

namespace zelos::python {
namespace {

const char* exception_name(zelos_status status) {
  switch (status) {
    case ZELOS_E_ARGUMENT:
      return "ArgumentError";
    case ZELOS_E_OUTSIDE:
      return "OutsideRegion";
    case ZELOS_E_FORMAT:
      return "FormatError";
    case ZELOS_E_IO:
      return "FileError";
    case ZELOS_E_NUMERIC:
      return "NumericError";
    case ZELOS_E_CANCELLED:
      return "Cancelled";
    case ZELOS_E_MISSING:
      return "MissingError";
    default:
      return "Error";
  }
}

void raise(const char* name, const char* message) {
  py::object type = py::module_::import("zelos.errors").attr(name);
  PyErr_SetString(type.ptr(), message);
}

void translate(std::exception_ptr pointer) {
  try {
    std::rethrow_exception(pointer);
  } catch (const SpecFailure& error) {
    raise(error.status() == ZELOS_E_IO ? "FileError" : "SpecError", error.what());
  } catch (const Error& error) {
    raise(exception_name(error.status()), error.what());
  }
}

}  // namespace

void bind_errors(py::module_&) {
  py::register_local_exception_translator([](std::exception_ptr pointer) {
    if (pointer) translate(pointer);
  });
}

}  // namespace zelos::python
