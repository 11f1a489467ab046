// SPDX-License-Identifier: BSD-3-Clause
// hull.hpp: where inside the box the training points lie.
#pragma once

#include <Eigen/Dense>
#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "artifact/container.hpp"
#include "zelos/emulator.hpp"

namespace zelos {

/// Points are given in the emulator's parameters, finite and inside the box. Immutable; [any] no allocation.
class Hull {
 public:
  virtual ~Hull() = default;
  virtual const char* kind() const = 0;  ///< as in a spec
  virtual bool holds(const double* x) const = 0;
  /// Of a point that it does not hold: value (how far out), upper (what is allowed) and excess (> 0) of the verdict.
  /// Returns the index of the parameter that takes the point out most.
  virtual int explain(const double* x, Verdict* verdict) const = 0;
  /// A point in or near the hull for u in [0, 1]^d: u that fill the cube give points that fill the hull, 1/2 its
  /// middle.
  virtual Eigen::VectorXd point(const Eigen::VectorXd& u) const = 0;
  /// What `load` needs, under "region/" in the arrays.
  virtual void store(nlohmann::json* region, std::map<std::string, artifact::Array>* arrays) const = 0;

  /// The hull `kind` of training points (rows). lower, upper: the box. Throws Error(ZELOS_E_ARGUMENT).
  static std::shared_ptr<const Hull> fit(const std::string& kind, const Eigen::Ref<const Eigen::MatrixXd>& points,
                                         const std::vector<double>& lower, const std::vector<double>& upper,
                                         double margin);
  /// Null for "box". Throws Error(ZELOS_E_FORMAT).
  static std::shared_ptr<const Hull> load(const nlohmann::json& region,
                                          const std::map<std::string, artifact::Array>& arrays,
                                          const std::vector<double>& lower, const std::vector<double>& upper);
};

/// (x - center)^T metric (x - center) <= radius^2.
class EllipsoidHull : public Hull {
 public:
  EllipsoidHull(Eigen::VectorXd center, Eigen::MatrixXd metric, double radius)
      : center_(std::move(center)), metric_(std::move(metric)), radius_(radius) {}
  /// With the metric of the points' covariance, it holds them all, its radius times 1 + margin.
  static std::shared_ptr<const EllipsoidHull> fit(const Eigen::Ref<const Eigen::MatrixXd>& points, double margin);

  const char* kind() const override { return "ellipsoid"; }
  double distance(const double* x) const;
  bool holds(const double* x) const override { return distance(x) <= radius_; }
  int explain(const double* x, Verdict* verdict) const override;
  Eigen::VectorXd point(const Eigen::VectorXd& u) const override;
  void store(nlohmann::json* region, std::map<std::string, artifact::Array>* arrays) const override;

 private:
  Eigen::VectorXd center_;
  Eigen::MatrixXd metric_;
  double radius_;
};

/// The convex hull of the points, scaled by 1 + margin about their mean. A point is held if it is at most 1e-12 (of the
/// box) away: what round-off makes of a point on a face.
///
/// Membership is decided by the point of the hull that is nearest to x (Wolfe, Finding the nearest point in a polytope,
/// Math. Programming 11, 1976): a finite number of steps, each a scan of all points and a least-squares problem for the
/// at most d + 1 points whose simplex holds the nearest. It ends as soon as a plane is found that has x on one side and
/// all points on the other. A box that lies inside the hull with all its corners answers most points without it.
class ConvexHull : public Hull {
 public:
  static constexpr int kMaxDimensions = 32;

  /// vertices (rows), of which those that lie in the hull of the others may be missing.
  ConvexHull(const Eigen::Ref<const Eigen::MatrixXd>& vertices, const Eigen::VectorXd& center,
             std::vector<double> lower, std::vector<double> upper, double margin, double inner);
  static std::shared_ptr<const ConvexHull> fit(const Eigen::Ref<const Eigen::MatrixXd>& points,
                                               const std::vector<double>& lower, const std::vector<double>& upper,
                                               double margin);

  const char* kind() const override { return "convex"; }
  bool holds(const double* x) const override;
  int explain(const double* x, Verdict* verdict) const override;
  Eigen::VectorXd point(const Eigen::VectorXd& u) const override;
  void store(nlohmann::json* region, std::map<std::string, artifact::Array>* arrays) const override;

  int64_t n_vertices() const { return n_; }
  /// The box center +- inner * (upper - lower) / 2 lies inside; 0: none does.
  double inner() const { return inner_; }
  /// holds() without the short cut of the box.
  bool holds_exactly(const double* x) const;

 private:
  /// Coordinates in which the box has unit sides and the points' mean is the origin, the margin taken out.
  void scale(const double* x, double* out) const;
  /// Rows, without the margin.
  Eigen::MatrixXd vertices() const;
  /// Whether x, scaled, is in the hull; else, if not null, direction is the normal of a plane between x and all points
  /// and *reach the least that a point has along it.
  bool contains(const double* x, double* direction, double* reach) const;
  /// The largest box about the center, in units of the box, whose corners lie inside.
  double largest_box() const;

  int64_t n_ = 0, n_padded_ = 0;
  int d_ = 0;
  AlignedBuffer vertices_;  ///< [d][n_padded], scaled; padded with the first vertex
  std::vector<double> center_, lower_, upper_;
  double margin_ = 0, inner_ = 0;
};

/// Points on a grid that may have holes: the union of the closed cells whose 2^d corners are all there, each widened by
/// margin times its width on every side. Comparisons are exact; grid values that are an end of the box up to round-off
/// are that end.
class CellHull : public Hull {
 public:
  static constexpr int kMaxDimensions = 12;
  static constexpr double kMaxCells = 9007199254740992.0;  ///< 2^53: numbers of cells are stored as doubles

  CellHull(std::vector<std::vector<double>> axes, std::vector<int64_t> cells, double margin);
  static std::shared_ptr<const CellHull> fit(const Eigen::Ref<const Eigen::MatrixXd>& points, double margin,
                                             const std::vector<double>& lower, const std::vector<double>& upper);

  const char* kind() const override { return "cells"; }
  bool holds(const double* x) const override;
  int explain(const double* x, Verdict* verdict) const override;
  Eigen::VectorXd point(const Eigen::VectorXd& u) const override;
  void store(nlohmann::json* region, std::map<std::string, artifact::Array>* arrays) const override;

 private:
  bool reaches(int axis, int64_t cell, double x) const;

  std::vector<std::vector<double>> axes_;  ///< ascending grid values of each parameter
  std::vector<int64_t> cells_;             ///< ascending numbers of the complete cells; the last axis runs fastest
  double margin_;
};

}  // namespace zelos
