// SPDX-License-Identifier: BSD-3-Clause
#include "train.hpp"

#include <LBFGS.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>
#include <numeric>

#include "../support/family_support.hpp"
#include "../support/left_out_variance.hpp"
#include "../support/training.hpp"
#include "random.hpp"
#include "trend.hpp"

namespace zelos::nn {

using family::Error;
using family::RowMatrix;

const char* const kDefaultsJson = R"({
  "n_layers": 3, "layer_size": 64, "activation": "silu", "trend": "quadratic",
  "optimizer": "ADAM", "learning_rate": 0.003, "schedule": "cosine", "warmup": 0.05, "weight_decay": 0.0,
  "batch_size": 32, "epochs": 1500, "patience": 1500, "validation_fraction": 0.1, "lbfgs_iterations": 1000
})";

namespace {

constexpr std::int64_t kCheckpointEpochs = 50;
constexpr int kSegmentIterations = 50;  ///< L-BFGS forgets its history after so many: a point to resume from
constexpr int kSegmentPatience = 5;     ///< segments without a better validation loss before L-BFGS ends
constexpr std::int64_t kMaxChunks = 16;
constexpr std::int64_t kFewestKeptOut = 20;  ///< that say how large the error is
constexpr const char* kCheckpointKind = "neural_network checkpoint";

double number(const nlohmann::json& params, const char* key, double low, double high) {
  const double value = params.at(key).get<double>();
  const std::string expected = "from " + nlohmann::json(low).dump() + " to " + nlohmann::json(high).dump();
  family::require_param(value >= low && value <= high, params, key, expected.c_str());
  return value;
}

/// The value whose name stands in params[key], in any case.
template <class Value>
Value choice(const nlohmann::json& params, const char* key,
             std::initializer_list<std::pair<const char*, Value>> values) {
  std::string text = params.at(key).get<std::string>(), known;
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  for (const auto& [name, value] : values) {
    if (text == name) return value;
    known += (known.empty() ? "" : " or ") + std::string("'") + name + "'";
  }
  family::require_param(false, params, key, known.c_str());
  return values.begin()->second;
}

/// One part of the training set, with targets for the network: (y - trend) / column_scale.
struct Part {
  std::int64_t n = 0;
  Buffer x, target;
  Batch batch() const { return {n, x.data(), target.data()}; }
};

/// The training set as the network sees it.
struct Problem {
  int trend_order;
  RowMatrix trend;               ///< terms x n_outputs
  Eigen::VectorXd column_scale;  ///< rms of what the trend leaves over
  Buffer importance;             ///< padded; mean 1 over the outputs: squared column_scale in units of y_scale
  double unit = 1.0;             ///< loss 1 is an rms error of so many y_scale
  Part training, validation;     ///< validation may be empty
};

Problem make_problem(const zelos_training_set& set, const Params& params, const Layout& layout, std::uint64_t seed) {
  Problem problem;
  const std::int64_t d = set.n_inputs, m = set.n_outputs;
  const std::int64_t n_validation = std::min(
      set.n - 1, static_cast<std::int64_t>(std::floor(params.validation_fraction * static_cast<double>(set.n))));
  const std::int64_t n_training = set.n - n_validation;
  const std::vector<std::int64_t> order = permutation(set.n, Random(seed, 1));

  problem.trend_order = params.trend_order;
  while (problem.trend_order > 0 && 2 * trend_terms(d, problem.trend_order) > n_training) --problem.trend_order;
  const std::int64_t n_terms = trend_terms(d, problem.trend_order);
  RowMatrix terms(set.n, n_terms), y(set.n, m);
  for (std::int64_t i = 0; i < set.n; ++i) {
    const std::int64_t from = order[static_cast<std::size_t>(i)];
    trend_values(d, problem.trend_order, set.x + from * d, terms.row(i).data());
    y.row(i) = Eigen::Map<const Eigen::RowVectorXd>(set.y + from * m, m);
  }
  problem.trend = Eigen::ColPivHouseholderQR<Eigen::MatrixXd>(terms.topRows(n_training)).solve(y.topRows(n_training));
  y -= terms * problem.trend;

  problem.column_scale = (y.topRows(n_training).colwise().squaredNorm() / static_cast<double>(n_training)).cwiseSqrt();
  problem.importance.assign(static_cast<std::size_t>(layout.n_cols), 0.0);
  double total = 0.0;
  for (std::int64_t j = 0; j < m; ++j) {
    const double weight = problem.column_scale[j] / (set.y_scale == nullptr ? 1.0 : set.y_scale[j]);
    problem.importance[static_cast<std::size_t>(j)] = weight * weight;
    total += weight * weight;
  }
  if (!std::isfinite(total)) throw Error(ZELOS_E_NUMERIC, "training set: outputs are too large in units of y_scale");
  const double mean = total / static_cast<double>(m);
  problem.unit = std::sqrt(mean);
  if (mean > 0.0) {
    for (double& weight : problem.importance) weight /= mean;
  }

  const auto fill = [&](Part& part, std::int64_t first, std::int64_t n) {
    part.n = n;
    part.x.resize(static_cast<std::size_t>(n * d));
    part.target.assign(static_cast<std::size_t>(n * layout.n_cols), 0.0);
    for (std::int64_t i = 0; i < n; ++i) {
      const std::int64_t from = order[static_cast<std::size_t>(first + i)];
      std::copy_n(set.x + from * d, d, part.x.data() + i * d);
      for (std::int64_t j = 0; j < m; ++j) {
        const double scale = problem.column_scale[j];
        part.target[static_cast<std::size_t>(i * layout.n_cols + j)] = scale > 0.0 ? y(first + i, j) / scale : 0.0;
      }
    }
  };
  fill(problem.training, 0, n_training);
  fill(problem.validation, n_training, n_validation);
  return problem;
}

/// The mean loss over a whole part. The division of the work does not depend on the number of
/// threads, so neither do the sums.
class WholeLoss {
 public:
  WholeLoss(const Layout& layout, const Buffer& importance, const Part& part, int n_threads)
      : layout_(layout), part_(part), factor_(1.0 / static_cast<double>(part.n * layout.n_outputs)) {
    n_chunks_ = std::min<std::int64_t>(kMaxChunks, (part.n + 127) / 128);
    n_threads_ = std::min<std::int64_t>(n_threads, n_chunks_);
    for (std::int64_t t = 0; t < n_threads_; ++t) losses_.emplace_back(layout, importance);
    sums_.resize(static_cast<std::size_t>(n_chunks_));
  }

