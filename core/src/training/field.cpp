// SPDX-License-Identifier: BSD-3-Clause
#include "training/field.hpp"

#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>
#include <set>

#include "base/text.hpp"
#include "transforms/cubic_spline.hpp"

namespace zelos {
namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;
using nlohmann::json;

Coordinate coordinate_of(const RunOutput& run, size_t axis) {
  if (!run.labels.empty()) return Coordinate::label;
  const std::vector<double>& x = run.axes[axis];
  if (run.axis_names[axis] == "k" && x.front() > 0) return Coordinate::log;
  if (run.axis_names[axis] == "z" && x.front() > -1) return Coordinate::log1p;
  return Coordinate::linear;
}

std::vector<double> breakpoints_of(const json& knots, const std::vector<double>& axis, const std::string& where) {
  // [[start, spacing], ...]: each spacing holds up to the next start, the last one to the axis' end.
  const auto rows = knots.get<std::vector<std::vector<double>>>();
  std::vector<double> points;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].size() != 2 || !(rows[i][1] > 0))
      throw Error(ZELOS_E_ARGUMENT, where + ": knots: expected [start, spacing]");
    const double end = i + 1 < rows.size() ? rows[i + 1][0] : axis.back();
    const int64_t n = std::max<int64_t>(1, std::llround((end - rows[i][0]) / rows[i][1]));
    for (int64_t j = 0; j < n; ++j)
      points.push_back(rows[i][0] + (end - rows[i][0]) * static_cast<double>(j) / static_cast<double>(n));
  }
  points.push_back(axis.back());
  if (points.front() != axis.front()) {
    throw Error(ZELOS_E_ARGUMENT, where + ": knots: expected to start at " + std::to_string(axis.front()) + ", found " +
                                      std::to_string(points.front()));
  }
  return points;
}

}  // namespace

void check_keys(const json& options, const std::vector<std::string>& known, const std::string& where) {
  for (const auto& [key, value] : options.items()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      throw Error(ZELOS_E_ARGUMENT, where + ": unknown key '" + key + "'" + did_you_mean(key, known) +
                                        " (known: " + join(known, ", ") + ")");
    }
  }
}

Field::Field(const RunOutput& run, int64_t n_points) : name_(run.name) {
  int64_t size = 1;
  for (size_t a = 0; a < run.axes.size(); ++a) {
    AxisModel axis;
    axis.axis.name = run.axis_names[a];
    axis.axis.values = run.axes[a];
    if (!run.labels.empty()) axis.axis.labels = run.labels;
    axis.coordinate = coordinate_of(run, a);
    size *= static_cast<int64_t>(run.axes[a].size());
    axes_.push_back(std::move(axis));
  }
  values_ = Eigen::Map<const Eigen::Matrix<double, -1, -1, Eigen::RowMajor>>(run.values, n_points, size);
}

