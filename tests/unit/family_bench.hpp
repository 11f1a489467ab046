// SPDX-License-Identifier: BSD-3-Clause
// family_bench.hpp: a trained family as the tests see it: through its C table alone.
#pragma once

#include <Eigen/Dense>
#include <catch2/catch.hpp>
#include <cstring>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "zelos/abi/zelos_plugin.h"

namespace family_bench {

using RowMatrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// A deep copy of a zelos_state.
struct State {
  struct Array {
    std::string name;
    int32_t rank;
    std::vector<int64_t> shape;
    std::vector<double> data;
    bool operator==(const Array& o) const {
      return name == o.name && rank == o.rank && shape == o.shape && data.size() == o.data.size() &&
             std::memcmp(data.data(), o.data.data(), sizeof(double) * data.size()) == 0;
    }
  };
  std::vector<Array> arrays;
  std::string settings;

  static State copy(const zelos_state& s) {
    State out;
    for (uint32_t i = 0; i < s.n_arrays; ++i) {
      const zelos_array& a = s.arrays[i];
      int64_t size = 1;
      for (int32_t k = 0; k < a.rank; ++k) size *= a.shape[k];
      out.arrays.push_back({a.name, a.rank, {a.shape, a.shape + a.rank}, {a.data, a.data + size}});
    }
    out.settings = s.settings_json;
    return out;
  }

  const Array& array(const std::string& name) const {
    for (const Array& a : arrays) {
      if (a.name == name) return a;
    }
    FAIL("no array " << name);
    return arrays.front();
  }

  /// The view lives as long as `views` and this state.
  zelos_state view(std::vector<zelos_array>& views) const {
    views.clear();
    for (const Array& a : arrays) {
      zelos_array v = {a.name.c_str(), a.data.data(), a.rank, {0, 0, 0, 0}};
      std::copy(a.shape.begin(), a.shape.end(), v.shape);
      views.push_back(v);
    }
    return {sizeof(zelos_state), static_cast<uint32_t>(views.size()), views.data(), settings.c_str()};
  }

  bool operator==(const State& o) const { return arrays == o.arrays && settings == o.settings; }
};

inline zelos_status keep_state(void* data, const zelos_state* state, zelos_error*) {
  *static_cast<State*>(data) = State::copy(*state);
  return ZELOS_OK;
}

struct Trained {
  zelos_status status = ZELOS_OK;
  std::string message;
  State state;
  std::vector<State> checkpoints;
};

struct TrainSettings {
  std::string params = "{}";
  uint64_t seed = 1;
  int threads = 1;
  const State* resume = nullptr;
  int stop_after = -1;  // progress reports until "stop early"
  const double* y_scale = nullptr;
};

inline Trained train(const zelos_family* family, const RowMatrix& x, const RowMatrix& y,
                     const TrainSettings& settings = {}) {
  struct Calls {
    Trained* out;
    int left;
  };
  const auto* ext = static_cast<const zelos_train*>(family->get_extension(ZELOS_EXT_TRAIN));
  REQUIRE(ext != nullptr);
  Trained out;
  Calls calls = {&out, settings.stop_after};
  const zelos_training_set set = {
      sizeof(zelos_training_set), x.rows(), x.cols(), y.cols(), x.data(), y.data(), settings.y_scale};
  std::vector<zelos_array> views;
  zelos_state resume = {};
  if (settings.resume != nullptr) resume = settings.resume->view(views);
  zelos_train_options options = {};
  options.struct_size = sizeof options;
  options.params_json = settings.params.c_str();
  options.seed = settings.seed;
  options.n_threads = settings.threads;
  options.resume = settings.resume != nullptr ? &resume : nullptr;
  options.data = &calls;
  options.progress = [](void* data, double, double, const char*) -> int {
    auto* c = static_cast<Calls*>(data);
    return c->left >= 0 && c->left-- == 0 ? 1 : 0;
  };
  options.checkpoint = [](void* data, const zelos_state* state, zelos_error*) -> zelos_status {
    static_cast<Calls*>(data)->out->checkpoints.push_back(State::copy(*state));
    return ZELOS_OK;
  };
  zelos_error error = {};
  error.struct_size = sizeof error;
  out.status = ext->train(nullptr, &set, &options, keep_state, &out.state, &error);
  out.message = error.message;
  return out;
}

class Opened {
 public:
  Opened(const zelos_family* family, const State& state) : family_(family), state_(state) {
    const zelos_state view = state_.view(views_);
    zelos_error error = {};
    error.struct_size = sizeof error;
    const zelos_status status = family_->open(nullptr, &view, &model_, &error);
    INFO(error.message);
    REQUIRE(status == ZELOS_OK);
    family_->shape(model_, &n_inputs, &n_outputs);
    const size_t bytes = (family_->workspace_bytes(model_) + 63) / 64 * 64;
    workspace_.reset(std::aligned_alloc(64, std::max<size_t>(bytes, 64)));
  }
  ~Opened() { family_->close(model_); }
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;