  /// gradient[n_weights] is overwritten; NULL: only the value.
  double operator()(const double* weights, double* gradient) {
    if (gradient != nullptr) partial_.resize(static_cast<std::size_t>(n_chunks_ * layout_.n_weights));
    if (n_threads_ == 1) {
      work(0, weights, gradient != nullptr);
    } else {
      std::vector<std::int64_t> threads(static_cast<std::size_t>(n_threads_));
      std::iota(threads.begin(), threads.end(), std::int64_t{0});
      family::run_tasks(
          threads, static_cast<int>(n_threads_),
          [&](std::int64_t thread) { work(thread, weights, gradient != nullptr); }, [](std::int64_t) { return true; });
    }
    double sum = 0.0;
    for (const double part : sums_) sum += part;
    if (gradient != nullptr) {
      std::fill_n(gradient, layout_.n_weights, 0.0);
      for (std::int64_t c = 0; c < n_chunks_; ++c) {
        const double* from = partial_.data() + c * layout_.n_weights;
        for (std::int64_t i = 0; i < layout_.n_weights; ++i) gradient[i] += from[i];
      }
    }
    return sum * factor_;
  }

 private:
  void work(std::int64_t thread, const double* weights, bool with_gradient) {
    for (std::int64_t c = thread; c < n_chunks_; c += n_threads_) {
      const std::int64_t first = part_.n * c / n_chunks_, end = part_.n * (c + 1) / n_chunks_;
      double* gradient = nullptr;
      if (with_gradient) {
        gradient = partial_.data() + c * layout_.n_weights;
        std::fill_n(gradient, layout_.n_weights, 0.0);
      }
      const Batch batch{end - first, part_.x.data() + first * layout_.n_inputs,
                        part_.target.data() + first * layout_.n_cols};
      sums_[static_cast<std::size_t>(c)] = losses_[static_cast<std::size_t>(thread)](weights, batch, factor_, gradient);
    }
  }

