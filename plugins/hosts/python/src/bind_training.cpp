// SPDX-License-Identifier: BSD-3-Clause
#include <nlohmann/json.hpp>

#include "bindings.hpp"
#include "zelos/families.hpp"
#include "zelos/training.hpp"

namespace py = pybind11;

namespace zelos::python {
namespace {

struct Output {
  RunOutput run;
  Array values;
};

int64_t product(const std::vector<std::vector<double>>& axes) {
  int64_t size = 1;
  for (const auto& axis : axes) size *= static_cast<int64_t>(axis.size());
  return size;
}

Output read_output(const py::dict& entry, int64_t n_points) {
  Output output;
  output.run.name = entry["name"].cast<std::string>();
  output.run.unit = entry["unit"].cast<std::string>();
  output.run.axis_names = entry["axis_names"].cast<std::vector<std::string>>();
  output.run.axis_units = entry["axis_units"].cast<std::vector<std::string>>();
  output.run.axes = entry["axes"].cast<std::vector<std::vector<double>>>();
  output.run.labels = entry["labels"].cast<std::vector<std::string>>();
  output.run.label_units = entry["label_units"].cast<std::vector<std::string>>();
  if (!entry.contains("values")) return output;
  output.values = entry["values"].cast<Array>();
  const int64_t expected = n_points * product(output.run.axes);
  if (output.values.size() != expected) {
    throw Error(ZELOS_E_ARGUMENT, "output '" + output.run.name + "': expected " + std::to_string(expected) +
                                      " values (points times axes), found " + std::to_string(output.values.size()));
  }
  output.run.values = output.values.data();
  return output;
}

// Runs without the GIL; a Python exception (Ctrl-C among them) stops the training and is raised again when it is back.
class Progress {
 public:
  explicit Progress(py::object callback) : callback_(std::move(callback)) {}

  bool operator()(const std::string& stage, double fraction, const std::string& message) {
    py::gil_scoped_acquire gil;
    if (raised_) return false;
    try {
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
      return callback_.is_none() || callback_(stage, fraction, message).cast<bool>();
    } catch (py::error_already_set& error) {
      error.restore();
      PyErr_Fetch(&type_, &value_, &trace_);
      raised_ = true;
      return false;
    }
  }

  void rethrow() {
    if (!raised_) return;
    PyErr_Restore(type_, value_, trace_);
    throw py::error_already_set();
  }

 private:
  py::object callback_;
  bool raised_ = false;
  PyObject *type_ = nullptr, *value_ = nullptr, *trace_ = nullptr;
};

void train_from_arrays(const Spec& spec, const Array& parameters, const std::vector<py::dict>& outputs,
                       const std::string& artifact, const std::string& checkpoint_folder,
                       const std::string& provenance_json, int n_threads, py::object progress) {
  TrainingRuns runs;
  if (parameters.ndim() != 2 || parameters.shape(1) != static_cast<py::ssize_t>(spec.parameters.size())) {
    throw Error(ZELOS_E_ARGUMENT,
                "parameters: expected an array of points times " + std::to_string(spec.parameters.size()));
  }
  runs.n_points = parameters.shape(0);
  runs.parameters = parameters.data();
  std::vector<Output> kept;
  kept.reserve(outputs.size());
  for (const auto& entry : outputs) {
    kept.push_back(read_output(entry, runs.n_points));
    runs.outputs.push_back(kept.back().run);
  }
  const nlohmann::json provenance = nlohmann::json::parse(provenance_json);
  TrainOptions options;
  options.n_threads = n_threads;
  options.checkpoint_folder = checkpoint_folder;
  options.provenance = &provenance;
  Progress callback(std::move(progress));
  options.progress = [&callback](const std::string& stage, double fraction, const std::string& message) {
    return callback(stage, fraction, message);
  };
  try {
    py::gil_scoped_release release;
    train(spec, runs, artifact, options);
  } catch (const Error&) {
    callback.rethrow();
    throw;
  }
  callback.rethrow();
}

}  // namespace

void bind_training(py::module_& module) {
  module.def("families", &families);
  module.def(
      "check_training",
      [](const Spec& spec, const std::vector<py::dict>& outputs) {
        std::vector<RunOutput> runs;
        for (const py::dict& entry : outputs) runs.push_back(read_output(entry, 0).run);
        check_training(spec, runs);
      },
      py::arg("spec"), py::arg("outputs"));
  module.def("train", &train_from_arrays, py::arg("spec"), py::arg("parameters"), py::arg("outputs"),
             py::arg("artifact"), py::arg("checkpoint_folder") = "", py::arg("provenance") = "{}",
             py::arg("n_threads") = 1, py::arg("progress") = py::none());
  module.def(
      "attach_accuracy",
      [](const std::string& artifact, const std::string& accuracy) {
        attach_accuracy(artifact, nlohmann::json::parse(accuracy));
      },
      py::arg("artifact"), py::arg("accuracy"));
}

}  // namespace zelos::python
