// SPDX-License-Identifier: BSD-3-Clause
#include <algorithm>
#include <memory>

#include "evidence.hpp"
#include "left_out_variance.hpp"
#include "optimise.hpp"
#include "training.hpp"

// Arrays of the state (T terms, padded to a multiple of 8 with zero coefficients; d inputs; m
// outputs; g a group):
//   multi_index (T, d)            degrees of the terms, the constant first
//   coefficients (m, padded T)
// With variance: leave_one_out those of left_out_variance.hpp; with variance: posterior
//   group (m), noise_variance (m)
//   posterior_<g> (T (T + 1) / 2) rows of the lower triangle of F: covariance of the coefficients =
//   noise * F^T F
using namespace zelos::family;

namespace {

struct Model {
  LegendreBasis basis;
  int64_t n_outputs = 0;
  const double* coefficients = nullptr;
  VarianceKind variance = VarianceKind::kNone;
  LeftOutVariance left_out;
  const double* group = nullptr;
  const double* noise = nullptr;
  std::vector<const double*> factors;
};

constexpr size_t kMaxTerms = 20000;

constexpr const char* kDefaults = R"({
  "degree": 4,
  "degree_weights": [],
  "q": 1.0,
  "shrinkage": "evidence",
  "groups": 4,
  "max_iterations": 100,
  "gradient_tolerance": 1e-5,
  "ratio_bounds": [1e-3, 2.0],
  "signal_to_noise_bounds": [1e-4, 1e16],
  "prune": 1e-3,
  "variance": "leave_one_out"
})";

struct Params {
  int degree, groups, max_iterations;
  std::vector<double> degree_weights;
  double q, gradient_tolerance, prune;
  bool evidence;
  VarianceKind variance;
  double ratio[2], signal[2];
  std::string text;
};

Params parse(const char* params_json, int64_t n_inputs, int64_t n_outputs) {
  const nlohmann::json json = merge_params(kDefaults, params_json);
  Params p;
  p.degree = integer_param(json, "degree", 0, 100);
  p.groups = integer_param(json, "groups", 0, 1000000);
  p.max_iterations = integer_param(json, "max_iterations", 1, 1000000);
  const int64_t limit = p.groups == 0 ? n_outputs : std::min<int64_t>(p.groups, n_outputs);
  p.groups = static_cast<int>(limit);
  const auto& weights = json.at("degree_weights");
  bool good = weights.empty() || static_cast<int64_t>(weights.size()) == n_inputs;
  for (const auto& w : weights) good = good && w.is_number() && w.get<double>() > 0.0;
  require_param(good, json, "degree_weights", ("empty or " + std::to_string(n_inputs) + " numbers > 0").c_str());
  p.degree_weights =
      weights.empty() ? std::vector<double>(static_cast<size_t>(n_inputs), 1.0) : weights.get<std::vector<double>>();
  p.q = json.at("q").get<double>();
  require_param(p.q > 0.0 && p.q <= 1.0, json, "q", "above 0 and at most 1");
  p.gradient_tolerance = json.at("gradient_tolerance").get<double>();
  require_param(p.gradient_tolerance > 0.0, json, "gradient_tolerance", "above 0");
  p.prune = json.at("prune").get<double>();
  require_param(p.prune >= 0.0, json, "prune", "at least 0");
  const std::string shrinkage = json.at("shrinkage").get<std::string>();
  require_param(shrinkage == "evidence" || shrinkage == "none", json, "shrinkage", "\"evidence\" or \"none\"");
  p.evidence = shrinkage == "evidence";
  p.variance = variance_param(json);
  require_param(p.evidence || p.variance != VarianceKind::kPosterior, json, "variance",
                "\"leave_one_out\" or \"none\" where 'shrinkage' is \"none\"");
  bounds_param(json, "ratio_bounds", p.ratio);
  bounds_param(json, "signal_to_noise_bounds", p.signal);
  p.text = json.dump();
  return p;
}

class Training {
 public:
  Training(const zelos_training_set& set, const zelos_train_options& options)
      : set_(set), options_(options), params_(parse(options.params_json, set.n_inputs, set.n_outputs)) {
    x_ = ConstRowMap(set.x, set.n, set.n_inputs);
    basis_ = LegendreBasis(independent_terms(
        index_set(static_cast<int>(set.n_inputs), params_.degree, params_.degree_weights, params_.q, kMaxTerms), x_));
    y_ = ConstRowMap(set.y, set.n, set.n_outputs);
    phi_ = basis_.design(x_);
    groups_ = group_outputs(y_, set.y_scale, params_.groups);
    mark_ = fingerprint(set, params_.text, options.seed);
  }

