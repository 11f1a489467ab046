// SPDX-License-Identifier: BSD-3-Clause
/// neighbours.hpp: processes of a large library, each prediction conditioned on the nearest points alone.
#pragma once

#include "spectrum/weight_problem.hpp"

namespace zelos::spectrum {

/// Distances are in length scales, averaged over the components by the power of their weights. The polynomial mean is
/// that of the neighbours; where they don't determine it, its degree is less. Points are on their scales.
class NeighbourProcess {
 public:
  NeighbourProcess(std::shared_ptr<const WeightProblem> problem, Eigen::VectorXd theta, int neighbours);

  WeightProcess::Prediction predict(const Eigen::VectorXd& point, bool slopes) const;
  void predict_jointly(const RowMatrix& points, Eigen::VectorXd& mean, Eigen::MatrixXd& covariance) const;
  void left_out(const std::vector<Eigen::Index>& chosen, RowMatrix& errors, RowMatrix& variances) const;

 private:
  /// Those of each point together; a grid point to be left out, or -1.
  std::vector<Eigen::Index> nearest(const RowMatrix& points, Eigen::Index without) const;
  WeightData part(const std::vector<Eigen::Index>& rows) const;
  WeightProcess::Prediction predict_from(const std::vector<Eigen::Index>& rows, const Eigen::VectorXd& point,
                                         bool slopes) const;
  /// Components conditioned on some grid points.
  std::vector<std::unique_ptr<Component>> conditioned(const std::vector<Eigen::Index>& rows) const;

  std::shared_ptr<const WeightProblem> problem_;
  Eigen::VectorXd theta_;
  Eigen::Index count_;
  Eigen::MatrixXd scaled_;   // (M, D): points in the metric of the search
  Eigen::VectorXd inverse_;  // (D): that metric
};

}  // namespace zelos::spectrum
