// SPDX-License-Identifier: BSD-3-Clause
/// neural_network.cpp: the family's table of functions, and evaluation.
#include <algorithm>
#include <cmath>
#include <string>

#include "../support/family_support.hpp"
#include "../support/left_out_variance.hpp"
#include "network.hpp"
#include "train.hpp"
#include "trend.hpp"
#include "zelos/simd/vector_math.hpp"

/// All weights in one aligned block; the trend's constant is added to the output layer's bias.
struct zelos_model {
  zelos_model(zelos::nn::Layout l, int order)
      : layout(std::move(l)),
        trend_order(order),
        n_terms(zelos::nn::trend_terms(layout.n_inputs, order)),
        weights(static_cast<std::size_t>(layout.n_weights + n_terms * layout.n_cols), 0.0) {}

  zelos::nn::Layout layout;
  int trend_order;
  std::int64_t n_terms;
  zelos::nn::Buffer weights;  ///< as in the layout, then the trend, n_terms x n_cols
  bool predicts_error = false;
  zelos::family::LeftOutVariance left_out;

  const double* trend() const { return weights.data() + layout.n_weights; }
  std::int64_t widest() const { return std::max(zelos::nn::padded(layout.layers.front().n_out), layout.n_cols); }
};

namespace {

using zelos::family::Error;
using zelos::family::fill_error;
using zelos::family::guard;
using zelos::nn::Layout;

constexpr std::int64_t kMaxWeights = std::int64_t{1} << 31;

/// The array, checked for shape and finite values; n < 0 leaves a dimension open.
const zelos_array& read(const zelos_state& state, const std::string& name, int rank, std::int64_t n0, std::int64_t n1) {
  const zelos_array& a = zelos::family::find_array(state, name.c_str(), rank);
  const std::int64_t want[2] = {n0, n1};
  std::int64_t size = 1;
  for (int i = 0; i < rank; ++i) {
    if (a.shape[i] < 1 || (want[i] >= 0 && a.shape[i] != want[i]) || a.shape[i] > kMaxWeights / size) {
      throw Error(ZELOS_E_FORMAT, "array '" + name + "': dimension " + std::to_string(i) + " should be " +
                                      (want[i] >= 0 ? std::to_string(want[i]) : "positive") + ", found " +
                                      std::to_string(a.shape[i]));
    }
    size *= a.shape[i];
  }
  if (!std::all_of(a.data, a.data + size, [](double v) { return std::isfinite(v); })) {
    throw Error(ZELOS_E_FORMAT, "array '" + name + "' holds a number that is not finite");
  }
  return a;
}

void copy_rows(const double* from, std::int64_t n, std::int64_t n_cols, double* to, std::int64_t stride) {
  for (std::int64_t i = 0; i < n; ++i) std::copy_n(from + i * n_cols, n_cols, to + i * stride);
}

zelos_model* open_model(const zelos_state& state) {
  const nlohmann::json settings = nlohmann::json::parse(state.settings_json, nullptr, false);
  const auto setting = [&](const char* key) {
    if (!settings.is_object() || !settings.contains(key)) {
      throw Error(ZELOS_E_FORMAT, std::string("settings of the stored state have no '") + key + "'");
    }
    return settings.at(key);
  };
  const auto small = [&](const char* key, std::int64_t low, std::int64_t high) {
    const nlohmann::json value = setting(key);
    if (!value.is_number_integer() || value < low || value > high) {
      throw Error(ZELOS_E_FORMAT, std::string("setting '") + key + "' should be from " + std::to_string(low) + " to " +
                                      std::to_string(high) + ", found " + value.dump());
    }
    return value.get<std::int64_t>();
  };
  const std::int64_t n_layers = small("n_layers", 1, 64);
  const int order = static_cast<int>(small("trend_order", 0, 2));
  const nlohmann::json name = setting("activation");
  const zelos::nn::Activation activation =
      zelos::nn::parse_activation(name.is_string() ? name.get<std::string>() : name.dump(), ZELOS_E_FORMAT);

  const zelos_array& head = read(state, "weights_0", 2, -1, -1);
  const zelos_array& tail = read(state, "weights_" + std::to_string(n_layers), 2, head.shape[1], -1);
  auto model =
      std::make_unique<zelos_model>(Layout(head.shape[0], tail.shape[1], n_layers, head.shape[1], activation), order);
  for (std::size_t l = 0; l < model->layout.layers.size(); ++l) {
    const Layout::Layer& layer = model->layout.layers[l];
    const zelos_array& w = read(state, "weights_" + std::to_string(l), 2, layer.n_in, layer.n_out);
    const zelos_array& b = read(state, "bias_" + std::to_string(l), 1, layer.n_out, -1);
    copy_rows(w.data, layer.n_in, layer.n_out, model->weights.data() + layer.weights, layer.n_cols);
    copy_rows(b.data, 1, layer.n_out, model->weights.data() + layer.bias, layer.n_cols);
  }
  const zelos_array& trend = read(state, "trend", 2, model->n_terms, model->layout.n_outputs);
  double* to = model->weights.data() + model->layout.n_weights;
  copy_rows(trend.data, model->n_terms, model->layout.n_outputs, to, model->layout.n_cols);
  model->predicts_error = zelos::family::has_array(state, "variance_terms");
  if (model->predicts_error) {
    model->left_out =
        zelos::family::LeftOutVariance(state, model->layout.n_inputs, static_cast<std::int64_t>(tail.shape[1]));
  }
  return model.release();
}

/// Rows of `workspace`: activations in, activations out, slope of one layer, terms of the trend.
struct Workspace {
  Workspace(const zelos_model& model, void* memory) : a(static_cast<double*>(memory)) {
    const std::int64_t rows = 1 + model.layout.n_inputs, width = model.widest();
    b = a + rows * width;
    slope = b + rows * width;
    terms = slope + width;
  }
  static std::size_t bytes(const zelos_model& model) {
    const std::int64_t rows = 1 + model.layout.n_inputs;
    const std::int64_t own = (2 * rows + 1) * model.widest() + zelos::nn::padded(rows * model.n_terms);
    return sizeof(double) * static_cast<std::size_t>(std::max(own, model.left_out.workspace()));
  }
  double *a, *b, *slope, *terms;
};

/// The value and, below it, the derivative by each input: 1 + n_inputs rows go through the layers
/// together. Returns rows of layout.n_cols.
const double* evaluate(const zelos_model& model, const double* x, bool derivatives, void* memory) {
  const zelos::nn::Kernels& k = zelos::nn::kernels();
  const Layout& layout = model.layout;
  Workspace w(model, memory);
  const std::int64_t rows = derivatives ? 1 + layout.n_inputs : 1;
  const std::size_t last = layout.layers.size() - 1;

  const double* in = x;
  double *out = w.a, *next = w.b;
  for (std::size_t l = 0; l <= last; ++l) {
    const Layout::Layer& layer = layout.layers[l];
    const double *weights = model.weights.data() + layer.weights, *bias = model.weights.data() + layer.bias;
    const std::int64_t n = layer.n_cols;
    k.product({1, layer.n_in, n, in, 0, 1, weights, out, bias, false});
    if (derivatives && l == 0) {
      std::copy_n(weights, layout.n_inputs * n, out + n);
    } else if (derivatives) {
      const std::int64_t stride = layout.layers[l - 1].n_cols;
      k.product({layout.n_inputs, layer.n_in, n, in + stride, stride, 1, weights, out + n, nullptr, false});
    }
    if (l < last) {
      k.activate(layout.activation, n, out, out, derivatives ? w.slope : nullptr);
      for (std::int64_t i = 1; i < rows; ++i) k.multiply(n, w.slope, out + i * n);
    }
    in = out;
    std::swap(out, next);
  }

  zelos::nn::trend_values(layout.n_inputs, model.trend_order, x, w.terms);
  for (std::int64_t i = 1; i < rows; ++i) {
    zelos::nn::trend_derivatives(layout.n_inputs, model.trend_order, x, i - 1, w.terms + i * model.n_terms);
  }
  double* result = next;
  k.product({rows, model.n_terms, layout.n_cols, w.terms, model.n_terms, 1, model.trend(), result, nullptr, true});
  return result;
}

zelos_status copy_value(const zelos_model& model, const double* result, double* y, zelos_error* error) {
  double sum = 0.0;
  for (std::int64_t j = 0; j < model.layout.n_outputs; ++j) {
    y[j] = result[j];
    sum += result[j];
  }
  if (std::isfinite(sum)) return ZELOS_OK;
  return fill_error(error, ZELOS_E_NUMERIC, "neural_network: the prediction is not finite");
}

zelos_status open(const zelos_host*, const zelos_state* state, zelos_model** out, zelos_error* error) {
  return guard(error, [&] { *out = open_model(*state); });
}

void close(zelos_model* model) { delete model; }

void shape(const zelos_model* model, std::int64_t* n_inputs, std::int64_t* n_outputs) {
  *n_inputs = model->layout.n_inputs;
  *n_outputs = model->layout.n_outputs;
}

std::size_t workspace_bytes(const zelos_model* model) { return Workspace::bytes(*model); }

zelos_status predict(const zelos_model* model, const double* x, double* y, void* workspace, zelos_error* error) {
  return copy_value(*model, evaluate(*model, x, false, workspace), y, error);
}

zelos_status predict_jacobian(const zelos_model* model, const double* x, double* y, double* jacobian, void* workspace,
                              zelos_error* error) {
  const Layout& layout = model->layout;
  const double* result = evaluate(*model, x, true, workspace);
  for (std::int64_t i = 0; i < layout.n_inputs; ++i) {
    const double* row = result + (1 + i) * layout.n_cols;
    for (std::int64_t j = 0; j < layout.n_outputs; ++j) jacobian[j * layout.n_inputs + i] = row[j];
  }
  return copy_value(*model, result, y, error);
}

zelos_status variance(const zelos_model* model, const double* x, double* variance, void* workspace,
                      zelos_error* error) {
  if (!model->predicts_error) {
    return fill_error(error, ZELOS_E_MISSING, "neural_network: too few points were kept out of the training");
  }
  model->left_out.evaluate(x, variance, static_cast<double*>(workspace));
  return ZELOS_OK;
}

zelos_status train(const zelos_host*, const zelos_training_set* set, const zelos_train_options* options,
                   zelos_save_state save, void* save_data, zelos_error* error) {
  return guard(error, [&] { zelos::nn::train(*set, *options, save, save_data); });
}

zelos_status check(const char* params_json, std::int64_t, zelos_error* error) {
  return guard(error, [&] { zelos::nn::parse_params(params_json); });
}

const void* get_extension(const char* id) {
  static const zelos_train train_extension = {sizeof(zelos_train), zelos::nn::kDefaultsJson, train, check};
  static const zelos_uncertainty uncertainty = {sizeof(zelos_uncertainty), variance};
  if (std::string_view(id) == ZELOS_EXT_UNCERTAINTY) return &uncertainty;
  return std::string_view(id) == ZELOS_EXT_TRAIN ? &train_extension : nullptr;
}

const zelos_family kFamily = {sizeof(zelos_family),
                              "neural_network",
                              "1.1.0",
                              "multilayer perceptron with a quadratic trend, trained by Adam and L-BFGS",
                              open,
                              close,
                              shape,
                              workspace_bytes,
                              predict,
                              predict_jacobian,
                              get_extension};

}  // namespace

extern "C" const zelos_family* zelos_family_neural_network(void);
const zelos_family* zelos_family_neural_network(void) { return &kFamily; }