  const Layout& layout_;
  const Part& part_;
  double factor_;
  std::int64_t n_chunks_, n_threads_;
  std::vector<Loss> losses_;
  std::vector<double> sums_;
  Buffer partial_;
};

enum Phase { kAdam, kLbfgs, kDone };

/// Everything that changes while a network is trained: what a checkpoint holds.
struct Progress {
  Phase phase = kAdam;
  std::int64_t epoch = 0, step = 0, best_epoch = 0, segment = 0, stale = 0;
  double best_loss = std::numeric_limits<double>::max();
  Buffer weights, first, second, best;
};

Eigen::Map<const Eigen::VectorXd> view(const Buffer& buffer) {
  return {buffer.data(), static_cast<Eigen::Index>(buffer.size())};
}

class Trainer {
 public:
  Trainer(const zelos_training_set& set, const zelos_train_options& options, const Params& params)
      : options_(options),
        params_(params),
        layout_(set.n_inputs, set.n_outputs, params.n_layers, params.layer_size, params.activation),
        problem_(make_problem(set, params, layout_, options.seed)),
        fingerprint_(family::fingerprint(set, params.canonical, options.seed)),
        watched_(layout_, problem_.importance, problem_.validation.n > 0 ? problem_.validation : problem_.training,
                 options.n_threads) {
    if (options.resume != nullptr) {
      restore(*options.resume);
    } else {
      now_.weights = initial_weights(layout_, options.seed);
      now_.first.assign(now_.weights.size(), 0.0);
      now_.second.assign(now_.weights.size(), 0.0);
      now_.best = now_.weights;
    }
  }

  void run() {
    if (now_.phase == kAdam) run_adam();
    if (now_.phase == kLbfgs) run_lbfgs();
  }

  void save(zelos_save_state save, void* data) const {
    std::vector<RowMatrix> weights;
    std::vector<Eigen::VectorXd> biases;
    for (std::size_t l = 0; l < layout_.layers.size(); ++l) {
      const Layout::Layer& layer = layout_.layers[l];
      const Eigen::Map<const RowMatrix> w(now_.best.data() + layer.weights, layer.n_in, layer.n_cols);
      const Eigen::Map<const Eigen::VectorXd> b(now_.best.data() + layer.bias, layer.n_cols);
      weights.emplace_back(w.leftCols(layer.n_out));
      biases.emplace_back(b.head(layer.n_out));
    }
    weights.back() = weights.back() * problem_.column_scale.asDiagonal();
    biases.back() = biases.back().cwiseProduct(problem_.column_scale);

    std::vector<std::string> names;
    names.reserve(2 * weights.size());
    family::StateBuilder state;
    for (std::size_t l = 0; l < weights.size(); ++l) {
      state.add(names.emplace_back("weights_" + std::to_string(l)).c_str(), weights[l]);
      state.add(names.emplace_back("bias_" + std::to_string(l)).c_str(), biases[l]);
    }
    state.add("trend", problem_.trend);
    family::LeftOutVariance::Fit left_out;
    if (problem_.validation.n >= kFewestKeptOut) {
      left_out = kept_out_errors();
      left_out.add_to(state);
    }
    state.settings({{"n_layers", params_.n_layers},
                    {"activation", activation_name(params_.activation)},
                    {"trend_order", problem_.trend_order},
                    {"epochs", now_.epoch},
                    {"best_epoch", now_.best_epoch},
                    {"validation_rmse", rmse(now_.best_loss)}});
    hand_over(save, data, state.state());
  }

 private:
  double rmse(double loss) const { return problem_.unit * std::sqrt(loss); }

  family::LeftOutVariance::Fit kept_out_errors() const {
    const Part &training = problem_.training, &kept_out = problem_.validation;
    RowMatrix x(training.n + kept_out.n, layout_.n_inputs);
    std::copy(training.x.begin(), training.x.end(), x.data());
    std::copy(kept_out.x.begin(), kept_out.x.end(), x.data() + training.x.size());
    RowMatrix errors = RowMatrix::Zero(x.rows(), layout_.n_cols);
    Loss loss(layout_, problem_.importance);
    loss.errors(now_.best.data(), kept_out.batch(), errors.data() + training.n * layout_.n_cols);
    return family::LeftOutVariance::fit(x, errors.leftCols(layout_.n_outputs) * problem_.column_scale.asDiagonal(),
                                        training.n);
  }

  static void hand_over(zelos_save_state save, void* data, const zelos_state& state) {
    zelos_error error{};
    error.struct_size = sizeof error;
    const zelos_status status = save(data, &state, &error);
    if (status != ZELOS_OK) throw Error(status, std::string("saving the state: ") + error.message);
  }

