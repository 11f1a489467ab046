// SPDX-License-Identifier: BSD-3-Clause
// tiled_matrix.hpp: a matrix laid out for tiled_product.
#pragma once

#include <Eigen/Dense>

#include "base/aligned_buffer.hpp"
#include "base/kernels.hpp"

namespace zelos {

/// A matrix in tiles, ready for tiled_product, with its constant part.
struct TiledMatrix {
  int64_t rows = 0, columns = 0;
  AlignedBuffer tiles, start;

  TiledMatrix() = default;
  TiledMatrix(const Eigen::MatrixXd& m, const Eigen::VectorXd& constant)
      : rows(m.rows()), columns(m.cols()), tiles(padded_rows(m.rows()) * m.cols()), start(padded_rows(m.rows())) {
    double* out = tiles.data();
    for (int64_t row = 0; row < rows; row += kTile) {
      for (int64_t k = 0; k < columns; ++k) {
        for (int64_t r = 0; r < kTile; ++r) *out++ = row + r < rows ? m(row + r, k) : 0.0;
      }
    }
    for (int64_t i = 0; i < rows; ++i) start[i] = constant[i];
  }
};

}  // namespace zelos
