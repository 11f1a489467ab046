// SPDX-License-Identifier: BSD-3-Clause
// Where an emulator answers: faces of the box, hull, fixed physics, solvable names, predicted
// error.
#include <Eigen/Dense>
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <random>

#include "region/region.hpp"
#include "toy.hpp"
#include "zelos/error_model.hpp"

namespace {

using zelos::Emulator;
using zelos::Query;
using zelos::Verdict;
using Reason = Verdict::Reason;

const std::vector<std::string> kNames{"ombh2", "omch2", "H0", "tau", "logA", "ns"};
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kUntouched = -12345.5;

const Emulator& emulator() {
  static const Emulator opened = Emulator::open(toy::artifact());
  return opened;
}

/// The verdict on `values`; whatever is asked of a point outside leaves every array as it was.
/// differentiable: no name is of physics that was held fixed.
Verdict verdict_of(const Query& query, const std::vector<double>& values, bool differentiable = true) {
  zelos::Workspace workspace = query.workspace();
  const size_t n = static_cast<size_t>(query.size()), d = values.size();
  std::vector<double> out(n, kUntouched), jacobian(n * d, kUntouched), product(std::max(n, d), kUntouched),
      direction(std::max(n, d), 1.0);
  const Verdict verdict = query.evaluate(values.data(), out.data(), workspace);
  const Verdict alone = query.verdict(values.data(), workspace);
  CHECK(alone.reason == verdict.reason);
  CHECK(alone.parameter == verdict.parameter);
  if (verdict.inside()) {
    for (const double y : out) CHECK(std::isfinite(y));
    return verdict;
  }
  if (differentiable) {
    CHECK(query.jacobian(values.data(), out.data(), jacobian.data(), workspace).reason == verdict.reason);
    CHECK(query.jvp(values.data(), direction.data(), out.data(), product.data(), workspace).reason == verdict.reason);
    CHECK(query.vjp(values.data(), direction.data(), out.data(), product.data(), workspace).reason == verdict.reason);
  }
  CHECK(query.evaluate(1, values.data(), out.data(), nullptr, workspace) == 0);
  for (const auto* array : {&out, &jacobian, &product}) {
    CHECK(std::all_of(array->begin(), array->end(), [](double y) { return y == kUntouched; }));
  }
  return verdict;
}

}  // namespace

TEST_CASE("the faces of the box are inside, one step beyond is outside", "[region]") {
  const Query query = emulator().query(kNames, {{"derived", {}}});
  for (size_t j = 0; j < kNames.size(); ++j) {
    const zelos::Parameter& p = emulator().parameters()[j];
    for (const bool upper : {false, true}) {
      const double face = upper ? p.max : p.min, outward = upper ? kInfinity : -kInfinity;
      CAPTURE(p.name, upper);
      toy::Point point = toy::interior(emulator(), 0.1);
      point[j] = face;
      CHECK(verdict_of(query, point).inside());
      point[j] = std::nextafter(face, -outward);
      CHECK(verdict_of(query, point).inside());
      point[j] = std::nextafter(face, outward);
      const Verdict verdict = verdict_of(query, point);
      CHECK(verdict.reason == Reason::box);
      CHECK(verdict.parameter == p.name);
      CHECK(verdict.value == point[j]);
      CHECK(verdict.lower == p.min);
      CHECK(verdict.upper == p.max);
      CHECK(verdict.excess > 0);
      CHECK(verdict.excess < 1e-14);
      CHECK_THAT(to_string(verdict), Catch::Contains("'" + p.name + "'"));
    }
  }
}

