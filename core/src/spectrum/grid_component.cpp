// SPDX-License-Identifier: BSD-3-Clause
// A component on a complete grid: C = v K_1 x .. x K_D + n 1 is diagonal in the product of the axes' eigenvectors
// (Saatci 2012).
#include <cmath>
#include <limits>

#include "spectrum/weight_problem.hpp"

namespace zelos::spectrum {
namespace {

using Eigen::Index;
using Eigen::VectorXd;

// M v / noise, which bounds the condition of C: from here on the sums are extended. Without a gradient, rounding could
// cost 1e-10 of log L; with one, 1e-6.
constexpr double kExtendedValue = 1e6, kExtendedGradient = 1e10;

template <class Scalar>
using Matrix = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>;
template <class Scalar>
using Vector = Eigen::Matrix<Scalar, Eigen::Dynamic, 1>;

template <class Scalar>
struct Factors {
  std::vector<Matrix<Scalar>> vectors, squares;  // of each axis: eigenvectors, squared distances in length scales
  std::vector<Matrix<Scalar>> correlations;
  std::vector<Vector<Scalar>> values;  // of each axis: eigenvalues
  Vector<Scalar> diagonal;             // eigenvalues of C
  Matrix<Scalar> trend;                // H among the eigenvectors, which is Q^T H
  Eigen::LLT<Matrix<Scalar>> inner;    // H^T C^-1 H
  Vector<Scalar> coefficients;         // b
  Vector<Scalar> dual;                 // Q^T C^-1 (y - H b)
  Scalar log_likelihood = 0;
};

template <class Scalar>
std::vector<Matrix<Scalar>> transposed(const std::vector<Matrix<Scalar>>& matrices) {
  std::vector<Matrix<Scalar>> result;
  for (const auto& matrix : matrices) result.push_back(matrix.transpose());
  return result;
}

template <class Scalar>
Factors<Scalar> factorise(const WeightProblem& problem, Index i, const ComponentTheta& theta) {
  const CompleteGrid& grid = *problem.grid;
  Factors<Scalar> f;
  for (std::size_t d = 0; d < grid.axes.size(); ++d) {
    const Vector<Scalar> u = grid.axes[d].cast<Scalar>() * std::exp(-static_cast<Scalar>(theta.log_length[d]));
    Matrix<Scalar> square(u.size(), u.size());
    for (Index a = 0; a < u.size(); ++a) square.col(a) = (u.array() - u[a]).square();
    Matrix<Scalar> k = square.unaryExpr([](Scalar s) { return std::exp(-s / 2); });
    const Eigen::SelfAdjointEigenSolver<Matrix<Scalar>> solver(k);
    f.vectors.push_back(solver.eigenvectors());
    f.values.push_back(solver.eigenvalues().cwiseMax(Scalar(0)));
    f.squares.push_back(std::move(square));
    f.correlations.push_back(std::move(k));
  }
  f.diagonal = std::exp(static_cast<Scalar>(theta.log_variance)) * grid.product(f.values);
  f.diagonal.array() += std::exp(static_cast<Scalar>(theta.log_noise));
  const auto to_eigenvectors = transposed(f.vectors);
  Matrix<Scalar> y = grid.tensors<Scalar>(problem.data.weights.col(i));
  grid.apply(to_eigenvectors, y);
  f.dual = y.col(0).cwiseQuotient(f.diagonal);
  Scalar log_det = f.diagonal.array().log().sum();
  if (problem.trend.size() > 0) {
    f.trend = grid.tensors<Scalar>(problem.trend_matrix);
    grid.apply(to_eigenvectors, f.trend);
    const Matrix<Scalar> over = f.diagonal.cwiseInverse().asDiagonal() * f.trend;
    f.inner.compute(f.trend.transpose() * over);
    if (f.inner.info() != Eigen::Success) {
      f.log_likelihood = -std::numeric_limits<Scalar>::infinity();
      return f;
    }
    f.coefficients = f.inner.solve(f.trend.transpose() * f.dual);
    y.col(0).noalias() -= f.trend * f.coefficients;
    f.dual.noalias() -= over * f.coefficients;
    log_det += 2 * f.inner.matrixLLT().diagonal().array().log().sum();
  }
  f.log_likelihood = -(log_det + y.col(0).dot(f.dual)) / 2;
  return f;
}

// sum over the fibres along an axis of weight f f^T, for a tensor; the weights do not change along the axis.
template <class Scalar>
Matrix<Scalar> fibre_products(const CompleteGrid& grid, std::size_t axis, const Scalar* tensor,
                              const Vector<Scalar>& weight) {
  using ConstMap = Eigen::Map<const Matrix<Scalar>>;
  const Index n = grid.length(axis), inner = grid.stride(axis);
  Matrix<Scalar> sum = Matrix<Scalar>::Zero(n, n);
  if (inner == 1) {
    const ConstMap fibres(tensor, n, grid.size() / n), w(weight.data(), n, grid.size() / n);
    sum.noalias() = (fibres * w.row(0).asDiagonal()) * fibres.transpose();
    return sum;
  }
  for (Index at = 0; at < grid.size(); at += inner * n) {
    const ConstMap fibres(tensor + at, inner, n), w(weight.data() + at, inner, n);
    sum.noalias() += fibres.transpose() * (w.col(0).asDiagonal() * fibres);
  }
  return sum;
}

// Sums over all other axes.
template <class Scalar>
Vector<Scalar> along(const CompleteGrid& grid, std::size_t axis, const Vector<Scalar>& tensor) {
  using ConstMap = Eigen::Map<const Matrix<Scalar>>;
  const Index n = grid.length(axis), inner = grid.stride(axis);
  if (inner == 1) return ConstMap(tensor.data(), n, grid.size() / n).rowwise().sum();
  Vector<Scalar> sum = Vector<Scalar>::Zero(n);
  for (Index at = 0; at < grid.size(); at += inner * n) {
    sum += ConstMap(tensor.data() + at, inner, n).colwise().sum().transpose();
  }
  return sum;
}

template <class Scalar>
double evaluate(const WeightProblem& problem, Index i, const ComponentTheta& theta, double* gradient) {
  const CompleteGrid& grid = *problem.grid;
  const Factors<Scalar> f = factorise<Scalar>(problem, i, theta);
  const auto value = static_cast<double>(f.log_likelihood);
  if (gradient == nullptr || !std::isfinite(value)) return value;
  // d log L = 1/2 (sum_c x_c^T dC x_c - tr C^-1 dC): x are the dual weights and, C^-1 less what the trend takes, the
  // columns of C^-1 H R^-1 with R R^T = H^T C^-1 H.
  Matrix<Scalar> x(grid.size(), 1 + problem.trend.size());
  x.col(0) = f.dual;
  if (problem.trend.size() > 0) {
    Matrix<Scalar> columns = f.trend;
    f.inner.matrixU().template solveInPlace<Eigen::OnTheRight>(columns);
    x.rightCols(columns.cols()) = f.diagonal.cwiseInverse().asDiagonal() * columns;
  }
  const Vector<Scalar> inverse = f.diagonal.cwiseInverse();
  const Vector<Scalar> square = x.rowwise().squaredNorm() - inverse;
  const Scalar v = std::exp(static_cast<Scalar>(theta.log_variance));
  const Scalar noise = std::exp(static_cast<Scalar>(theta.log_noise));
  gradient[0] = static_cast<double>(noise * square.sum() / 2);
  gradient[1] = static_cast<double>(v * square.dot(grid.product(f.values)) / 2);
  for (std::size_t d = 0; d < grid.axes.size(); ++d) {
    const Matrix<Scalar> slope = f.correlations[d].cwiseProduct(f.squares[d]);
    const Matrix<Scalar> turned = f.vectors[d].transpose() * slope * f.vectors[d];
    std::vector<Vector<Scalar>> factors = f.values;
    factors[d].setOnes();
    const Vector<Scalar> others = grid.product(factors);
    Scalar sum = -turned.diagonal().dot(along<Scalar>(grid, d, others.cwiseProduct(inverse)));
    for (Index c = 0; c < x.cols(); ++c) {
      sum += turned.cwiseProduct(fibre_products<Scalar>(grid, d, x.col(c).data(), others)).sum();
    }
    gradient[2 + d] = static_cast<double>(v * sum / 2);
  }
  return value;
}

class GridComponent final : public Component {
 public:
  GridComponent(std::shared_ptr<const WeightProblem> problem, Index i, const ComponentTheta& theta)
      : problem_(std::move(problem)), theta_(theta), v_(std::exp(theta.log_variance)) {
    const Factors<long double> f = factorise<long double>(*problem_, i, theta);
    if (!std::isfinite(static_cast<double>(f.log_likelihood))) fail_not_positive_definite();
    for (const auto& q : f.vectors) vectors_.push_back(q.cast<double>());
    inverse_ = f.diagonal.cwiseInverse().cast<double>();
    dual_ = f.dual.cast<double>();
    if (problem_->trend.size() == 0) return;
    trend_ = f.trend.cast<double>();
    coefficients_ = f.coefficients.cast<double>();
    inner_inverse_ =
        f.inner.solve(Matrix<long double>::Identity(f.trend.cols(), f.trend.cols())).template cast<double>();
    Matrix<long double> columns = f.trend;
    f.inner.matrixU().solveInPlace<Eigen::OnTheRight>(columns);
    trend_dual_ = (f.diagonal.cwiseInverse().asDiagonal() * columns).cast<double>();
  }

