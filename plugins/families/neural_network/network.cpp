// SPDX-License-Identifier: BSD-3-Clause
#include "network.hpp"

#include <algorithm>
#include <cmath>

#include "random.hpp"
#include "zelos/simd/vector_math.hpp"

namespace zelos::nn {
namespace {

/// Points that are worked on together: their activations fit into the L2 cache.
constexpr std::int64_t kBlock = 128;

}  // namespace

std::int64_t padded(std::int64_t n) { return (n + simd::kLanes - 1) / simd::kLanes * simd::kLanes; }

Layout::Layout(std::int64_t inputs, std::int64_t outputs, std::int64_t n_layers, std::int64_t layer_size,
               Activation act)
    : n_inputs(inputs), n_outputs(outputs), n_cols(padded(outputs)), activation(act) {
  std::int64_t n_in = inputs;
  for (std::int64_t l = 0; l <= n_layers; ++l) {
    Layer layer{};
    layer.n_in = n_in;
    layer.n_out = l < n_layers ? layer_size : outputs;
    layer.n_cols = padded(layer.n_out);
    layer.weights = n_weights;
    layer.bias = layer.weights + padded(layer.n_in * layer.n_cols);
    n_weights = layer.bias + layer.n_cols;
    layers.push_back(layer);
    n_in = layer.n_out;
  }
}

Buffer initial_weights(const Layout& layout, std::uint64_t seed) {
  Buffer weights(static_cast<std::size_t>(layout.n_weights), 0.0);
  Random random(seed, 0);
  for (std::size_t l = 0; l + 1 < layout.layers.size(); ++l) {
    const Layout::Layer& layer = layout.layers[l];
    const double limit = std::sqrt(3.0 / static_cast<double>(layer.n_in));
    for (std::int64_t i = 0; i < layer.n_in; ++i) {
      double* row = weights.data() + layer.weights + i * layer.n_cols;
      for (std::int64_t j = 0; j < layer.n_out; ++j) row[j] = limit * (2.0 * random.uniform() - 1.0);
    }
    double* bias = weights.data() + layer.bias;
    for (std::int64_t j = 0; j < layer.n_out; ++j) bias[j] = 0.1 * (2.0 * random.uniform() - 1.0);
  }
  return weights;
}

Loss::Loss(const Layout& layout, const Buffer& importance)
    : layout_(layout), importance_(importance), ones_(kBlock, 1.0) {
  std::int64_t widest = layout.n_cols, largest = 0;
  for (const Layout::Layer& layer : layout.layers) {
    widest = std::max(widest, layer.n_cols);
    largest = std::max(largest, padded(layer.n_in) * layer.n_cols);
  }
  for (std::size_t l = 0; l + 1 < layout.layers.size(); ++l) {
    hidden_.emplace_back(kBlock * layout.layers[l].n_cols);
    slope_.emplace_back(kBlock * layout.layers[l].n_cols);
  }
  output_.resize(kBlock * layout.n_cols);
  delta_.resize(kBlock * widest);
  next_delta_.resize(kBlock * widest);
  transposed_.resize(largest);
}

double Loss::operator()(const double* weights, const Batch& batch, double factor, double* gradient) {
  double sum = 0.0;
  for (std::int64_t start = 0; start < batch.n; start += kBlock) {
    const Batch part{std::min(kBlock, batch.n - start), batch.x + start * layout_.n_inputs,
                     batch.target + start * layout_.n_cols};
    sum += block(weights, part, factor, gradient);
  }
  return sum;
}

void Loss::errors(const double* weights, const Batch& batch, double* out) {
  for (std::int64_t start = 0; start < batch.n; start += kBlock) {
    const std::int64_t n = std::min(kBlock, batch.n - start);
    const double* u = forward(weights, n, batch.x + start * layout_.n_inputs);
    for (std::int64_t i = 0, at = start * layout_.n_cols; i < n * layout_.n_cols; ++i, ++at) {
      out[at] = u[i] - batch.target[at];
    }
  }
}

const double* Loss::forward(const double* weights, std::int64_t n, const double* x) {
  const Kernels& k = kernels();
  const std::size_t last = layout_.layers.size() - 1;
  const double* in = x;
  std::int64_t in_stride = layout_.n_inputs;
  for (std::size_t l = 0; l <= last; ++l) {
    const Layout::Layer& layer = layout_.layers[l];
    double* out = l < last ? hidden_[l].data() : output_.data();
    k.product(
        {n, layer.n_in, layer.n_cols, in, in_stride, 1, weights + layer.weights, out, weights + layer.bias, false});
    if (l < last) k.activate(layout_.activation, n * layer.n_cols, out, out, slope_[l].data());
    in = out;
    in_stride = layer.n_cols;
  }
  return output_.data();
}

double Loss::block(const double* weights, const Batch& batch, double factor, double* gradient) {
  const Kernels& k = kernels();
  const std::int64_t n = batch.n;
  const std::size_t last = layout_.layers.size() - 1;
  const double* values = forward(weights, n, batch.x);
  double sum = 0.0;
  for (std::int64_t i = 0; i < n; ++i) {
    const double* u = values + i * layout_.n_cols;
    const double* t = batch.target + i * layout_.n_cols;
    double* d = delta_.data() + i * layout_.n_cols;
    for (std::int64_t j = 0; j < layout_.n_cols; ++j) {
      const double miss = u[j] - t[j];
      sum += importance_[static_cast<std::size_t>(j)] * miss * miss;
      d[j] = 2.0 * factor * importance_[static_cast<std::size_t>(j)] * miss;
    }
  }
  if (gradient == nullptr) return sum;

  for (std::size_t l = last + 1; l-- > 0;) {
    const Layout::Layer& layer = layout_.layers[l];
    const double* h = l > 0 ? hidden_[l - 1].data() : batch.x;
    const std::int64_t h_stride = l > 0 ? layout_.layers[l - 1].n_cols : layout_.n_inputs;
    k.product({layer.n_in, n, layer.n_cols, h, 1, h_stride, delta_.data(), gradient + layer.weights, nullptr, true});
    k.product({1, n, layer.n_cols, ones_.data(), 0, 1, delta_.data(), gradient + layer.bias, nullptr, true});
    if (l == 0) break;
    const std::int64_t below = h_stride;
    for (std::int64_t i = 0; i < layer.n_in; ++i) {
      const double* row = weights + layer.weights + i * layer.n_cols;
      for (std::int64_t j = 0; j < layer.n_out; ++j) transposed_[static_cast<std::size_t>(j * below + i)] = row[j];
    }
    for (std::int64_t j = 0; j < layer.n_out; ++j) {
      for (std::int64_t i = layer.n_in; i < below; ++i) transposed_[static_cast<std::size_t>(j * below + i)] = 0.0;
    }
    k.product({n, layer.n_out, below, delta_.data(), layer.n_cols, 1, transposed_.data(), next_delta_.data(), nullptr,
               false});
    k.multiply(n * below, slope_[l - 1].data(), next_delta_.data());
    delta_.swap(next_delta_);
  }
  return sum;
}

}  // namespace zelos::nn
