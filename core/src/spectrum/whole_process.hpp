// SPDX-License-Identifier: BSD-3-Clause
/// whole_process.hpp: all weights together, for eigenspectra that are not orthonormal.
#pragma once

#include "spectrum/cholesky.hpp"
#include "spectrum/weight_problem.hpp"

namespace zelos::spectrum {

/// -infinity where V is not positive definite.
double whole_log_likelihood(const WeightProblem& problem, const Eigen::VectorXd& theta, Eigen::VectorXd* gradient);

class WholeProcess {
 public:
  /// ZELOS_E_NUMERIC where V is not positive definite.
  WholeProcess(std::shared_ptr<const WeightProblem> problem, Eigen::VectorXd theta);

  /// The point is on the scales.
  WeightProcess::Prediction predict(const Eigen::VectorXd& point, bool slopes) const;
  void predict_jointly(const RowMatrix& points, Eigen::VectorXd& mean, Eigen::MatrixXd& covariance) const;

 private:
  Eigen::VectorXd covariance(Eigen::Index i, const Eigen::VectorXd& point, Eigen::MatrixXd* slopes) const;

  std::shared_ptr<const WeightProblem> problem_;
  Eigen::VectorXd theta_;
  std::vector<Eigen::MatrixXd> u_;  // scaled points of each component
  Solved<double> solved_;
  Eigen::VectorXd dual_;
};

}  // namespace zelos::spectrum
