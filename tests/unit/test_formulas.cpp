// SPDX-License-Identifier: BSD-3-Clause
// The emulator of the toy against the formulas: units, axes, order of transforms and segments,
// features.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "toy.hpp"

namespace {

using zelos::Emulator;
using zelos::Query;
using zelos::Request;

const std::vector<std::string> kNames{"ombh2", "omch2", "H0", "tau", "logA", "ns"};

struct Case {
  const char* output;
  std::vector<std::vector<double>> axes;
  double tolerance;  ///< of the largest value: what cubic or quartic polynomials, or a small
                     ///< network, reach here
};

const Emulator& emulator() {
  static const Emulator opened = Emulator::open(toy::artifact());
  return opened;
}

double largest_error(const Case& c, double shift) {
  const Query query = emulator().query(kNames, {Request{c.output, c.axes}});
  zelos::Workspace workspace = query.workspace();
  const toy::Point point = toy::interior(emulator(), shift);
  std::vector<double> out(query.size());
  REQUIRE(query.evaluate(point.data(), out.data(), workspace).inside());
  std::vector<std::vector<double>> axes = c.axes;
  for (const zelos::Output& output : emulator().outputs()) {
    if (output.name != c.output) continue;
    axes.resize(output.axes.size());
    for (size_t a = 0; a < axes.size(); ++a) {
      if (axes[a].empty()) axes[a] = output.axes[a].values;
    }
  }
  // Steep functions: each value counts relative to the largest within a factor e along the axes.
  double error = 0;
  size_t i = 0;
  for (const double x : axes[0]) {
    for (const double y : axes.size() > 1 ? axes[1] : std::vector<double>{0}) {
      const double label = std::string(c.output) == "derived" && x == 2 ? 3 : x;  // omegam is the runs' fourth
      const double expected = toy::truth(c.output, point, label, y);
      double scale = std::abs(expected);
      if (std::string(c.output) == "Cl.te")
        scale = 0.6 * std::sqrt(toy::truth("Cl.tt", point, x) * toy::truth("Cl.ee", point, x));
      if (std::string(c.output) == "signal") scale = 3;
      error = std::max(error, std::abs(out[i++] - expected) / scale);
    }
  }
  CHECK(i == out.size());
  return error;
}

}  // namespace

TEST_CASE("the emulator gives the formulas' values on native and requested axes", "[runtime]") {
  const std::vector<double> ell{2, 3, 28, 29, 30, 31, 60, 89, 90, 91, 120, 149, 150};
  const auto c = GENERATE_COPY(
      Case{"Cl.tt", {}, 3e-3}, Case{"Cl.tt", {ell}, 3e-3}, Case{"Cl.ee", {}, 6e-3}, Case{"Cl.ee", {ell}, 6e-3},
      Case{"Cl.te", {}, 2e-2}, Case{"Cl.te", {ell}, 2e-2}, Case{"Pk.linear", {}, 1e-3},
      Case{"Pk.linear", {{0.0013, 0.05, 0.7}, {0.25, 2.5}}, 3e-3}, Case{"Pk.linear", {{}, {1.7}}, 3e-3},
      Case{"Pk.nonlinear", {}, 3e-3}, Case{"Pk.nonlinear", {{0.002, 0.3}, {}}, 5e-3}, Case{"Hubble", {}, 3e-4},
      Case{"Hubble", {{0.1, 1.23, 2.9}}, 3e-4}, Case{"signal", {}, 3e-2}, Case{"signal", {{1.2, 9.9}}, 3e-2},
      Case{"flux", {}, 2e-3}, Case{"flux", {{1.1, 5.55}}, 2e-3}, Case{"derived", {}, 5e-4},
      Case{"derived", {{1}}, 5e-4});
  CAPTURE(c.output, c.axes.size());
  CHECK(largest_error(c, 0.1) < c.tolerance);
  CHECK(largest_error(c, -0.3) < c.tolerance);
}

TEST_CASE("parts of an axis give the same numbers as all of it", "[runtime]") {
  const toy::Point point = toy::interior(emulator(), 0.2);
  for (const char* output : {"Cl.tt", "Cl.ee", "Cl.te"}) {
    const std::vector<double> part{5, 29, 30, 31, 88, 89, 90, 91, 150};
    const Query query = emulator().query(kNames, {Request{output, {}}, Request{output, {part}}});
    zelos::Workspace workspace = query.workspace();
    std::vector<double> out(query.size());
    REQUIRE(query.evaluate(point.data(), out.data(), workspace).inside());
    for (size_t i = 0; i < part.size(); ++i) {
      CAPTURE(output, part[i]);
      CHECK(out[149 + i] == Approx(out[static_cast<size_t>(part[i]) - 2]).epsilon(1e-13));
    }
  }
}

TEST_CASE("what is asked beside does not change an answer, nor does a used workspace", "[runtime]") {
  std::vector<Request> all;
  for (const zelos::Output& output : emulator().outputs()) all.push_back({output.name, {}});
  const Query together = emulator().query(kNames, all);
  zelos::Workspace workspace = together.workspace();
  const toy::Point point = toy::interior(emulator(), 0.15), other = toy::interior(emulator(), -0.4);
  std::vector<double> out(together.size()), again(together.size()), jacobian(together.size() * 6);
  REQUIRE(together.evaluate(point.data(), out.data(), workspace).inside());
  REQUIRE(together.jacobian(other.data(), again.data(), jacobian.data(), workspace).inside());
  REQUIRE(together.evaluate(point.data(), again.data(), workspace).inside());
  CHECK(out == again);
  for (size_t r = 0; r < all.size(); ++r) {
    const Query alone = emulator().query(kNames, {all[r]});
    zelos::Workspace fresh = alone.workspace();
    std::vector<double> single(alone.size());
    REQUIRE(alone.evaluate(point.data(), single.data(), fresh).inside());
    CHECK(std::equal(single.begin(), single.end(), out.begin() + together.blocks()[r].offset));
  }
}

TEST_CASE("many points at once are the points one by one", "[runtime]") {
  const Query query = emulator().query(kNames, {{"Cl.te", {}}, {"derived", {}}});
  zelos::Workspace workspace = query.workspace();
  std::vector<double> points, single(query.size());
  for (int i = 0; i < 5; ++i) {
    toy::Point p = toy::interior(emulator(), 0.1 * i);
    if (i == 2) p[3] = 0.2;
    points.insert(points.end(), p.begin(), p.end());
  }
  std::vector<double> out(5 * query.size(), -7.0);
  std::vector<zelos::Verdict> verdicts(5);
  CHECK(query.evaluate(5, points.data(), out.data(), verdicts.data(), workspace) == 4);
  CHECK(query.evaluate(5, points.data(), out.data(), nullptr, workspace) == 4);
  for (int i = 0; i < 5; ++i) {
    CHECK(verdicts[i].inside() == (i != 2));
    if (i == 2) std::fill(single.begin(), single.end(), -7.0);
    if (i != 2) REQUIRE(query.evaluate(points.data() + 6 * i, single.data(), workspace).inside());
    CHECK(std::equal(single.begin(), single.end(), out.begin() + i * query.size()));
  }
}
