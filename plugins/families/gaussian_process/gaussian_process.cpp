// SPDX-License-Identifier: BSD-3-Clause
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <random>

#include "left_out_variance.hpp"
#include "legendre_basis.hpp"
#include "likelihood.hpp"
#include "older_states.hpp"
#include "optimise.hpp"
#include "training.hpp"

// Arrays of the state (n points, N = n padded to a multiple of 8; d inputs; m outputs; G groups; p
// trend terms, P = p padded; g a group). Row r of `weights` belongs to output order[r]; the rows of
// a group are consecutive.
//   points (n, d), length_scales (G, d), group_size (G), order (m), weights (m, N)
//   trend_index (p, d), trend_coefficients (m, P)
//   kernel (1): 0 squared exponential, 1 Matern 5/2
// With T terms in the kernel, T > 1 (version 1.1 of the state)
//   terms (T, d): 1 where the term has the input, else 0; amplitudes (G, T): they add up to 1
//   length_scales (G * T, d): 1 where the term lacks the input
// With variance: leave_one_out those of left_out_variance.hpp; with variance: posterior
//   signal_variance (m), and for each group factor_<g> (n (n + 1) / 2) rows of L,
//   whitened_trend_<g> (p, n), trend_factor_<g> (p, p): see likelihood.hpp
using namespace zelos::family;

namespace {

constexpr double kLogAmplitude = 18.0;  // of a term relative to the first one: the search stays within
constexpr int64_t kChunk = 384;  // points at a time: the kernel values and their slopes stay in the first-level cache

struct PosteriorFactors {
  const double* factor;
  const double* whitened_trend;
  const double* trend_factor;
};

struct Term {
  double amplitude;
  std::vector<double> weight;  // 1 / l^2 of each input, 0 where it has no part
};

struct Group {
  int64_t first_row, rows;
  std::vector<Term> terms;
};

struct Model {
  Correlation kind;
  LegendreBasis trend;
  int64_t n = 0, n_padded = 0, n_outputs = 0;
  Eigen::MatrixXd points;  // (N, d): every group reads the same
  std::vector<Group> groups;
  std::vector<int64_t> order;
  const double* weights = nullptr;
  const double* trend_coefficients = nullptr;
  VarianceKind variance = VarianceKind::kNone;
  LeftOutVariance left_out;
  const double* signal_variance = nullptr;
  std::vector<PosteriorFactors> posterior;  // of each group, or none

  int64_t n_inputs() const { return trend.n_inputs(); }
};

/// The scratch of one prediction, cut from the caller's workspace; cut() without one only counts.
struct Scratch {
  double *phi, *phi_slopes, *basis, *squares, *value, *slope, *slopes, *rows, *row_slopes, *left_out;
};

int64_t kernel_length(const Model& model) {
  return model.posterior.empty() ? kChunk : std::max(kChunk, model.n_padded);
}

int64_t cut(const Model& model, double* base, Scratch* out) {
  const int64_t d = model.n_inputs();
  int64_t used = 0;
  const auto take = [&](double*& p, int64_t n) {
    p = base == nullptr ? nullptr : base + used;
    used += padded(n);
  };
  take(out->phi, model.trend.padded_terms());
  take(out->phi_slopes, model.trend.padded_terms() * d);
  take(out->basis, model.trend.workspace());
  take(out->squares, kernel_length(model) * d);
  take(out->value, kernel_length(model));
  take(out->slope, kChunk);
  take(out->slopes, kChunk * d);
  take(out->rows, model.n_outputs);
  take(out->row_slopes, model.n_outputs * d);
  take(out->left_out, model.left_out.workspace());
  return used;
}

constexpr const char* kDefaults = R"({
  "kernel": "squared_exponential",
  "terms": [],
  "trend_degree": 2,
  "groups": 4,
  "group_tolerance": 0.1,
  "negligible": 0.05,
  "hyper_points": 400,
  "starts": 1,
  "max_iterations": 200,
  "gradient_tolerance": 1e-5,
  "length_scale_bounds": [0.1, 100.0],
  "noise_to_signal_bounds": [1e-10, 1.0],
  "variance": "leave_one_out"
})";

struct Params {
  Correlation kind;
  KernelTerms terms;
  int trend_degree, groups, hyper_points, starts, max_iterations;
  bool automatic;
  VarianceKind variance;
  double group_tolerance, negligible, gradient_tolerance;
  double length[2], noise[2];
  std::string text;
};

/// "terms": [[0, 1], [2, 3], [0, 1, 2, 3]]; one over all inputs if empty.
KernelTerms parse_terms(const nlohmann::json& json, int64_t n_inputs) {
  constexpr const char* kExpected = "a list of lists of different inputs, each a name or a position, which have a part";
  if (json.at("terms").empty()) return KernelTerms::single(n_inputs);
  std::vector<std::vector<int64_t>> terms;
  std::vector<char> seen(static_cast<size_t>(n_inputs), 0);
  for (const nlohmann::json& list : json.at("terms")) {
    require_param(list.is_array() && !list.empty(), json, "terms", kExpected);
    std::vector<int64_t> term;
    for (const nlohmann::json& input : list) {
      require_param(input.is_number_integer(), json, "terms", kExpected);
      const auto j = input.get<int64_t>();
      require_param(j >= 0 && j < n_inputs && std::find(term.begin(), term.end(), j) == term.end(), json, "terms",
                    kExpected);
      term.push_back(j);
      seen[static_cast<size_t>(j)] = 1;
    }
    terms.push_back(std::move(term));
  }
  require_param(std::find(seen.begin(), seen.end(), 0) == seen.end(), json, "terms", kExpected);
  return KernelTerms(std::move(terms));
}