TEST_CASE("a limit holds a combination of parameters within its range", "[region]") {
  const toy::TemporaryFolder folder;
  const auto file = folder / "limited.h5";
  toy::train(
      std::string(toy::kSmallSpec) + "limits: {sum: {coefficients: [1, 10], of: [logA, omch2], range: [4.2, 4.3]}}\n",
      60, file);
  const Emulator emulator = Emulator::open(file);
  const Query query = emulator.query({"omch2", "logA"}, {{"Pk.linear", {}}});
  zelos::Workspace workspace = query.workspace();
  const auto verdict = [&](double omch2, double log_a) {
    const double x[2] = {omch2, log_a};
    return query.verdict(x, workspace);
  };
  CHECK(verdict(0.12, 3.05).inside());
  CHECK(verdict(0.12, 3.0 + 1e-9).inside());
  const Verdict below = verdict(0.12, 3.0 - 1e-9), above = verdict(0.1251, 3.05);
  for (const Verdict& v : {below, above}) {
    CHECK(v.reason == Verdict::Reason::box);
    CHECK(v.parameter == "sum");
    CHECK((v.lower == 4.2 && v.upper == 4.3 && v.excess > 0));
  }
  CHECK(above.value == Approx(4.301).epsilon(1e-12));
}

TEST_CASE("how far outside is told in units of the range", "[region]") {
  const Query query = emulator().query(kNames, {{"derived", {}}});
  toy::Point point = toy::interior(emulator(), 0);
  point[2] = 90;
  const Verdict verdict = verdict_of(query, point);
  CHECK(verdict.excess == Approx(0.5));
  CHECK(to_string(verdict) == "parameter 'H0' is 90; the validated range is [60, 80] (outside by 0.5 of it)");
}

TEST_CASE("the hull is the ellipsoid of the points' covariance that holds them all", "[region]") {
  const Emulator small = Emulator::open(toy::small_artifact());
  const zelos::Spec spec = zelos::parse_spec(toy::kSmallSpec, "small.yaml");
  const toy::Runs runs(spec, 40);
  const Eigen::Map<const Eigen::Matrix<double, -1, 2, Eigen::RowMajor>> x(runs.parameters.data(), 40, 2);
  const Eigen::RowVector2d center = x.colwise().mean();
  const Eigen::Matrix2d covariance = (x.rowwise() - center).transpose() * (x.rowwise() - center) / 40;
  const auto distance = [&](const Eigen::RowVector2d& p) {
    return std::sqrt((p - center).dot(covariance.fullPivLu().solve((p - center).transpose())));
  };
  double radius = 0;
  for (int i = 0; i < 40; ++i) radius = std::max(radius, distance(x.row(i)));

  const Query query = small.query({"omch2", "logA"}, {{"Pk.linear", {}}});
  const Eigen::RowVector2d corner(0.14, 3.2);
  REQUIRE(distance(corner) > radius);
  const Verdict outside = verdict_of(query, {corner[0], corner[1]});
  CHECK(outside.reason == Reason::hull);
  CHECK(outside.hull == "ellipsoid");
  CHECK((outside.parameter == "omch2" || outside.parameter == "logA"));
  CHECK(outside.value == Approx(distance(corner)).epsilon(1e-10));
  CHECK(outside.upper == Approx(radius).epsilon(1e-10));
  CHECK(outside.excess == Approx(distance(corner) / radius - 1).epsilon(1e-8));
  CHECK_THAT(to_string(outside), Catch::Contains("ellipsoid") && Catch::Contains(outside.parameter));

  for (const double angle : {0.5, 0.8, 2.4, 3.9}) {
    const Eigen::RowVector2d along(0.01 * std::cos(angle), 0.1 * std::sin(angle));
    const Eigen::RowVector2d edge = along * (radius / distance(center + along));
    for (const double factor : {1 - 1e-9, 1 + 1e-9}) {
      const Eigen::RowVector2d p = center + factor * edge;
      CAPTURE(angle, factor);
      const Verdict verdict = verdict_of(query, {p[0], p[1]});
      const bool in_box = p[0] >= 0.1 && p[0] <= 0.14 && p[1] >= 2.9 && p[1] <= 3.2;
      CHECK(verdict.reason == (!in_box ? Reason::box : factor < 1 ? Reason::inside : Reason::hull));
    }
  }
  // Far away, and at numbers whose squares overflow.
  CHECK(verdict_of(query, {1e200, 3.0}).reason == Reason::box);
  CHECK(verdict_of(query, {0.12, -1e308}).reason == Reason::box);
}

