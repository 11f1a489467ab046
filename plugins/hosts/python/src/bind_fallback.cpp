// SPDX-License-Identifier: BSD-3-Clause
#include "bindings.hpp"
#include "bound_query.hpp"
#include "zelos/fallback.hpp"

namespace py = pybind11;

namespace zelos::python {
namespace {

Fallback open_fallback(const Emulator& emulator, const std::string& name, const std::string& settings,
                       const std::map<std::string, std::string>& defaults, bool any_version, const std::string& cache) {
  py::gil_scoped_release release;
  return Fallback::open(emulator, name, {settings, any_version, cache, defaults});
}

py::tuple evaluate(const Fallback& self, const BoundQuery& query, const Array& values, const Verdict& why) {
  if (values.ndim() != 1 || values.shape(0) != query.query().n_parameters()) {
    throw Error(ZELOS_E_ARGUMENT, "values: expected one point of " + std::to_string(query.query().n_parameters()));
  }
  Array out(query.query().size());
  Array canonical(static_cast<py::ssize_t>(self.n_canonical()));
  double *target = out.mutable_data(), *parameters = canonical.mutable_data();
  const double* source = values.data();
  {
    py::gil_scoped_release release;
    self.evaluate(query.query(), source, target, why, parameters);
  }
  return py::make_tuple(std::move(out), std::move(canonical));
}

py::dict statistics(const Fallback& self) {
  const Fallback::Statistics s = self.statistics();
  return py::dict(py::arg("points") = s.points, py::arg("runs") = s.runs, py::arg("from_cache") = s.from_cache,
                  py::arg("repeated") = s.repeated, py::arg("failed") = s.failed, py::arg("seconds") = s.seconds,
                  py::arg("reasons") = s.reasons, py::arg("last_failure") = s.last_failure,
                  py::arg("cache_failure") = s.cache_failure);
}

Array array(const std::vector<double>& values, const Output& output) {
  std::vector<py::ssize_t> shape;
  for (const Output::Axis& axis : output.axes) shape.push_back(static_cast<py::ssize_t>(axis.values.size()));
  return Array(shape, values.data());
}

void visit_cache(const std::string& folder, const py::function& visit) {
  read_cache(folder, [&](const CachedAnswer& answer) {
    py::dict parameters, outputs;
    for (const auto& [name, value] : answer.parameters) parameters[py::str(name)] = value;
    for (size_t i = 0; i < answer.outputs.size(); ++i) {
      const Output& output = answer.outputs[i];
      py::dict axes, labels;
      for (const Output::Axis& axis : output.axes) {
        axes[py::str(axis.name)] = Array(static_cast<py::ssize_t>(axis.values.size()), axis.values.data());
        if (!axis.labels.empty()) labels[py::str(axis.name)] = axis.labels;
      }
      outputs[py::str(output.name)] =
          py::dict(py::arg("values") = array(answer.values[i], output), py::arg("unit") = output.unit,
                   py::arg("axes") = axes, py::arg("labels") = labels, py::arg("label_units") = output.units);
    }
    visit(py::dict(py::arg("code") = answer.code, py::arg("version") = answer.version,
                   py::arg("settings_sha256") = answer.settings_sha256, py::arg("parameters") = parameters,
                   py::arg("outputs") = outputs));
  });
}

}  // namespace

void bind_fallback(py::module_& module) {
  py::class_<Fallback>(module, "Fallback")
      .def(py::init(&open_fallback), py::arg("emulator"), py::arg("name"), py::arg("settings") = "{}",
           py::arg("defaults") = std::map<std::string, std::string>(), py::arg("any_version") = false,
           py::arg("cache") = "")
      .def_property_readonly("code", &Fallback::code)
      .def_property_readonly("version", &Fallback::version)
      .def_property_readonly("differences", &Fallback::differences)
      .def("evaluate", &evaluate, py::arg("query"), py::arg("values"), py::arg("why"))
      .def("statistics", &statistics);
  module.def("visit_cache", &visit_cache, py::arg("folder"), py::arg("visit"));
}

}  // namespace zelos::python
