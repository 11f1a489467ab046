// SPDX-License-Identifier: BSD-3-Clause
#include "training/field.hpp"

#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>

#include "base/text.hpp"
#include "transforms/cubic_spline.hpp"

namespace zelos {
namespace {

using Eigen::MatrixXd;
using Eigen::RowVectorXd;
using Eigen::VectorXd;
using nlohmann::json;

/// The code's values at x(u), by the spline through all points of the axis. Returns the description for the artifact.
json stretch_axis(const StretchPlan& plan, const FeatureTable& features, const std::vector<double>& axis,
                  const std::string& name, MatrixXd* y) {
  const VectorXd& feature = features.column(plan.feature);
  const double reference = plan.reference.value_or(feature.mean());
  const Stretch& stretch = plan.stretch;
  for (int64_t i = 0; i < y->rows(); ++i) {
    if (!stretch.monotone(feature[i] / reference)) {
      throw Error(ZELOS_E_ARGUMENT, name + ": stretch: not monotone for " + plan.feature + " = " + to_text(feature[i]) +
                                        "; lower 'full' or raise the axis' end");
    }
  }
  const CubicSpline spline = CubicSpline::through_nodes(axis);
  const MatrixXd coefficients = spline.interpolate(axis, y->transpose());
  for (int64_t i = 0; i < y->rows(); ++i) {
    for (int64_t j = 0; j < y->cols(); ++j) {
      double b[4];
      const int64_t k = spline.basis(stretch.inverse(axis[j], feature[i] / reference), b);
      (*y)(i, j) = b[0] * coefficients(k, i) + b[1] * coefficients(k + 1, i) + b[2] * coefficients(k + 2, i) +
                   b[3] * coefficients(k + 3, i);
    }
  }
  return {{"feature", plan.feature}, {"reference", reference}, {"full", stretch.x_full}};
}

/// sigma of each value: y / sigma is in units of the error that matters. `inner` values belong to a point of the axis.
VectorXd whitening_sigma(const Whitening& plan, const MatrixXd& y, const std::vector<double>& axis, int64_t inner) {
  VectorXd sigma = VectorXd::Ones(y.cols());
  switch (plan.kind) {
    case Whitening::Kind::cosmic_variance:
      for (size_t j = 0; j < axis.size(); ++j) {
        // Beyond the last useful multipole foregrounds and noise take over from cosmic variance.
        const double damping = plan.value > 0 ? 1 + std::pow(axis[j] / plan.value, 8) : 1;
        sigma.segment(static_cast<int64_t>(j) * inner, inner).setConstant(damping * std::sqrt(2 / (2 * axis[j] + 1)));
      }
      break;
    case Whitening::Kind::standardise: {
      const RowVectorXd mean = y.colwise().mean();
      sigma = (y.rowwise() - mean).array().square().colwise().mean().sqrt().transpose();
      break;
    }
    case Whitening::Kind::relative:
      sigma = plan.value * y.colwise().mean().cwiseAbs().transpose();
      break;
    case Whitening::Kind::sigma:
      sigma.setConstant(plan.value);
      break;
    case Whitening::Kind::none:
      break;
  }
  // What does not vary, or is 0 on average, has no scale of its own.
  for (double& s : sigma) s = s > 0 ? s : 1;
  return sigma;
}

/// The mean squared whitened residual that a PCA may leave. Where the whitening is no error, it is a part of the
/// variance (rms 1e-3 of the standard deviation, about the noise of a Boltzmann code over a usual range).
double negligible(const Whitening& plan, const MatrixXd& white) {
  const bool in_errors = plan.kind != Whitening::Kind::standardise && plan.kind != Whitening::Kind::none;
  return in_errors ? 0.01 : 1e-6 * white.squaredNorm() / static_cast<double>(white.rows());
}

/// Principal directions of `white` (points x values), orthonormal columns. count: how many, 0: as many as leave a mean
/// squared residual of `residual`.
MatrixXd principal_directions(const MatrixXd& white, int64_t count, double residual, const std::string& name) {
  const int64_t n = white.rows();
  // The smaller of the two Gram matrices has the same spectrum.
  const bool by_points = n < white.cols();
  const MatrixXd gram = by_points ? MatrixXd(white * white.transpose()) : MatrixXd(white.transpose() * white);
  const Eigen::SelfAdjointEigenSolver<MatrixXd> solver(gram);
  if (solver.info() != Eigen::Success) throw Error(ZELOS_E_NUMERIC, name + ": the PCA did not converge");
  const int64_t rank = std::min<int64_t>(gram.rows(), n - 1);
  const VectorXd eigenvalues = solver.eigenvalues().reverse().cwiseMax(0);
  if (count == 0) {
    double left = eigenvalues.sum();
    while (count < rank && left > residual * static_cast<double>(n)) left -= eigenvalues[count++];
  }
  // Directions with no variance at all (a constant) carry nothing.
  const double floor = 1e-24 * std::max(1.0, eigenvalues[0]);
  while (count > 1 && eigenvalues[std::min(count, rank) - 1] <= floor) --count;
  count = std::max<int64_t>(1, std::min(count, rank));
  MatrixXd directions(white.cols(), count);
  for (int64_t k = 0; k < count; ++k) {
    const VectorXd v = solver.eigenvectors().col(gram.rows() - 1 - k);
    directions.col(k) = by_points ? VectorXd(white.transpose() * v / std::sqrt(std::max(eigenvalues[k], 1e-300))) : v;
    // A sign that does not depend on the solver.
    Eigen::Index largest = 0;
    directions.col(k).cwiseAbs().maxCoeff(&largest);
    if (directions(largest, k) < 0) directions.col(k) *= -1;
  }
  return directions;
}

/// Mean and basis as spline coefficients; the weights are then the projections on what will be added up at run time.
void reduce_to_knots(const std::vector<double>& breakpoints, const std::vector<double>& axis, const MatrixXd& y,
                     const VectorXd& inverse_sigma, SegmentFit* fit) {
  const CubicSpline spline = CubicSpline::on_breakpoints(breakpoints);
  fit->mean = spline.fit(axis, fit->mean, inverse_sigma);
  fit->basis = spline.fit(axis, fit->basis, inverse_sigma);
  const Eigen::SparseMatrix<double> design = spline.design(axis);
  const MatrixXd fitted = inverse_sigma.asDiagonal() * MatrixXd(design * fit->basis);
  const MatrixXd target = (y.rowwise() - (design * fit->mean).transpose()) * inverse_sigma.asDiagonal();
  fit->weights = (fitted.transpose() * fitted).ldlt().solve(fitted.transpose() * target.transpose()).transpose();
  fit->truncation = (target - fit->weights * fitted.transpose()).rowwise().squaredNorm();
  fit->breakpoints = Eigen::Map<const VectorXd>(breakpoints.data(), static_cast<int64_t>(breakpoints.size()));
}

/// A direction bends towards the points that it was found with: residual / (1 - leverage), as in least squares.
void leave_out(SegmentFit* fit) {
  const int64_t n = fit->weights.rows();
  const MatrixXd q =
      Eigen::HouseholderQR<MatrixXd>(fit->weights).householderQ() * MatrixXd::Identity(n, fit->weights.cols());
  const VectorXd rest = (1 - 1.0 / static_cast<double>(n) - q.rowwise().squaredNorm().array()).cwiseMax(0.05);
  fit->truncation.array() /= rest.array().square();
}

/// Rounds the basis to steps of a power of two, each a hundredth of what the last component adds to that value, or of
/// what was dropped, if that is less: the bits beyond say nothing, and as zeros they take no room in an archive.
void round_basis(SegmentFit* fit) {
  const RowVectorXd largest = fit->weights.cwiseAbs().colwise().maxCoeff();
  const int64_t last = fit->basis.cols() - 1;
  if (!(largest.minCoeff() > 0)) return;
  const double kept = fit->weights.col(last).squaredNorm() / static_cast<double>(fit->weights.rows());
  const double share = 0.01 * std::clamp(std::sqrt(fit->truncation.mean() / kept), 1e-6, 1.0);
  for (int64_t row = 0; row < fit->basis.rows(); ++row) {
    const double value = share * largest[last] * fit->basis.row(row).norm() / std::sqrt(static_cast<double>(last + 1));
    if (!(value > 0)) continue;
    for (int64_t i = 0; i <= last; ++i) {
      const double step = std::exp2(std::floor(std::log2(value / largest[i])));
      fit->basis(row, i) = std::round(fit->basis(row, i) / step) * step;
    }
  }
}

}  // namespace

void read_inputs(const BackgroundPlan& plan, const FeatureTable& features, int64_t run, double* inputs) {
  for (int i = 0; i < kBackgroundInputs; ++i) {
    inputs[i] = plan.name[i].empty() ? plan.constant[i] : features.column(plan.name[i])[run];
  }
}

Field::Field(const RunOutput& run, int64_t n_points) : name_(run.name), axes_(run.axes) {
  int64_t size = 1;
  for (const auto& axis : axes_) size *= static_cast<int64_t>(axis.size());
  values_ = Eigen::Map<const Eigen::Matrix<double, -1, -1, Eigen::RowMajor>>(run.values, n_points, size);
}

std::vector<double> Field::log_axis(const PointTransform& tilt) const {
  const std::vector<double>& x = axes_[tilt.axis];
  int64_t inner = 1;
  for (size_t a = tilt.axis + 1; a < axes_.size(); ++a) inner *= static_cast<int64_t>(axes_[a].size());
  std::vector<double> logs;
  for (int64_t i = 0; i < values_.cols(); ++i) {
    logs.push_back(std::log(x[i / inner % static_cast<int64_t>(x.size())] / tilt.pivot));
  }
  return logs;
}

json Field::apply(const PointPlan& plan, const FeatureTable& features,
                  const std::function<const RunOutput&(const std::string&)>& find_output) {
  PointTransform t = plan.transform;
  const VectorXd feature = plan.feature.empty() ? VectorXd() : features.column(plan.feature);
  const RunOutput* others[2] = {nullptr, nullptr};
  for (size_t i = 0; i < plan.others.size(); ++i) others[i] = &find_output(plan.others[i]);
  std::vector<double> logs;
  if (t.kind == PointTransform::Kind::tilt) logs = log_axis(t);
  PointContext context;
  context.n = values_.cols();
  context.n_features = 1;
  context.log_axis = logs.data();
  t.feature = 0;
  std::vector<double> background_values;
  std::vector<int32_t> at;
  if (t.kind == PointTransform::Kind::background) {
    background_values.resize(axes_[t.axis].size());
    int64_t inner = 1;
    for (size_t a = t.axis + 1; a < axes_.size(); ++a) inner *= static_cast<int64_t>(axes_[a].size());
    for (int64_t i = 0; i < values_.cols(); ++i) {
      at.push_back(static_cast<int32_t>(i / inner % static_cast<int64_t>(background_values.size())));
    }
    context.at = at.data();
    context.background = background_values.data();
    context.n_background = static_cast<int64_t>(background_values.size());
  }
  for (int64_t i = 0; i < values_.rows(); ++i) {
    const double f = feature.size() > 0 ? feature[i] : 0;
    context.features = &f;
    if (t.kind == PointTransform::Kind::background) {
      double inputs[kBackgroundInputs];
      read_inputs(plan.inputs, features, i, inputs);
      background(t.quantity, inputs, axes_[t.axis].data(), context.n_background, background_values.data(), nullptr);
      for (double& b : background_values) b *= t.power;
    }
    for (int j = 0; j < 2; ++j) {
      context.other[j] = others[j] == nullptr ? nullptr : others[j]->values + i * values_.cols();
    }
    try {
      zelos::apply(t, context, values_.data() + i * values_.cols());
    } catch (const Error& e) {
      throw Error(e.status(), name_ + ", training point " + std::to_string(i) + ": " + e.what());
    }
  }
  return plan.description;
}

SegmentFit Field::fit_segment(const SegmentPlan& plan, const FeatureTable& features) const {
  const std::string name = "output " + name_;
  const std::vector<double> axis(axes_[0].begin() + plan.first, axes_[0].begin() + plan.first + plan.size);
  const int64_t inner = values_.cols() / static_cast<int64_t>(axes_[0].size());
  MatrixXd y = values_.middleCols(plan.first * inner, plan.size * inner);
  SegmentFit fit;
  fit.description = {{"first", plan.first},
                     {"size", plan.size},
                     {"knots", !plan.breakpoints.empty()},
                     {"stretch", nullptr},
                     {"whiten", plan.whitening.description}};
  if (plan.stretch) fit.description["stretch"] = stretch_axis(*plan.stretch, features, axis, name, &y);
  const VectorXd sigma = whitening_sigma(plan.whitening, y, axis, inner);
  const VectorXd inverse_sigma = sigma.cwiseInverse();
  fit.mean = y.colwise().mean().transpose();
  const MatrixXd white = (y.rowwise() - fit.mean.transpose()) * inverse_sigma.asDiagonal();
  if (!plan.rotate) {
    // Every value is its own weight: for labelled scalars, each with its own hyperparameters.
    fit.basis = sigma.asDiagonal();
    fit.weights = white;
    return fit;
  }
  const MatrixXd directions = principal_directions(white, plan.weights, negligible(plan.whitening, white), name);
  fit.weights = white * directions;
  fit.basis = sigma.asDiagonal() * directions;
  if (plan.breakpoints.empty()) {
    fit.truncation = (white - fit.weights * directions.transpose()).rowwise().squaredNorm();
  } else {
    reduce_to_knots(plan.breakpoints, axis, y, inverse_sigma, &fit);
  }
  leave_out(&fit);
  round_basis(&fit);
  return fit;
}

}  // namespace zelos
