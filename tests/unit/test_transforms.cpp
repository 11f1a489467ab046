// SPDX-License-Identifier: BSD-3-Clause
// Splines, stretch, point transforms and kernels against closed forms and dense algebra.
#include <Eigen/Dense>
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <limits>
#include <random>

#include "base/kernels.hpp"
#include "transforms/cubic_spline.hpp"
#include "transforms/point_transform.hpp"
#include "transforms/stretch.hpp"
#include "zelos/error.hpp"

namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;
using zelos::CubicSpline;
using zelos::PointContext;
using zelos::PointTransform;
using zelos::Stretch;

/// The cubic spline through (x, y), not-a-knot at both ends, by the conditions themselves: piece i
/// is a + b t + c t^2 + d t^3, t = s - x_i. Returns n - 1 rows of (a, b, c, d).
MatrixXd not_a_knot(const std::vector<double>& x, const VectorXd& y) {
  const int n = static_cast<int>(x.size()) - 1;
  MatrixXd m = MatrixXd::Zero(4 * n, 4 * n);
  VectorXd r = VectorXd::Zero(4 * n);
  int row = 0;
  for (int i = 0; i < n; ++i) {
    const double h = x[i + 1] - x[i];
    m(row, 4 * i) = 1;
    r[row++] = y[i];
    m.row(row).segment(4 * i, 4) << 1, h, h * h, h * h * h;
    r[row++] = y[i + 1];
    if (i + 1 == n) continue;
    m.row(row).segment(4 * i, 4) << 0, 1, 2 * h, 3 * h * h;
    m(row++, 4 * i + 5) = -1;
    m.row(row).segment(4 * i, 4) << 0, 0, 2, 6 * h;
    m(row++, 4 * i + 6) = -2;
  }
  m(row, 3) = 1;
  m(row++, 7) = -1;
  m(row, 4 * n - 5) = 1;
  m(row++, 4 * n - 1) = -1;
  const VectorXd c = m.fullPivLu().solve(r);
  return Eigen::Map<const Eigen::Matrix<double, -1, -1, Eigen::RowMajor>>(c.data(), n, 4);
}

double cubic(const MatrixXd& pieces, const std::vector<double>& x, double s) {
  const int last = static_cast<int>(x.size()) - 2;
  const int i = std::clamp(static_cast<int>(std::upper_bound(x.begin(), x.end(), s) - x.begin()) - 1, 0, last);
  const double t = s - x[i];
  return pieces(i, 0) + t * (pieces(i, 1) + t * (pieces(i, 2) + t * pieces(i, 3)));
}

const std::vector<double> kNodes{0, 0.3, 0.5, 1.2, 1.25, 2, 3.5, 3.6};

VectorXd at(const std::vector<double>& x, const std::function<double(double)>& f) {
  VectorXd y(x.size());
  for (size_t i = 0; i < x.size(); ++i) y[i] = f(x[i]);
  return y;
}

}  // namespace

TEST_CASE("interpolation is the not-a-knot spline of a dense solve, beyond the ends too", "[transforms]") {
  const VectorXd y = at(kNodes, [](double x) { return std::sin(3 * x) + x * x; });
  const MatrixXd pieces = not_a_knot(kNodes, y);
  const CubicSpline spline = CubicSpline::through_nodes(kNodes);
  CHECK(spline.size() == 8);
  const std::vector<double> points{0, 0.1, 0.3, 0.7, 1.2, 1.22, 1.9, 3.55, 3.6, -0.1, 3.7};
  const VectorXd found = spline.design(points) * spline.interpolate(kNodes, y);
  for (size_t i = 0; i < points.size(); ++i) {
    CAPTURE(points[i]);
    CHECK(found[i] == Approx(cubic(pieces, kNodes, points[i])).epsilon(1e-11).margin(1e-13));
  }
}

TEST_CASE("few nodes give the polynomial through them", "[transforms]") {
  const std::vector<double> points{-1, 0, 0.4, 2, 3};
  for (int n = 1; n <= 4; ++n) {
    const std::vector<double> nodes(kNodes.begin(), kNodes.begin() + n);
    const auto f = [n](double x) {
      return n == 1 ? 2.0 : n == 2 ? 2 - x : n == 3 ? 2 - x + 3 * x * x : 2 - x + 3 * x * x - x * x * x;
    };
    const CubicSpline spline = CubicSpline::through_nodes(nodes);
    CHECK(spline.size() == n);
    const VectorXd found = spline.design(points) * spline.interpolate(nodes, at(nodes, f));
    for (size_t i = 0; i < points.size(); ++i) {
      CAPTURE(n, points[i]);
      CHECK(found[i] == Approx(f(points[i])).epsilon(1e-11).margin(1e-12));
    }
  }
}