TEST_CASE("points for a cube fill a region, however thin its hull is", "[region]") {
  // A band along the diagonal of the cube, a tenth of a percent of its volume.
  constexpr int d = 4;
  std::mt19937_64 random(3);
  std::normal_distribution<double> normal;
  Eigen::MatrixXd points(400, d);
  for (int64_t i = 0; i < points.rows(); ++i) {
    const double along = 0.1 * normal(random);
    for (int j = 0; j < d; ++j) points(i, j) = 0.6 + along + 0.01 * normal(random);
  }
  Eigen::MatrixXd grid(160, d);  // two values of each parameter, five of the first and the last, with a hole
  int64_t n = 0;
  for (int i = 0; i < 160; ++i) {
    const int first = i % 5, last = i / 5 % 5;
    if (i / 25 >= 4 || (first == 2 && last == 2)) continue;
    grid.row(n++) << 0.25 * first, (i / 25) % 2, (i / 50) % 2, 0.25 * last;
  }
  grid.conservativeResize(n, d);
  const std::vector<double> lower(d, 0), upper(d, 1);
  const auto kind = GENERATE(as<std::string>{}, "box", "ellipsoid", "convex", "cells");
  zelos::Region region({"a", "b", "c", "d"}, lower, upper);
  const bool on_grid = kind == "cells";
  region.set_hull(zelos::Hull::fit(kind, on_grid ? grid : points, lower, upper, 0));
  std::uniform_real_distribution<double> uniform(0, 1);
  Eigen::MatrixXd found(1000, d);
  for (int64_t i = 0; i < found.rows(); ++i) {
    std::vector<double> u(d);
    for (double& value : u) value = uniform(random);
    const std::vector<double> x = region.point(u);
    INFO(kind);
    REQUIRE(region.check(x.data()).inside());
    found.row(i) = Eigen::Map<const Eigen::VectorXd>(x.data(), d);
  }
  const auto spread = [](const Eigen::MatrixXd& x) {
    const Eigen::MatrixXd centered = x.rowwise() - x.colwise().mean();
    return Eigen::VectorXd(
        Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd>(centered.transpose() * centered / static_cast<double>(x.rows()))
            .eigenvalues()
            .cwiseSqrt());
  };
  // Of what fills the same shape evenly: the spread of the training points, or that of a unit range.
  const Eigen::VectorXd all = spread(points), here = spread(found);
  for (int j = 0; j < d; ++j) {
    const double expected = kind == "box" || on_grid ? std::sqrt(1.0 / 12) : all[j];
    CHECK(here[j] > 0.5 * expected);
    CHECK(here[j] < 2.5 * expected);
  }
  const std::vector<double> middle = region.point(std::vector<double>(d, 0.5));
  if (!on_grid) CHECK(region.check(middle.data()).inside());
  if (kind == "box") CHECK(middle == std::vector<double>(d, 0.5));
}

TEST_CASE("fixed physics may be said, and must be what it was", "[region]") {
  const Query query =
      emulator().query({"ombh2", "omch2", "H0", "tau", "logA", "ns", "mnu", "omk", "w0_fld"}, {{"Cl.tt", {}}});
  std::vector<double> x = toy::interior(emulator(), 0.1);
  x.insert(x.end(), {0.06, 0, -1});
  CHECK(verdict_of(query, x, false).inside());
  struct Case {
    size_t index;
    double value;
    const char* name;
  };
  for (const Case& c : {Case{6, 0.06 * (1 + 1e-7), "mnu"}, Case{7, 1e-11, "omk"}, Case{6, 0.07, "mnu"},
                        Case{6, 0, "mnu"}, Case{7, 1e-3, "omk"}, Case{8, -0.99, "w"}}) {
    std::vector<double> moved = x;
    moved[c.index] = c.value;
    const Verdict verdict = verdict_of(query, moved, false);
    CHECK(verdict.reason == Reason::fixed_parameter);
    CHECK(verdict.parameter == c.name);
    CHECK(verdict.value == c.value);
    CHECK_THAT(to_string(verdict), Catch::Contains(c.name));
  }
}