Params parse(const char* params_json, int64_t n_inputs, int64_t n_outputs) {
  // "groups" may be "auto" as well as a number: it is taken out before the types are compared.
  nlohmann::json given = nlohmann::json::parse(params_json == nullptr ? "{}" : params_json);
  nlohmann::json groups;
  const bool given_groups = given.is_object() && given.contains("groups");
  if (given_groups) {
    groups = given["groups"];
    given.erase("groups");
  }
  nlohmann::json json = merge_params(kDefaults, given.dump().c_str());
  if (given_groups) json["groups"] = groups;
  groups = json.at("groups");
  Params p;
  p.terms = parse_terms(json, n_inputs);
  const std::string kernel = json.at("kernel").get<std::string>();
  require_param(kernel == "squared_exponential" || kernel == "matern52", json, "kernel",
                "\"squared_exponential\" or \"matern52\"");
  p.kind = kernel == "matern52" ? Correlation::kMatern52 : Correlation::kSquaredExponential;
  p.trend_degree = integer_param(json, "trend_degree", 0, 3);
  require_param(groups == "auto" || groups.is_number_integer(), json, "groups", "\"auto\" or an integer from 0");
  p.automatic = groups == "auto";
  p.groups = p.automatic ? 0 : integer_param(json, "groups", 0, 1000000);
  if (p.groups == 0 || p.groups > n_outputs) p.groups = static_cast<int>(n_outputs);
  p.hyper_points = integer_param(json, "hyper_points", 2, 100000);
  p.starts = integer_param(json, "starts", 1, 1000);
  p.max_iterations = integer_param(json, "max_iterations", 1, 1000000);
  p.group_tolerance = json.at("group_tolerance").get<double>();
  require_param(p.group_tolerance >= 0.0, json, "group_tolerance", "at least 0");
  p.negligible = json.at("negligible").get<double>();
  require_param(p.negligible >= 0.0, json, "negligible", "at least 0");
  p.gradient_tolerance = json.at("gradient_tolerance").get<double>();
  require_param(p.gradient_tolerance > 0.0, json, "gradient_tolerance", "above 0");
  bounds_param(json, "length_scale_bounds", p.length);
  bounds_param(json, "noise_to_signal_bounds", p.noise);
  p.variance = variance_param(json);
  p.text = json.dump();
  return p;
}

/// k different indices below n, in rising order; all if k >= n. The same on every platform.
std::vector<int64_t> random_subset(int64_t n, int64_t k, uint64_t seed) {
  std::vector<int64_t> all(static_cast<size_t>(n));
  std::iota(all.begin(), all.end(), 0);
  if (k >= n) return all;
  std::mt19937_64 random(seed);
  for (int64_t i = 0; i < k; ++i) {
    const auto j = i + static_cast<int64_t>(random() % static_cast<uint64_t>(n - i));
    std::swap(all[static_cast<size_t>(i)], all[static_cast<size_t>(j)]);
  }
  all.resize(static_cast<size_t>(k));
  std::sort(all.begin(), all.end());
  return all;
}

class Training {
 public:
  Training(const zelos_training_set& set, const zelos_train_options& options)
      : set_(set), options_(options), params_(parse(options.params_json, set.n_inputs, set.n_outputs)) {
    const int64_t d = set.n_inputs;
    x_ = ConstRowMap(set.x, set.n, d);
    trend_ = LegendreBasis(independent_terms(index_set(static_cast<int>(d), params_.trend_degree,
                                                       std::vector<double>(static_cast<size_t>(d), 1.0), 1.0, 100000),
                                             x_));
    const int64_t n_hyper = std::min<int64_t>(set.n, params_.hyper_points);
    if (n_hyper <= trend_.terms()) {
      throw Error(ZELOS_E_ARGUMENT, "gaussian_process: a trend of " + std::to_string(trend_.terms()) +
                                        " terms needs more points (and hyper_points) than terms, found " +
                                        std::to_string(n_hyper));
    }
    y_ = ConstRowMap(set.y, set.n, set.n_outputs);
    h_ = trend_.design(x_);
    const std::vector<int64_t> subset = random_subset(set.n, n_hyper, options.seed);
    x_hyper_.resize(n_hyper, d);
    y_hyper_.resize(n_hyper, set.n_outputs);
    h_hyper_.resize(n_hyper, h_.cols());
    for (size_t i = 0; i < subset.size(); ++i) {
      const auto row = static_cast<Eigen::Index>(i);
      x_hyper_.row(row) = x_.row(subset[i]);
      y_hyper_.row(row) = y_.row(subset[i]);
      h_hyper_.row(row) = h_.row(subset[i]);
    }
    if (const auto rank = Eigen::ColPivHouseholderQR<Eigen::MatrixXd>(h_hyper_).rank(); rank < h_hyper_.cols()) {
      throw Error(ZELOS_E_ARGUMENT,
                  "gaussian_process: at these points only " + std::to_string(rank) + " of the " +
                      std::to_string(h_hyper_.cols()) +
                      " terms of the trend are independent: lower 'trend_degree', or give more points");
    }
    const KernelTerms& terms = params_.terms;
    lower_.setConstant(terms.n_theta(), std::log(params_.length[0]));
    upper_.setConstant(terms.n_theta(), std::log(params_.length[1]));
    for (int64_t t = 1; t < terms.count(); ++t) {
      lower_[terms.amplitude(t)] = -kLogAmplitude;
      upper_[terms.amplitude(t)] = kLogAmplitude;
    }
    lower_[terms.noise()] = std::log(params_.noise[0]);
    upper_[terms.noise()] = std::log(params_.noise[1]);
    mark_ = fingerprint(set, params_.text, options.seed);
  }

