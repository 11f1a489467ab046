// SPDX-License-Identifier: BSD-3-Clause
// The hulls: against half planes, support points and an enumeration of all cells; at their faces, one step beyond, and
// through an artifact. tests/python/test_hull.py compares with SciPy.
#include <Eigen/Dense>
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <random>

#include "artifact/container.hpp"
#include "failure.hpp"
#include "region/hull.hpp"
#include "toy.hpp"
#include "zelos/error.hpp"

namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;
using zelos::CellHull;
using zelos::ConvexHull;
using zelos::Verdict;

MatrixXd uniform(std::mt19937_64& random, int64_t n, int64_t d, double lower, double upper) {
  std::uniform_real_distribution<double> in(lower, upper);
  return MatrixXd::NullaryExpr(n, d, [&] { return in(random); });
}

std::shared_ptr<const ConvexHull> convex(const MatrixXd& points, double margin = 0) {
  const size_t d = static_cast<size_t>(points.cols());
  return ConvexHull::fit(points, std::vector<double>(d, -1.0), std::vector<double>(d, 1.0), margin);
}

std::shared_ptr<const CellHull> cells(const MatrixXd& points, double margin = 0) {
  const size_t d = static_cast<size_t>(points.cols());
  return CellHull::fit(points, margin, std::vector<double>(d, -1.0), std::vector<double>(d, 1.0));
}

Verdict explained(const zelos::Hull& hull, const VectorXd& x) {
  Verdict verdict;
  hull.explain(x.data(), &verdict);
  return verdict;
}

}  // namespace

TEST_CASE("in a plane the convex hull is where no edge has all points on the other side", "[hull]") {
  std::mt19937_64 random(11);
  for (const int n : {3, 4, 7, 30, 200}) {
    const MatrixXd points = uniform(random, n, 2, -1, 1);
    const auto hull = convex(points);
    const MatrixXd asked = uniform(random, 500, 2, -1.1, 1.1);
    for (int64_t q = 0; q < asked.rows(); ++q) {
      bool inside = true;
      double nearest = 1;
      for (int i = 0; i < n; ++i) {
        for (int j = 0; j < n; ++j) {
          if (i == j) continue;
          const Eigen::RowVector2d edge = points.row(j) - points.row(i), normal(-edge[1], edge[0]);
          if (((points.rowwise() - points.row(i)) * normal.transpose()).minCoeff() < -1e-14) continue;
          const double side = (asked.row(q) - points.row(i)).dot(normal) / normal.norm();
          inside = inside && side >= 0;
          nearest = std::min(nearest, std::abs(side));
        }
      }
      if (nearest < 1e-10) continue;
      const VectorXd x = asked.row(q);
      CHECK(hull->holds(x.data()) == inside);
      CHECK(hull->holds_exactly(x.data()) == inside);
    }
  }
}

TEST_CASE("mixtures of points are in the convex hull, what is beyond a support point is not", "[hull]") {
  std::mt19937_64 random(5);
  std::normal_distribution<double> normal;
  std::exponential_distribution<double> exponential;
  for (const int d : {1, 2, 3, 6, 10}) {
    const MatrixXd points = uniform(random, 60 * d, d, -1, 1);
    const auto hull = convex(points);
    CHECK(hull->n_vertices() <= points.rows());
    for (int trial = 0; trial < 200; ++trial) {
      CAPTURE(d, trial);
      VectorXd weights = VectorXd::Zero(points.rows());
      for (int k = 0; k <= d; ++k) weights[static_cast<int64_t>(random() % points.rows())] += exponential(random);
      const VectorXd mixture = points.transpose() * weights / weights.sum();
      CHECK(hull->holds(mixture.data()));
      CHECK(hull->holds_exactly(mixture.data()));
      const VectorXd direction = VectorXd::NullaryExpr(d, [&] { return normal(random); }).normalized();
      Eigen::Index support = 0;
      (points * direction).maxCoeff(&support);
      const VectorXd vertex = points.row(support);
      CHECK(hull->holds(vertex.data()));
      for (const double beyond : {1e-10, 1e-6, 1e-2, 1.0}) {
        const VectorXd x = vertex + beyond * direction;
        CHECK_FALSE(hull->holds(x.data()));
        CHECK(explained(*hull, x).excess > 0);
      }
    }
  }
}