TEST_CASE("a fixed value is held to its own size, however small", "[region]") {
  std::string spec = toy::kSmallSpec;
  spec.replace(spec.find("logA:"), 5, "tau:");
  spec.replace(spec.find("[2.9, 3.2]"), 10, "[0.04, 0.08]");
  const size_t at = spec.find("config:");
  REQUIRE(at != std::string::npos);
  spec.replace(at, spec.find('\n', at) - at, "config: {code: formulas, fixed: {As: 2.1e-9}}");
  const toy::TemporaryFolder folder;
  toy::train(spec, 40, folder / "a.h5");
  const Emulator fixed = Emulator::open(folder / "a.h5");
  const Query query = fixed.query({"omch2", "tau", "As"}, {{"derived", {}}});
  const Query other = fixed.query({"omch2", "tau", "logA"}, {{"derived", {}}});
  CHECK(verdict_of(query, {0.12, 0.06, 2.1e-9}, false).inside());
  CHECK(verdict_of(other, {0.12, 0.06, std::log(21.0)}, false).inside());
  for (const double wrong : {2.2e-9, 2.1e-9 * (1 + 1e-6), 0.0, 1e-8}) {
    CHECK(verdict_of(query, {0.12, 0.06, wrong}, false).reason == Reason::fixed_parameter);
  }
}

TEST_CASE("canonical values of other physics come with the verdict that says so", "[region]") {
  const Query query = emulator().query({"ombh2", "omch2", "thetastar", "tau", "logA", "ns", "mnu"}, {{"Cl.tt", {}}});
  const toy::Point point = toy::interior(emulator(), 0.1);
  std::vector<double> x = point, canonical(6);
  x[2] = toy::truth("derived", point, 0);
  x.push_back(0.3);
  zelos::Workspace workspace = query.workspace();
  const Verdict verdict = query.canonical(x.data(), canonical.data(), workspace);
  CHECK(verdict.reason == Reason::fixed_parameter);
  CHECK(verdict.parameter == "mnu");
  CHECK(canonical[2] == Approx(point[2]).epsilon(1e-3));
}

TEST_CASE("an angle that no H0 gives, and parameters outside beside one, are told apart", "[region]") {
  const Query query = emulator().query({"ombh2", "omch2", "thetastar", "tau", "logA", "ns"}, {{"Cl.tt", {}}});
  toy::Point x = toy::interior(emulator(), 0.1);
  x[2] = toy::truth("derived", x, 0);
  CHECK(verdict_of(query, x).inside());
  for (const double angle : {0.02, 0.0, -0.01, 1e300}) {
    toy::Point y = x;
    y[2] = angle;
    const Verdict verdict = verdict_of(query, y);
    CHECK(verdict.reason == Reason::no_solution);
    CHECK(verdict.parameter == "thetastar");
    CHECK(verdict.value == angle);
    CHECK(verdict.lower < x[2]);
    CHECK(verdict.upper > x[2]);
    CHECK_THAT(to_string(verdict), Catch::Contains("thetastar"));
  }
  // H0 = 81 is solved for (the design went that far), and then found outside the box.
  toy::Point wide = toy::interior(emulator(), 0.1);
  wide[2] = 80.5;
  toy::Point y = wide;
  y[2] = toy::truth("derived", wide, 0);
  const Verdict beyond = verdict_of(query, y);
  CHECK(beyond.reason == Reason::box);
  CHECK(beyond.parameter == "H0");
  CHECK(beyond.value == Approx(80.5).epsilon(1e-4));
  // Where the other parameters have no logarithm the angle is not to blame.
  y = x;
  y[0] = -0.01;
  const Verdict other = verdict_of(query, y);
  CHECK(other.reason == Reason::box);
  CHECK(other.parameter == "ombh2");
}