  void checkpoint() const {
    if (options_.checkpoint == nullptr) return;
    Eigen::VectorXd progress(7);
    progress << now_.phase, static_cast<double>(now_.epoch), static_cast<double>(now_.step),
        static_cast<double>(now_.best_epoch), static_cast<double>(now_.segment), static_cast<double>(now_.stale),
        now_.best_loss;
    family::StateBuilder state;
    state.add("weights", view(now_.weights));
    state.add("first_moment", view(now_.first));
    state.add("second_moment", view(now_.second));
    state.add("best_weights", view(now_.best));
    state.add("progress", progress);
    state.settings({{"kind", kCheckpointKind}, {"fingerprint", fingerprint_}});
    hand_over(options_.checkpoint, options_.data, state.state());
  }

  void restore(const zelos_state& state) {
    const nlohmann::json settings = nlohmann::json::parse(state.settings_json, nullptr, false);
    if (!settings.is_object() || settings.value("kind", nlohmann::json()) != kCheckpointKind) {
      throw Error(ZELOS_E_FORMAT, "resume: this state is not a checkpoint of neural_network");
    }
    if (settings.value("fingerprint", nlohmann::json()) != fingerprint_) {
      throw Error(ZELOS_E_ARGUMENT, "resume: the checkpoint was made with another training set, params or seed");
    }
    const auto read = [&](const char* name) {
      const family::ConstVectorMap values = family::vector(state, name);
      if (values.size() != layout_.n_weights || !values.allFinite()) {
        throw Error(ZELOS_E_FORMAT, std::string("resume: array '") + name + "' should hold " +
                                        std::to_string(layout_.n_weights) + " finite numbers, found length " +
                                        std::to_string(values.size()));
      }
      return Buffer(values.data(), values.data() + values.size());
    };
    now_.weights = read("weights");
    now_.first = read("first_moment");
    now_.second = read("second_moment");
    now_.best = read("best_weights");
    const family::ConstVectorMap progress = family::vector(state, "progress");
    const bool whole = progress.size() == 7 && progress.allFinite() && progress.minCoeff() >= 0.0 &&
                       progress.head(6).maxCoeff() < 1e15 && progress[0] <= kDone;
    if (!whole) throw Error(ZELOS_E_FORMAT, "resume: array 'progress' is damaged");
    now_.phase = static_cast<Phase>(static_cast<int>(progress[0]));
    now_.epoch = static_cast<std::int64_t>(progress[1]);
    now_.step = static_cast<std::int64_t>(progress[2]);
    now_.best_epoch = static_cast<std::int64_t>(progress[3]);
    now_.segment = static_cast<std::int64_t>(progress[4]);
    now_.stale = static_cast<std::int64_t>(progress[5]);
    now_.best_loss = progress[6];
  }

  /// Throws ZELOS_E_CANCELLED at the caller's wish.
  void report(double fraction, const char* phase) const {
    if (options_.progress == nullptr) return;
    const double loss = rmse(now_.best_loss == std::numeric_limits<double>::max() ? 1.0 : now_.best_loss);
    if (options_.progress(options_.data, fraction, loss, phase) != 0) {
      throw Error(ZELOS_E_CANCELLED, std::string("training was cancelled (") + phase + ")");
    }
  }

  /// The share of all epochs and iterations.
  double fraction(std::int64_t epochs, std::int64_t iterations) const {
    return static_cast<double>(epochs + iterations) / static_cast<double>(params_.epochs + params_.lbfgs_iterations);
  }

  /// Keeps the weights if they are the best so far; throws if they are not finite.
  bool judge(const char* phase) {
    const double loss = watched_(now_.weights.data(), nullptr);
    if (!std::isfinite(loss)) {
      throw Error(ZELOS_E_NUMERIC, std::string("training diverged (") + phase + ", epoch " +
                                       std::to_string(now_.epoch) + "): reduce 'learning_rate'");
    }
    if (loss >= now_.best_loss) return false;
    now_.best_loss = loss;
    now_.best_epoch = now_.epoch;
    now_.best = now_.weights;
    return true;
  }

  double rate(std::int64_t step, std::int64_t n_steps) const {
    const double done = static_cast<double>(step) / static_cast<double>(n_steps);
    if (done < params_.warmup) {
      return params_.learning_rate * static_cast<double>(step + 1) /
             (params_.warmup * static_cast<double>(n_steps) + 1.0);
    }
    switch (params_.schedule) {
      case Schedule::kCosine:
        return params_.learning_rate *
               (1e-3 + 0.5 * (1.0 + std::cos(M_PI * (done - params_.warmup) / (1.0 - params_.warmup))));
      case Schedule::kSteps:
        return params_.learning_rate * (done < 0.5 ? 1.0 : done < 0.75 ? 0.3 : done < 0.9 ? 0.1 : 0.03);
      case Schedule::kConstant:
        break;
    }
    return params_.learning_rate;
  }

