// SPDX-License-Identifier: BSD-3-Clause
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "neural_network/kernels.hpp"
#include "neural_network/network.hpp"
#include "neural_network/random.hpp"
#include "zelos/abi/zelos_plugin.h"

extern "C" const zelos_family* zelos_family_neural_network(void);

namespace {

using zelos::nn::Activation;
using zelos::nn::Buffer;
using zelos::nn::Layout;
using zelos::nn::Random;

const zelos_family& family() { return *zelos_family_neural_network(); }

const zelos_train& training() { return *static_cast<const zelos_train*>(family().get_extension(ZELOS_EXT_TRAIN)); }

/// A copy of a state that outlives the call that hands it over.
struct Stored {
  struct Array {
    std::string name;
    int32_t rank;
    std::vector<int64_t> shape;
    Buffer data;
    bool operator==(const Array& o) const {
      return name == o.name && rank == o.rank && shape == o.shape && data == o.data;
    }
  };
  std::vector<Array> arrays;
  std::string settings;
  bool operator==(const Stored& o) const { return arrays == o.arrays && settings == o.settings; }

  static zelos_status copy(void* to, const zelos_state* state, zelos_error*) {
    Stored stored;
    stored.settings = state->settings_json;
    for (uint32_t i = 0; i < state->n_arrays; ++i) {
      const zelos_array& a = state->arrays[i];
      int64_t size = 1;
      for (int32_t k = 0; k < a.rank; ++k) size *= a.shape[k];
      stored.arrays.push_back({a.name, a.rank, {a.shape, a.shape + a.rank}, Buffer(a.data, a.data + size)});
    }
    *static_cast<Stored*>(to) = std::move(stored);
    return ZELOS_OK;
  }

  Array& at(const std::string& name) {
    for (Array& a : arrays) {
      if (a.name == name) return a;
    }
    FAIL("no array " << name);
    return arrays.front();
  }

  /// Calls use(state) with a view of this.
  template <class Use>
  auto with(Use&& use) const {
    std::vector<zelos_array> views;
    for (const Array& a : arrays) {
      zelos_array view{a.name.c_str(), a.data.data(), a.rank, {0, 0, 0, 0}};
      std::copy(a.shape.begin(), a.shape.end(), view.shape);
      views.push_back(view);
    }
    const zelos_state state{sizeof(zelos_state), static_cast<uint32_t>(views.size()), views.data(), settings.c_str()};
    return use(state);
  }
};

zelos_error no_error() {
  zelos_error error{};
  error.struct_size = sizeof error;
  return error;
}

class Model {
 public:
  explicit Model(const Stored& stored) {
    zelos_error error = no_error();
    stored.with([&](const zelos_state& state) {
      const zelos_status status = family().open(nullptr, &state, &model_, &error);
      INFO(error.message);
      REQUIRE(status == ZELOS_OK);
    });
    family().shape(model_, &n_inputs, &n_outputs);
    workspace_.resize(family().workspace_bytes(model_) / sizeof(double) + 1);
  }
  ~Model() { family().close(model_); }
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  std::vector<double> operator()(const std::vector<double>& x) {
    std::vector<double> y(static_cast<size_t>(n_outputs));
    zelos_error error = no_error();
    REQUIRE(family().predict(model_, x.data(), y.data(), workspace_.data(), &error) == ZELOS_OK);
    return y;
  }
  std::vector<double> jacobian(const std::vector<double>& x, std::vector<double>& y) {
    std::vector<double> j(static_cast<size_t>(n_outputs * n_inputs));
    y.resize(static_cast<size_t>(n_outputs));
    zelos_error error = no_error();
    REQUIRE(family().predict_jacobian(model_, x.data(), y.data(), j.data(), workspace_.data(), &error) == ZELOS_OK);
    return j;
  }

  int64_t n_inputs = 0, n_outputs = 0;