TEST_CASE("splines on breakpoints hold every cubic, sum to one and fit as dense least squares does", "[transforms]") {
  const std::vector<double> breakpoints{-1, 0, 0.5, 2};
  const CubicSpline spline = CubicSpline::on_breakpoints(breakpoints);
  REQUIRE(spline.size() == 6);
  std::vector<double> x;
  for (int i = 0; i <= 60; ++i) x.push_back(-1 + 0.05 * i);
  const MatrixXd design = spline.design(x);
  CHECK((design.rowwise().sum() - VectorXd::Ones(61)).cwiseAbs().maxCoeff() < 1e-14);
  CHECK(design.minCoeff() >= -1e-15);
  MatrixXd y(61, 2);
  y.col(0) = at(x, [](double s) { return 1 - 2 * s + s * s * s; });
  y.col(1) = at(x, [](double s) { return std::exp(s) * std::sin(4 * s); });
  const VectorXd weights = at(x, [](double s) { return 1 + 0.5 * s; });
  const MatrixXd coefficients = spline.fit(x, y, weights);
  CHECK((design * coefficients.col(0) - y.col(0)).cwiseAbs().maxCoeff() < 1e-12);
  const MatrixXd dense = (weights.asDiagonal() * design).householderQr().solve(MatrixXd(weights.asDiagonal() * y));
  CHECK((coefficients - dense).cwiseAbs().maxCoeff() < 1e-10);
  CHECK_THROWS_AS(CubicSpline::on_breakpoints({1}), zelos::Error);
  CHECK_THROWS_AS(CubicSpline::on_breakpoints({0, 1, 1}), zelos::Error);
  CHECK_THROWS_AS(CubicSpline::on_breakpoints({0, 2, 1}), zelos::Error);
}

TEST_CASE(
    "a stretch is linear, then returns to the end with its slope continuous; inverse and "
    "derivative fit",
    "[transforms]") {
  const Stretch stretch{10, 70, 110};
  for (const double s : {0.9, 1.0, 1.07}) {
    CAPTURE(s);
    CHECK(stretch.monotone(s));
    CHECK(stretch.forward(10, s) == Approx(10));
    CHECK(stretch.forward(110, s) == Approx(110).epsilon(1e-15));
    CHECK(stretch.forward(40, s) == Approx(10 + 30 * s));
    const double h = 1e-6;
    CHECK((stretch.forward(70 + h, s) - stretch.forward(70, s)) / h == Approx(s).epsilon(1e-6));
    for (const double x : {10.0, 33.0, 70.0, 70.5, 90.0, 109.0, 110.0}) {
      CAPTURE(x);
      CHECK(stretch.inverse(stretch.forward(x, s), s) == Approx(x).epsilon(1e-14));
      const double numeric = (stretch.forward(x, s + 1e-5) - stretch.forward(x, s - 1e-5)) / 2e-5;
      CHECK(stretch.derivative_s(x) == Approx(numeric).epsilon(1e-8).margin(1e-8));
      CHECK(stretch.forward(x + 1e-3, s) > stretch.forward(x, s));
    }
  }
  // 2 x_end' / (x_end' + x_full') = 200 / 160
  CHECK(stretch.monotone(1.2499));
  CHECK_FALSE(stretch.monotone(1.2501));
  CHECK_FALSE(stretch.monotone(0));
  CHECK_FALSE(stretch.monotone(-0.1));
}

