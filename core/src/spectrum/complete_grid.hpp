// SPDX-License-Identifier: BSD-3-Clause
/// complete_grid.hpp: points that are all combinations of the values on their axes, and tensors on them.
#pragma once

#include <Eigen/Dense>
#include <optional>
#include <vector>

#include "zelos/spectrum.hpp"

namespace zelos::spectrum {

/// Tensors have the axes' order, the last axis running fastest.
struct CompleteGrid {
  std::vector<Eigen::VectorXd> axes;    ///< ascending
  std::vector<Eigen::Index> positions;  ///< of each point in a tensor

  /// Nothing if a combination is missing or occurs twice.
  static std::optional<CompleteGrid> find(const RowMatrix& points);

  Eigen::Index size() const { return static_cast<Eigen::Index>(positions.size()); }
  Eigen::Index length(std::size_t axis) const { return axes[axis].size(); }
  /// Number of elements of a tensor from one index of the axis to the next.
  Eigen::Index stride(std::size_t axis) const;

  /// Values at the points, one column for each quantity, as tensors; and back.
  template <class Scalar>
  Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic> tensors(const Eigen::MatrixXd& at_points) const {
    Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic> result(at_points.rows(), at_points.cols());
    for (Eigen::Index i = 0; i < size(); ++i) {
      result.row(positions[static_cast<std::size_t>(i)]) = at_points.row(i).cast<Scalar>();
    }
    return result;
  }
  Eigen::VectorXd at_points(const Eigen::VectorXd& tensor) const {
    Eigen::VectorXd result(size());
    for (Eigen::Index i = 0; i < size(); ++i) result[i] = tensor[positions[static_cast<std::size_t>(i)]];
    return result;
  }

  /// (q_1 x .. x q_D) t for each column t.
  template <class Scalar>
  void apply(const std::vector<Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>>& q,
             Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>& columns) const {
    using Block = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>;  // of (stride, length): transposed in memory
    Eigen::Matrix<Scalar, Eigen::Dynamic, 1> other(columns.rows());
    for (Eigen::Index c = 0; c < columns.cols(); ++c) {
      for (std::size_t d = 0; d < axes.size(); ++d) {
        const Eigen::Index inner = stride(d), n = length(d);
        if (inner == 1) {
          Eigen::Map<Block>(other.data(), n, size() / n).noalias() =
              q[d] * Eigen::Map<const Block>(columns.col(c).data(), n, size() / n);
        } else {
          for (Eigen::Index at = 0; at < size(); at += inner * n) {
            Eigen::Map<Block>(other.data() + at, inner, n).noalias() =
                Eigen::Map<const Block>(columns.col(c).data() + at, inner, n) * q[d].transpose();
          }
        }
        columns.col(c) = other;
      }
    }
  }

  /// a_1 x .. x a_D, as a tensor.
  template <class Vector>
  Vector product(const std::vector<Vector>& factors) const {
    Vector result(size());
    result[0] = 1;
    Eigen::Index filled = 1;
    for (std::size_t d = axes.size(); d-- > 0;) {  // last axis first, so that each step copies what is there
      const Vector base = result.head(filled);
      for (Eigen::Index i = 0; i < length(d); ++i) result.segment(i * filled, filled) = factors[d][i] * base;
      filled *= length(d);
    }
    return result;
  }
};

}  // namespace zelos::spectrum