TEST_CASE("the faces of a convex hull are inside, a step of round-off is on them", "[hull]") {
  // The corners of a cube, and points in it that are no vertices.
  MatrixXd points(12, 3);
  for (int i = 0; i < 8; ++i) points.row(i) << (i & 1 ? 0.5 : -0.5), (i & 2 ? 0.5 : -0.5), (i & 4 ? 0.5 : -0.5);
  points.bottomRows(4) << 0.1, 0.2, 0.3, 0.5, 0.1, -0.2, -0.1, -0.2, -0.3, -0.5, -0.1, 0.2;
  const auto hull = convex(points);
  CHECK(hull->n_vertices() == 8);
  CHECK(hull->inner() > 0.49);
  for (int j = 0; j < 3; ++j) {
    for (const double side : {-0.5, 0.5}) {
      VectorXd x(3);
      x << 0.13, -0.21, 0.4;
      for (const double value : {side, std::nextafter(side, 0.0), std::nextafter(side, 2 * side)}) {
        x[j] = value;
        CHECK(hull->holds(x.data()));
        CHECK(hull->holds_exactly(x.data()));
      }
      x[j] = side * (1 + 1e-11);
      CHECK_FALSE(hull->holds(x.data()));
      x[j] = side * 1.5;
      const Verdict verdict = explained(*hull, x);
      CHECK(verdict.excess == Approx(0.5));
      CHECK(verdict.value == Approx(1.5));
      CHECK(verdict.upper == 1);
    }
  }
  // With a margin it is that much larger.
  const auto wide = convex(points, 0.1);
  VectorXd x = VectorXd::Constant(3, 0.5499999);
  CHECK(wide->holds(x.data()));
  x[1] = 0.5500001;
  CHECK_FALSE(wide->holds(x.data()));
  CHECK(explained(*wide, x).upper == 1.1);
}

TEST_CASE("points of which the hull has no inside are refused", "[hull]") {
  std::mt19937_64 random(3);
  MatrixXd flat = uniform(random, 30, 3, -1, 1);
  flat.col(2) = flat.col(0) - 2 * flat.col(1);
  CHECK_THAT(failure(ZELOS_E_ARGUMENT, [&] { convex(flat); }), Catch::Contains("plane"));
  CHECK_THAT(failure(ZELOS_E_ARGUMENT, [&] { convex(uniform(random, 3, 3, -1, 1)); }), Catch::Contains("plane"));
  CHECK_THAT(failure(ZELOS_E_ARGUMENT, [&] { cells(uniform(random, 30, 2, -1, 1)); }), Catch::Contains("grid"));
  MatrixXd line = uniform(random, 5, 2, -1, 1);
  line.col(1).setConstant(0.5);
  CHECK_THAT(failure(ZELOS_E_ARGUMENT, [&] { cells(line); }), Catch::Contains("parameter 2"));
}

TEST_CASE("cells of a grid with holes are those of which all corners are there", "[hull]") {
  const std::vector<std::vector<double>> axes{{-1, -0.4, 0.1, 0.2, 0.9}, {-0.7, 0, 0.6, 1}, {-1, 0.3, 1}};
  std::mt19937_64 random(17);
  std::vector<std::array<int, 3>> there;
  for (int i = 0; i < 5; ++i) {
    for (int j = 0; j < 4; ++j) {
      for (int k = 0; k < 3; ++k) {
        if (random() % 12 != 0) there.push_back({i, j, k});
      }
    }
  }
  MatrixXd points(static_cast<int64_t>(there.size()), 3);
  for (size_t p = 0; p < there.size(); ++p) {
    for (int j = 0; j < 3; ++j) points(static_cast<int64_t>(p), j) = axes[j][there[p][j]];
  }
  const auto complete = [&](int i, int j, int k) {
    for (int bits = 0; bits < 8; ++bits) {
      const std::array<int, 3> corner{i + (bits & 1), j + (bits >> 1 & 1), k + (bits >> 2 & 1)};
      if (std::find(there.begin(), there.end(), corner) == there.end()) return false;
    }
    return true;
  };
  for (const double margin : {0.0, 0.25, 1.0}) {
    const auto hull = cells(points, margin);
    const auto expected = [&](const VectorXd& x) {
      for (int i = 0; i < 4; ++i) {
        for (int j = 0; j < 3; ++j) {
          for (int k = 0; k < 2; ++k) {
            bool in = complete(i, j, k);
            const int at[3] = {i, j, k};
            for (int a = 0; a < 3; ++a) {
              const double low = axes[a][at[a]], high = axes[a][at[a] + 1], reach = margin * (high - low);
              in = in && x[a] >= low - reach && x[a] <= high + reach;
            }
            if (in) return true;
          }
        }
      }
      return false;
    };
    int inside = 0;
    for (int trial = 0; trial < 3000; ++trial) {
      VectorXd x = uniform(random, 3, 1, -1.2, 1.2);
      // On grid values, and one step from them.
      for (int a = 0; a < 3; ++a) {
        if (random() % 3 != 0) continue;
        x[a] = axes[a][random() % axes[a].size()];
        const uint64_t step = random() % 3;
        if (step != 0) x[a] = std::nextafter(x[a], step == 1 ? -2.0 : 2.0);
      }
      CAPTURE(margin, x.transpose());
      const bool held = hull->holds(x.data());
      inside += held ? 1 : 0;
      CHECK(held == expected(x));
      if (held) continue;
      const Verdict verdict = explained(*hull, x);
      CHECK(verdict.excess > 0);
      CHECK(verdict.value == Approx(verdict.excess + margin).margin(1e-15));
    }
    CHECK(inside > 300);
    CHECK(inside < 3000);
  }
}