  void run(zelos_save_state save, void* save_data, zelos_error* error) {
    if (params_.evidence) {
      search();
    } else if (set_.n < basis_.terms()) {
      throw Error(ZELOS_E_ARGUMENT,
                  "polynomial: least squares needs as many points as terms: " + std::to_string(basis_.terms()) +
                      " terms, found " + std::to_string(set_.n) + " points");
    }
    fit();
    if (prune()) fit();
    hand_over(save, save_data, error);
  }

 private:
  Eigen::MatrixXd degrees() const { return basis_.to_rows(); }

  // Row per group: done, theta, value, gradient norm, evaluations, converged.
  void search() {
    const int64_t d = set_.n_inputs;
    const int64_t n_groups = static_cast<int64_t>(groups_.size());
    search_.setZero(n_groups, d + 6);
    if (options_.resume != nullptr) resume();
    std::vector<int64_t> open;
    for (int64_t g = 0; g < n_groups; ++g) {
      if (search_(g, 0) == 0.0) open.push_back(g);
    }
    Eigen::VectorXd start(d + 1), lower(d + 1), upper(d + 1);
    start.setConstant(std::log(0.3));
    lower.setConstant(std::log(params_.ratio[0]));
    upper.setConstant(std::log(params_.ratio[1]));
    start[0] = std::log(1e6);
    lower[0] = std::log(params_.signal[0]);
    upper[0] = std::log(params_.signal[1]);
    RowMatrix found = search_;
    const auto work = [&](int64_t g) {
      Evidence evidence(phi_, select_columns(y_, groups_[static_cast<size_t>(g)]), degrees());
      const Minimum best = minimise(evidence, start, lower, upper, params_.max_iterations, params_.gradient_tolerance);
      if (!std::isfinite(best.value)) {
        throw Error(ZELOS_E_NUMERIC, "polynomial: the evidence is not finite for group " + std::to_string(g));
      }
      found.row(g).segment(1, d + 1) = best.x;
      found.row(g).tail(4) << best.value, best.gradient_norm, best.evaluations, best.converged ? 1.0 : 0.0;
    };
    const auto done = [&](int64_t g) {
      search_.row(g) = found.row(g);
      search_(g, 0) = 1.0;
      checkpoint();
      const double fraction = search_.col(0).sum() / static_cast<double>(n_groups);
      if (options_.progress == nullptr) return true;
      const std::string text = "group " + std::to_string(g) + ": shrinkage found";
      return options_.progress(options_.data, fraction, 1.0 - fraction, text.c_str()) == 0;
    };
    if (!run_tasks(open, options_.n_threads, work, done)) throw Error(ZELOS_E_CANCELLED, "polynomial: stopped");
  }