  void run(zelos_save_state save, void* save_data, zelos_error* error) {
    const int64_t m = set_.n_outputs;
    // Rows 0 .. m-1: each output on its own (auto only); rows m ..: the groups. done, theta, value,
    // gradient norm, evaluations, converged.
    search_.setZero(2 * m, params_.terms.n_theta() + 5);
    if (options_.resume != nullptr) resume();
    if (params_.automatic) {
      search_rows(0, m, 0.0, 0.6,
                  [&](int64_t o, RowMatrix& found) { store(found, o, find({o}, starting_point(), o)); });
      cluster();
    } else {
      groups_ = group_outputs(y_hyper_, set_.y_scale, params_.groups);
    }
    search_rows(m, m + static_cast<int64_t>(groups_.size()), params_.automatic ? 0.6 : 0.0, 0.9,
                [&](int64_t row, RowMatrix& found) { search_group(row - m, found); });
    fit();
    hand_over(save, save_data, error);
  }

 private:
  Eigen::VectorXd starting_point() const {
    const KernelTerms& terms = params_.terms;
    Eigen::VectorXd start = Eigen::VectorXd::Constant(terms.n_theta(), std::log(2.5));
    for (int64_t t = 1; t < terms.count(); ++t) {
      // A term over all inputs is what the others leave.
      const bool all = static_cast<int64_t>(terms.inputs[static_cast<size_t>(t)].size()) == set_.n_inputs;
      start[terms.amplitude(t)] = all ? -6.0 : 0.0;
    }
    start[terms.noise()] = std::log(1e-6);
    return start;
  }

  Eigen::VectorXd theta(int64_t row) const { return search_.row(row).segment(1, params_.terms.n_theta()); }

  Minimum find(const std::vector<int64_t>& outputs, const Eigen::VectorXd& start, int64_t stream) const {
    Likelihood likelihood(params_.kind, params_.terms, x_hyper_, h_hyper_, select_columns(y_hyper_, outputs));
    std::mt19937_64 random(options_.seed + 0x9e3779b97f4a7c15u * static_cast<uint64_t>(stream + 1));
    Minimum best;
    for (int s = 0; s < params_.starts; ++s) {
      Eigen::VectorXd from = start;
      for (Eigen::Index k = 0; s > 0 && k < from.size(); ++k) {
        const double unit = static_cast<double>(random() >> 11) * 0x1p-53;
        from[k] += (k + 1 < from.size() ? 1.5 : 6.0) * (2.0 * unit - 1.0);
      }
      Minimum next = minimise(likelihood, from, lower_, upper_, params_.max_iterations, params_.gradient_tolerance);
      if (s == 0 || next.value < best.value) best = std::move(next);
    }
    if (best.value >= 1e6) {
      throw Error(ZELOS_E_NUMERIC, "gaussian_process: no length scales found for output " + std::to_string(outputs[0]) +
                                       "; raise the lower end of 'noise_to_signal_bounds'");
    }
    return best;
  }

  void store(RowMatrix& found, int64_t row, const Minimum& best) const {
    found.row(row).segment(1, params_.terms.n_theta()) = best.x;
    found.row(row).tail(4) << best.value, best.gradient_norm, best.evaluations, best.converged ? 1.0 : 0.0;
  }

  void search_group(int64_t g, RowMatrix& found) const {
    const std::vector<int64_t>& outputs = groups_[static_cast<size_t>(g)];
    const int64_t row = set_.n_outputs + g;
    if (!params_.automatic) {
      store(found, row, find(outputs, starting_point(), g));
      return;
    }
    const int64_t centre = centres_[static_cast<size_t>(g)];
    found.row(row) = search_.row(centre);
    if (outputs.size() == 1) return;
    // The shared optimum replaces the centre's own values only if it predicts the left-out points
    // better.
    const Minimum shared = find(outputs, theta(centre), g);
    Likelihood likelihood(params_.kind, params_.terms, x_hyper_, h_hyper_, select_columns(y_hyper_, outputs));
    const auto loss = [&](const Eigen::VectorXd& t) {
      const Eigen::VectorXd error = likelihood.leave_one_out(t);
      double sum = 0.0;
      for (size_t i = 0; i < outputs.size(); ++i) sum += error[static_cast<Eigen::Index>(i)] / weight(outputs[i]);
      return sum;
    };
    if (loss(shared.x) < loss(theta(centre))) store(found, row, shared);
  }

  double weight(int64_t output) const {
    if (set_.y_scale != nullptr) return set_.y_scale[output] * set_.y_scale[output];
    return std::max(y_hyper_.col(output).squaredNorm(), std::numeric_limits<double>::min());
  }

