// SPDX-License-Identifier: BSD-3-Clause
#include "zelos/error_model.hpp"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/bound_query.hpp"

namespace zelos {
namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;
using RowMatrix = Eigen::Matrix<double, -1, -1, Eigen::RowMajor>;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kLevel = 0.95, kNormalQuantile = 1.6448536269514722;
constexpr double kKnown = 0.006;  ///< measured on real runs: docs/predicted-errors.md
constexpr int kCalibrationPoints = 16;
constexpr double kSmall = 0.1;  ///< share of the expected error

/// Of the gamma distribution (Wilson and Hilferty).
double gamma_quantile(double mean, double variance) {
  if (!(mean > 0)) return mean;
  const double h = variance / (9 * mean * mean);
  const double root = std::max(0.0, 1 - h + kNormalQuantile * std::sqrt(h));
  return mean * root * root * root;
}

/// The outputs whose weights are behind an answer, and where these stand in e.
struct Weights {
  std::vector<int> outputs;
  std::vector<int64_t> first, size;  ///< per output of the model; -1: not there
  int64_t n = 0;

  explicit Weights(const Query::Impl& q) : first(q.model->outputs.size(), -1), size(first.size(), 0) {
    for (size_t o = 0; o < first.size(); ++o) {
      if (q.needs_output[o] == 0) continue;
      outputs.push_back(static_cast<int>(o));
      size[o] = q.model->outputs[o].n_weights();
      first[o] = n;
      n += size[o];
    }
  }
};

Verdict set_features(const Query::Impl& q, const double* values, double* w) {
  const Verdict verdict = q.prepare(values, 0, nullptr, w);
  if (!q.has_error(verdict, w)) return verdict;
  q.evaluate_features(0, w);
  return verdict;
}

/// The answer and its derivatives (size x weights) with respect to the weights, at the features in `w`.
MatrixXd weight_jacobian(const Query::Impl& q, const Weights& weights, double* w, VectorXd* answer) {
  for (const int o : weights.outputs) q.evaluate_weights(o, 0, w);
  for (const SplineMap& map : q.spline_maps) {
    if (map.stretched()) q.evaluate_spline_map(map, w);
  }
  const int n_tangents = static_cast<int>(q.n_names());
  std::fill_n(w + q.feature_tangents_at, q.n_features() * n_tangents, 0.0);
  MatrixXd jacobian(q.size, weights.n);
  answer->resize(q.size);
  for (int64_t done = 0; done < weights.n; done += n_tangents) {
    for (const int o : weights.outputs) {
      const int64_t n = weights.size[o];
      double* tangents = w + q.weight_tangents_at[o];
      std::fill_n(tangents, n * n_tangents, 0.0);
      for (int k = 0; k < n_tangents; ++k) {
        const int64_t at = done + k - weights.first[o];
        if (at >= 0 && at < n) tangents[k * n + at] = 1;
      }
    }
    for (const Node& node : q.nodes) q.evaluate_node(node, n_tangents, w);
    for (size_t r = 0; r < q.request_node.size(); ++r) {
      const Node& node = q.nodes[q.request_node[r]];
      answer->segment(q.blocks[r].offset, node.n) = Eigen::Map<const VectorXd>(w + node.values_at, node.n);
      for (int k = 0; k < n_tangents && done + k < weights.n; ++k) {
        jacobian.col(done + k).segment(q.blocks[r].offset, node.n) =
            Eigen::Map<const VectorXd>(w + node.tangents_at + k * node.n_padded, node.n);
      }
    }
  }
  return jacobian;
}

/// Whether an output's errors are whitened by cosmic variance. last: the multipole above which it lets them grow;
/// infinite: none.
bool in_cosmic_variance(const Emulator::Impl& model, int output, double* last) {
  *last = std::numeric_limits<double>::infinity();
  for (const nlohmann::json& segment : model.info.at("outputs").at(output).at("segments")) {
    const nlohmann::json& whiten = segment.at("whiten");
    if (whiten == "cosmic_variance") continue;
    if (!whiten.is_object() || !whiten.contains("cosmic_variance")) {
      *last = std::numeric_limits<double>::infinity();
      return false;
    }
    *last = std::min(*last, whiten.at("cosmic_variance").get<double>());
  }
  return true;
}

const std::vector<double>& multipoles(const Emulator::Impl& model, int output) {
  return model.outputs[output].axes.at(0).axis.values;
}

bool is_spectrum(const std::string& name) { return name.size() == 5 && name.compare(0, 3, "Cl.") == 0; }

/// d C_l / sigma_l of one spectrum XY, sigma_l^2 = (C_l^XX C_l^YY + (C_l^XY)^2) / (2 l + 1).
/// answer and jacobian: XY and, if X is not Y, XX and YY after it.
MatrixXd own_residuals(const std::string& name, const std::vector<double>& ell, const VectorXd& answer,
                       const MatrixXd& jacobian) {
  const auto n = static_cast<int64_t>(ell.size());
  MatrixXd rows = jacobian.topRows(n);
  for (int64_t i = 0; i < n; ++i) {
    const double product = name[3] == name[4] ? answer[i] * answer[i] : answer[n + i] * answer[2 * n + i];
    const double sigma = std::sqrt((product + answer[i] * answer[i]) / (2 * ell[i] + 1));
    if (!(sigma > 0)) throw Error(ZELOS_E_NUMERIC, "error model: " + name + " has no variance at the reference");
    rows.row(i) /= sigma;
  }
  return rows;
}

/// sqrt of (2 l + 1) / 2 tr[(C^-1 dC)^2] for each multipole and weight, C = [[TT, TE], [TE, EE]]: with C = L L^T it is
/// the squared length of L^-1 dC L^-T. answer and jacobian: TT, TE and EE one after the other.
MatrixXd joint_residuals(const std::vector<double>& ell, double last, const VectorXd& answer,
                         const MatrixXd& jacobian) {
  const int64_t n = static_cast<int64_t>(ell.size()), m = jacobian.cols();
  MatrixXd rows(3 * n, m);
  for (int64_t i = 0; i < n; ++i) {
    const double tt = answer[i], te = answer[n + i], ee = answer[2 * n + i];
    const double a = std::sqrt(tt), b = te / a, c = std::sqrt(ee - b * b);
    if (!(c > 0)) throw Error(ZELOS_E_NUMERIC, "error model: TT, TE and EE are no covariance at the reference");
    const double damping = std::isfinite(last) ? 1 + std::pow(ell[i] / last, 8) : 1;
    const double weight = std::sqrt((2 * ell[i] + 1) / 2) / damping;
    for (int64_t k = 0; k < m; ++k) {
      const double dtt = jacobian(i, k), dte = jacobian(n + i, k), dee = jacobian(2 * n + i, k);
      const double x = dtt / (a * a), y = (dte - b * dtt / a) / (a * c);
      const double z = (dee - 2 * b * dte / a + b * b * dtt / (a * a)) / (c * c);
      rows(3 * i, k) = weight * x;
      rows(3 * i + 1, k) = weight * std::sqrt(2.0) * y;
      rows(3 * i + 2, k) = weight * z;
    }
  }
  return rows;
}

std::vector<std::string> names_of(const Emulator::Impl& model) {
  std::vector<std::string> names;
  for (const Parameter& p : model.parameters) names.push_back(p.name);
  return names;
}

Query::Impl canonical_query(const std::shared_ptr<const Emulator::Impl>& model, const std::vector<Request>& requests) {
  Query::Impl q;
  q.model = model;
  q.names = names_of(*model);
  q.build(requests);
  return q;
}

/// Of each block of an output's weights: see ZELOS_LEFT_OUT_ERRORS; null where there are none.
std::vector<const artifact::Array*> left_out_errors(const Emulator::Impl& model, int output) {
  std::vector<const artifact::Array*> list;
  const auto& arrays = model.opened.contents.arrays;
  const std::vector<OutputModel::Segment>& segments = model.outputs[output].segments;
  for (size_t s = 0; s < segments.size(); ++s) {
    for (size_t b = 0; b < segments[s].blocks.size(); ++b) {
      const std::string path = "outputs/" + model.descriptions[output].name + "/segment" + std::to_string(s) +
                               "/block" + std::to_string(b) + "/model/" + ZELOS_LEFT_OUT_ERRORS;
      const auto found = arrays.find(path);
      list.push_back(found == arrays.end() ? nullptr : &found->second);
      if (list.back() == nullptr) continue;
      const int64_t columns = segments[s].blocks[b].regressor->n_outputs();
      if (list.back()->shape.size() != 2 || list.back()->shape[1] != columns) {
        throw Error(ZELOS_E_FORMAT,
                    model.name + ": array '" + path + "': expected points x " + std::to_string(columns));
      }
    }
  }
  return list;
}

/// Adds a form in the weights of `from` to one in those of `to`, as far as it has them.
void add_form(const Weights& from, const MatrixXd& m, const Weights& to, MatrixXd* sum) {
  for (const int a : from.outputs) {
    for (const int b : from.outputs) {
      if (to.first[a] < 0 || to.first[b] < 0) continue;
      sum->block(to.first[a], to.first[b], from.size[a], from.size[b]) +=
          m.block(from.first[a], from.first[b], from.size[a], from.size[b]);
    }
  }
}

}  // namespace