  void resume() {
    const nlohmann::json settings = nlohmann::json::parse(options_.resume->settings_json);
    if (settings.value("checkpoint", "") != mark_) {
      throw Error(ZELOS_E_ARGUMENT, "polynomial: the checkpoint is of other data, params or seed");
    }
    const ConstRowMap stored = matrix(*options_.resume, "search");
    if (stored.rows() != search_.rows() || stored.cols() != search_.cols()) {
      throw Error(ZELOS_E_FORMAT, "polynomial: checkpoint with a search table of the wrong shape");
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
    coefficients_.setZero(m, basis_.padded_terms());
    noise_.setZero(m);
    errors_.resize(set_.n, m);
    if (!params_.evidence) {
      const Eigen::ColPivHouseholderQR<Eigen::MatrixXd> qr(phi_);
      if (qr.rank() < phi_.cols()) {
        throw Error(ZELOS_E_NUMERIC, "polynomial: the points determine " + std::to_string(qr.rank()) + " of " +
                                         std::to_string(phi_.cols()) +
                                         " terms; lower 'degree' or set 'shrinkage' to \"evidence\"");
      }
      const Eigen::MatrixXd solution = qr.solve(y_);
      coefficients_.leftCols(basis_.terms()) = solution.transpose();
      const Eigen::MatrixXd q = qr.householderQ() * Eigen::MatrixXd::Identity(phi_.rows(), phi_.cols());
      errors_ = left_out_errors(y_, solution, q.rowwise().squaredNorm());
      return;
    }
    factors_.assign(groups_.size(), Eigen::VectorXd());
    for (size_t g = 0; g < groups_.size(); ++g) {
      Evidence evidence(phi_, select_columns(y_, groups_[g]), degrees());
      const Evidence::Posterior posterior =
          evidence.posterior(search_.row(static_cast<Eigen::Index>(g)).segment(1, set_.n_inputs + 1));
      for (size_t i = 0; i < groups_[g].size(); ++i) {
        const int64_t o = groups_[g][i];
        coefficients_.row(o).head(basis_.terms()) = posterior.coefficients.col(static_cast<Eigen::Index>(i));
        noise_[o] = posterior.noise[static_cast<Eigen::Index>(i)];
      }
      if (params_.variance != VarianceKind::kPosterior) {
        const Eigen::MatrixXd errors = left_out_errors(select_columns(y_, groups_[g]), posterior.coefficients,
                                                       (phi_ * posterior.factor.transpose()).rowwise().squaredNorm());
        for (size_t i = 0; i < groups_[g].size(); ++i) {
          errors_.col(groups_[g][i]) = errors.col(static_cast<Eigen::Index>(i));
        }
        continue;
      }
      const int64_t terms = basis_.terms();
      factors_[g].resize(terms * (terms + 1) / 2);
      for (int64_t t = 0, at = 0; t < terms; at += ++t) {
        factors_[g].segment(at, t + 1) = posterior.factor.row(t).head(t + 1);
      }
    }
  }

  // r_i / (1 - hat_ii); without a point that alone determines a term nothing is known there, and
  // the error is taken to be as large as the output.
  Eigen::MatrixXd left_out_errors(const Eigen::MatrixXd& y, const Eigen::MatrixXd& coefficients,
                                  const Eigen::VectorXd& hat) const {
    Eigen::MatrixXd errors = y - phi_ * coefficients;
    for (Eigen::Index i = 0; i < errors.rows(); ++i) {
      const double rest = 1.0 - hat[i];
      if (rest > 1e-6) {
        errors.row(i) /= rest;
      } else {
        errors.row(i) = y.row(i);
      }
    }
    return errors;
  }

  // Without y_scale nothing says what is negligible, and nothing is dropped.
  bool prune() {
    if (set_.y_scale == nullptr || params_.prune == 0.0) return false;
    std::vector<char> keep(static_cast<size_t>(basis_.terms()), 0);
    keep[0] = 1;
    for (int64_t t = basis_.terms() - 1; t > 0; --t) {
      bool needed = keep[static_cast<size_t>(t)] != 0;
      for (int64_t o = 0; o < set_.n_outputs && !needed; ++o) {
        needed = std::abs(coefficients_(o, t)) >= params_.prune * set_.y_scale[o];
      }
      if (!needed) continue;
      keep[static_cast<size_t>(t)] = 1;
      keep[static_cast<size_t>(basis_.parent(t))] = 1;
    }
    std::vector<MultiIndex> kept;
    std::vector<int64_t> columns;
    for (int64_t t = 0; t < basis_.terms(); ++t) {
      if (keep[static_cast<size_t>(t)] == 0) continue;
      kept.push_back(basis_.index(t));
      columns.push_back(t);
    }
    if (static_cast<int64_t>(kept.size()) == basis_.terms()) return false;
    pruned_ = basis_.terms() - static_cast<int64_t>(kept.size());
    basis_ = LegendreBasis(kept);
    phi_ = select_columns(phi_, columns);
    return true;
  }

  void hand_over(zelos_save_state save, void* save_data, zelos_error* error) {
    StateBuilder builder;
    const RowMatrix rows = basis_.to_rows();
    builder.add("multi_index", rows);
    builder.add("coefficients", coefficients_);
    nlohmann::json settings = {{"terms", basis_.terms()}, {"pruned", pruned_}};
    Eigen::VectorXd group(set_.n_outputs);
    if (params_.evidence) {
      nlohmann::json list = nlohmann::json::array();
      const int64_t d = set_.n_inputs;
      for (size_t g = 0; g < groups_.size(); ++g) {
        for (const int64_t o : groups_[g]) group[o] = static_cast<double>(g);
        const Eigen::VectorXd row = search_.row(static_cast<Eigen::Index>(g));
        std::vector<double> ratio;
        for (int64_t j = 0; j < d; ++j) ratio.push_back(std::exp(row[2 + j]));
        list.push_back({{"outputs", groups_[g]},
                        {"signal_to_noise", std::exp(row[1])},
                        {"ratio", ratio},
                        {"negative_log_evidence", row[d + 2]},
                        {"gradient_norm", row[d + 3]},
                        {"evaluations", static_cast<int>(row[d + 4])},
                        {"converged", row[d + 5] != 0.0}});
      }
      settings["groups"] = list;
    }
    std::vector<std::string> names;
    LeftOutVariance::Fit left_out;
    settings["variance"] = to_string(params_.variance);
    if (params_.variance == VarianceKind::kLeaveOneOut) {
      left_out = LeftOutVariance::fit(x_, errors_);
      left_out.add_to(builder);
    } else if (params_.variance == VarianceKind::kPosterior) {
      builder.add("group", group);
      builder.add("noise_variance", noise_);
      for (size_t g = 0; g < groups_.size(); ++g) names.push_back("posterior_" + std::to_string(g));
      for (size_t g = 0; g < groups_.size(); ++g) builder.add(names[g].c_str(), factors_[g]);
    }
    builder.settings(settings);
    const zelos_state state = builder.state();
    zelos_error told = {sizeof(zelos_error), 0, ""};
    const zelos_status status = save(save_data, &state, error != nullptr ? error : &told);
    if (status != ZELOS_OK) throw Error(status, error != nullptr ? error->message : told.message);
  }

  const zelos_training_set& set_;
  const zelos_train_options& options_;
  Params params_;
  LegendreBasis basis_;
  RowMatrix x_, search_, coefficients_;
  Eigen::MatrixXd y_, phi_, errors_;
  Eigen::VectorXd noise_;
  std::vector<std::vector<int64_t>> groups_;
  std::vector<Eigen::VectorXd> factors_;
  std::string mark_;
  int64_t pruned_ = 0;
};

zelos_status open(const zelos_host*, const zelos_state* state, zelos_model** out, zelos_error* error) {
  return guard(error, [&] {
    if (state == nullptr || out == nullptr) throw Error(ZELOS_E_ARGUMENT, "polynomial: open without a state");
    auto model = std::make_unique<Model>();
    model->basis = LegendreBasis::from_rows(matrix(*state, "multi_index"));
    const ConstRowMap coefficients = matrix(*state, "coefficients");
    if (coefficients.cols() != model->basis.padded_terms() || coefficients.rows() < 1) {
      throw Error(ZELOS_E_FORMAT, "polynomial: coefficients should have " +
                                      std::to_string(model->basis.padded_terms()) + " columns, found " +
                                      std::to_string(coefficients.cols()));
    }
    model->n_outputs = coefficients.rows();
    model->coefficients = coefficients.data();
    model->variance = stored_variance(*state);
    if (model->variance == VarianceKind::kLeaveOneOut) {
      model->left_out = LeftOutVariance(*state, model->basis.n_inputs(), model->n_outputs);
    } else if (model->variance == VarianceKind::kPosterior) {
      const ConstVectorMap group = vector(*state, "group");
      const ConstVectorMap noise = vector(*state, "noise_variance");
      if (group.size() != model->n_outputs || noise.size() != model->n_outputs) {
        throw Error(ZELOS_E_FORMAT, "polynomial: 'group' and 'noise_variance' should have one entry per output");
      }
      const int64_t terms = model->basis.terms();
      const double last = group.maxCoeff();
      if (!(group.minCoeff() >= 0.0 && last < static_cast<double>(model->n_outputs))) {
        throw Error(ZELOS_E_FORMAT, "polynomial: 'group' holds a number that is no group");
      }
      for (int64_t g = 0; g <= static_cast<int64_t>(last); ++g) {
        const ConstVectorMap factor = vector(*state, ("posterior_" + std::to_string(g)).c_str());
        if (factor.size() != terms * (terms + 1) / 2) {
          throw Error(ZELOS_E_FORMAT, "polynomial: 'posterior_" + std::to_string(g) + "' has the wrong length");
        }
        model->factors.push_back(factor.data());
      }
      model->group = group.data();
      model->noise = noise.data();
    }
    *out = to_handle(model.release());
  });
}

void close(zelos_model* model) { delete from_handle<Model>(model); }

void shape(const zelos_model* handle, int64_t* n_inputs, int64_t* n_outputs) {
  const Model* model = from_handle<Model>(handle);
  *n_inputs = model->basis.n_inputs();
  *n_outputs = model->n_outputs;
}

size_t workspace_bytes(const zelos_model* handle) {
  const Model* model = from_handle<Model>(handle);
  const LegendreBasis& basis = model->basis;
  const int64_t groups = padded(static_cast<int64_t>(model->factors.size()));
  const int64_t own = basis.padded_terms() * (1 + basis.n_inputs()) + basis.workspace() + groups;
  return sizeof(double) * static_cast<size_t>(std::max(own, model->left_out.workspace()));
}

zelos_status predict(const zelos_model* handle, const double* x, double* y, void* workspace, zelos_error*) {
  const Model* model = from_handle<Model>(handle);
  const LegendreBasis& basis = model->basis;
  const int64_t terms = basis.padded_terms();
  double* phi = static_cast<double*>(workspace);
  basis.evaluate(x, phi, phi + terms);
  std::fill(y, y + model->n_outputs, 0.0);
  vector_kernels().multiply_add(model->coefficients, terms, model->n_outputs, phi, terms, 1, terms, y, 1, 1);
  return ZELOS_OK;
}

zelos_status predict_jacobian(const zelos_model* handle, const double* x, double* y, double* jacobian, void* workspace,
                              zelos_error*) {
  const Model* model = from_handle<Model>(handle);
  const LegendreBasis& basis = model->basis;
  const int64_t terms = basis.padded_terms();
  const int64_t d = basis.n_inputs();
  double* phi = static_cast<double*>(workspace);
  double* slopes = phi + terms;
  basis.evaluate_gradient(x, phi, slopes, slopes + d * terms);
  std::fill(y, y + model->n_outputs, 0.0);
  std::fill(jacobian, jacobian + model->n_outputs * d, 0.0);
  const VectorKernels& kernels = vector_kernels();
  kernels.multiply_add(model->coefficients, terms, model->n_outputs, phi, terms, 1, terms, y, 1, 1);
  kernels.multiply_add(model->coefficients, terms, model->n_outputs, slopes, terms, d, terms, jacobian, d, 1);
  return ZELOS_OK;
}

zelos_status variance(const zelos_model* handle, const double* x, double* variance, void* workspace,
                      zelos_error* error) {
  const Model* model = from_handle<Model>(handle);
  if (model->variance == VarianceKind::kNone) return no_variance("polynomial", error);
  if (model->variance == VarianceKind::kLeaveOneOut) {
    model->left_out.evaluate(x, variance, static_cast<double*>(workspace));
    return ZELOS_OK;
  }
  const LegendreBasis& basis = model->basis;
  double* phi = static_cast<double*>(workspace);
  double* ratio = phi + basis.padded_terms() + basis.workspace();
  basis.evaluate(x, phi, phi + basis.padded_terms());
  const VectorKernels& kernels = vector_kernels();
  for (size_t g = 0; g < model->factors.size(); ++g) {
    const double* row = model->factors[g];
    double sum = 0.0;
    for (int64_t t = 0; t < basis.terms(); row += ++t) {
      const double v = kernels.dot(row, phi, t + 1);
      sum += v * v;
    }
    ratio[g] = sum;
  }
  for (int64_t o = 0; o < model->n_outputs; ++o) {
    variance[o] = model->noise[o] * ratio[static_cast<size_t>(model->group[o])];
  }
  return ZELOS_OK;
}

zelos_status train(const zelos_host*, const zelos_training_set* set, const zelos_train_options* options,
                   zelos_save_state save, void* save_data, zelos_error* error) {
  return guard(error, [&] {
    if (set == nullptr || options == nullptr || save == nullptr) {
      throw Error(ZELOS_E_ARGUMENT, "polynomial: train without a set, options or save");
    }
    check_training_set(*set);
    Training(*set, *options).run(save, save_data, error);
  });
}

zelos_status check(const char* params_json, int64_t n_inputs, zelos_error* error) {
  return guard(error, [&] { parse(params_json, n_inputs, 1); });
}

const void* get_extension(const char* id) {
  static const zelos_train kTrain = {sizeof(zelos_train), kDefaults, train, check};
  static const zelos_uncertainty kUncertainty = {sizeof(zelos_uncertainty), variance};
  if (std::strcmp(id, ZELOS_EXT_TRAIN) == 0) return &kTrain;
  if (std::strcmp(id, ZELOS_EXT_UNCERTAINTY) == 0) return &kUncertainty;
  return nullptr;
}

}  // namespace

extern "C" const zelos_family* zelos_family_polynomial(void) {
  static const zelos_family kFamily = {sizeof(zelos_family),
                                       "polynomial",
                                       "1.0.1",
                                       "orthonormal Legendre polynomials with Bayesian shrinkage",
                                       open,
                                       close,
                                       shape,
                                       workspace_bytes,
                                       predict,
                                       predict_jacobian,
                                       get_extension};
  return &kFamily;
}