json Field::apply(const TransformSpec& spec, const FeatureTable& features, bool after_log,
                  const std::function<const RunOutput&(const std::string&)>& find_output) {
  const std::string where = name_ + ": transform '" + spec.name + "'";
  const json& o = spec.options;
  PointTransform t{};
  json description{{"type", spec.name}};
  VectorXd feature;
  const RunOutput* others[2] = {nullptr, nullptr};
  std::vector<double> log_axis;
  if (spec.name == "log") {
    check_keys(o, {}, where);
    t.kind = PointTransform::Kind::log;
  } else if (spec.name == "arcsinh") {
    check_keys(o, {"scale"}, where);
    t.kind = PointTransform::Kind::arcsinh;
    description["scale"] = t.scale = o.value("scale", 1.0);
  } else if (spec.name == "amplitude" || spec.name == "tilt") {
    const bool tilt = spec.name == "tilt";
    check_keys(
        o, tilt ? std::vector<std::string>{"feature", "offset", "pivot", "axis"} : std::vector<std::string>{"feature"},
        where);
    t.kind = tilt ? PointTransform::Kind::tilt : PointTransform::Kind::amplitude;
    description["feature"] = o.value("feature", tilt ? "ns" : "amplitude");
    description["logarithmic"] = t.logarithmic = after_log;
    feature = features.column(description["feature"].get<std::string>());
    if (tilt) {
      description["offset"] = t.offset = o.value("offset", 1.0);
      description["pivot"] = t.pivot = o.value("pivot", 0.05);
      const std::string axis = o.value("axis", axes_[0].axis.name);
      t.axis = -1;
      for (size_t a = 0; a < axes_.size(); ++a) {
        if (axes_[a].axis.name == axis) t.axis = static_cast<int>(a);
      }
      if (t.axis < 0 || !(axes_[t.axis].axis.values.front() > 0) || !(t.pivot > 0)) {
        throw Error(ZELOS_E_ARGUMENT, where +
                                          ": expected an axis of positive values and a positive pivot, found axis '" +
                                          axis + "' and pivot " + to_text(t.pivot));
      }
      description["axis"] = t.axis;
      const std::vector<double>& x = axes_[t.axis].axis.values;
      int64_t inner = 1;
      for (size_t a = t.axis + 1; a < axes_.size(); ++a) inner *= static_cast<int64_t>(axes_[a].axis.values.size());
      for (int64_t i = 0; i < values_.cols(); ++i)
        log_axis.push_back(std::log(x[i / inner % static_cast<int64_t>(x.size())] / t.pivot));
    }
  } else if (spec.name == "ratio" || spec.name == "correlation") {
    const bool ratio = spec.name == "ratio";
    check_keys(o, {"with"}, where);
    t.kind = ratio ? PointTransform::Kind::ratio : PointTransform::Kind::correlation;
    const std::vector<std::string> names = o.at("with").is_string()
                                               ? std::vector<std::string>{o["with"].get<std::string>()}
                                               : o["with"].get<std::vector<std::string>>();
    if (names.size() != (ratio ? 1U : 2U))
      throw Error(ZELOS_E_ARGUMENT, where + ": expected " + (ratio ? "one output" : "two outputs") + " in 'with'");
    for (size_t i = 0; i < names.size(); ++i) {
      others[i] = &find_output(names[i]);
      bool same = others[i]->axes.size() == axes_.size();
      for (size_t a = 0; same && a < axes_.size(); ++a) same = others[i]->axes[a] == axes_[a].axis.values;
      if (!same) throw Error(ZELOS_E_ARGUMENT, where + ": output " + names[i] + " has other axes");
    }
    description["other"] = names;
  } else {
    throw Error(ZELOS_E_ARGUMENT,
                name_ + ": unknown transform '" + spec.name + "'" +
                    did_you_mean(spec.name, {"log", "arcsinh", "amplitude", "tilt", "ratio", "correlation", "pca"}));
  }
  PointContext context;
  context.n = values_.cols();
  context.n_features = 1;
  context.log_axis = log_axis.data();
  t.feature = 0;
  for (int64_t i = 0; i < values_.rows(); ++i) {
    const double f = feature.size() > 0 ? feature[i] : 0;
    context.features = &f;
    for (int j = 0; j < 2; ++j)
      context.other[j] = others[j] == nullptr ? nullptr : others[j]->values + i * values_.cols();
    try {
      zelos::apply(t, context, values_.data() + i * values_.cols());
    } catch (const Error& e) {
      throw Error(e.status(), name_ + ", training point " + std::to_string(i) + ": " + e.what());
    }
  }
  return description;
}