struct ErrorModel::Impl {
  Query owner;
  const Query::Impl* query;
  std::vector<int> outputs;        ///< whose errors count
  std::vector<VectorXd> diagonal;  ///< M_kk of each
  VectorXd dropped;                ///< by the PCA: Delta chi^2 at points that it did not know
  double dropped_flat = 0;         ///< the part of it of which the mean alone is known
  double dropped_mean = 0, dropped_variance = 0;
  double coupling = 1;  ///< sum_kl M_kl^2 v_k v_l over its diagonal part, at the reference
  double calibration = 1;
  int64_t n_left_out = 0;

  /// Mean and variance of e^T M e; false where a family predicts nothing.
  bool moments(double* w, double* mean, double* variance) const {
    *mean = *variance = 0;
    for (size_t i = 0; i < outputs.size(); ++i) {
      double* v = w + query->weights_at[outputs[i]];
      const double* m = diagonal[i].data();
      if (!query->variances(outputs[i], w, v)) return false;
      for (int64_t k = 0; k < diagonal[i].size(); ++k) {
        const double x = m[k] * v[k];
        *mean += x;
        *variance += x * x;
      }
    }
    *variance *= 2 * coupling;
    return true;
  }

  /// NaN where a family predicts nothing. The features are in `w`.
  ErrorEstimate estimate(double* w) const {
    double mean = 0, variance = 0;
    if (!moments(w, &mean, &variance)) return {kNaN, kNaN};
    mean += dropped_mean;
    return {mean, calibration * gamma_quantile(mean, variance + dropped_variance)};
  }