TEST_CASE("point transforms: closed forms, inverse and tangents", "[transforms]") {
  using Kind = PointTransform::Kind;
  constexpr int64_t n = 8;
  // Static: generated cases outlive the first pass through this body.
  static const double y[n] = {0.3, 1, 2, 5, 0.01, 7, 3, 1e-4};
  static const double a[n] = {1, 2, 3, 4, 5, 6, 7, 8}, b[n] = {2, 1, 4, 1, 0.5, 1, 3, 9};
  static const double log_axis[n] = {-1, -0.5, 0, 0.1, 0.2, 0.5, 1, 2};
  static const int32_t at[n] = {0, 1, 2, 0, 1, 2, 0, 1};
  static const double along[3] = {0.4, -1, 0.2};
  const double along_tangents[6] = {0.5, 0.1, -0.7, 0, 0, 0};
  const double features[2] = {0.7, 0.9}, slopes[2] = {0.3, -0.2};
  double da[n], db[n];
  for (int64_t i = 0; i < n; ++i)
    da[i] = 0.1 * static_cast<double>(i) - 0.3, db[i] = 0.5 - 0.2 * static_cast<double>(i);
  struct Case {
    Kind kind;
    bool logarithmic;
    std::function<double(int64_t)> expected;
  };
  const auto c = GENERATE_COPY(
      Case{Kind::log, false, [&](int64_t i) { return std::log(y[i]); }},
      Case{Kind::arcsinh, false, [&](int64_t i) { return std::log(y[i] / 0.5 + std::sqrt(y[i] * y[i] / 0.25 + 1)); }},
      Case{Kind::amplitude, true, [&](int64_t i) { return y[i] - (0.9 - 0.2); }},
      Case{Kind::amplitude, false, [&](int64_t i) { return y[i] / std::exp(0.9 - 0.2); }},
      Case{Kind::tilt, true, [&](int64_t i) { return y[i] - (0.9 - 0.2) * log_axis[i]; }},
      Case{Kind::tilt, false, [&](int64_t i) { return y[i] / std::pow(std::exp(log_axis[i]), 0.9 - 0.2); }},
      Case{Kind::background, true, [&](int64_t i) { return y[i] - along[at[i]]; }},
      Case{Kind::background, false, [&](int64_t i) { return y[i] / std::exp(along[at[i]]); }},
      Case{Kind::ratio, false, [&](int64_t i) { return y[i] / a[i]; }},
      Case{Kind::correlation, false, [&](int64_t i) { return y[i] / std::sqrt(a[i] * b[i]); }});
  CAPTURE(zelos::to_string(c.kind), c.logarithmic);
  PointTransform t{};
  t.kind = c.kind;
  t.logarithmic = c.logarithmic;
  t.feature = 1;
  t.offset = 0.2;
  t.scale = 0.5;
  PointContext context;
  context.n = n;
  context.features = features;
  context.n_features = 2;
  context.log_axis = log_axis;
  context.at = at;
  context.background = along;
  context.background_tangents = along_tangents;
  context.n_background = 3;
  context.other[0] = a;
  context.other[1] = b;
  double g[n];
  std::copy(y, y + n, g);
  zelos::apply(t, context, g);
  for (int64_t i = 0; i < n; ++i) CHECK(g[i] == Approx(c.expected(i)).epsilon(1e-14).margin(1e-15));

  // Tangents: the chain rule against a difference along (g, features, a, b) -> (g + e dg, ...).
  double dg[2 * n], zero[n] = {};
  for (int64_t i = 0; i < n; ++i) dg[i] = 0.2 + 0.1 * static_cast<double>(i), dg[n + i] = 1;
  const double feature_tangents[4] = {slopes[0], slopes[1], 0, 0};
  double das[2 * n], dbs[2 * n];
  std::copy(da, da + n, das), std::copy(zero, zero + n, das + n);
  std::copy(db, db + n, dbs), std::copy(zero, zero + n, dbs + n);
  context.n_tangents = 2;
  context.feature_tangents = feature_tangents;
  context.other_tangents[0] = das;
  context.other_tangents[1] = dbs;
  double back[n], tangent[2 * n];
  std::copy(g, g + n, back);
  std::copy(dg, dg + 2 * n, tangent);
  zelos::undo(t, context, back, tangent);
  for (int64_t i = 0; i < n; ++i) CHECK(back[i] == Approx(y[i]).epsilon(1e-13).margin(1e-15));

  const auto moved = [&](double e, bool all, double* out) {
    double f[2] = {features[0] + (all ? e * slopes[0] : 0), features[1] + (all ? e * slopes[1] : 0)}, ma[n], mb[n];
    for (int64_t i = 0; i < n; ++i) {
      ma[i] = a[i] + (all ? e * da[i] : 0);
      mb[i] = b[i] + (all ? e * db[i] : 0);
      out[i] = g[i] + e * dg[i + (all ? 0 : n)];
    }
    double moved_along[3];
    for (int i = 0; i < 3; ++i) moved_along[i] = along[i] + (all ? e * along_tangents[i] : 0);
    PointContext there = context;
    there.n_tangents = 0;
    there.features = f;
    there.background = moved_along;
    there.other[0] = ma;
    there.other[1] = mb;
    zelos::undo(t, there, out, nullptr);
  };
  for (const bool all : {true, false}) {
    double up[n], down[n];
    moved(1e-5, all, up);
    moved(-1e-5, all, down);
    for (int64_t i = 0; i < n; ++i) {
      CHECK(tangent[i + (all ? 0 : n)] == Approx((up[i] - down[i]) / 2e-5).epsilon(1e-7).margin(1e-9));
    }
  }
}

