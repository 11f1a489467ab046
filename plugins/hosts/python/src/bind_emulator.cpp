// SPDX-License-Identifier: BSD-3-Clause
#include <algorithm>
#include <limits>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>

#include "bindings.hpp"
#include "bound_query.hpp"
#include "zelos/emulator.hpp"
#include "zelos/error_model.hpp"

namespace py = pybind11;

namespace zelos::python {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

using Outside = std::vector<std::pair<int64_t, Verdict>>;

const char* reason_text(const Verdict& verdict) {
  switch (verdict.reason) {
    case Verdict::Reason::inside:
      return "inside";
    case Verdict::Reason::not_finite:
      return "not_finite";
    case Verdict::Reason::fixed_parameter:
      return "fixed_parameter";
    case Verdict::Reason::box:
      return "box";
    case Verdict::Reason::hull:
      return "hull";
    case Verdict::Reason::error_bound:
      return "error_bound";
    case Verdict::Reason::no_solution:
      return "no_solution";
  }
  return "unknown";
}

int64_t rows(const Array& values, const char* what, int64_t columns) {
  if (values.ndim() != 2 || values.shape(1) != columns) {
    throw Error(ZELOS_E_ARGUMENT, std::string(what) + ": expected an array of points times " + std::to_string(columns));
  }
  return values.shape(0);
}

int64_t point_rows(const BoundQuery& self, const Array& values) {
  return rows(values, "values", self.query().n_parameters());
}

py::tuple evaluate(BoundQuery& self, const Array& values) {
  const int64_t n = point_rows(self, values);
  const int64_t size = self.query().size();
  Array out({n, size});
  Outside outside;
  {
    double* target = out.mutable_data();
    const double* source = values.data();
    py::gil_scoped_release release;
    BoundQuery::Lease lease(self);
    if (n == 1) {
      Verdict verdict = self.query().evaluate(source, target, lease.get());
      if (!verdict.inside()) outside.emplace_back(0, std::move(verdict));
    } else {
      std::vector<Verdict> verdicts(static_cast<size_t>(n));
      self.query().evaluate(n, source, target, verdicts.data(), lease.get());
      for (int64_t i = 0; i < n; ++i) {
        auto& verdict = verdicts[static_cast<size_t>(i)];
        if (!verdict.inside()) outside.emplace_back(i, std::move(verdict));
      }
    }
    for (const auto& [row, verdict] : outside) std::fill_n(target + row * size, size, kNaN);
  }
  return py::make_tuple(std::move(out), std::move(outside));
}

py::tuple jacobian(BoundQuery& self, const Array& values) {
  const int64_t n = point_rows(self, values);
  const int64_t size = self.query().size(), d = self.query().n_parameters();
  Array out({n, size}), derivative({n, size, d});
  Outside outside;
  {
    double *target = out.mutable_data(), *slope = derivative.mutable_data();
    const double* source = values.data();
    py::gil_scoped_release release;
    BoundQuery::Lease lease(self);
    for (int64_t i = 0; i < n; ++i) {
      Verdict verdict = self.query().jacobian(source + i * d, target + i * size, slope + i * size * d, lease.get());
      if (verdict.inside()) continue;
      std::fill_n(target + i * size, size, kNaN);
      std::fill_n(slope + i * size * d, size * d, kNaN);
      outside.emplace_back(i, std::move(verdict));
    }
  }
  return py::make_tuple(std::move(out), std::move(derivative), std::move(outside));
}

// jvp: direction[d] -> product[size]; vjp: cotangent[size] -> product[d].
template <class Method>
py::tuple product(BoundQuery& self, const Array& values, const Array& vector, Method method, int64_t n_in,
                  int64_t n_out) {
  const int64_t n = point_rows(self, values);
  const int64_t size = self.query().size(), d = self.query().n_parameters();
  if (rows(vector, "vector", n_in) != n) {
    throw Error(ZELOS_E_ARGUMENT, "vector: expected one row for each point");
  }
  Array out({n, size}), result({n, n_out});
  Outside outside;
  {
    double *target = out.mutable_data(), *row_product = result.mutable_data();
    const double *source = values.data(), *direction = vector.data();
    py::gil_scoped_release release;
    BoundQuery::Lease lease(self);
    for (int64_t i = 0; i < n; ++i) {
      Verdict verdict = (self.query().*method)(source + i * d, direction + i * n_in, target + i * size,
                                               row_product + i * n_out, lease.get());
      if (verdict.inside()) continue;
      std::fill_n(target + i * size, size, kNaN);
      std::fill_n(row_product + i * n_out, n_out, kNaN);
      outside.emplace_back(i, std::move(verdict));
    }
  }
  return py::make_tuple(std::move(out), std::move(result), std::move(outside));
}

std::vector<Verdict> verdicts(BoundQuery& self, const Array& values) {
  const int64_t n = point_rows(self, values), d = self.query().n_parameters();
  const double* source = values.data();
  std::vector<Verdict> result;
  result.reserve(static_cast<size_t>(n));
  py::gil_scoped_release release;
  BoundQuery::Lease lease(self);
  for (int64_t i = 0; i < n; ++i) result.push_back(self.query().verdict(source + i * d, lease.get()));
  return result;
}

template <class Method>
py::tuple per_point(BoundQuery& self, const Array& values, Method method, int64_t columns) {
  const int64_t n = point_rows(self, values), d = self.query().n_parameters();
  Array out({n, columns});
  double* target = out.mutable_data();
  std::fill_n(target, n * columns, kNaN);
  const double* source = values.data();
  std::vector<Verdict> result;
  {
    py::gil_scoped_release release;
    BoundQuery::Lease lease(self);
    for (int64_t i = 0; i < n; ++i) {
      result.push_back((self.query().*method)(source + i * d, target + i * columns, lease.get()));
    }
  }
  return py::make_tuple(std::move(out), std::move(result));
}

// An error model with the query that it was made for, which outlives it.
struct BoundErrorModel {
  ErrorModel model;
  BoundQuery* query;