TEST_CASE("a point that has no solution has no canonical values and no predicted error, whatever else is wrong",
          "[region]") {
  const Query query = emulator().query({"ombh2", "omch2", "thetastar", "tau", "logA", "ns"}, {{"derived", {}}});
  toy::Point good = toy::interior(emulator(), 0.1);
  good[2] = toy::truth("derived", good, 0);
  zelos::Workspace workspace = query.workspace();
  const zelos::ErrorModel model(query, {});
  for (const double omch2 : {0.5, 5.0, 0.0}) {
    std::vector<double> x = good, canonical(6, kUntouched);
    double error = kUntouched;
    zelos::ErrorEstimate estimate{kUntouched, kUntouched};
    // What an earlier point left in the workspace is no answer either.
    REQUIRE(query.predicted_error(good.data(), &error, workspace).inside());
    error = kUntouched;
    x[1] = omch2;
    CAPTURE(omch2);
    for (const Verdict& verdict :
         {query.canonical(x.data(), canonical.data(), workspace), query.predicted_error(x.data(), &error, workspace),
          model.evaluate(x.data(), &estimate, workspace)}) {
      CHECK(verdict.reason == Reason::box);
      CHECK(verdict.parameter == "omch2");
    }
    CHECK(canonical == std::vector<double>(6, kUntouched));
    CHECK(error == kUntouched);
    CHECK(estimate.mean == kUntouched);
  }
  // Where it has one, the box is no reason to be silent.
  std::vector<double> x = good, canonical(6);
  x[3] = 0.5;
  CHECK(query.canonical(x.data(), canonical.data(), workspace).parameter == "tau");
  CHECK(canonical[3] == 0.5);
}

TEST_CASE("no value that is not a number, or of an absurd size, gets an answer", "[region]") {
  const std::vector<std::vector<std::string>> bindings{
      kNames,
      {"ombh2", "omch2", "thetastar", "tau", "logA", "ns"},
      {"Omega_b", "Omega_c", "h", "tau", "As", "ns", "mnu", "w"},
      {"omega_b", "omega_cdm", "100thetastar", "tau_reio", "A_s", "n_s"}};
  const double denormal = std::numeric_limits<double>::denorm_min();
  for (const auto& names : bindings) {
    const Query query = emulator().query(names, {{"Cl.te", {}}, {"Pk.nonlinear", {}}, {"derived", {}}});
    std::vector<double> good;
    for (const std::string& name : names) {
      const toy::Point p = toy::interior(emulator(), 0);
      const double h2 = p[2] * p[2] * 1e-4, theta = toy::truth("derived", p, 0);
      good.push_back(name == "Omega_b"                        ? p[0] / h2
                     : name == "Omega_c"                      ? p[1] / h2
                     : name == "h"                            ? p[2] / 100
                     : name == "thetastar"                    ? theta
                     : name == "100thetastar"                 ? 100 * theta
                     : name == "As" || name == "A_s"          ? 1e-10 * std::exp(p[4])
                     : name == "mnu"                          ? 0.06
                     : name == "w"                            ? -1
                     : name == "ombh2" || name == "omega_b"   ? p[0]
                     : name == "omch2" || name == "omega_cdm" ? p[1]
                     : name == "H0"                           ? p[2]
                     : name == "tau" || name == "tau_reio"    ? p[3]
                     : name == "logA"                         ? p[4]
                                                              : p[5]);
    }
    CHECK(verdict_of(query, good, names.size() == 6).inside());
    for (size_t j = 0; j < names.size(); ++j) {
      for (const double bad : {std::nan(""), -std::nan(""), kInfinity, -kInfinity, denormal, -denormal, 0.0, -0.0,
                               1e308, -1e308, -good[j]}) {
        std::vector<double> x = good;
        x[j] = bad;
        CAPTURE(names[j], bad);
        const Verdict verdict = verdict_of(query, x, names.size() == 6);
        CHECK_FALSE(verdict.inside());
        CHECK_FALSE(verdict.parameter.empty());
        CHECK_THAT(to_string(verdict), Catch::Contains(verdict.parameter));
        if (!std::isfinite(bad)) {
          CHECK(verdict.reason == Reason::not_finite);
          CHECK(verdict.parameter == names[j]);
        }
      }
    }
  }
}

