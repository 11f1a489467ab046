// SPDX-License-Identifier: BSD-3-Clause
/// correlation.hpp: the processes' kernels as functions of the distance in length scales.
#pragma once

#include <Eigen/Dense>

#include "zelos/spectrum.hpp"

namespace zelos::spectrum {

/// n rounded up to the vector loops' multiple.
inline Eigen::Index padded(Eigen::Index n) { return (n + 7) / 8 * 8; }

/// On entry x = squared distance (n a multiple of 8); on exit the correlation, and in `slope`, if not null, minus twice
/// its derivative by the squared distance.
void correlate(Kernel kernel, double* x, double* slope, Eigen::Index n);

long double correlation(Kernel kernel, long double square);

/// Points over length scales, a column for each dimension, padded with the last point.
Eigen::MatrixXd scaled(const RowMatrix& points, const double* log_length);

/// (M padded, M) from scaled points of which n count, lower triangle: correlations and slopes (see `correlate`).
void correlation_matrix(Kernel kernel, const Eigen::MatrixXd& u, Eigen::Index n, Eigen::MatrixXd& k,
                        Eigen::MatrixXd* slope);

/// Correlations (M) of scaled points, of which n count, with a point, and their derivatives (M, D) by its coordinates.
Eigen::VectorXd correlations_with(Kernel kernel, const Eigen::MatrixXd& u, Eigen::Index n, const Eigen::VectorXd& point,
                                  const double* log_length, Eigen::MatrixXd* slopes);

}  // namespace zelos::spectrum
