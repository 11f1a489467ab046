// SPDX-License-Identifier: BSD-3-Clause
#include <pybind11/eigen.h>

#include <functional>
#include <optional>
#include <tuple>

#include "bindings.hpp"
#include "zelos/spectrum.hpp"

namespace py = pybind11;

namespace zelos::python {
namespace {

using spectrum::RowMatrix;
using Release = py::call_guard<py::gil_scoped_release>;
using Pair = std::pair<double, double>;
using Triple = std::tuple<double, double, double>;

struct Coefficients {
  RowMatrix data;
};

void set_kernels(spectrum::PixelCovariance& covariance, const std::optional<Pair>& global,
                 const std::vector<Triple>& local) {
  covariance.has_global = global.has_value();
  if (global) covariance.global = {global->first, global->second};
  for (const auto& [amplitude, centre, width] : local) covariance.local.push_back({amplitude, centre, width});
}

spectrum::PixelCovariance pixel_covariance(RowMatrix factors, Eigen::VectorXd spread, const std::optional<Pair>& global,
                                           const std::vector<Triple>& local) {
  spectrum::PixelCovariance covariance;
  covariance.factors = std::move(factors);
  covariance.spread = std::move(spread);
  set_kernels(covariance, global, local);
  return covariance;
}

// Pixels, residual and covariance of an order.
using Order = std::tuple<std::reference_wrapper<const spectrum::Pixels>, Eigen::VectorXd,
                         std::reference_wrapper<const spectrum::PixelCovariance>>;

std::vector<spectrum::ModelledOrder> modelled(const std::vector<Order>& orders) {
  std::vector<spectrum::ModelledOrder> result;
  for (const auto& [pixels, residual, covariance] : orders) result.push_back({pixels, residual, covariance});
  return result;
}

// The value of an enumeration by its name.
template <class Enumeration>
Enumeration named(const char* what, const std::string& name,
                  const std::vector<std::pair<const char*, Enumeration>>& known) {
  std::string expected;
  for (const auto& [text, value] : known) {
    if (name == text) return value;
    expected += (expected.empty() ? "" : ", ") + std::string(text);
  }
  throw Error(ZELOS_E_ARGUMENT, std::string(what) + ": expected one of " + expected + ", found '" + name + "'");
}

spectrum::WeightModel weight_model(RowMatrix points, RowMatrix weights, Eigen::MatrixXd gram, const std::string& kernel,
                                   bool own_noise, int mean_degree, const std::vector<std::string>& scales,
                                   bool grid_algebra) {
  using spectrum::Kernel;
  using spectrum::Scale;
  spectrum::WeightData data;
  data.points = std::move(points);
  data.weights = std::move(weights);
  data.gram = std::move(gram);
  data.own_noise = own_noise;
  data.mean_degree = mean_degree;
  data.grid_algebra = grid_algebra;
  data.kernel = named<Kernel>("kernel", kernel,
                              {{"squared_exponential", Kernel::squared_exponential}, {"matern52", Kernel::matern52}});
  for (const auto& name : scales) {
    data.scales.push_back(
        named<Scale>("scale", name,
                     {{"linear", Scale::linear}, {"logarithm", Scale::logarithm}, {"reciprocal", Scale::reciprocal}}));
  }
  return spectrum::WeightModel(std::move(data));
}

// Calls Python while the training runs without the GIL; what Python raises ends the training.
py::dict train(const spectrum::WeightModel& model, const Eigen::VectorXd& start, const std::vector<Pair>& length_priors,
               const std::optional<Pair>& noise_prior, bool keep_ratios, int n_starts, int max_iterations,
               double tolerance, std::uint64_t seed, int n_threads, const py::object& progress) {
  spectrum::WeightTraining training;
  training.start = start;
  for (const auto& [shape, rate] : length_priors) training.length_priors.push_back({shape, rate});
  if (noise_prior) training.noise_prior = {noise_prior->first, noise_prior->second};
  training.keep_ratios = keep_ratios;
  training.n_starts = n_starts;
  training.max_iterations = max_iterations;
  training.tolerance = tolerance;
  training.seed = seed;
  training.n_threads = n_threads;
  std::exception_ptr raised;
  training.progress = [&](int evaluations, double value, const Eigen::VectorXd& best) {
    py::gil_scoped_acquire gil;
    try {
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
      return progress.is_none() || progress(evaluations, value, best).cast<bool>();
    } catch (...) {
      raised = std::current_exception();
      return false;
    }
  };
  spectrum::WeightOptimum optimum;
  std::exception_ptr failed;
  {
    py::gil_scoped_release release;
    try {
      optimum = model.train(training);
    } catch (...) {
      failed = std::current_exception();
    }
  }
  if (raised) std::rethrow_exception(raised);
  if (failed) std::rethrow_exception(failed);
  py::dict result;
  result["hyperparameters"] = optimum.hyperparameters;
  result["log_posterior"] = optimum.log_posterior;
  result["gradient_norm"] = optimum.gradient_norm;
  result["converged"] = optimum.converged;
  result["stopped"] = optimum.stopped;
  result["evaluations"] = optimum.evaluations;
  result["start_values"] = optimum.start_values;
  return result;
}

void bind_weights(py::module_& module) {
  using spectrum::WeightModel;
  py::class_<WeightModel>(module, "WeightModel")
      .def(py::init(&weight_model), py::arg("points"), py::arg("weights"), py::arg("gram"), py::arg("kernel"),
           py::arg("own_noise"), py::arg("mean_degree"), py::arg("scales"), py::arg("grid_algebra") = true)
      .def_property_readonly("n_hyperparameters", &WeightModel::hyperparameter_count)
      .def_property_readonly("on_grid", &WeightModel::on_grid)
      .def(
          "log_likelihood",
          [](const WeightModel& model, const Eigen::VectorXd& hyperparameters, int n_threads) {
            return model.log_likelihood(hyperparameters, nullptr, n_threads);
          },
          Release(), py::arg("hyperparameters"), py::arg("n_threads") = 1)
      .def(
          "log_likelihood_gradient",
          [](const WeightModel& model, const Eigen::VectorXd& hyperparameters, int n_threads) {
            Eigen::VectorXd gradient;
            const double value = model.log_likelihood(hyperparameters, &gradient, n_threads);
            return std::make_pair(value, gradient);
          },
          Release(), py::arg("hyperparameters"), py::arg("n_threads") = 1)
      .def("train", &train, py::arg("start"), py::arg("length_priors"), py::arg("noise_prior"), py::arg("keep_ratios"),
           py::arg("n_starts"), py::arg("max_iterations"), py::arg("tolerance"), py::arg("seed"), py::arg("n_threads"),
           py::arg("progress"));
  py::class_<spectrum::WeightProcess>(module, "WeightProcess")
      .def(
          py::init([](const WeightModel& model, const Eigen::VectorXd& hyperparameters, int neighbours, int n_threads) {
            return std::make_unique<spectrum::WeightProcess>(model, hyperparameters, neighbours, n_threads);
          }),
          Release(), py::arg("model"), py::arg("hyperparameters"), py::arg("neighbours") = 0, py::arg("n_threads") = 1)
      .def(
          "predict",
          [](const spectrum::WeightProcess& process, const Eigen::VectorXd& point) {
            auto p = process.predict(point);
            return std::make_pair(std::move(p.mean), std::move(p.covariance));
          },
          Release(), py::arg("point"))
      .def(
          "predict_slopes",
          [](const spectrum::WeightProcess& process, const Eigen::VectorXd& point) {
            auto p = process.predict(point, true);
            return std::make_tuple(std::move(p.mean), std::move(p.covariance), std::move(p.mean_slope),
                                   std::move(p.covariance_slope));
          },
          Release(), py::arg("point"))
      .def(
          "predict_jointly",
          [](const spectrum::WeightProcess& process, const RowMatrix& points) {
            Eigen::VectorXd mean;
            Eigen::MatrixXd covariance;
            process.predict_jointly(points, mean, covariance);
            return std::make_pair(std::move(mean), std::move(covariance));
          },
          Release(), py::arg("points"))
      .def(
          "left_out",
          [](const spectrum::WeightProcess& process, const std::vector<Eigen::Index>& chosen) {
            RowMatrix errors, variances;
            process.left_out(chosen, errors, variances);
            return std::make_pair(std::move(errors), std::move(variances));
          },
          Release(), py::arg("chosen") = std::vector<Eigen::Index>());
}

void bind_likelihood(py::module_& module) {
  py::class_<Coefficients>(module, "Coefficients");
  py::class_<spectrum::RowSampler>(module, "RowSampler")
      .def(py::init<double, double, const RowMatrix&>(), py::arg("log_first"), py::arg("log_step"), py::arg("rows"))
      .def(
          "coefficients",
          [](const spectrum::RowSampler& sampler, double vsini) { return Coefficients{sampler.coefficients(vsini)}; },
          Release(), py::arg("vsini"))
      .def(
          "coefficients_slope",
          [](const spectrum::RowSampler& sampler, double vsini) {
            Coefficients value, slope;
            value.data = sampler.coefficients(vsini, &slope.data);
            return std::make_pair(std::move(value), std::move(slope));
          },
          Release(), py::arg("vsini"))
      .def(
          "sample",
          [](const spectrum::RowSampler& sampler, const Coefficients& coefficients, double vz,
             const Eigen::VectorXd& at) {
            RowMatrix out;
            sampler.sample(coefficients.data, vz, at, out);
            return out;
          },
          Release(), py::arg("coefficients"), py::arg("vz"), py::arg("at"))
      .def(
          "sample_slope",
          [](const spectrum::RowSampler& sampler, const Coefficients& coefficients, double vz,
             const Eigen::VectorXd& at) {
            RowMatrix out, slope;
            sampler.sample(coefficients.data, vz, at, out, &slope);
            return std::make_pair(std::move(out), std::move(slope));
          },
          Release(), py::arg("coefficients"), py::arg("vz"), py::arg("at"));
  py::class_<spectrum::PixelCovariance>(module, "PixelCovariance")
      .def(py::init(&pixel_covariance), py::arg("factors"), py::arg("spread"), py::arg("global_kernel"),
           py::arg("local_kernels"));
  py::class_<spectrum::RowCombination>(module, "RowCombination")
      .def(py::init([](Eigen::VectorXd weights, Eigen::MatrixXd root, Eigen::VectorXd factor, double scale_error,
                       bool spreads) {
             return spectrum::RowCombination{std::move(weights), std::move(root), std::move(factor), scale_error,
                                             spreads};
           }),
           py::arg("weights"), py::arg("root"), py::arg("factor"), py::arg("scale_error"), py::arg("spreads"))
      .def(
          "spectrum",
          [](const spectrum::RowCombination& combination, const Eigen::Ref<const RowMatrix>& rows,
             const std::optional<Pair>& global, const std::vector<Triple>& local) {
            Eigen::VectorXd flux;
            spectrum::PixelCovariance covariance;
            spectrum::combine(rows, combination, flux, covariance);
            set_kernels(covariance, global, local);
            return std::make_pair(std::move(flux), std::move(covariance));
          },
          Release(), py::arg("rows"), py::arg("global_kernel"), py::arg("local_kernels"))
      .def(
          "slopes",
          [](const spectrum::RowCombination& combination, const Eigen::Ref<const RowMatrix>& rows,
             const Eigen::Ref<const Eigen::VectorXd>& by_flux, const Eigen::Ref<const Eigen::VectorXd>& by_spread,
             const Eigen::Ref<const RowMatrix>& by_factors) {
            auto by = spectrum::combine_slopes(rows, combination, by_flux, by_spread, by_factors);
            return std::make_tuple(std::move(by.factor), std::move(by.rows), std::move(by.weights), std::move(by.root));
          },
          Release(), py::arg("rows"), py::arg("by_flux"), py::arg("by_spread"), py::arg("by_factors"));
  py::class_<spectrum::Pixels>(module, "Pixels")
      .def(py::init<Eigen::VectorXd, Eigen::VectorXd, double>(), py::arg("wave"), py::arg("variance"),
           py::arg("correlation_length"))
      .def("dense", &spectrum::Pixels::dense, Release(), py::arg("covariance"))
      .def("diagonal", &spectrum::Pixels::diagonal, Release(), py::arg("covariance"));
  module.def(
      "log_likelihood", [](const std::vector<Order>& orders) { return spectrum::log_likelihood(modelled(orders)); },
      Release(), py::arg("orders"));
  module.def(
      "log_likelihood_slopes",
      [](const std::vector<Order>& orders) {
        std::vector<spectrum::LikelihoodSlopes> slopes;
        const double value = spectrum::log_likelihood(modelled(orders), &slopes);
        std::vector<std::tuple<Eigen::VectorXd, Eigen::VectorXd, RowMatrix, Eigen::VectorXd>> by;
        for (auto& s : slopes) {
          by.emplace_back(std::move(s.residual), std::move(s.spread), std::move(s.factors), std::move(s.kernels));
        }
        return std::make_pair(value, std::move(by));
      },
      Release(), py::arg("orders"));
}

}  // namespace

void bind_spectrum(py::module_& parent) {
  py::module_ module = parent.def_submodule("spectrum", "Spectral emulators and likelihoods.");
  bind_weights(module);
  bind_likelihood(module);
  module.def("write_emulator",
             [](const std::string& path, const std::string& document, const std::map<std::string, RowMatrix>& arrays) {
               return spectrum::write_emulator(path, {document, arrays});
             });
  module.def("read_emulator", [](const std::string& path) {
    auto emulator = spectrum::read_emulator(path);
    return std::make_pair(std::move(emulator.document), std::move(emulator.arrays));
  });
}

}  // namespace zelos::python