 private:
  zelos_model* model_ = nullptr;
  Buffer workspace_;
};

struct Data {
  int64_t n, n_inputs, n_outputs;
  std::vector<double> x, y;
  zelos_training_set set() const {
    return {sizeof(zelos_training_set), n, n_inputs, n_outputs, x.data(), y.data(), nullptr};
  }
};

std::vector<double> smooth(const double* x) {
  return {std::sin(1.2 * x[0] + 0.5 * x[1]) + 0.5 * x[2], std::exp(0.5 * x[0] * x[2]) - 1.0, x[1] / (3.0 + x[0])};
}

Data smooth_data(int64_t n, uint64_t seed) {
  Data data{n, 3, 3, {}, {}};
  Random random(seed, 77);
  for (int64_t i = 0; i < n; ++i) {
    double x[3];
    for (double& v : x) v = 2.0 * random.uniform() - 1.0;
    data.x.insert(data.x.end(), x, x + 3);
    for (const double v : smooth(x)) data.y.push_back(v);
  }
  return data;
}

/// What the caller of a training sees, and when it stops it.
struct Watch {
  Stored final, checkpoint;
  int checkpoints = 0, calls = 0, stop_after = std::numeric_limits<int>::max();
  double fraction = 0.0;
  zelos_error error = no_error();
};

zelos_status train(const Data& data, const std::string& params, Watch& watch, const Stored* resume = nullptr,
                   uint64_t seed = 1, int32_t n_threads = 1) {
  zelos_train_options options{};
  options.struct_size = sizeof options;
  options.params_json = params.c_str();
  options.seed = seed;
  options.n_threads = n_threads;
  options.data = &watch;
  options.progress = [](void* w, double fraction, double loss, const char*) {
    Watch& watching = *static_cast<Watch*>(w);
    CHECK(fraction >= watching.fraction);
    CHECK(fraction <= 1.0);
    CHECK(std::isfinite(loss));
    watching.fraction = fraction;
    return ++watching.calls > watching.stop_after ? 1 : 0;
  };
  options.checkpoint = [](void* w, const zelos_state* state, zelos_error* error) {
    Watch& watching = *static_cast<Watch*>(w);
    ++watching.checkpoints;
    return Stored::copy(&watching.checkpoint, state, error);
  };
  const zelos_training_set set = data.set();
  const auto run = [&] { return training().train(nullptr, &set, &options, Stored::copy, &watch.final, &watch.error); };
  if (resume == nullptr) return run();
  return resume->with([&](const zelos_state& state) {
    options.resume = &state;
    return run();
  });
}

const std::string kSmall = R"({"n_layers": 2, "layer_size": 12, "epochs": 120, "lbfgs_iterations": 450})";

}  // namespace

TEST_CASE("neural_network: the gradient of the loss agrees with finite differences", "[neural_network]") {
  const auto activation = GENERATE(Activation::kTanh, Activation::kSilu, Activation::kGelu);
  const Layout layout(3, 5, 2, 9, activation);
  Random random(4, 0);
  Buffer weights = zelos::nn::initial_weights(layout, 5);
  for (const Layout::Layer& layer : layout.layers) {
    for (int64_t i = 0; i < layer.n_in; ++i) {
      for (int64_t j = 0; j < layer.n_out; ++j) {
        weights[static_cast<size_t>(layer.weights + i * layer.n_cols + j)] += random.uniform() - 0.5;
      }
    }
  }
  Buffer importance(8, 0.0);
  for (size_t j = 0; j < 5; ++j) importance[j] = 0.5 + static_cast<double>(j);
  const int64_t n = 131;  // more than one block of points
  Buffer x, target;
  for (int64_t i = 0; i < 3 * n; ++i) x.push_back(2.0 * random.uniform() - 1.0);
  for (int64_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < 8; ++j) target.push_back(j < 5 ? random.uniform() : 0.0);
  }
  zelos::nn::Loss loss(layout, importance);
  Buffer gradient(weights.size(), 0.0);
  loss(weights.data(), {n, x.data(), target.data()}, 1.0, gradient.data());

  double worst = 0.0, largest = 0.0;
  for (const Layout::Layer& layer : layout.layers) {
    for (int64_t i = 0; i <= layer.n_in; ++i) {
      const int64_t row = i < layer.n_in ? layer.weights + i * layer.n_cols : layer.bias;
      for (int64_t j = 0; j < layer.n_cols; ++j) {
        const size_t at = static_cast<size_t>(row + j);
        if (j >= layer.n_out) {
          CHECK(gradient[at] == 0.0);
          continue;
        }
        const double kept = weights[at], h = 1e-5;
        weights[at] = kept + h;
        const double up = loss(weights.data(), {n, x.data(), target.data()}, 1.0, nullptr);
        weights[at] = kept - h;
        const double down = loss(weights.data(), {n, x.data(), target.data()}, 1.0, nullptr);
        weights[at] = kept;
        worst = std::max(worst, std::fabs((up - down) / (2.0 * h) - gradient[at]));
        largest = std::max(largest, std::fabs(gradient[at]));
      }
    }
  }
  CHECK(worst < 1e-7 * largest);
}

