// SPDX-License-Identifier: BSD-3-Clause
/// train.hpp: how the weights are found: a trend by least squares, Adam on mini-batches, L-BFGS on
/// everything.
#pragma once

#include <string>

#include "network.hpp"
#include "zelos/abi/zelos_plugin.h"

namespace zelos::nn {

enum class Schedule { kCosine, kSteps, kConstant };

/// The checked params of the spec.
struct Params {
  std::int64_t n_layers, layer_size, batch_size, epochs, patience, lbfgs_iterations;
  Activation activation;
  Schedule schedule;
  double learning_rate, warmup, weight_decay, validation_fraction;
  int trend_order;
  std::string canonical;  ///< JSON text of all params, for the fingerprint of a run
};

extern const char* const kDefaultsJson;

/// "tanh", "silu", "gelu"; throws family::Error with the given status otherwise.
Activation parse_activation(const std::string& name, zelos_status status);
const char* activation_name(Activation activation);

/// Throws family::Error(ZELOS_E_ARGUMENT) that names the key, the range and the value found.
Params parse_params(const char* params_json);

/// Trains and hands the state to `save`; throws family::Error.
void train(const zelos_training_set& set, const zelos_train_options& options, zelos_save_state save, void* save_data);

}  // namespace zelos::nn