  /// Few centres such that each output loses little when it takes the length scales of one:
  /// leave-one-out errors at most 1 + group_tolerance times its own, or below negligible * y_scale.
  void cluster() {
    const int64_t m = set_.n_outputs;
    Eigen::MatrixXd error(m,
                          m);  // column c: mean square errors of all outputs with the values of c
    std::vector<int64_t> all(static_cast<size_t>(m));
    std::iota(all.begin(), all.end(), 0);
    run_tasks(
        all, options_.n_threads,
        [&](int64_t c) {
          Likelihood likelihood(params_.kind, params_.terms, x_hyper_, h_hyper_, y_hyper_);
          error.col(c) = likelihood.leave_one_out(theta(c));
        },
        [](int64_t) { return true; });
    const double growth = (1.0 + params_.group_tolerance) * (1.0 + params_.group_tolerance);
    const auto covers = [&](int64_t c, int64_t o) {
      double limit = growth * error(o, o);
      if (set_.y_scale != nullptr) {
        limit = std::max(limit, std::pow(params_.negligible * set_.y_scale[o], 2));
      }
      return c == o || error(o, c) <= limit;
    };
    std::vector<char> covered(static_cast<size_t>(m), 0);
    centres_.clear();
    while (std::find(covered.begin(), covered.end(), 0) != covered.end()) {
      int64_t best = -1, best_count = 0;
      for (int64_t c = 0; c < m; ++c) {
        int64_t count = 0;
        for (int64_t o = 0; o < m; ++o) count += covered[static_cast<size_t>(o)] == 0 && covers(c, o) ? 1 : 0;
        if (count > best_count) {
          best = c;
          best_count = count;
        }
      }
      centres_.push_back(best);
      for (int64_t o = 0; o < m; ++o) {
        if (covers(best, o)) covered[static_cast<size_t>(o)] = 1;
      }
    }
    groups_.assign(centres_.size(), {});
    for (int64_t o = 0; o < m; ++o) {
      size_t choice = 0;
      for (size_t g = 1; g < centres_.size(); ++g) {
        if (error(o, centres_[g]) < error(o, centres_[choice])) choice = g;
      }
      const auto own = std::find(centres_.begin(), centres_.end(), o);
      if (own != centres_.end()) choice = static_cast<size_t>(own - centres_.begin());
      groups_[choice].push_back(o);
    }
  }

  template <class Work>
  void search_rows(int64_t first, int64_t last, double fraction_low, double fraction_high, Work&& work) {
    std::vector<int64_t> open;
    for (int64_t row = first; row < last; ++row) {
      if (search_(row, 0) == 0.0) open.push_back(row);
    }
    RowMatrix found = search_;
    const bool finished = run_tasks(
        open, options_.n_threads, [&](int64_t row) { work(row, found); },
        [&](int64_t row) {
          search_.row(row) = found.row(row);
          search_(row, 0) = 1.0;
          checkpoint();
          const double part = search_.col(0).segment(first, last - first).sum() / static_cast<double>(last - first);
          const bool group = row >= set_.n_outputs;
          return report(fraction_low + part * (fraction_high - fraction_low),
                        (group ? "length scales of group " : "length scales of output ") +
                            std::to_string(group ? row - set_.n_outputs : row));
        });
    if (!finished) throw Error(ZELOS_E_CANCELLED, "gaussian_process: stopped");
  }

  bool report(double fraction, const std::string& text) const {
    if (options_.progress == nullptr) return true;
    return options_.progress(options_.data, fraction, 1.0 - fraction, text.c_str()) == 0;
  }

  void resume() {
    const nlohmann::json settings = nlohmann::json::parse(options_.resume->settings_json);
    if (settings.value("checkpoint", "") != mark_) {
      throw Error(ZELOS_E_ARGUMENT, "gaussian_process: the checkpoint is of other data, params or seed");
    }
    const ConstRowMap stored = matrix(*options_.resume, "search");
    if (stored.rows() != search_.rows() || stored.cols() != search_.cols()) {
      throw Error(ZELOS_E_FORMAT, "gaussian_process: checkpoint with a search table of the wrong shape");
    }
    search_ = stored;
  }

  void checkpoint() {
    if (options_.checkpoint == nullptr) return;
    StateBuilder builder;
    builder.add("search", search_);
    builder.settings({{"checkpoint", mark_}});
    const zelos_state state = builder.state();
    zelos_error error = {sizeof(zelos_error), 0, ""};
    const zelos_status status = options_.checkpoint(options_.data, &state, &error);
    if (status != ZELOS_OK) throw Error(status, error.message);
  }

  void fit() {
    const int64_t m = set_.n_outputs;
    const int64_t n = set_.n;
    const auto n_groups = static_cast<int64_t>(groups_.size());
    weights_.setZero(m, padded(n));
    trend_coefficients_.setZero(m, trend_.padded_terms());
    signal_.setZero(m);
    errors_.resize(n, m);
    factors_.resize(groups_.size());
    whitened_trends_.resize(groups_.size());
    trend_factors_.resize(groups_.size());
    std::vector<int64_t> tasks(groups_.size()), first(groups_.size(), 0);
    std::iota(tasks.begin(), tasks.end(), 0);
    for (size_t g = 1; g < groups_.size(); ++g) first[g] = first[g - 1] + static_cast<int64_t>(groups_[g - 1].size());
    order_.resize(m);
    int64_t finished = 0;
    const bool complete = run_tasks(
        tasks, options_.n_threads,
        [&](int64_t task) {
          const auto g = static_cast<size_t>(task);
          Likelihood likelihood(params_.kind, params_.terms, x_, h_, select_columns(y_, groups_[g]));
          const Likelihood::Fit fit = likelihood.fit(theta(m + task));
          for (size_t i = 0; i < groups_[g].size(); ++i) {
            const auto column = static_cast<Eigen::Index>(i);
            const int64_t o = groups_[g][i];
            weights_.row(first[g] + column).head(n) = fit.weights.col(column);
            order_[first[g] + column] = static_cast<double>(o);
            trend_coefficients_.row(o).head(trend_.terms()) = fit.trend.col(column);
            signal_[o] = fit.signal_variance[column];
            errors_.col(o) = fit.left_out_errors.col(column);
          }
          if (params_.variance != VarianceKind::kPosterior) return;
          factors_[g].resize(n * (n + 1) / 2);
          for (int64_t i = 0, at = 0; i < n; at += ++i) factors_[g].segment(at, i + 1) = fit.factor.row(i).head(i + 1);
          whitened_trends_[g] = fit.whitened_trend.transpose();
          trend_factors_[g] = fit.trend_factor;
        },
        [&](int64_t task) {
          ++finished;
          return report(0.9 + 0.1 * static_cast<double>(finished) / static_cast<double>(n_groups),
                        "fit of group " + std::to_string(task));
        });
    if (!complete) throw Error(ZELOS_E_CANCELLED, "gaussian_process: stopped");
    round_weights();
  }