  Answer predict(const VectorXd& point, bool slopes) const override {
    std::vector<VectorXd> along_axes, along_slopes;
    const VectorXd k = covariance(point, along_axes, slopes ? &along_slopes : nullptr);
    const VectorXd over = k.cwiseProduct(inverse_);
    Answer answer;
    answer.mean = k.dot(dual_);
    answer.variance = v_ - k.dot(over);
    VectorXd t;
    if (problem_->trend.size() > 0) {
      const VectorXd h = problem_->trend.terms(point);
      const VectorXd u = h - trend_.transpose() * over;
      t = inner_inverse_ * u;
      answer.mean += h.dot(coefficients_);
      answer.variance += u.dot(t);
    }
    const bool resolved = answer.variance > least_variance(v_);
    if (!resolved) answer.variance = least_variance(v_);
    if (!slopes) return answer;
    const auto dims = static_cast<Index>(along_axes.size());
    answer.mean_slope.resize(dims);
    answer.variance_slope.resize(dims);
    for (Index d = 0; d < dims; ++d) {
      auto factors = along_axes;
      factors[static_cast<std::size_t>(d)] = along_slopes[static_cast<std::size_t>(d)];
      const VectorXd dk = v_ * problem_->grid->product(factors);
      answer.mean_slope[d] = dk.dot(dual_);
      double dvariance = -2.0 * dk.dot(over);
      if (problem_->trend.size() > 0) {
        const VectorXd dh = problem_->trend.terms(point, d);
        answer.mean_slope[d] += dh.dot(coefficients_);
        dvariance += 2.0 * t.dot(dh - trend_.transpose() * dk.cwiseProduct(inverse_));
      }
      answer.variance_slope[d] = resolved ? dvariance : 0.0;
    }
    return answer;
  }