SegmentFit Field::fit_segment(const json& options, const FeatureTable& features, const std::string& name) const {
  check_keys(options, {"range", "weights", "rotate", "whiten", "stretch", "knots", "features", "emulator_fn"},
             name + ": pca");
  SegmentFit fit;
  const int64_t n = values_.rows();
  const std::vector<double>& axis0 = axes_[0].axis.values;
  int64_t first = 0, size = static_cast<int64_t>(axis0.size());
  if (options.contains("range")) {
    const auto range = options["range"].get<std::vector<double>>();
    if (range.size() != 2) throw Error(ZELOS_E_ARGUMENT, name + ": range: expected [first, last]");
    const auto begin = std::lower_bound(axis0.begin(), axis0.end(), range[0]),
               end = std::upper_bound(begin, axis0.end(), range[1]);
    first = begin - axis0.begin();
    size = end - begin;
    if (size < 1) throw Error(ZELOS_E_ARGUMENT, name + ": range: no point of the axis lies in it");
  }
  const int64_t inner = values_.cols() / static_cast<int64_t>(axis0.size());
  MatrixXd y = values_.middleCols(first * inner, size * inner);
  const std::vector<double> axis(axis0.begin() + first, axis0.begin() + first + size);
  fit.description = {{"first", first}, {"size", size}, {"knots", false}, {"stretch", nullptr}};

  if (options.contains("stretch")) {
    const json& s = options["stretch"];
    check_keys(s, {"feature", "reference", "full"}, name + ": stretch");
    if (!options.contains("knots")) throw Error(ZELOS_E_ARGUMENT, name + ": a stretch needs knots");
    const std::string feature_name = s.value("feature", "thetastar");
    const VectorXd& feature = features.column(feature_name);
    const double reference = s.value("reference", feature.mean());
    const Stretch stretch{axis.front(), s.value("full", axis.back() * 0.6), axis.back()};
    for (int64_t i = 0; i < n; ++i) {
      if (!stretch.monotone(feature[i] / reference)) {
        throw Error(ZELOS_E_ARGUMENT, name + ": stretch: not monotone for " + feature_name + " = " +
                                          std::to_string(feature[i]) + "; lower 'full' or raise the axis' end");
      }
    }
    // The code's values at x(u), by the spline through all its multipoles.
    const CubicSpline spline = CubicSpline::through_nodes(axis);
    const MatrixXd coefficients = spline.interpolate(axis, y.transpose());
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < size; ++j) {
        double b[4];
        const int64_t k = spline.basis(stretch.inverse(axis[j], feature[i] / reference), b);
        y(i, j) = b[0] * coefficients(k, i) + b[1] * coefficients(k + 1, i) + b[2] * coefficients(k + 2, i) +
                  b[3] * coefficients(k + 3, i);
      }
    }
    fit.description["stretch"] = {{"feature", feature_name}, {"reference", reference}, {"full", stretch.x_full}};
  }

  // Whitening: y / sigma is in units of the error that matters.
  VectorXd sigma = VectorXd::Ones(y.cols());
  const json whiten = options.value("whiten", json("standardise"));
  if (whiten == "cosmic_variance") {
    for (int64_t j = 0; j < size; ++j) sigma.segment(j * inner, inner).setConstant(std::sqrt(2 / (2 * axis[j] + 1)));
  } else if (whiten.is_object() && whiten.contains("cosmic_variance")) {
    // Beyond this multipole foregrounds and noise take over from cosmic variance.
    const double last = whiten["cosmic_variance"].get<double>();
    for (int64_t j = 0; j < size; ++j) {
      const double damping = 1 + std::pow(axis[j] / last, 8);
      sigma.segment(j * inner, inner).setConstant(damping * std::sqrt(2 / (2 * axis[j] + 1)));
    }
  } else if (whiten == "standardise") {
    const Eigen::RowVectorXd mean = y.colwise().mean();
    sigma = (y.rowwise() - mean).array().square().colwise().mean().sqrt().transpose();
    for (double& s : sigma) s = s > 0 ? s : 1;
  } else if (whiten.is_object() && whiten.contains("relative")) {
    sigma = whiten["relative"].get<double>() * y.colwise().mean().cwiseAbs().transpose();
    for (double& s : sigma) s = s > 0 ? s : 1;
  } else if (whiten.is_object() && whiten.contains("sigma")) {
    sigma.setConstant(whiten["sigma"].get<double>());
  } else if (whiten != "none") {
    throw Error(ZELOS_E_ARGUMENT, name +
                                      ": whiten: expected cosmic_variance, {cosmic_variance: last}, standardise, "
                                      "none, {sigma: ...} or {relative: ...}");
  }
  fit.description["whiten"] = whiten;
  if (!(sigma.minCoeff() > 0)) throw Error(ZELOS_E_ARGUMENT, name + ": whiten: expected positive numbers");
  const VectorXd inverse_sigma = sigma.cwiseInverse();

  const Eigen::RowVectorXd mean = y.colwise().mean();
  const MatrixXd white = (y.rowwise() - mean) * inverse_sigma.asDiagonal();
  if (!options.value("rotate", true)) {
    // Every value is its own weight: for labelled scalars, each with its own hyperparameters.
    fit.mean = mean.transpose();
    fit.basis = sigma.asDiagonal();
    fit.weights = white;
    return fit;
  }
  // The smaller of the two Gram matrices has the same spectrum.
  const bool by_points = n < y.cols();
  const MatrixXd gram = by_points ? MatrixXd(white * white.transpose()) : MatrixXd(white.transpose() * white);
  const Eigen::SelfAdjointEigenSolver<MatrixXd> solver(gram);
  if (solver.info() != Eigen::Success) throw Error(ZELOS_E_NUMERIC, name + ": the PCA did not converge");
  const int64_t rank = std::min<int64_t>(gram.rows(), n - 1);
  int64_t count = options.value("weights", static_cast<int64_t>(0));
  const VectorXd eigenvalues = solver.eigenvalues().reverse().cwiseMax(0);
  if (count == 0) {
    // As many as leave a mean squared whitened residual below 0.01.
    double left = eigenvalues.sum();
    while (count < rank && left > 0.01 * static_cast<double>(n)) left -= eigenvalues[count++];
  }
  // Directions with no variance at all (a constant) carry nothing.
  const double floor = 1e-24 * std::max(1.0, eigenvalues[0]);
  while (count > 1 && eigenvalues[std::min(count, rank) - 1] <= floor) --count;
  count = std::max<int64_t>(1, std::min(count, rank));
  MatrixXd directions(y.cols(), count);  // orthonormal in whitened space
  for (int64_t k = 0; k < count; ++k) {
    const VectorXd v = solver.eigenvectors().col(gram.rows() - 1 - k);
    directions.col(k) = by_points ? VectorXd(white.transpose() * v / std::sqrt(std::max(eigenvalues[k], 1e-300))) : v;
    // A sign that does not depend on the solver.
    Eigen::Index largest = 0;
    directions.col(k).cwiseAbs().maxCoeff(&largest);
    if (directions(largest, k) < 0) directions.col(k) *= -1;
  }
  fit.weights = white * directions;
  MatrixXd basis = sigma.asDiagonal() * directions;
  VectorXd center = mean.transpose();

  if (options.contains("knots")) {
    if (axes_.size() != 1) throw Error(ZELOS_E_ARGUMENT, name + ": knots need one axis");
    const std::vector<double> breakpoints = breakpoints_of(options["knots"], axis, name);
    const CubicSpline spline = CubicSpline::on_breakpoints(breakpoints);
    center = spline.fit(axis, center, inverse_sigma);
    basis = spline.fit(axis, basis, inverse_sigma);
    const Eigen::SparseMatrix<double> design = spline.design(axis);
    // Regress on the projections on what will be added up at run time.
    const MatrixXd fitted = inverse_sigma.asDiagonal() * MatrixXd(design * basis);
    const MatrixXd target = (y.rowwise() - (design * center).transpose()) * inverse_sigma.asDiagonal();
    fit.weights = (fitted.transpose() * fitted).ldlt().solve(fitted.transpose() * target.transpose()).transpose();
    fit.truncation_error = (target - fit.weights * fitted.transpose()).rowwise().squaredNorm().mean();
    fit.breakpoints = Eigen::Map<const VectorXd>(breakpoints.data(), static_cast<int64_t>(breakpoints.size()));
    fit.description["knots"] = true;
  } else {
    fit.truncation_error = (white - fit.weights * directions.transpose()).rowwise().squaredNorm().mean();
  }
  fit.mean = center;
  fit.basis = basis;
  return fit;
}

}  // namespace zelos