  MatrixXd ideal_form(const Weights& weights, const std::vector<double>& reference) const;
  MatrixXd form(const Likelihood& likelihood, const Weights& weights, const std::vector<double>& reference) const;
  void add_dropped(int output, double share);
  void calibrate(const MatrixXd& m, const Weights& weights);
};

namespace {

std::vector<Request> requests_of(const Query::Impl& q) {
  std::vector<Request> requests;
  for (const int node : q.request_node) {
    requests.push_back({q.model->descriptions[q.nodes[node].output].name, q.nodes[node].axes});
  }
  return requests;
}

std::vector<double> canonical_reference(const Query::Impl& q, const std::vector<double>& reference) {
  std::vector<double> point;
  if (reference.empty()) {
    return q.model->region.point(std::vector<double>(q.model->parameters.size(), 0.5));
  }
  if (static_cast<int64_t>(reference.size()) != q.n_names()) {
    throw Error(ZELOS_E_ARGUMENT, "error model: reference: expected " + std::to_string(q.n_names()) +
                                      " values, found " + std::to_string(reference.size()));
  }
  AlignedBuffer memory(q.workspace_size);
  const Verdict verdict = q.prepare(reference.data(), 0, nullptr, memory.data());
  if (verdict.reason == Verdict::Reason::not_finite || verdict.reason == Verdict::Reason::no_solution) {
    throw Error(ZELOS_E_ARGUMENT, "error model: reference: " + to_string(verdict));
  }
  point.assign(memory.data() + q.features_at, memory.data() + q.features_at + q.plan.canonical.size());
  return point;
}

}  // namespace