  void predict_jointly(const RowMatrix& points, VectorXd& mean, Eigen::MatrixXd& covariance_of) const override {
    Eigen::MatrixXd k(inverse_.size(), points.rows());
    std::vector<VectorXd> unused;
    for (Index a = 0; a < points.rows(); ++a) k.col(a) = covariance(points.row(a).transpose(), unused, nullptr);
    mean = k.transpose() * dual_;
    const Eigen::MatrixXd over = inverse_.asDiagonal() * k;
    covariance_of = prior_covariance(*problem_, theta_, points);
    covariance_of.noalias() -= k.transpose() * over;
    if (problem_->trend.size() == 0) return;
    const Eigen::MatrixXd h = problem_->trend.matrix(points);
    mean += h * coefficients_;
    const Eigen::MatrixXd rest = h.transpose() - trend_.transpose() * over;
    covariance_of.noalias() += rest.transpose() * inner_inverse_ * rest;
  }

  void left_out(VectorXd& errors, VectorXd& variances) const override {
    const CompleteGrid& grid = *problem_->grid;
    std::vector<Eigen::MatrixXd> squares;
    for (const auto& q : vectors_) squares.push_back(q.cwiseAbs2());
    Eigen::MatrixXd diagonal = inverse_, alpha = dual_, trend = trend_dual_;
    grid.apply(squares, diagonal);
    grid.apply(vectors_, alpha);
    if (trend.cols() > 0) {
      grid.apply(vectors_, trend);
      diagonal -= trend.rowwise().squaredNorm();
    }
    errors = grid.at_points(-alpha.cwiseQuotient(diagonal));
    variances = grid.at_points(diagonal.cwiseInverse());
  }

 private:
  // v k_1 x .. x k_D among the eigenvectors; of each axis k_d, and its derivative.
  VectorXd covariance(const VectorXd& point, std::vector<VectorXd>& axes, std::vector<VectorXd>* slopes) const {
    axes.clear();
    for (std::size_t d = 0; d < vectors_.size(); ++d) {
      const double inverse_length = std::exp(-theta_.log_length[d]);
      const VectorXd step = (point[static_cast<Index>(d)] - problem_->grid->axes[d].array()) * inverse_length;
      const VectorXd k = (-0.5 * step.array().square()).exp();
      axes.emplace_back(vectors_[d].transpose() * k);
      if (slopes != nullptr) {
        slopes->emplace_back(vectors_[d].transpose() * (-inverse_length * step.cwiseProduct(k)));
      }
    }
    return v_ * problem_->grid->product(axes);
  }

  std::shared_ptr<const WeightProblem> problem_;
  ComponentTheta theta_;
  double v_;
  std::vector<Eigen::MatrixXd> vectors_;
  VectorXd inverse_, dual_, coefficients_;  // eigenvalues of C^-1; see Factors
  Eigen::MatrixXd trend_, trend_dual_, inner_inverse_;
};

}  // namespace

double grid_log_likelihood(const WeightProblem& problem, Index i, const ComponentTheta& theta, double* gradient) {
  const double condition =
      static_cast<double>(problem.data.points.rows()) * std::exp(theta.log_variance - theta.log_noise);
  const bool extended = condition > (gradient == nullptr ? kExtendedValue : kExtendedGradient);
  return extended ? evaluate<long double>(problem, i, theta, gradient) : evaluate<double>(problem, i, theta, gradient);
}

std::unique_ptr<Component> grid_component(std::shared_ptr<const WeightProblem> problem, Index i,
                                          const ComponentTheta& theta) {
  return std::make_unique<GridComponent>(std::move(problem), i, theta);
}

}  // namespace zelos::spectrum