  /// To steps of a power of two that move an answer by some 3e-5 of its y_scale: the bits beyond say nothing, and as
  /// zeros they take no room in an archive. Without y_scale nothing says what is negligible, and nothing is rounded.
  void round_weights() {
    if (set_.y_scale == nullptr) return;
    for (int64_t row = 0; row < weights_.rows(); ++row) {
      const double negligible = 1e-4 * set_.y_scale[static_cast<int64_t>(order_[row])];
      const double step = std::exp2(std::floor(std::log2(negligible / std::sqrt(static_cast<double>(set_.n)))));
      weights_.row(row) = (weights_.row(row).array() / step).round() * step;
    }
  }

  void hand_over(zelos_save_state save, void* save_data, zelos_error* error) {
    const int64_t m = set_.n_outputs;
    const int64_t d = set_.n_inputs;
    const auto n_groups = static_cast<Eigen::Index>(groups_.size());
    const KernelTerms& terms = params_.terms;
    const int64_t n_terms = terms.count(), noise_at = 1 + terms.noise();
    RowMatrix length_scales = RowMatrix::Ones(n_groups * n_terms, d);
    RowMatrix amplitudes(n_groups, n_terms), term_inputs = RowMatrix::Zero(n_terms, d);
    for (int64_t t = 0; t < n_terms; ++t) {
      for (const int64_t j : terms.inputs[static_cast<size_t>(t)]) term_inputs(t, j) = 1.0;
    }
    Eigen::VectorXd group_size(n_groups);
    nlohmann::json list = nlohmann::json::array();
    std::vector<nlohmann::json> outputs(static_cast<size_t>(m));
    for (Eigen::Index g = 0; g < n_groups; ++g) {
      const Eigen::VectorXd row = search_.row(m + g);
      for (int64_t t = 0; t < n_terms; ++t) {
        const std::vector<int64_t>& inputs = terms.inputs[static_cast<size_t>(t)];
        for (size_t k = 0; k < inputs.size(); ++k) {
          length_scales(g * n_terms + t, inputs[k]) =
              std::exp(row[1 + terms.first_length(t) + static_cast<int64_t>(k)]);
        }
      }
      amplitudes.row(g) = terms.amplitudes(row.segment(1, terms.n_theta())).transpose();
      group_size[g] = static_cast<double>(groups_[static_cast<size_t>(g)].size());
      const double noise = std::exp(row[noise_at]);
      list.push_back({{"outputs", groups_[static_cast<size_t>(g)]},
                      {"noise_to_signal", noise},
                      {"negative_log_likelihood", row[noise_at + 1]},
                      {"gradient_norm", row[noise_at + 2]},
                      {"evaluations", static_cast<int>(row[noise_at + 3])},
                      {"converged", row[noise_at + 4] != 0.0}});
      for (const int64_t o : groups_[static_cast<size_t>(g)]) {
        outputs[static_cast<size_t>(o)] = {{"group", g},
                                           {"noise_variance", noise * signal_[o]},
                                           {"gradient_norm", row[noise_at + 2]},
                                           {"converged", row[noise_at + 4] != 0.0}};
      }
    }
    const Eigen::VectorXd kernel = Eigen::VectorXd::Constant(1, static_cast<double>(params_.kind));
    const RowMatrix trend_index = trend_.to_rows();
    StateBuilder builder;
    builder.add("points", x_);
    builder.add("length_scales", length_scales);
    builder.add("group_size", group_size);
    builder.add("order", order_);
    builder.add("weights", weights_);
    builder.add("trend_index", trend_index);
    builder.add("trend_coefficients", trend_coefficients_);
    builder.add("kernel", kernel);
    if (n_terms > 1) {
      builder.add("terms", term_inputs);
      builder.add("amplitudes", amplitudes);
    }
    LeftOutVariance::Fit left_out;
    if (params_.variance == VarianceKind::kPosterior) builder.add("signal_variance", signal_);
    if (params_.variance == VarianceKind::kLeaveOneOut) {
      left_out = LeftOutVariance::fit(x_, errors_);
      left_out.add_to(builder);
    }
    std::vector<std::string> names;
    for (size_t g = 0; g < groups_.size(); ++g) {
      for (const char* stem : {"factor_", "whitened_trend_", "trend_factor_"})
        names.push_back(stem + std::to_string(g));
    }
    for (size_t g = 0; params_.variance == VarianceKind::kPosterior && g < groups_.size(); ++g) {
      builder.add(names[3 * g].c_str(), factors_[g]);
      builder.add(names[3 * g + 1].c_str(), whitened_trends_[g]);
      builder.add(names[3 * g + 2].c_str(), trend_factors_[g]);
    }
    builder.settings({{"groups", list}, {"outputs", outputs}, {"variance", to_string(params_.variance)}});
    const zelos_state state = builder.state();
    zelos_error told = {sizeof(zelos_error), 0, ""};
    const zelos_status status = save(save_data, &state, error != nullptr ? error : &told);
    if (status != ZELOS_OK) throw Error(status, error != nullptr ? error->message : told.message);
  }

