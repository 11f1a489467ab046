// SPDX-License-Identifier: BSD-3-Clause
#include "region/hull.hpp"

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>

#include "region/hull_arrays.hpp"

namespace zelos {

std::shared_ptr<const Hull> Hull::fit(const std::string& kind, const Eigen::Ref<const Eigen::MatrixXd>& points,
                                      const std::vector<double>& lower, const std::vector<double>& upper,
                                      double margin) {
  if (kind == "box") return nullptr;
  if (kind == "ellipsoid") return EllipsoidHull::fit(points, margin);
  if (kind == "convex") return ConvexHull::fit(points, lower, upper, margin);
  if (kind == "cells") return CellHull::fit(points, margin, lower, upper);
  throw Error(ZELOS_E_ARGUMENT, "region: hull: expected box, ellipsoid, convex or cells, found '" + kind + "'");
}

std::shared_ptr<const Hull> Hull::load(const nlohmann::json& region,
                                       const std::map<std::string, artifact::Array>& arrays,
                                       const std::vector<double>& lower, const std::vector<double>& upper) {
  const int64_t d = static_cast<int64_t>(lower.size());
  const std::string kind = region.at("hull").get<std::string>();
  const auto vector_at = [&](const std::string& path, int64_t size) -> Eigen::VectorXd {
    const artifact::Array& a = array_at(arrays, path, {size});
    return Eigen::Map<const Eigen::VectorXd>(a.data.data(), a.shape[0]);
  };
  if (kind == "box") return nullptr;
  if (kind == "ellipsoid") {
    return std::make_shared<EllipsoidHull>(vector_at("region/center", d),
                                           matrix_of(array_at(arrays, "region/metric", {d, d})).transpose(),
                                           region.at("radius").get<double>());
  }
  const auto margin = [&] {
    const double value = region.at("margin").get<double>();
    if (!(value >= 0 && value <= 1)) throw Error(ZELOS_E_FORMAT, "the margin of the hull is not in [0, 1]");
    return value;
  };
  if (kind == "convex") {
    if (d > ConvexHull::kMaxDimensions) throw Error(ZELOS_E_FORMAT, "a convex hull of too many parameters");
    const double inner = region.at("inner").get<double>();
    if (!(inner >= 0 && inner <= 2)) throw Error(ZELOS_E_FORMAT, "the box inside the convex hull is larger than it");
    return std::make_shared<ConvexHull>(matrix_of(array_at(arrays, "region/vertices", {-1, d})),
                                        vector_at("region/center", d), lower, upper, margin(), inner);
  }
  if (kind == "cells") {
    if (d > CellHull::kMaxDimensions) throw Error(ZELOS_E_FORMAT, "a hull of cells of too many parameters");
    std::vector<std::vector<double>> axes;
    double n_cells = 1;
    for (int64_t j = 0; j < d; ++j) {
      const Eigen::VectorXd axis = vector_at("region/axis" + std::to_string(j), -1);
      axes.emplace_back(axis.begin(), axis.end());
      const bool ascends = std::adjacent_find(axis.begin(), axis.end(), std::greater_equal<>()) == axis.end();
      if (axis.size() < 2 || !ascends) throw Error(ZELOS_E_FORMAT, "an axis of the hull's grid does not ascend");
      n_cells *= static_cast<double>(axis.size() - 1);
    }
    if (!(n_cells < CellHull::kMaxCells)) throw Error(ZELOS_E_FORMAT, "the hull's grid has too many cells");
    std::vector<int64_t> cells;
    for (const double number : vector_at("region/cells", -1)) {
      const bool good = number >= 0 && number < n_cells && number == static_cast<double>(static_cast<int64_t>(number));
      if (!good || (!cells.empty() && number <= static_cast<double>(cells.back()))) {
        throw Error(ZELOS_E_FORMAT, "the cells of the hull are not ascending numbers of its grid");
      }
      cells.push_back(static_cast<int64_t>(number));
    }
    return std::make_shared<CellHull>(std::move(axes), std::move(cells), margin());
  }
  throw Error(ZELOS_E_FORMAT, "unknown hull '" + kind + "'");
}

}  // namespace zelos