  py::tuple evaluate(const Array& values) const {
    const int64_t n = point_rows(*query, values), d = query->query().n_parameters();
    Array out({n, int64_t{2}});
    double* target = out.mutable_data();
    std::fill_n(target, 2 * n, kNaN);
    const double* source = values.data();
    std::vector<Verdict> verdicts;
    {
      py::gil_scoped_release release;
      BoundQuery::Lease lease(*query);
      for (int64_t i = 0; i < n; ++i) {
        ErrorEstimate estimate{kNaN, kNaN};
        verdicts.push_back(model.evaluate(source + i * d, &estimate, lease.get()));
        target[2 * i] = estimate.mean;
        target[2 * i + 1] = estimate.quantile;
      }
    }
    return py::make_tuple(std::move(out), std::move(verdicts));
  }

  std::vector<Verdict> judge(const Array& values, double tolerance) const {
    const int64_t n = point_rows(*query, values), d = query->query().n_parameters();
    const double* source = values.data();
    std::vector<Verdict> verdicts;
    py::gil_scoped_release release;
    BoundQuery::Lease lease(*query);
    for (int64_t i = 0; i < n; ++i) verdicts.push_back(model.verdict(source + i * d, tolerance, lease.get()));
    return verdicts;
  }
};

BoundErrorModel error_model(BoundQuery& self, const Array& covariance, const Array& matrix, const Array& reference) {
  const auto copy = [](const Array& a) { return std::vector<double>(a.data(), a.data() + a.size()); };
  const Likelihood likelihood{copy(covariance), copy(matrix), copy(reference)};
  py::gil_scoped_release release;
  return {ErrorModel(self.query(), likelihood), &self};
}

// One dict for each point: what the real code is told under the emulator's names; everything: also what its settings
// say.
py::list physics(BoundQuery& self, const Array& values, bool everything) {
  const int64_t n = point_rows(self, values), d = self.query().n_parameters();
  const std::vector<Physics>& entries = self.query().physics();
  std::vector<double> numbers(entries.size());
  std::vector<int32_t> told(entries.size());
  BoundQuery::Lease lease(self);
  py::list points;
  for (int64_t i = 0; i < n; ++i) {
    const Verdict verdict = self.query().physics(values.data() + i * d, numbers.data(), told.data(), lease.get());
    if (!verdict.inside()) throw Error(ZELOS_E_ARGUMENT, to_string(verdict));
    py::dict point;
    for (size_t j = 0; j < entries.size(); ++j) {
      if (everything || told[j] != 0) point[py::str(entries[j].name)] = numbers[j];
    }
    points.append(std::move(point));
  }
  return points;
}

Emulator open_bytes(const py::bytes& data, const std::string& name, bool verify_probes) {
  char* bytes = nullptr;
  py::ssize_t size = 0;
  if (PyBytes_AsStringAndSize(data.ptr(), &bytes, &size) != 0) throw py::error_already_set();
  Emulator::Options options;
  options.verify_probes = verify_probes;
  py::gil_scoped_release release;
  return Emulator::open(bytes, static_cast<size_t>(size), name, options);
}

Emulator open_path(const std::string& path, bool verify_probes) {
  Emulator::Options options;
  options.verify_probes = verify_probes;
  py::gil_scoped_release release;
  return Emulator::open(path, options);
}

std::string migrate_path(const std::string& from, const std::string& to) {
  py::gil_scoped_release release;
  return migrate(from, to);
}

std::unique_ptr<BoundQuery> bind_query(const Emulator& self, const std::vector<std::string>& names,
                                       const std::vector<std::pair<std::string, std::vector<Array>>>& requests) {
  std::vector<Request> list;
  list.reserve(requests.size());
  for (const auto& [output, axes] : requests) {
    Request request{output, {}};
    for (const auto& axis : axes) request.axes.emplace_back(axis.data(), axis.data() + axis.size());
    list.push_back(std::move(request));
  }
  return std::make_unique<BoundQuery>(self.query(names, list));
}

}  // namespace