TEST_CASE("neural_network: kernels agree with the standard library and with each other", "[neural_network]") {
  Buffer z, h(4096), slope(4096), h_base(4096), slope_base(4096);
  for (int i = 0; i < 4096; ++i) z.push_back(-40.0 + 80.0 * i / 4095.0);
  const auto exact = [](Activation a, double x) {
    if (a == Activation::kTanh) return std::tanh(x);
    if (a == Activation::kSilu) return x / (1.0 + std::exp(-x));
    return 0.5 * x * (1.0 + std::tanh(std::sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x)));
  };
  for (const Activation a : {Activation::kTanh, Activation::kSilu, Activation::kGelu}) {
    zelos::nn::kernels().activate(a, 4096, z.data(), h.data(), slope.data());
    zelos::nn::baseline_kernels().activate(a, 4096, z.data(), h_base.data(), slope_base.data());
    double worst = 0.0, worst_slope = 0.0, apart = 0.0;
    for (size_t i = 0; i < 4096; ++i) {
      const double x = z[i], e = 1e-5;
      worst = std::max(worst, std::fabs(h[i] - exact(a, x)));
      worst_slope = std::max(worst_slope, std::fabs(slope[i] - (exact(a, x + e) - exact(a, x - e)) / (2.0 * e)));
      apart = std::max(apart, std::fabs(h[i] - h_base[i]) + std::fabs(slope[i] - slope_base[i]));
    }
    CHECK(worst < 1e-14);
    CHECK(worst_slope < 1e-8);
    CHECK(apart < 3e-14);
  }

  const double nan = std::numeric_limits<double>::quiet_NaN();
  Buffer odd = {nan, 1e308, -1e308, 0.0, 1e-300, -0.0, 800.0, -800.0};
  zelos::nn::kernels().activate(Activation::kTanh, 8, odd.data(), h.data(), nullptr);
  CHECK(std::isnan(h[0]));
  CHECK(h[1] == 1.0);
  CHECK(h[2] == -1.0);
  CHECK(h[3] == 0.0);

  Random random(9, 0);
  for (const auto& [rows, inner, cols] : std::vector<std::array<int64_t, 3>>{{1, 3, 8}, {13, 7, 24}, {32, 65, 40}}) {
    Buffer a, b, c(static_cast<size_t>(rows * cols)), d;
    for (int64_t i = 0; i < rows * inner; ++i) a.push_back(random.uniform());
    for (int64_t i = 0; i < inner * cols; ++i) b.push_back(random.uniform());
    d = c;
    for (const bool transposed : {false, true}) {
      const int64_t by_row = transposed ? 1 : inner, by_col = transposed ? rows : 1;
      zelos::nn::kernels().product({rows, inner, cols, a.data(), by_row, by_col, b.data(), c.data(), nullptr, false});
      zelos::nn::baseline_kernels().product(
          {rows, inner, cols, a.data(), by_row, by_col, b.data(), d.data(), nullptr, false});
      for (int64_t i = 0; i < rows; ++i) {
        for (int64_t j = 0; j < cols; ++j) {
          double sum = 0.0;
          for (int64_t k = 0; k < inner; ++k) {
            sum += a[static_cast<size_t>(i * by_row + k * by_col)] * b[static_cast<size_t>(k * cols + j)];
          }
          REQUIRE(c[static_cast<size_t>(i * cols + j)] == Approx(sum).epsilon(1e-13));
          REQUIRE(d[static_cast<size_t>(i * cols + j)] == Approx(sum).epsilon(1e-13));
        }
      }
    }
  }
}

TEST_CASE("neural_network: learns a smooth function to 1e-3, with an exact Jacobian", "[neural_network]") {
  const std::string activation = GENERATE("tanh", "silu", "gelu");
  const Data data = smooth_data(400, 1);
  Watch watch;
  const zelos_status status = train(
      data,
      R"({"n_layers": 2, "layer_size": 32, "epochs": 500, "lbfgs_iterations": 3000, "optimizer": "ADAM", "activation": ")" +
          activation + "\"}",
      watch);
  INFO(watch.error.message);
  REQUIRE(status == ZELOS_OK);
  Model model(watch.final);
  REQUIRE(model.n_inputs == 3);
  REQUIRE(model.n_outputs == 3);

  const Data fresh = smooth_data(200, 2);
  double squares = 0.0, worst_slope = 0.0;
  for (size_t i = 0; i < 200; ++i) {
    const std::vector<double> x(fresh.x.begin() + static_cast<long>(3 * i),
                                fresh.x.begin() + static_cast<long>(3 * i + 3));
    const std::vector<double> y = model(x);
    for (size_t j = 0; j < 3; ++j) squares += std::pow(y[j] - fresh.y[3 * i + j], 2);

    std::vector<double> same;
    const std::vector<double> jacobian = model.jacobian(x, same);
    for (size_t j = 0; j < 3; ++j) CHECK(same[j] == Approx(y[j]).epsilon(1e-13).margin(1e-13));
    for (size_t k = 0; k < 3; ++k) {
      std::vector<double> up = x, down = x;
      const double h = 1e-5;
      up[k] += h;
      down[k] -= h;
      const std::vector<double> y_up = model(up), y_down = model(down);
      for (size_t j = 0; j < 3; ++j) {
        worst_slope = std::max(worst_slope, std::fabs(jacobian[3 * j + k] - (y_up[j] - y_down[j]) / (2.0 * h)));
      }
    }
  }
  CHECK(std::sqrt(squares / 600.0) < 1e-3);
  CHECK(worst_slope < 1e-8);
}