MatrixXd ErrorModel::Impl::ideal_form(const Weights& weights, const std::vector<double>& reference) const {
  const Emulator::Impl& model = *query->model;
  MatrixXd sum = MatrixXd::Zero(weights.n, weights.n);
  std::vector<int> asked;
  for (const int node : query->request_node) asked.push_back(query->nodes[node].output);
  std::sort(asked.begin(), asked.end());
  asked.erase(std::unique(asked.begin(), asked.end()), asked.end());
  const auto add = [&](const std::vector<Request>& requests, const auto& residuals) {
    const Query::Impl q = canonical_query(query->model, requests);
    AlignedBuffer memory(q.workspace_size);
    set_features(q, reference.data(), memory.data());
    const Weights own(q);
    VectorXd answer;
    const MatrixXd jacobian = weight_jacobian(q, own, memory.data(), &answer);
    const MatrixXd rows = residuals(answer, jacobian);
    add_form(own, rows.transpose() * rows, weights, &sum);
  };
  std::vector<int> joint;
  std::vector<Request> requests;
  for (const char* name : {"Cl.tt", "Cl.te", "Cl.ee"}) {
    for (const int o : asked) {
      if (model.descriptions[o].name != name) continue;
      joint.push_back(o);
      requests.push_back({name, {}});
    }
  }
  double last = 0, other = 0;
  bool together = joint.size() == 3;
  for (const int o : joint) {
    in_cosmic_variance(model, o, &other);
    if (o == joint[0]) last = other;
    together = together && other == last && multipoles(model, o) == multipoles(model, joint[0]);
  }
  if (together) {
    add(requests, [&](const VectorXd& answer, const MatrixXd& jacobian) {
      return joint_residuals(multipoles(model, joint[0]), last, answer, jacobian);
    });
  }
  for (const int o : asked) {
    if (together && std::find(joint.begin(), joint.end(), o) != joint.end()) continue;
    const std::string& name = model.descriptions[o].name;
    if (!is_spectrum(name) || in_cosmic_variance(model, o, &other)) {
      sum.diagonal().segment(weights.first[o], weights.size[o]).array() += 1;
      continue;
    }
    requests = {{name, {}}};
    for (const char field : name[3] == name[4] ? std::string() : name.substr(3)) {
      const std::string own = std::string("Cl.") + field + field;
      for (size_t i = 0; i < model.descriptions.size(); ++i) {
        const int companion = static_cast<int>(i);
        if (model.descriptions[i].name != own || multipoles(model, companion) != multipoles(model, o)) continue;
        requests.push_back({own, {}});
      }
    }
    if (name[3] != name[4] && requests.size() != 3) {
      throw Error(ZELOS_E_ARGUMENT, "error model: " + name +
                                        ": its cosmic variance is not known without the spectra of " + name[3] +
                                        " and of " + name[4] + "; give a covariance");
    }
    add(requests, [&](const VectorXd& answer, const MatrixXd& jacobian) {
      return own_residuals(name, multipoles(model, o), answer, jacobian);
    });
  }
  return sum;
}

MatrixXd ErrorModel::Impl::form(const Likelihood& likelihood, const Weights& weights,
                                const std::vector<double>& reference) const {
  const int64_t size = query->size;
  int64_t n = static_cast<int64_t>(std::llround(std::sqrt(static_cast<double>(likelihood.covariance.size()))));
  const auto expect = [](const char* what, int64_t rows, int64_t columns, size_t found) {
    if (static_cast<size_t>(rows * columns) == found) return;
    throw Error(ZELOS_E_ARGUMENT, std::string("error model: ") + what + ": expected " + std::to_string(rows) + " x " +
                                      std::to_string(columns) + " numbers, found " + std::to_string(found));
  };
  if (likelihood.matrix.empty()) n = size;
  expect("covariance", n, n, likelihood.covariance.size());
  if (!likelihood.matrix.empty()) expect("matrix", n, size, likelihood.matrix.size());
  const Eigen::Map<const RowMatrix> covariance(likelihood.covariance.data(), n, n);
  const Eigen::LLT<MatrixXd> llt(covariance);
  if (!covariance.allFinite() || !covariance.isApprox(covariance.transpose(), 1e-9) || llt.info() != Eigen::Success) {
    throw Error(ZELOS_E_ARGUMENT, "error model: covariance: expected a symmetric, positive definite matrix");
  }
  const Query::Impl q = canonical_query(query->model, requests_of(*query));
  AlignedBuffer memory(q.workspace_size);
  set_features(q, reference.data(), memory.data());
  VectorXd answer;
  MatrixXd rows = weight_jacobian(q, weights, memory.data(), &answer);
  if (!likelihood.matrix.empty()) rows = Eigen::Map<const RowMatrix>(likelihood.matrix.data(), n, size) * rows;
  if (!rows.allFinite()) throw Error(ZELOS_E_ARGUMENT, "error model: matrix: expected finite numbers");
  llt.matrixL().solveInPlace(rows);
  return rows.transpose() * rows;
}

