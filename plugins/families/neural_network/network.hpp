// SPDX-License-Identifier: BSD-3-Clause
/// network.hpp: a multilayer perceptron u(x) = W_L h_L + b_L, h_l = act(W_l h_(l-1) + b_l), h_0 =
/// x, as one flat vector of weights, with its loss and the gradient of that.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

#include "kernels.hpp"

namespace zelos::nn {

template <class T>
struct AlignedAllocator {
  using value_type = T;
  static constexpr std::align_val_t kAlignment{64};
  AlignedAllocator() = default;
  template <class U>
  AlignedAllocator(const AlignedAllocator<U>&) noexcept {}
  T* allocate(std::size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), kAlignment)); }
  void deallocate(T* p, std::size_t) noexcept { ::operator delete(p, kAlignment); }
  bool operator==(const AlignedAllocator&) const noexcept { return true; }
  bool operator!=(const AlignedAllocator&) const noexcept { return false; }
};
using Buffer = std::vector<double, AlignedAllocator<double>>;

/// The next multiple of simd::kLanes.
std::int64_t padded(std::int64_t n);

/// Sizes, and where each layer's weights stand in the flat vector. A layer is W[n_in x n_cols]
/// (input index first) and then b[n_cols]; n_cols is the padded number of units. Weights of padding
/// columns are zero and stay so in training.
struct Layout {
  struct Layer {
    std::int64_t n_in, n_out, n_cols;
    std::int64_t weights, bias;  ///< offsets
  };
  Layout(std::int64_t n_inputs, std::int64_t n_outputs, std::int64_t n_layers, std::int64_t layer_size,
         Activation activation);

  std::int64_t n_inputs, n_outputs, n_cols;  ///< n_cols: padded n_outputs
  Activation activation;
  std::vector<Layer> layers;  ///< the hidden layers and then the output layer
  std::int64_t n_weights = 0;
};

/// Uniform weights of variance 1 / n_in for the hidden layers, zero for the output layer. With
/// smaller ones the units are as good as quadratic in x, and what a quadratic trend leaves over
/// gives them nothing to start from.
Buffer initial_weights(const Layout& layout, std::uint64_t seed);

/// Points and what the network should give there: x[n x n_inputs], target[n x layout.n_cols]
/// (padding zero).
struct Batch {
  std::int64_t n;
  const double* x;
  const double* target;
};

/// sum over points and outputs of importance_k (u_k - target_k)^2, and its gradient. Has its own
/// scratch memory: one object per thread.
class Loss {
 public:
  /// importance[layout.n_cols], zero in the padding; both must outlive this.
  Loss(const Layout& layout, const Buffer& importance);
  /// Adds d(factor * sum)/d(weights) to gradient[n_weights] unless that is NULL. Returns the sum
  /// itself.
  double operator()(const double* weights, const Batch& batch, double factor, double* gradient);
  /// out[n x layout.n_cols] = u - target.
  void errors(const double* weights, const Batch& batch, double* out);

 private:
  /// u of at most kBlock points, and what the gradient needs.
  const double* forward(const double* weights, std::int64_t n, const double* x);
  double block(const double* weights, const Batch& batch, double factor, double* gradient);

  const Layout& layout_;
  const Buffer& importance_;
  std::vector<Buffer> hidden_, slope_;
  Buffer output_, delta_, next_delta_, transposed_, ones_;
};

}  // namespace zelos::nn
