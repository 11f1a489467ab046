// SPDX-License-Identifier: BSD-3-Clause
/// weight_problem.hpp: what a WeightModel has computed once and for all, and one component of a process.
#pragma once

#include <Eigen/Dense>
#include <memory>
#include <optional>
#include <vector>

#include "spectrum/complete_grid.hpp"
#include "spectrum/trend.hpp"
#include "zelos/spectrum.hpp"

namespace zelos::spectrum {

/// Where each hyperparameter stands in the vector.
struct Layout {
  Eigen::Index m, d;
  bool own_noise;

  explicit Layout(const WeightData& data) : m(data.weights.cols()), d(data.points.cols()), own_noise(data.own_noise) {}
  Eigen::Index noises() const { return own_noise ? m : 1; }
  Eigen::Index noise(Eigen::Index i) const { return own_noise ? i : 0; }
  Eigen::Index variance(Eigen::Index i) const { return noises() + i; }
  Eigen::Index length(Eigen::Index i) const { return noises() + m + i * d; }
  Eigen::Index size() const { return noises() + m + m * d; }
  /// log of the noise variance: of a nugget, or of 1 / lambda_xi.
  double log_noise(const Eigen::VectorXd& theta, Eigen::Index i) const { return own_noise ? theta[i] : -theta[0]; }
  double noise_sign() const { return own_noise ? 1.0 : -1.0; }
};

struct WeightProblem {
  WeightData data;  ///< its points are on their scales
  Layout layout;
  Trend trend;
  Eigen::MatrixXd trend_matrix;  ///< (M, terms)
  std::optional<CompleteGrid> grid;

  /// ZELOS_E_ARGUMENT where shapes or values are wrong.
  explicit WeightProblem(WeightData given);

  /// ZELOS_E_ARGUMENT
  void check(const Eigen::VectorXd& theta) const;

  /// -infinity where a covariance is not positive definite.
  double log_likelihood(const Eigen::VectorXd& theta, Eigen::VectorXd* gradient, int n_threads) const;

  /// A point on the scales; `slopes`, if not null, the derivatives of its coordinates by the parameters.
  /// ZELOS_E_ARGUMENT
  Eigen::VectorXd on_scales(const Eigen::VectorXd& point, Eigen::VectorXd* slopes) const;
};

/// Hyperparameters of one component; `log_length` stays where it is.
struct ComponentTheta {
  double log_noise, log_variance;
  const double* log_length;

  ComponentTheta(const Layout& layout, const Eigen::VectorXd& theta, Eigen::Index i)
      : log_noise(layout.log_noise(theta, i)),
        log_variance(theta[layout.variance(i)]),
        log_length(theta.data() + layout.length(i)) {}
};

/// The process of one weight, C = v K + n 1 on the grid points, conditioned. Points are on their scales.
class Component {
 public:
  virtual ~Component() = default;

  struct Answer {
    double mean, variance;
    Eigen::VectorXd mean_slope, variance_slope;  ///< (D), if asked for
  };
  virtual Answer predict(const Eigen::VectorXd& point, bool slopes) const = 0;
  /// (K), (K, K)
  virtual void predict_jointly(const RowMatrix& points, Eigen::VectorXd& mean, Eigen::MatrixXd& covariance) const = 0;
  /// (M), (M)
  virtual void left_out(Eigen::VectorXd& errors, Eigen::VectorXd& variances) const = 0;
};

/// Of what a difference of two numbers of size v leaves as a variance, the least that rounding lets be told from zero.
inline double least_variance(double v) { return 1e-15 * v; }

/// The covariance of K points before anything is known, (K, K).
Eigen::MatrixXd prior_covariance(const WeightProblem& problem, const ComponentTheta& theta, const RowMatrix& points);

// The algebra of a component, by Cholesky factorisation (dense_component.cpp) and on a complete grid
// (grid_component.cpp). `gradient` (log noise, log v, log l_1 .. log l_D) may be null. -infinity where C is not
// positive definite.
double dense_log_likelihood(const WeightProblem& problem, Eigen::Index i, const ComponentTheta& theta,
                            double* gradient);
double grid_log_likelihood(const WeightProblem& problem, Eigen::Index i, const ComponentTheta& theta, double* gradient);

/// ZELOS_E_NUMERIC where C is not positive definite.
std::unique_ptr<Component> dense_component(std::shared_ptr<const WeightProblem> problem, Eigen::Index i,
                                           const ComponentTheta& theta);
/// Null instead of the error.
std::unique_ptr<Component> try_dense_component(std::shared_ptr<const WeightProblem> problem, Eigen::Index i,
                                               const ComponentTheta& theta);
std::unique_ptr<Component> grid_component(std::shared_ptr<const WeightProblem> problem, Eigen::Index i,
                                          const ComponentTheta& theta);

/// All components' answers at one point, and at several together (see WeightProcess).
WeightProcess::Prediction gather(const std::vector<std::unique_ptr<Component>>& components,
                                 const Eigen::VectorXd& point, bool slopes);
void gather_jointly(const std::vector<std::unique_ptr<Component>>& components, const RowMatrix& points,
                    Eigen::VectorXd& mean, Eigen::MatrixXd& covariance);

[[noreturn]] void fail_not_positive_definite();

}  // namespace zelos::spectrum