TEST_CASE("a hull comes back from its artifact", "[hull]") {
  const toy::TemporaryFolder folder;
  const std::string text = toy::kSmallSpec;
  const std::string from = "region: {hull: ellipsoid, margin: 0}";
  REQUIRE(text.find(from) != std::string::npos);
  std::string convex_text = text;
  convex_text.replace(text.find(from), from.size(), "region: {hull: convex, margin: 0.02}");
  toy::train(convex_text, 40, folder / "convex.h5");
  const zelos::Spec spec = zelos::parse_spec(convex_text, "small.yaml");
  const toy::Runs runs(spec, 40);
  const Eigen::Map<const Eigen::Matrix<double, -1, 2, Eigen::RowMajor>> x(runs.parameters.data(), 40, 2);
  const auto hull = ConvexHull::fit(MatrixXd(x), {0.10, 2.9}, {0.14, 3.2}, 0.02);
  const zelos::Emulator emulator = zelos::Emulator::open(folder / "convex.h5");
  const zelos::Query query = emulator.query({"omch2", "logA"}, {{"Pk.linear", {}}});
  zelos::Workspace workspace = query.workspace();
  std::mt19937_64 random(23);
  int outside = 0;
  for (int trial = 0; trial < 2000; ++trial) {
    const double point[2] = {0.10 + 0.04 * static_cast<double>(random() >> 11) * 0x1p-53,
                             2.9 + 0.3 * static_cast<double>(random() >> 11) * 0x1p-53};
    const Verdict verdict = query.verdict(point, workspace);
    CHECK(verdict.inside() == hull->holds(point));
    if (verdict.inside()) continue;
    ++outside;
    CHECK(verdict.reason == Verdict::Reason::hull);
    CHECK((verdict.parameter == "omch2" || verdict.parameter == "logA"));
    CHECK_THAT(to_string(verdict), Catch::Contains("convex hull") && Catch::Contains(verdict.parameter));
    CHECK(verdict.excess > 0);
  }
  CHECK(outside > 5);
  // NaN, infinities and the box come first.
  const double bad[2] = {std::nan(""), 3.0}, infinite[2] = {0.12, -INFINITY}, far[2] = {0.15, 3.0};
  CHECK(query.verdict(bad, workspace).reason == Verdict::Reason::not_finite);
  CHECK(query.verdict(infinite, workspace).reason == Verdict::Reason::not_finite);
  CHECK(query.verdict(far, workspace).reason == Verdict::Reason::box);
  // The exact derivative is that of the emulator, as without the hull.
  double value[80], slope[160];
  const double middle[2] = {0.12, 3.05};
  CHECK(query.jacobian(middle, value, slope, workspace).inside());
  // An artifact that says what it does not hold.
  zelos::artifact::Contents broken = std::move(zelos::artifact::read(folder / "convex.h5").contents);
  broken.arrays.erase("region/vertices");
  zelos::artifact::write(folder / "broken.h5", broken);
  CHECK_THAT(failure(ZELOS_E_FORMAT, [&] { zelos::Emulator::open(folder / "broken.h5"); }),
             Catch::Contains("region/vertices"));
}

TEST_CASE("grid values that are an end of the box up to round-off are that end", "[hull]") {
  MatrixXd points(4, 2);
  points << -1, -1, -1, 1 - 1e-15, std::nextafter(1.0, 0.0), -1, std::nextafter(1.0, 0.0), 1 - 1e-15;
  const auto hull = cells(points);
  for (const double a : {-1.0, 1.0}) {
    for (const double b : {-1.0, 1.0}) {
      const double corner[2] = {a, b};
      CHECK(hull->holds(corner));
    }
  }
}