TEST_CASE("neural_network: same seed, same state, with any number of threads; other seed, other state",
          "[neural_network]") {
  const Data data = smooth_data(300, 3);
  Watch first, again, other;
  REQUIRE(train(data, kSmall, first) == ZELOS_OK);
  REQUIRE(train(data, kSmall, again, nullptr, 1, 3) == ZELOS_OK);
  REQUIRE(train(data, kSmall, other, nullptr, 2) == ZELOS_OK);
  CHECK(first.final == again.final);
  CHECK_FALSE(first.final == other.final);
}

TEST_CASE("neural_network: a training that was cut off ends in the same state after it is resumed",
          "[neural_network]") {
  const Data data = smooth_data(300, 3);
  Watch whole;
  REQUIRE(train(data, kSmall, whole) == ZELOS_OK);
  REQUIRE(whole.calls > 200);
  for (const int stop_after : {60, 119, 120, 130, 400, 500}) {
    Watch cut;
    cut.stop_after = stop_after;
    REQUIRE(train(data, kSmall, cut) == ZELOS_E_CANCELLED);
    REQUIRE(cut.checkpoints > 0);
    REQUIRE(cut.final.arrays.empty());
    Watch resumed;
    const zelos_status status = train(data, kSmall, resumed, &cut.checkpoint);
    INFO("cut after " << stop_after << ": " << resumed.error.message);
    REQUIRE(status == ZELOS_OK);
    CHECK(resumed.calls < whole.calls);
    CHECK(resumed.final == whole.final);
  }

  Watch refused;
  CHECK(train(data, kSmall, refused, &whole.checkpoint, 2) == ZELOS_E_ARGUMENT);
  CHECK(std::string(refused.error.message).find("another training set, params or seed") != std::string::npos);
  CHECK(train(data, kSmall, refused, &whole.final) == ZELOS_E_FORMAT);
  Stored damaged = whole.checkpoint;
  damaged.at("weights").shape[0] -= 1;
  CHECK(train(data, kSmall, refused, &damaged) == ZELOS_E_FORMAT);
}

TEST_CASE("neural_network: errors that matter little in units of y_scale are given up first", "[neural_network]") {
  Data data = smooth_data(200, 6);
  const std::string params =
      R"({"n_layers": 1, "layer_size": 2, "epochs": 300, "lbfgs_iterations": 200, "trend": "none", "batch_size": 200, "learning_rate": 0.02})";
  const auto error_of = [&](const double* scale, size_t output) {
    zelos_training_set set = data.set();
    set.y_scale = scale;
    zelos_train_options options{};
    options.struct_size = sizeof options;
    options.params_json = params.c_str();
    options.seed = 1;
    options.n_threads = 1;
    Stored stored;
    zelos_error error = no_error();
    REQUIRE(training().train(nullptr, &set, &options, Stored::copy, &stored, &error) == ZELOS_OK);
    Model model(stored);
    double squares = 0.0;
    for (size_t i = 0; i < 200; ++i) {
      const std::vector<double> y = model({data.x[3 * i], data.x[3 * i + 1], data.x[3 * i + 2]});
      squares += std::pow(y[output] - data.y[3 * i + output], 2);
    }
    return std::sqrt(squares / 200.0);
  };
  const double cares_for_first[3] = {1e-3, 1.0, 1.0}, cares_for_second[3] = {1.0, 1e-3, 1.0};
  CHECK(error_of(cares_for_first, 0) < 0.5 * error_of(cares_for_second, 0));
  CHECK(error_of(cares_for_second, 1) < 0.5 * error_of(cares_for_first, 1));
}