  const zelos_training_set& set_;
  const zelos_train_options& options_;
  Params params_;
  LegendreBasis trend_;
  RowMatrix x_, x_hyper_, search_, weights_, trend_coefficients_;
  Eigen::MatrixXd y_, h_, y_hyper_, h_hyper_, errors_;
  Eigen::VectorXd lower_, upper_, signal_, order_;
  std::vector<std::vector<int64_t>> groups_;
  std::vector<int64_t> centres_;
  std::vector<Eigen::VectorXd> factors_;
  std::vector<RowMatrix> whitened_trends_, trend_factors_;
  std::string mark_;
};

void expect(bool good, const char* array, const char* what) {
  if (!good) throw Error(ZELOS_E_FORMAT, std::string("gaussian_process: array '") + array + "' " + what);
}

zelos_status open(const zelos_host*, const zelos_state* state, zelos_model** out, zelos_error* error) {
  return guard(error, [&] {
    if (state == nullptr || out == nullptr) throw Error(ZELOS_E_ARGUMENT, "gaussian_process: open without a state");
    auto model = std::make_unique<Model>();
    const ConstRowMap points = matrix(*state, "points");
    const ConstRowMap length_scales = matrix(*state, "length_scales");
    const ConstVectorMap group_size = vector(*state, "group_size");
    const ConstVectorMap order = vector(*state, "order");
    const ConstRowMap weights = matrix(*state, "weights");
    const ConstRowMap trend_coefficients = matrix(*state, "trend_coefficients");
    const ConstVectorMap kernel = vector(*state, "kernel");
    model->trend = LegendreBasis::from_rows(matrix(*state, "trend_index"));
    model->n = points.rows();
    model->n_padded = padded(points.rows());
    model->n_outputs = weights.rows();
    const int64_t d = model->n_inputs();
    const int64_t m = model->n_outputs;
    expect(points.cols() == d && points.rows() >= 1, "points", "should have one column per input");
    RowMatrix terms = RowMatrix::Ones(1, d), amplitudes = RowMatrix::Ones(group_size.size(), 1);
    if (has_array(*state, "terms")) {
      terms = matrix(*state, "terms");
      amplitudes = matrix(*state, "amplitudes");
    }
    expect(terms.rows() >= 1 && terms.cols() == d && ((terms.array() == 0.0) || (terms.array() == 1.0)).all(), "terms",
           "should have one column per input, of 0 and 1");
    expect(
        amplitudes.rows() == group_size.size() && amplitudes.cols() == terms.rows() && (amplitudes.array() > 0.0).all(),
        "amplitudes", "should have one row per group, one column per term, and be positive");
    expect(length_scales.cols() == d && length_scales.rows() >= 1, "length_scales", "should have one column per input");
    expect((length_scales.array() > 0.0).all(), "length_scales", "should be positive");
    expect(group_size.size() * terms.rows() == length_scales.rows(), "group_size", "should have one entry per group");
    expect(order.size() == m && m >= 1, "order", "should have one entry per output");
    expect(weights.cols() == model->n_padded, "weights", "should have one column per point, padded to 8");
    expect(trend_coefficients.rows() == m && trend_coefficients.cols() == model->trend.padded_terms(),
           "trend_coefficients", "should have one row per output and one column per term, padded to 8");
    expect(kernel.size() == 1 && (kernel[0] == 0.0 || kernel[0] == 1.0), "kernel", "should be 0 or 1");
    model->kind = kernel[0] == 0.0 ? Correlation::kSquaredExponential : Correlation::kMatern52;
    std::vector<char> seen(static_cast<size_t>(m), 0);
    for (int64_t r = 0; r < m; ++r) {
      const bool good = order[r] >= 0.0 && order[r] < static_cast<double>(m) && order[r] == std::floor(order[r]) &&
                        seen[static_cast<size_t>(order[r])] == 0;
      expect(good, "order", "should be a permutation of the outputs");
      seen[static_cast<size_t>(order[r])] = 1;
      model->order.push_back(static_cast<int64_t>(order[r]));
    }
    model->points.setZero(model->n_padded, d);
    model->points.topRows(model->n) = points;
    int64_t row = 0;
    for (Eigen::Index g = 0; g < group_size.size(); ++g) {
      const bool good = group_size[g] >= 1.0 && group_size[g] <= static_cast<double>(m - row) &&
                        group_size[g] == std::floor(group_size[g]);
      expect(good, "group_size", "should hold positive integers that add up to the number of outputs");
      Group group{row, static_cast<int64_t>(group_size[g]), {}};
      for (Eigen::Index t = 0; t < terms.rows(); ++t) {
        Term term{amplitudes(g, t), {}};
        for (int64_t j = 0; j < d; ++j) {
          term.weight.push_back(terms(t, j) * std::pow(length_scales(g * terms.rows() + t, j), -2));
        }
        group.terms.push_back(std::move(term));
      }
      row += group.rows;
      model->groups.push_back(std::move(group));
    }
    expect(row == m, "group_size", "should hold positive integers that add up to the number of outputs");
    model->weights = weights.data();
    model->trend_coefficients = trend_coefficients.data();
    model->variance = stored_variance(*state);
    if (model->variance == VarianceKind::kLeaveOneOut) {
      model->left_out = LeftOutVariance(*state, d, m);
    } else if (model->variance == VarianceKind::kPosterior) {
      const ConstVectorMap signal = vector(*state, "signal_variance");
      expect(signal.size() == m, "signal_variance", "should have one entry per output");
      model->signal_variance = signal.data();
      const int64_t p = model->trend.terms();
      for (size_t g = 0; g < model->groups.size(); ++g) {
        const std::string number = std::to_string(g);
        const ConstVectorMap factor = vector(*state, ("factor_" + number).c_str());
        const ConstRowMap whitened = matrix(*state, ("whitened_trend_" + number).c_str());
        const ConstRowMap trend = matrix(*state, ("trend_factor_" + number).c_str());
        expect(factor.size() == model->n * (model->n + 1) / 2, "factor", "has the wrong length");
        expect(whitened.rows() == p && whitened.cols() == model->n, "whitened_trend", "has the wrong shape");
        expect(trend.rows() == p && trend.cols() == p, "trend_factor", "has the wrong shape");
        model->posterior.push_back({factor.data(), whitened.data(), trend.data()});
      }
    }
    *out = to_handle(model.release());
  });
}