  Eigen::VectorXd predict(const Eigen::VectorXd& x) {
    Eigen::VectorXd y(n_outputs);
    REQUIRE(family_->predict(model_, x.data(), y.data(), workspace_.get(), nullptr) == ZELOS_OK);
    return y;
  }
  RowMatrix jacobian(const Eigen::VectorXd& x, Eigen::VectorXd* value = nullptr) {
    Eigen::VectorXd y(n_outputs);
    RowMatrix j(n_outputs, n_inputs);
    REQUIRE(family_->predict_jacobian(model_, x.data(), y.data(), j.data(), workspace_.get(), nullptr) == ZELOS_OK);
    if (value != nullptr) *value = y;
    return j;
  }
  zelos_status variance(const Eigen::VectorXd& x, Eigen::VectorXd& out, std::string* message = nullptr) {
    const auto* ext = static_cast<const zelos_uncertainty*>(family_->get_extension(ZELOS_EXT_UNCERTAINTY));
    REQUIRE(ext != nullptr);
    out.resize(n_outputs);
    zelos_error error = {};
    error.struct_size = sizeof error;
    const zelos_status status = ext->variance(model_, x.data(), out.data(), workspace_.get(), &error);
    if (message != nullptr) *message = error.message;
    return status;
  }

  int64_t n_inputs = 0, n_outputs = 0;

 private:
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  const zelos_family* family_;
  State state_;
  std::vector<zelos_array> views_;
  zelos_model* model_ = nullptr;
  std::unique_ptr<void, Free> workspace_;
};

inline RowMatrix random_points(int64_t n, int64_t d, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> uniform(-1.0, 1.0);
  RowMatrix x(n, d);
  for (Eigen::Index i = 0; i < x.size(); ++i) x.data()[i] = uniform(random);
  return x;
}

inline RowMatrix apply(const RowMatrix& x, int64_t outputs,
                       const std::function<void(const Eigen::VectorXd&, double*)>& f) {
  RowMatrix y(x.rows(), outputs);
  for (Eigen::Index i = 0; i < x.rows(); ++i) f(x.row(i), y.row(i).data());
  return y;
}

/// Central differences of predict with one step of Richardson extrapolation.
inline RowMatrix numeric_jacobian(Opened& model, const Eigen::VectorXd& x, double h) {
  RowMatrix out(model.n_outputs, model.n_inputs);
  const auto difference = [&](int64_t j, double step) -> Eigen::VectorXd {
    Eigen::VectorXd up = x, down = x;
    up[j] += step;
    down[j] -= step;
    return (model.predict(up) - model.predict(down)) / (2.0 * step);
  };
  for (int64_t j = 0; j < model.n_inputs; ++j) out.col(j) = (4.0 * difference(j, h) - difference(j, 2.0 * h)) / 3.0;
  return out;
}

}  // namespace family_bench