TEST_CASE("neural_network: constant outputs, few points and one point at the edge", "[neural_network]") {
  Data data = smooth_data(12, 8);
  for (size_t i = 0; i < 12; ++i) data.y[3 * i + 1] = 4.0;
  Watch watch;
  const zelos_status status =
      train(data, R"({"epochs": 5, "lbfgs_iterations": 5, "n_layers": 1, "layer_size": 3})", watch);
  INFO(watch.error.message);
  REQUIRE(status == ZELOS_OK);
  Model model(watch.final);
  CHECK(model({0.1, 0.2, 0.3})[1] == Approx(4.0));
}

TEST_CASE("neural_network: wrong params and data are refused with a message that names them", "[neural_network]") {
  const Data data = smooth_data(20, 1);
  const auto message = [&](const Data& set, const std::string& params) {
    Watch watch;
    CHECK(train(set, params, watch) == ZELOS_E_ARGUMENT);
    CHECK(watch.error.code == ZELOS_E_ARGUMENT);
    return std::string(watch.error.message);
  };
  const std::pair<const char*, const char*> wrong[] = {
      {R"({"n_layer": 2})", "n_layer"},
      {R"({"n_layers": 0})", "n_layers"},
      {R"({"n_layers": 2.5})", "n_layers"},
      {R"({"layer_size": "big"})", "layer_size"},
      {R"({"layer_size": -1})", "layer_size"},
      {R"({"activation": "relu"})", "activation"},
      {R"({"optimizer": "SGD"})", "optimizer"},
      {R"({"learning_rate": 0})", "learning_rate"},
      {R"({"validation_fraction": 1.5})", "validation_fraction"},
      {R"({"trend": "cubic"})", "trend"},
      {R"({"schedule": "fast"})", "schedule"},
      {"{", "params"},
      {"[1]", "params"},
  };
  for (const auto& [params, key] : wrong) {
    const std::string text = message(data, params);
    INFO(params << " -> " << text);
    CHECK(text.find(key) != std::string::npos);
  }
  Data broken = data;
  broken.y[7] = std::numeric_limits<double>::quiet_NaN();
  CHECK(message(broken, "{}").find("training set") != std::string::npos);
  broken = data;
  broken.x[0] = std::numeric_limits<double>::infinity();
  CHECK(message(broken, "{}").find("training set") != std::string::npos);
}

TEST_CASE("neural_network: a damaged state is refused", "[neural_network]") {
  Watch watch;
  REQUIRE(train(smooth_data(30, 1), R"({"epochs": 3, "lbfgs_iterations": 0, "n_layers": 2, "layer_size": 5})", watch) ==
          ZELOS_OK);
  const Stored good = watch.final;
  const std::function<void(Stored&)> damages[] = {
      [](Stored& s) { s.arrays.erase(s.arrays.begin()); },
      [](Stored& s) { s.at("weights_1").shape[0] = 4; },
      [](Stored& s) { s.at("weights_2").shape[1] = 2; },
      [](Stored& s) { s.at("bias_0").shape[0] = 3; },
      [](Stored& s) { s.at("bias_0").rank = 2; },
      [](Stored& s) { s.at("trend").shape[0] -= 1; },
      [](Stored& s) { s.at("weights_0").shape[0] = 0; },
      [](Stored& s) { s.at("weights_0").shape[1] = std::numeric_limits<int64_t>::max(); },
      [](Stored& s) { s.at("weights_1").data[3] = std::numeric_limits<double>::quiet_NaN(); },
      [](Stored& s) { s.settings = "{}"; },
      [](Stored& s) { s.settings = "not JSON"; },
      [](Stored& s) { s.settings = R"({"n_layers": 200, "activation": "silu", "trend_order": 1})"; },
      [](Stored& s) { s.settings = R"({"n_layers": 2, "activation": "relu", "trend_order": 1})"; },
      [](Stored& s) { s.settings = R"({"n_layers": 2, "activation": 7, "trend_order": 1})"; },
  };
  int number = 0;
  for (const auto& damage : damages) {
    Stored damaged = good;
    damage(damaged);
    zelos_error error = no_error();
    zelos_model* model = nullptr;
    const zelos_status status =
        damaged.with([&](const zelos_state& state) { return family().open(nullptr, &state, &model, &error); });
    INFO("damage " << number++ << ": " << error.message);
    CHECK(status == ZELOS_E_FORMAT);
    CHECK(model == nullptr);
    CHECK(std::string(error.message).size() > 10);
  }
  family().close(nullptr);
}