void bind_emulator(py::module_& module) {
  py::class_<Verdict>(module, "Verdict")
      .def_property_readonly("inside", &Verdict::inside)
      .def_property_readonly("reason", [](const Verdict& self) { return reason_text(self); })
      .def_readonly("hull", &Verdict::hull)
      .def_readonly("parameter", &Verdict::parameter)
      .def_readonly("value", &Verdict::value)
      .def_readonly("lower", &Verdict::lower)
      .def_readonly("upper", &Verdict::upper)
      .def_readonly("excess", &Verdict::excess)
      .def("__bool__", &Verdict::inside)
      .def("__str__", [](const Verdict& self) { return to_string(self); })
      .def("__repr__", [](const Verdict& self) { return "<zelos verdict: " + to_string(self) + ">"; });

  py::class_<Parameter>(module, "Parameter")
      .def_readonly("name", &Parameter::name)
      .def_readonly("unit", &Parameter::unit)
      .def_readonly("latex", &Parameter::latex)
      .def_readonly("min", &Parameter::min)
      .def_readonly("max", &Parameter::max)
      .def_readonly("synonyms", &Parameter::synonyms);

  py::class_<Output::Axis>(module, "Axis")
      .def_readonly("name", &Output::Axis::name)
      .def_readonly("unit", &Output::Axis::unit)
      .def_property_readonly("values",
                             [](const Output::Axis& self) {
                               return Array(static_cast<py::ssize_t>(self.values.size()), self.values.data());
                             })
      .def_readonly("labels", &Output::Axis::labels);

  py::class_<Output>(module, "Output")
      .def_readonly("name", &Output::name)
      .def_readonly("unit", &Output::unit)
      .def_readonly("family", &Output::family)
      .def_readonly("axes", &Output::axes)
      .def_readonly("units", &Output::units);

  py::class_<BoundQuery>(module, "Query")
      .def_property_readonly("size", [](const BoundQuery& self) { return self.query().size(); })
      .def_property_readonly("n_parameters", [](const BoundQuery& self) { return self.query().n_parameters(); })
      .def_property_readonly("blocks",
                             [](const BoundQuery& self) {
                               std::vector<std::pair<int64_t, std::vector<int64_t>>> blocks;
                               for (const auto& block : self.query().blocks()) {
                                 blocks.emplace_back(block.offset, block.shape);
                               }
                               return blocks;
                             })
      .def("evaluate", &evaluate, py::arg("values"))
      .def("jacobian", &jacobian, py::arg("values"))
      .def(
          "jvp",
          [](BoundQuery& self, const Array& values, const Array& direction) {
            return product(self, values, direction, &Query::jvp, self.query().n_parameters(), self.query().size());
          },
          py::arg("values"), py::arg("direction"))
      .def(
          "vjp",
          [](BoundQuery& self, const Array& values, const Array& cotangent) {
            return product(self, values, cotangent, &Query::vjp, self.query().size(), self.query().n_parameters());
          },
          py::arg("values"), py::arg("cotangent"))
      .def("verdict", &verdicts, py::arg("values"))
      .def(
          "predicted_error",
          [](BoundQuery& self, const Array& values) {
            return per_point(self, values, &Query::predicted_error, static_cast<int64_t>(self.query().blocks().size()));
          },
          py::arg("values"))
      .def("error_model", &error_model, py::arg("covariance"), py::arg("matrix"), py::arg("reference"),
           py::keep_alive<0, 1>())
      .def_property_readonly("physics_names",
                             [](const BoundQuery& self) {
                               std::vector<std::string> names;
                               for (const Physics& entry : self.query().physics()) names.push_back(entry.name);
                               return names;
                             })
      .def_property_readonly("solves",
                             [](const BoundQuery& self) {
                               const auto& entries = self.query().physics();
                               return std::any_of(entries.begin(), entries.end(), [](const Physics& entry) {
                                 return entry.kind == Physics::Kind::solved;
                               });
                             })
      .def("physics", &physics, py::arg("values"), py::arg("everything") = false)
      .def(
          "canonical",
          [](BoundQuery& self, const Array& values, int64_t n_canonical) {
            return per_point(self, values, &Query::canonical, n_canonical);
          },
          py::arg("values"), py::arg("n_canonical"));

  py::class_<BoundErrorModel>(module, "ErrorModel")
      .def("evaluate", &BoundErrorModel::evaluate, py::arg("values"))
      .def("verdict", &BoundErrorModel::judge, py::arg("values"), py::arg("tolerance"))
      .def_property_readonly("calibration", [](const BoundErrorModel& self) { return self.model.calibration(); })
      .def_property_readonly("n_left_out", [](const BoundErrorModel& self) { return self.model.n_left_out(); });

  py::class_<Emulator>(module, "Emulator")
      .def_property_readonly("name", &Emulator::name)
      .def_property_readonly("version", &Emulator::version)
      .def_property_readonly("id", &Emulator::id)
      .def_property_readonly("parameters", &Emulator::parameters)
      .def_property_readonly("outputs", &Emulator::outputs)
      .def_property_readonly("fixed", &Emulator::fixed)
      .def_property_readonly("solvable", &Emulator::solvable)
      .def("info_json", [](const Emulator& self) { return self.info().dump(); })
      .def("query", &bind_query, py::arg("names"), py::arg("requests"));

  module.def("synonyms", &synonyms, py::arg("name"));
  module.def("convert", &convert, py::arg("value"), py::arg("name"), py::arg("other"));
  module.def("open", &open_path, py::arg("path"), py::arg("verify_probes") = true);
  module.def("open_bytes", &open_bytes, py::arg("data"), py::arg("name"), py::arg("verify_probes") = true);
  module.def("migrate", &migrate_path, py::arg("source"), py::arg("target"));
}

}  // namespace zelos::python