  void run_adam() {
    const Part& data = problem_.training;
    const std::int64_t d = layout_.n_inputs, width = layout_.n_cols;
    const std::int64_t batch_size = std::min(params_.batch_size, data.n);
    const std::int64_t batches = (data.n + batch_size - 1) / batch_size;
    const std::int64_t n_steps = params_.epochs * batches;
    const Kernels& k = kernels();
    Loss loss(layout_, problem_.importance);
    Buffer x(static_cast<std::size_t>(batch_size * d)), target(static_cast<std::size_t>(batch_size * width));
    Buffer gradient(now_.weights.size());

    while (now_.epoch < params_.epochs && now_.epoch - now_.best_epoch < params_.patience) {
      const std::vector<std::int64_t> order =
          permutation(data.n, Random(options_.seed, 2 + static_cast<std::uint64_t>(now_.epoch)));
      for (std::int64_t start = 0; start < data.n; start += batch_size) {
        const std::int64_t n = std::min(batch_size, data.n - start);
        for (std::int64_t i = 0; i < n; ++i) {
          const std::int64_t from = order[static_cast<std::size_t>(start + i)];
          std::copy_n(data.x.data() + from * d, d, x.data() + i * d);
          std::copy_n(data.target.data() + from * width, width, target.data() + i * width);
        }
        std::fill(gradient.begin(), gradient.end(), 0.0);
        loss(now_.weights.data(), {n, x.data(), target.data()}, 1.0 / static_cast<double>(n * layout_.n_outputs),
             gradient.data());
        const double t = static_cast<double>(now_.step + 1);
        k.adam({layout_.n_weights, now_.weights.data(), now_.first.data(), now_.second.data(), gradient.data(),
                rate(now_.step, n_steps), 1.0 / (1.0 - std::pow(0.9, t)), 1.0 / (1.0 - std::pow(0.999, t)),
                params_.weight_decay});
        ++now_.step;
      }
      ++now_.epoch;
      judge("Adam");
      if (now_.epoch % kCheckpointEpochs == 0) checkpoint();
      report(fraction(now_.epoch, 0), "Adam");
    }
    now_.phase = params_.lbfgs_iterations > 0 ? kLbfgs : kDone;
    if (params_.epochs > 0) now_.weights = now_.best;
    if (params_.epochs == 0) judge("first weights");
    checkpoint();
  }

  void run_lbfgs() {
    WholeLoss loss(layout_, problem_.importance, problem_.training, options_.n_threads);
    // In these coordinates the curvature is the same for all outputs, however little they matter.
    Buffer stretch(now_.weights.size(), 1.0);
    const Layout::Layer& last = layout_.layers.back();
    for (std::int64_t i = 0; i <= last.n_in; ++i) {
      double* row = stretch.data() + (i < last.n_in ? last.weights + i * last.n_cols : last.bias);
      for (std::int64_t j = 0; j < last.n_out; ++j) {
        const double importance = problem_.importance[static_cast<std::size_t>(j)];
        if (importance > 0.0) row[j] = std::sqrt(importance);
      }
    }
    const auto share = view(stretch).array();

    struct Function {
      WholeLoss& loss;
      const Trainer& trainer;
      decltype(share)& stretch;
      double fraction;
      Eigen::VectorXd weights, best;
      double best_value = std::numeric_limits<double>::infinity();
      double operator()(const Eigen::VectorXd& z, Eigen::VectorXd& gradient) {
        weights = z.array() / stretch;
        const double value = loss(weights.data(), gradient.data());
        gradient.array() /= stretch;
        if (value < best_value) {
          best_value = value;
          best = weights;
        }
        trainer.report(fraction, "L-BFGS");
        return value;
      }
    };

    using Solver = LBFGSpp::LBFGSSolver<double, LBFGSpp::LineSearchNocedalWright>;
    LBFGSpp::LBFGSParam<double> settings;
    settings.m = 50;
    settings.epsilon = 1e-14;
    settings.epsilon_rel = 1e-14;
    settings.linesearch = LBFGSpp::LBFGS_LINESEARCH_BACKTRACKING_STRONG_WOLFE;
    settings.max_linesearch = 40;

    while (now_.segment * kSegmentIterations < params_.lbfgs_iterations && now_.stale < kSegmentPatience) {
      const std::int64_t done = now_.segment * kSegmentIterations;
      settings.max_iterations =
          static_cast<int>(std::min<std::int64_t>(kSegmentIterations, params_.lbfgs_iterations - done));
      Function function{loss, *this, share, fraction(params_.epochs, done), {}, {}};
      Eigen::VectorXd z = view(now_.weights).array() * share;
      bool stuck = false;
      try {
        double value = 0.0;
        stuck = Solver(settings).minimize(function, z, value) < settings.max_iterations;
      } catch (const Error&) {
        throw;
      } catch (const std::bad_alloc&) {
        throw;
      } catch (const std::exception&) {
        stuck = true;  // the line search found no better point
      }
      const bool moved = function.best.size() > 0 && view(now_.weights) != function.best;
      if (moved) std::copy_n(function.best.data(), layout_.n_weights, now_.weights.data());
      ++now_.segment;
      now_.stale = judge("L-BFGS") ? 0 : now_.stale + 1;
      if (stuck && !moved) break;
      checkpoint();
    }
    now_.phase = kDone;
    checkpoint();
  }

