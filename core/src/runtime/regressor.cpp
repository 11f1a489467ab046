// SPDX-License-Identifier: BSD-3-Clause
#include <algorithm>
#include <cmath>

#include "base/kernels.hpp"
#include "runtime/family_state.hpp"
#include "runtime/model.hpp"

namespace zelos {
namespace {

[[noreturn]] void rethrow(const std::string& name, zelos_status status, const zelos_error& error) {
  throw Error(status, name + ": " + error.message);
}

constexpr int64_t kAlign = 8;  // doubles in a cache line
constexpr int64_t aligned(int64_t n) { return (n + kAlign - 1) / kAlign * kAlign; }

}  // namespace

Regressor::Regressor(const zelos_family& family, const zelos_state& state, std::vector<int> inputs,
                     const double* center, const double* scale, const std::string& name_for_messages)
    : family_(&family),
      inputs_(std::move(inputs)),
      center_(center, center + inputs_.size()),
      scale_(scale, scale + inputs_.size()),
      name_(name_for_messages) {
  zelos_error error{sizeof error, 0, {}};
  const zelos_host host = empty_host();
  zelos_model* model = nullptr;
  const zelos_status status = family.open(&host, &state, &model, &error);
  if (status != ZELOS_OK) rethrow(name_, status, error);
  model_ = {model, Close{&family}};
  int64_t n_in = 0;
  family.shape(model, &n_in, &n_outputs_);
  if (n_in != n_inputs()) {
    throw Error(ZELOS_E_FORMAT, name_ + ": the stored model takes " + std::to_string(n_in) +
                                    " inputs, the artifact lists " + std::to_string(n_inputs()));
  }
  workspace_doubles_ = aligned(static_cast<int64_t>((family.workspace_bytes(model) + 7) / 8));
  variance_ = static_cast<const zelos_uncertainty*>(family.get_extension(ZELOS_EXT_UNCERTAINTY));
}

int64_t Regressor::scratch_size() const { return aligned(n_inputs()) + workspace_doubles_; }

void Regressor::scale_inputs(const double* features, double* x) const {
  for (size_t i = 0; i < inputs_.size(); ++i) x[i] = (features[inputs_[i]] - center_[i]) * scale_[i];
}

void Regressor::evaluate(const double* features, double* y, double* jacobian, double* scratch) const {
  double* x = scratch;
  void* workspace = scratch + aligned(n_inputs());
  scale_inputs(features, x);
  zelos_error error{sizeof error, 0, {}};
  const zelos_status status = jacobian == nullptr
                                  ? family_->predict(model_.get(), x, y, workspace, &error)
                                  : family_->predict_jacobian(model_.get(), x, y, jacobian, workspace, &error);
  if (status != ZELOS_OK) rethrow(name_, status, error);
  if (jacobian == nullptr) return;
  const int64_t n_in = n_inputs();
  for (int64_t i = 0; i < n_outputs_; ++i) {
    for (int64_t j = 0; j < n_in; ++j) jacobian[i * n_in + j] *= scale_[j];
  }
}

bool Regressor::variance(const double* features, double* variance, double* scratch) const {
  if (variance_ == nullptr) return false;
  double* x = scratch;
  void* workspace = scratch + aligned(n_inputs());
  scale_inputs(features, x);
  zelos_error error{sizeof error, 0, {}};
  const zelos_status status = variance_->variance(model_.get(), x, variance, workspace, &error);
  if (status == ZELOS_E_MISSING) return false;
  if (status != ZELOS_OK) rethrow(name_, status, error);
  return true;
}

}  // namespace zelos
