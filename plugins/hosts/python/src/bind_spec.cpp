// SPDX-License-Identifier: BSD-3-Clause
#include "bindings.hpp"
#include "zelos/spec.hpp"

namespace py = pybind11;

namespace zelos::python {
namespace {

template <class Function>
auto as_spec_failure(Function&& function) {
  try {
    return function();
  } catch (const Error& error) {
    throw SpecFailure(error.status(), error.what());
  }
}

}  // namespace

void bind_spec(py::module_& module) {
  py::class_<Spec>(module, "Spec")
      .def_readonly("text", &Spec::text)
      .def_readonly("file_name", &Spec::file_name)
      .def_readonly("overrides", &Spec::overrides)
      .def("json", [](const Spec& self) { return to_json(self).dump(); })
      .def("stage_key", [](const Spec& self, const std::string& stage) {
        if (stage == "runs") return stage_key(self, Stage::runs);
        if (stage == "design") return stage_key(self, Stage::design);
        if (stage == "train") return stage_key(self, Stage::train);
        throw Error(ZELOS_E_ARGUMENT, "stage '" + stage + "': expected runs, design or train");
      });
  module.def(
      "parse_spec",
      [](const std::string& text, const std::string& file_name, const std::vector<std::string>& overrides) {
        return as_spec_failure([&] {
          return overrides.empty() ? parse_spec(text, file_name) : with_overrides(text, file_name, overrides);
        });
      },
      py::arg("text"), py::arg("file_name"), py::arg("overrides") = std::vector<std::string>());
  module.def(
      "read_spec", [](const std::string& path) { return as_spec_failure([&] { return read_spec(path); }); },
      py::arg("path"));
}

}  // namespace zelos::python