void close(zelos_model* handle) { delete from_handle<Model>(handle); }

void shape(const zelos_model* handle, int64_t* n_inputs, int64_t* n_outputs) {
  const Model& model = *from_handle<Model>(handle);
  *n_inputs = model.n_inputs();
  *n_outputs = model.n_outputs;
}

size_t workspace_bytes(const zelos_model* handle) {
  Scratch unused;
  return sizeof(double) * static_cast<size_t>(cut(*from_handle<Model>(handle), nullptr, &unused));
}

/// value[n]: the kernel between x and n points, of which the squared differences are given, summed over the group's
/// terms.
void correlate(const Model& model, const Group& group, int64_t n, const double* squares, int64_t stride,
               double* value) {
  bool add = false;
  for (const Term& term : group.terms) {
    vector_kernels().correlate(model.kind, squares, stride, n, term.weight.data(), model.n_inputs(), term.amplitude,
                               add, value, nullptr);
    add = true;
  }
}

zelos_status predict(const zelos_model* handle, const double* x, double* y, void* workspace, zelos_error*) {
  const Model& model = *from_handle<Model>(handle);
  const VectorKernels& kernels = vector_kernels();
  const int64_t terms = model.trend.padded_terms();
  Scratch s;
  cut(model, static_cast<double*>(workspace), &s);
  model.trend.evaluate(x, s.phi, s.basis);
  std::fill(y, y + model.n_outputs, 0.0);
  std::fill(s.rows, s.rows + model.n_outputs, 0.0);
  kernels.multiply_add(model.trend_coefficients, terms, model.n_outputs, s.phi, terms, 1, terms, y, 1, 1);
  for (int64_t i = 0; i < model.n_padded; i += kChunk) {
    const int64_t n = std::min(kChunk, model.n_padded - i);
    kernels.square_differences(model.points.data() + i, model.n_padded, n, x, model.n_inputs(), s.squares, kChunk);
    for (const Group& group : model.groups) {
      correlate(model, group, n, s.squares, kChunk, s.value);
      kernels.multiply_add(model.weights + group.first_row * model.n_padded + i, model.n_padded, group.rows, s.value,
                           kChunk, 1, n, s.rows + group.first_row, 1, 1);
    }
  }
  for (int64_t r = 0; r < model.n_outputs; ++r) y[model.order[static_cast<size_t>(r)]] += s.rows[r];
  return ZELOS_OK;
}

zelos_status predict_jacobian(const zelos_model* handle, const double* x, double* y, double* jacobian, void* workspace,
                              zelos_error*) {
  const Model& model = *from_handle<Model>(handle);
  const VectorKernels& kernels = vector_kernels();
  const int64_t d = model.n_inputs();
  const int64_t terms = model.trend.padded_terms();
  const int64_t m = model.n_outputs;
  Scratch s;
  cut(model, static_cast<double*>(workspace), &s);
  model.trend.evaluate_gradient(x, s.phi, s.phi_slopes, s.basis);
  std::fill(y, y + m, 0.0);
  std::fill(jacobian, jacobian + m * d, 0.0);
  std::fill(s.rows, s.rows + m, 0.0);
  std::fill(s.row_slopes, s.row_slopes + m * d, 0.0);
  kernels.multiply_add(model.trend_coefficients, terms, m, s.phi, terms, 1, terms, y, 1, 1);
  kernels.multiply_add(model.trend_coefficients, terms, m, s.phi_slopes, terms, d, terms, jacobian, d, 1);
  for (int64_t i = 0; i < model.n_padded; i += kChunk) {
    const int64_t n = std::min(kChunk, model.n_padded - i);
    const double* points = model.points.data() + i;
    kernels.square_differences(points, model.n_padded, n, x, d, s.squares, kChunk);
    for (const Group& group : model.groups) {
      const double* weights = model.weights + group.first_row * model.n_padded + i;
      for (const Term& term : group.terms) {
        const bool first = &term == &group.terms.front();
        kernels.correlate(model.kind, s.squares, kChunk, n, term.weight.data(), d, term.amplitude, !first, s.value,
                          s.slope);
        for (int64_t j = 0; j < d; ++j) {
          const double factor = term.amplitude * term.weight[static_cast<size_t>(j)];
          if (factor == 0.0 && !first) continue;
          kernels.slope_along(s.slope, points + j * model.n_padded, n, x[j], factor, !first, s.slopes + j * kChunk);
        }
      }
      kernels.multiply_add(weights, model.n_padded, group.rows, s.value, kChunk, 1, n, s.rows + group.first_row, 1, 1);
      kernels.multiply_add(weights, model.n_padded, group.rows, s.slopes, kChunk, d, n,
                           s.row_slopes + group.first_row * d, d, 1);
    }
  }
  for (const Group& group : model.groups) {
    for (int64_t r = group.first_row; r < group.first_row + group.rows; ++r) {
      const int64_t o = model.order[static_cast<size_t>(r)];
      y[o] += s.rows[r];
      for (int64_t j = 0; j < d; ++j) {
        jacobian[o * d + j] += s.row_slopes[r * d + j];
      }
    }
  }
  return ZELOS_OK;
}