/// share: how much a squared whitened residual of this output moves the likelihood.
void ErrorModel::Impl::add_dropped(int output, double share) {
  const Emulator::Impl& model = *query->model;
  VectorXd sum;
  for (size_t i = 0; i < model.outputs[output].segments.size(); ++i) {
    const auto found = model.opened.contents.arrays.find("outputs/" + model.descriptions[output].name + "/segment" +
                                                         std::to_string(i) + "/truncation");
    if (found == model.opened.contents.arrays.end()) continue;
    const Eigen::Map<const VectorXd> here(found->second.data.data(), static_cast<int64_t>(found->second.data.size()));
    if (sum.size() != 0 && sum.size() != here.size()) {
      throw Error(ZELOS_E_FORMAT, "output " + model.descriptions[output].name + ": 'truncation' of segment " +
                                      std::to_string(i) + " has " + std::to_string(here.size()) + " values, expected " +
                                      std::to_string(sum.size()));
    }
    sum = sum.size() == 0 ? VectorXd(here) : VectorXd(sum + here);
  }
  if (sum.size() == 0) {
    dropped_flat += share * model.outputs[output].truncation_error;
  } else if (dropped.size() == 0) {
    dropped = share * sum;
  } else if (dropped.size() == sum.size()) {
    dropped += share * sum;
  } else {
    dropped_flat += share * sum.mean();
  }
}

void ErrorModel::Impl::calibrate(const MatrixXd& m, const Weights& weights) {
  const Emulator::Impl& model = *query->model;
  int64_t n = -1;
  for (const int o : outputs) {
    for (const artifact::Array* errors : left_out_errors(model, o)) {
      // Only errors of one point tell how those of several outputs go together.
      if (errors == nullptr || (n >= 0 && errors->shape[0] != n)) return;
      n = errors->shape[0];
    }
  }
  if (n < 1) return;
  RowMatrix standard = RowMatrix::Zero(n, weights.n);
  for (const int o : outputs) {
    int64_t at = weights.first[o];
    for (const artifact::Array* errors : left_out_errors(model, o)) {
      standard.middleCols(at, errors->shape[1]) = Eigen::Map<const RowMatrix>(errors->data.data(), n, errors->shape[1]);
      at += errors->shape[1];
    }
  }
  const Query::Impl q = canonical_query(query->model, requests_of(*query));
  AlignedBuffer memory(q.workspace_size);
  // Points of an additive recurrence (Roberts): phi^(d+1) = phi + 1.
  const auto d = static_cast<int64_t>(model.parameters.size());
  double phi = 2;
  for (int i = 0; i < 60; ++i) phi = std::pow(1 + phi, 1.0 / static_cast<double>(d + 1));
  std::vector<double> ratios, u(static_cast<size_t>(d));
  double expected = 0;
  int used = 0;
  for (int i = 1; i <= 64 * kCalibrationPoints && used < kCalibrationPoints; ++i) {
    for (int64_t j = 0; j < d; ++j) u[j] = std::fmod(0.5 + i * std::pow(phi, -static_cast<double>(j + 1)), 1.0);
    const std::vector<double> x = model.region.point(u);
    if (!set_features(q, x.data(), memory.data()).inside()) continue;
    ++used;
    VectorXd v = VectorXd::Zero(weights.n);
    for (const int o : outputs) q.variances(o, memory.data(), v.data() + weights.first[o]);
    const VectorXd terms = m.diagonal().cwiseProduct(v);
    expected += terms.sum() + dropped_mean;
    const double quantile =
        gamma_quantile(terms.sum() + dropped_mean, 2 * coupling * terms.squaredNorm() + dropped_variance);
    if (!(quantile > 0)) continue;
    const RowMatrix e = standard * v.cwiseSqrt().asDiagonal();
    const VectorXd found = (e * m).cwiseProduct(e).rowwise().sum();
    for (int64_t row = 0; row < n; ++row) {
      // Rows are of the same points if they are as many.
      const double rest = dropped[(dropped.size() == n ? row : row + used) % dropped.size()];
      ratios.push_back((found[row] + rest) / quantile);
    }
  }
  // The spread of what the PCA dropped belongs to the quantile; of older artifacts the mean alone is known.
  if (ratios.empty() || dropped_flat * used > kSmall * expected) return;
  // The rank of a new one among n is a share of (n + 1) / n of those known; kKnown is on top, for the features, the PCA
  // and the hyperparameters knew the points that the regressions left out.
  const double rank = (kLevel + kKnown) * static_cast<double>(n + 1) / static_cast<double>(n);
  const auto at = std::min(ratios.size() - 1, static_cast<size_t>(rank * static_cast<double>(ratios.size())));
  std::nth_element(ratios.begin(), ratios.begin() + static_cast<int64_t>(at), ratios.end());
  if (!(ratios[at] > 0)) return;
  calibration = ratios[at];
  n_left_out = n;
}