TEST_CASE("a distance of zero is divided by none", "[transforms]") {
  const double none = -std::numeric_limits<double>::infinity();
  const int32_t at[8] = {0, 1, 1, 1, 1, 1, 1, 1};
  const double along[2] = {none, 0.5}, tangents[2] = {0, 0.3};
  PointTransform t{};
  t.kind = PointTransform::Kind::background;
  PointContext context;
  context.n = 8;
  context.at = at;
  context.background = along;
  double values[8] = {0, 2, 2, 2, 2, 2, 2, 2}, slopes[8] = {1, 1, 1, 1, 1, 1, 1, 1};
  zelos::apply(t, context, values);
  CHECK(values[0] == 1);
  context.n_tangents = 1;
  context.background_tangents = tangents;
  context.n_background = 2;
  zelos::undo(t, context, values, slopes);
  CHECK((values[0] == 0 && slopes[0] == 0));
  CHECK(values[1] == Approx(2));
  values[0] = 3;
  CHECK_THROWS_WITH(zelos::apply(t, context, values), Catch::Contains("background"));
}

TEST_CASE("values outside a transform's domain are named", "[transforms]") {
  using Kind = PointTransform::Kind;
  const double zero[1] = {0}, minus[1] = {-2}, one[1] = {1};
  struct Case {
    Kind kind;
    double y;
    const double *a, *b;
    const char* name;
  };
  for (const Case& c :
       {Case{Kind::log, 0, nullptr, nullptr, "log"}, Case{Kind::log, -1, nullptr, nullptr, "log"},
        Case{Kind::log, std::nan(""), nullptr, nullptr, "log"}, Case{Kind::ratio, 1, zero, nullptr, "ratio"},
        Case{Kind::correlation, 1, minus, one, "correlation"}, Case{Kind::correlation, 1, zero, one, "correlation"}}) {
    PointTransform t{};
    t.kind = c.kind;
    PointContext context;
    context.n = 1;
    context.other[0] = c.a;
    context.other[1] = c.b;
    double y = c.y;
    CHECK_THROWS_WITH(zelos::apply(t, context, &y), Catch::Contains(std::string("'") + c.name + "'"));
  }
}

TEST_CASE("kernels of an evaluation against plain loops", "[transforms][kernels]") {
  std::mt19937_64 random(7);
  std::normal_distribution<double> normal;
  for (const int64_t n : {1, 31, 32, 33, 100}) {
    const int64_t columns = 7, padded = zelos::padded_rows(n);
    std::vector<double> tiles(padded * columns), w(columns), start(padded), out(padded, -1), plain(padded);
    for (double& v : tiles) v = normal(random);
    for (double& v : w) v = normal(random);
    for (double& v : start) v = normal(random);
    for (const bool with_start : {true, false}) {
      zelos::tiled_product(tiles.data(), n, columns, w.data(), with_start ? start.data() : nullptr, out.data());
      for (int64_t i = 0; i < padded; ++i) {
        double sum = with_start ? start[i] : 0;
        for (int64_t k = 0; k < columns; ++k)
          sum += tiles[i / zelos::kTile * zelos::kTile * columns + k * zelos::kTile + i % zelos::kTile] * w[k];
        CHECK(out[i] == Approx(sum).epsilon(1e-13).margin(1e-13));
      }
    }
  }
  std::vector<double> x{-700, -30.5, -1, -1e-9, 0, 1e-300, 0.5, 300}, y = x;
  zelos::exponential(y.data(), 8);
  for (size_t i = 0; i < 8; ++i) CHECK(y[i] == Approx(std::exp(x[i])).epsilon(4e-15));
  for (size_t i = 0; i < 19; ++i) {
    std::vector<double> values(19, 1e308);
    CHECK(zelos::all_finite(values.data(), 19));
    for (const double bad : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
      values[i] = bad;
      CHECK_FALSE(zelos::all_finite(values.data(), 19));
      CHECK(zelos::all_finite(values.data(), static_cast<int64_t>(i)));
    }
  }
}