// s^2 (1 - v^T v + t^T t), v = L^-1 k, T t = h - (L^-1 H)^T v: of the noise-free function, the
// trend's part included.
void posterior_variance(const Model& model, const double* x, double* variance, const Scratch& s) {
  const VectorKernels& kernels = vector_kernels();
  const int64_t p = model.trend.terms();
  model.trend.evaluate(x, s.phi, s.basis);
  kernels.square_differences(model.points.data(), model.n_padded, model.n_padded, x, model.n_inputs(), s.squares,
                             model.n_padded);
  for (size_t g = 0; g < model.groups.size(); ++g) {
    const Group& group = model.groups[g];
    const PosteriorFactors& stored = model.posterior[g];
    correlate(model, group, model.n_padded, s.squares, model.n_padded, s.value);
    double* v = s.value;
    const double* row = stored.factor;
    for (int64_t i = 0; i < model.n; row += ++i) v[i] = (v[i] - kernels.dot(row, v, i)) / row[i];
    double ratio = 1.0 - kernels.dot(v, v, model.n);
    double* t = s.phi_slopes;
    for (int64_t a = 0; a < p; ++a) {
      const double rest = s.phi[a] - kernels.dot(stored.whitened_trend + a * model.n, v, model.n);
      t[a] = (rest - kernels.dot(stored.trend_factor + a * p, t, a)) / stored.trend_factor[a * p + a];
      ratio += t[a] * t[a];
    }
    ratio = std::max(ratio, 0.0);
    for (int64_t r = group.first_row; r < group.first_row + group.rows; ++r) {
      const int64_t o = model.order[static_cast<size_t>(r)];
      variance[o] = model.signal_variance[o] * ratio;
    }
  }
}

zelos_status variance(const zelos_model* handle, const double* x, double* variance, void* workspace,
                      zelos_error* error) {
  const Model& model = *from_handle<Model>(handle);
  Scratch s;
  cut(model, static_cast<double*>(workspace), &s);
  switch (model.variance) {
    case VarianceKind::kLeaveOneOut:
      model.left_out.evaluate(x, variance, s.left_out);
      break;
    case VarianceKind::kPosterior:
      posterior_variance(model, x, variance, s);
      break;
    case VarianceKind::kNone:
      return no_variance("gaussian_process", error);
  }
  return ZELOS_OK;
}

zelos_status train(const zelos_host*, const zelos_training_set* set, const zelos_train_options* options,
                   zelos_save_state save, void* save_data, zelos_error* error) {
  return guard(error, [&] {
    if (set == nullptr || options == nullptr || save == nullptr) {
      throw Error(ZELOS_E_ARGUMENT, "gaussian_process: train without a set, options or save");
    }
    check_training_set(*set);
    Training(*set, *options).run(save, save_data, error);
  });
}

zelos_status check(const char* params_json, int64_t n_inputs, zelos_error* error) {
  return guard(error, [&] { parse(params_json, n_inputs, 1); });
}

zelos_status migrate(const zelos_host* host, const zelos_state* state, zelos_save_state save, void* save_data,
                     zelos_error* error) {
  zelos_model* model = nullptr;
  const zelos_status opened = open(host, state, &model, error);
  if (opened != ZELOS_OK) return opened;
  const std::unique_ptr<Model> owner(from_handle<Model>(model));
  return guard(error, [&] {
    std::vector<zelos_array> arrays(state->arrays, state->arrays + state->n_arrays);
    RowMatrix left_out;
    if (owner->variance == VarianceKind::kLeaveOneOut && !has_array(*state, ZELOS_LEFT_OUT_ERRORS)) {
      left_out = restore_left_out_errors(*state);
      arrays.push_back({ZELOS_LEFT_OUT_ERRORS, left_out.data(), 2, {left_out.rows(), left_out.cols(), 0, 0}});
    }
    const zelos_state whole = {sizeof(zelos_state), static_cast<uint32_t>(arrays.size()), arrays.data(),
                               state->settings_json};
    zelos_error told = {sizeof(zelos_error), 0, ""};
    const zelos_status status = save(save_data, &whole, &told);
    if (status != ZELOS_OK) throw Error(status, told.message);
  });
}

const void* get_extension(const char* id) {
  static const zelos_train kTrain = {sizeof(zelos_train), kDefaults, train, check};
  static const zelos_uncertainty kUncertainty = {sizeof(zelos_uncertainty), variance};
  static const zelos_migrate kMigrate = {sizeof(zelos_migrate), migrate};
  if (std::strcmp(id, ZELOS_EXT_TRAIN) == 0) return &kTrain;
  if (std::strcmp(id, ZELOS_EXT_UNCERTAINTY) == 0) return &kUncertainty;
  if (std::strcmp(id, ZELOS_EXT_MIGRATE) == 0) return &kMigrate;
  return nullptr;
}

}  // namespace

extern "C" const zelos_family* zelos_family_gaussian_process(void) {
  static const zelos_family kFamily = {sizeof(zelos_family),
                                       "gaussian_process",
                                       "1.1.1",
                                       "Gaussian processes with a polynomial trend and one length scale per input",
                                       open,
                                       close,
                                       shape,
                                       workspace_bytes,
                                       predict,
                                       predict_jacobian,
                                       get_extension};
  return &kFamily;
}
