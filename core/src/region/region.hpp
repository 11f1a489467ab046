// SPDX-License-Identifier: BSD-3-Clause
// region.hpp: where an emulator may be trusted: box and training hull. One place, asked before any family.
#pragma once

#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "region/hull.hpp"
#include "zelos/emulator.hpp"

namespace zelos {

class Region {
 public:
  Region() = default;
  Region(std::vector<std::string> names, std::vector<double> lower, std::vector<double> upper);

  /// A linear combination of the parameters; name and range are the verdict's. Checked after the box.
  void add_limit(std::string name, std::vector<double> coefficients, double lower, double upper);

  /// The hull within the box; null: none.
  void set_hull(std::shared_ptr<const Hull> hull) { hull_ = std::move(hull); }

  /// Bounds are inclusive; NaN and infinities are `not_finite`. No allocation for a point inside.
  Verdict check(const double* x) const;
  /// The box alone, for one parameter.
  Verdict check_parameter(size_t index, double x) const;

  /// A point inside for each u in [0, 1]^d that fill it with u that fill the cube, 1/2: its middle. Where the region
  /// has corners that this does not reach, a point nearer to the middle; if that is outside (a hole), so may be the
  /// point.
  std::vector<double> point(const std::vector<double>& u) const;

  /// Largest predicted error that is allowed; infinite if the artifact sets none.
  double tolerance = std::numeric_limits<double>::infinity();

 private:
  std::vector<std::string> names_;
  std::vector<double> lower_, upper_;
  struct Limit {
    std::string name;
    std::vector<double> coefficients;
    double lower, upper;
  };
  std::vector<Limit> limits_;
  std::shared_ptr<const Hull> hull_;
};

}  // namespace zelos