ErrorModel::ErrorModel(const Query& query, const Likelihood& likelihood) {
  auto impl = std::make_shared<Impl>(Impl{query, &query.impl(), {}, {}, {}});
  const Query::Impl& q = *impl->query;
  const Weights weights(q);
  const std::vector<double> reference = canonical_reference(q, likelihood.reference);
  const MatrixXd m =
      likelihood.covariance.empty() ? impl->ideal_form(weights, reference) : impl->form(likelihood, weights, reference);
  for (const int o : weights.outputs) {
    const VectorXd diagonal = m.diagonal().segment(weights.first[o], weights.size[o]);
    if (!(diagonal.maxCoeff() > 0)) continue;
    impl->outputs.push_back(o);
    impl->diagonal.push_back(diagonal);
  }
  const Query::Impl at = canonical_query(q.model, requests_of(q));
  AlignedBuffer memory(at.workspace_size);
  set_features(at, reference.data(), memory.data());
  VectorXd v = VectorXd::Zero(weights.n);
  bool predicted = true;
  for (const int o : impl->outputs) predicted &= at.variances(o, memory.data(), v.data() + weights.first[o]);
  if (predicted) {
    const VectorXd diagonal = m.diagonal().cwiseProduct(v);
    const double alone = diagonal.squaredNorm();
    if (alone > 0) impl->coupling = v.dot(m.cwiseAbs2() * v) / alone;
    for (const int o : impl->outputs) {
      // It moves the likelihood as much as what was kept does.
      const double all = v.segment(weights.first[o], weights.size[o]).sum();
      const double seen = diagonal.segment(weights.first[o], weights.size[o]).sum();
      if (all > 0) impl->add_dropped(o, seen / all);
    }
    if (impl->dropped.size() == 0) impl->dropped = VectorXd::Zero(1);
    impl->dropped.array() += impl->dropped_flat;
    impl->dropped_mean = impl->dropped.mean();
    impl->dropped_variance = (impl->dropped.array() - impl->dropped_mean).square().mean();
    impl->calibrate(m, weights);
  }
  impl_ = std::move(impl);
}

Verdict ErrorModel::evaluate(const double* values, ErrorEstimate* estimate, Workspace& workspace) const {
  double* w = workspace.impl().memory.data();
  const Verdict verdict = set_features(*impl_->query, values, w);
  if (impl_->query->has_error(verdict, w)) *estimate = impl_->estimate(w);
  return verdict;
}

Verdict ErrorModel::verdict(const double* values, double tolerance, Workspace& workspace) const {
  Verdict verdict = impl_->owner.verdict(values, workspace);
  if (!verdict.inside()) return verdict;
  double* w = workspace.impl().memory.data();
  impl_->query->evaluate_features(0, w);  // the query's verdict has left the parameters
  const ErrorEstimate estimate = impl_->estimate(w);
  if (estimate.quantile <= tolerance) return verdict;
  verdict.reason = Verdict::Reason::error_bound;
  verdict.value = estimate.quantile;
  verdict.upper = tolerance;
  verdict.excess = estimate.quantile / tolerance - 1;
  return verdict;
}

bool ErrorModel::fits(const Query::Impl* query) const { return query == impl_->query; }
double ErrorModel::calibration() const { return impl_->calibration; }
int64_t ErrorModel::n_left_out() const { return impl_->n_left_out; }

}  // namespace zelos