  const zelos_train_options& options_;
  const Params& params_;
  const Layout layout_;
  const Problem problem_;
  const std::string fingerprint_;
  WholeLoss watched_;
  Progress now_;
};

}  // namespace

Activation parse_activation(const std::string& name, zelos_status status) {
  for (const Activation a : {Activation::kTanh, Activation::kSilu, Activation::kGelu}) {
    if (name == activation_name(a)) return a;
  }
  throw Error(status, "'activation' should be 'tanh' or 'silu' or 'gelu', found '" + name + "'");
}

const char* activation_name(Activation activation) {
  return activation == Activation::kTanh ? "tanh" : activation == Activation::kSilu ? "silu" : "gelu";
}

Params parse_params(const char* params_json) {
  nlohmann::json json;
  try {
    json = family::merge_params(kDefaultsJson, params_json);
  } catch (const nlohmann::json::exception& e) {
    throw Error(ZELOS_E_ARGUMENT, std::string("emulator_fn params: not a JSON object: ") + e.what());
  }
  choice<bool>(json, "optimizer", {{"adam", true}});
  Params p{};
  p.n_layers = family::integer_param(json, "n_layers", 1, 64);
  p.layer_size = family::integer_param(json, "layer_size", 1, 4096);
  p.batch_size = family::integer_param(json, "batch_size", 1, 1000000);
  p.epochs = family::integer_param(json, "epochs", 0, 10000000);
  p.patience = family::integer_param(json, "patience", 1, 10000000);
  p.lbfgs_iterations = family::integer_param(json, "lbfgs_iterations", 0, 10000000);
  p.learning_rate = number(json, "learning_rate", 1e-12, 10.0);
  p.warmup = number(json, "warmup", 0.0, 0.9);
  p.weight_decay = number(json, "weight_decay", 0.0, 100.0);
  p.validation_fraction = number(json, "validation_fraction", 0.0, 0.9);
  p.activation = choice<Activation>(
      json, "activation", {{"tanh", Activation::kTanh}, {"silu", Activation::kSilu}, {"gelu", Activation::kGelu}});
  p.schedule =
      choice<Schedule>(json, "schedule",
                       {{"cosine", Schedule::kCosine}, {"steps", Schedule::kSteps}, {"constant", Schedule::kConstant}});
  p.trend_order = choice<int>(json, "trend", {{"none", 0}, {"linear", 1}, {"quadratic", 2}});
  p.canonical = json.dump();
  return p;
}

void train(const zelos_training_set& set, const zelos_train_options& options, zelos_save_state save, void* save_data) {
  const Params params = parse_params(options.params_json);
  if (options.n_threads < 1) {
    throw Error(ZELOS_E_ARGUMENT, "n_threads should be at least 1, found " + std::to_string(options.n_threads));
  }
  family::check_training_set(set);
  if (set.n < 2) throw Error(ZELOS_E_ARGUMENT, "training set: n should be at least 2, found 1");
  Trainer trainer(set, options, params);
  trainer.run();
  trainer.save(save, save_data);
}

}  // namespace zelos::nn