TEST_CASE("a predicted error above the tolerance is outside, and says how large it is", "[region]") {
  std::string spec = toy::kSmallSpec;
  spec = spec.substr(0, spec.find("region:"));
  const toy::TemporaryFolder folder;
  toy::train(spec, 40, folder / "open.h5");
  const std::vector<std::string> names{"omch2", "logA"};
  const std::vector<double> middle{0.12, 3.05}, corner{0.14, 3.2};
  const std::vector<zelos::Request> all{{"Pk.linear", {}}, {"derived", {}}};
  double in_middle = 0, in_corner = 0;
  {
    const Emulator open = Emulator::open(folder / "open.h5");
    const Query query = open.query(names, all);
    zelos::Workspace workspace = query.workspace();
    double errors[2];
    const auto sum = [&](const std::vector<double>& x, Reason reason) {
      CHECK(query.predicted_error(x.data(), errors, workspace).reason == reason);
      return errors[0] + errors[1];
    };
    in_middle = sum(middle, Reason::inside);
    in_corner = sum(corner, Reason::inside);
    CHECK(in_middle > 0);
    REQUIRE(in_corner > in_middle);
    // Outside the box there is a prediction as well, and the verdict with it.
    CHECK(sum({0.15, 3.2}, Reason::box) > in_corner);
    errors[0] = errors[1] = kUntouched;
    CHECK(sum({std::nan(""), 3.2}, Reason::not_finite) == 2 * kUntouched);
  }
  const double tolerance = 0.5 * (in_middle + in_corner);
  char region[80];
  std::snprintf(region, sizeof region, "region: {hull: box, tolerance: %.17g}\n", tolerance);
  toy::train(spec + region, 40, folder / "gated.h5");
  const Emulator gated = Emulator::open(folder / "gated.h5");
  const Query query = gated.query(names, all);
  CHECK(verdict_of(query, middle).inside());
  const Verdict verdict = verdict_of(query, corner);
  CHECK(verdict.reason == Reason::error_bound);
  CHECK(verdict.value == Approx(in_corner).epsilon(1e-12));
  CHECK(verdict.upper == Approx(tolerance));
  CHECK(verdict.excess == Approx(in_corner / tolerance - 1));
  CHECK_THAT(to_string(verdict), Catch::Contains("tolerance"));
  // The same point is inside or outside whatever is asked of it.
  for (const auto& part : std::vector<std::vector<zelos::Request>>{{}, {all[0]}, {all[1]}}) {
    const Query some = gated.query(names, part);
    CHECK(verdict_of(some, middle).inside());
    CHECK(verdict_of(some, corner).value == Approx(in_corner).epsilon(1e-12));
  }
}

TEST_CASE("a tolerance on an error that nobody predicts is refused in training", "[region][training]") {
  std::string spec = toy::kSmallSpec;
  spec = spec.substr(0, spec.find("emulator_fn:")) +
         "emulator_fn: {type: polynomial, params: {degree: 2, variance: none}}\nregion: "
         "{tolerance: 0.1}\n";
  const toy::TemporaryFolder folder;
  CHECK_THROWS_WITH(toy::train(spec, 40, folder / "a.h5"),
                    Catch::Contains("tolerance") && Catch::Contains("Pk.linear"));
  CHECK(std::filesystem::is_empty(folder.path()));
}

TEST_CASE("where a family predicts no error the answer is NaN", "[region]") {
  const Query query = emulator().query(kNames, {{"Pk.linear", {}}, {"signal", {}}});
  zelos::Workspace workspace = query.workspace();
  const toy::Point point = toy::interior(emulator(), 0.1);
  double errors[2] = {0, 0};
  CHECK(query.predicted_error(point.data(), errors, workspace).inside());
  CHECK(std::isnan(errors[0]));
  CHECK(std::isnan(errors[1]));
}
