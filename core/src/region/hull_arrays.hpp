// SPDX-License-Identifier: BSD-3-Clause
// hull_arrays.hpp: between matrices and the arrays of an artifact.
#pragma once

#include <Eigen/Dense>
#include <algorithm>
#include <string>

#include "artifact/container.hpp"
#include "zelos/error.hpp"

namespace zelos {

inline artifact::Array array_of(const Eigen::VectorXd& v) {
  artifact::Array a;
  a.shape = {v.size()};
  a.data = AlignedBuffer(v.size());
  std::copy_n(v.data(), v.size(), a.data.begin());
  return a;
}

inline artifact::Array array_of(const Eigen::MatrixXd& m) {
  artifact::Array a;
  a.shape = {m.rows(), m.cols()};
  a.data = AlignedBuffer(m.size());
  Eigen::Map<Eigen::Matrix<double, -1, -1, Eigen::RowMajor>>(a.data.data(), m.rows(), m.cols()) = m;
  return a;
}

/// Throws Error(ZELOS_E_FORMAT) unless there is such an array, of this shape; -1: any length above 0.
inline const artifact::Array& array_at(const std::map<std::string, artifact::Array>& arrays, const std::string& path,
                                       const std::vector<int64_t>& shape) {
  const auto found = arrays.find(path);
  if (found == arrays.end()) throw Error(ZELOS_E_FORMAT, "array '" + path + "' is missing");
  const std::vector<int64_t>& has = found->second.shape;
  bool good = has.size() == shape.size();
  for (size_t i = 0; good && i < shape.size(); ++i) good = shape[i] < 0 ? has[i] > 0 : has[i] == shape[i];
  if (!good) throw Error(ZELOS_E_FORMAT, "array '" + path + "' has a wrong shape");
  return found->second;
}

inline Eigen::MatrixXd matrix_of(const artifact::Array& a) {
  return Eigen::Map<const Eigen::Matrix<double, -1, -1, Eigen::RowMajor>>(a.data.data(), a.shape[0], a.shape[1]);
}

}  // namespace zelos
