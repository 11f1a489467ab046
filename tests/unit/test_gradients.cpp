// SPDX-License-Identifier: BSD-3-Clause
// Jacobian, JVP and VJP against central differences of evaluate(), and against each other.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>

#include "toy.hpp"
#include "zelos/error.hpp"

namespace {

using zelos::Emulator;
using zelos::Query;
using zelos::Request;

const Emulator& emulator() {
  static const Emulator opened = Emulator::open(toy::artifact());
  return opened;
}

struct Question {
  const char* title;
  std::vector<std::string> names;
  /// Bound values of a canonical point.
  std::function<std::vector<double>(const toy::Point&)> from;
};

double omega(double density, double h0) { return density / (h0 * h0 * 1e-4); }

std::vector<double> derived(const toy::Point& p) {
  const Query query = emulator().query({"ombh2", "omch2", "H0", "tau", "logA", "ns"}, {{"derived", {}}});
  zelos::Workspace workspace = query.workspace();
  std::vector<double> out(query.size());
  REQUIRE(query.evaluate(p.data(), out.data(), workspace).inside());
  return out;
}

const std::vector<Question> kQuestions{
    {"canonical", {"ombh2", "omch2", "H0", "tau", "logA", "ns"}, [](const toy::Point& p) { return p; }},
    {"another order and other names",
     {"n_s", "As", "tau_reio", "h", "omega_cdm", "omegabh2"},
     [](const toy::Point& p) {
       return std::vector<double>{p[5], 1e-10 * std::exp(p[4]), p[3], p[2] / 100, p[1], p[0]};
     }},
    {"density fractions and fixed physics",
     {"Omega_b", "Omega_c", "H0", "tau", "logA", "ns", "mnu", "w"},
     [](const toy::Point& p) {
       return std::vector<double>{omega(p[0], p[2]), omega(p[1], p[2]), p[2], p[3], p[4], p[5], 0.06, -1};
     }},
    {"the acoustic angle in place of H0",
     {"ombh2", "omch2", "thetastar", "tau", "A_s", "ns"},
     [](const toy::Point& p) {
       return std::vector<double>{p[0], p[1], derived(p)[0], p[3], 1e-10 * std::exp(p[4]), p[5]};
     }},
    {"the same in another unit, with fixed physics",
     {"100thetastar", "ombh2", "omch2", "tau", "logA", "ns", "omk"},
     [](const toy::Point& p) { return std::vector<double>{100 * derived(p)[0], p[0], p[1], p[3], p[4], p[5], 0}; }}};

const std::vector<Request> kNative{{"Cl.tt", {}},     {"Cl.ee", {}},        {"Cl.te", {}},
                                   {"Pk.linear", {}}, {"Pk.nonlinear", {}}, {"Hubble", {}},
                                   {"signal", {}},    {"flux", {}},         {"derived", {}}};
const std::vector<Request> kOffNode{{"Cl.tt", {{2, 10, 29, 30, 31, 77, 149}}},
                                    {"Cl.ee", {{3, 50, 88, 89, 90, 140}}},
                                    {"Cl.te", {{3, 100}}},
                                    {"Pk.linear", {{0.0012, 0.33}, {0, 0.7, 2.9}}},
                                    {"Pk.nonlinear", {{0.0012, 0.33, 0.9}, {0.2}}},
                                    {"Hubble", {{0.01, 2.2}}},
                                    {"signal", {{1.05, 4.4, 10}}},
                                    {"flux", {{}}},
                                    {"derived", {{0, 2}}}};

/// d out / d value_j by a difference of fourth order.
std::vector<double> difference(const Query& query, const std::vector<double>& x, size_t j,
                               zelos::Workspace& workspace) {
  const double step = 1e-4 * std::abs(x[j]);
  const double offsets[] = {-2, -1, 1, 2}, weights[] = {1.0 / 12, -8.0 / 12, 8.0 / 12, -1.0 / 12};
  std::vector<double> out(query.size()), sum(query.size(), 0.0);
  for (int s = 0; s < 4; ++s) {
    std::vector<double> moved = x;
    moved[j] += offsets[s] * step;
    REQUIRE(query.evaluate(moved.data(), out.data(), workspace).inside());
    for (size_t i = 0; i < out.size(); ++i) sum[i] += weights[s] * out[i] / step;
  }
  return sum;
}

bool held(const std::string& name) { return name == "mnu" || name == "w" || name == "omk"; }

/// Without what was held fixed: it has no derivative.
void check_gradients(const Question& asked, const std::vector<Request>& requests, double shift) {
  Question question{asked.title, {}, {}};
  for (const std::string& name : asked.names) {
    if (!held(name)) question.names.push_back(name);
  }
  question.from = [&](const toy::Point& p) {
    const std::vector<double> all = asked.from(p);
    std::vector<double> varied;
    for (size_t j = 0; j < all.size(); ++j) {
      if (!held(asked.names[j])) varied.push_back(all[j]);
    }
    return varied;
  };
  const Query query = emulator().query(question.names, requests);
  zelos::Workspace workspace = query.workspace();
  const std::vector<double> x = question.from(toy::interior(emulator(), shift));
  const size_t n = static_cast<size_t>(query.size()), d = x.size();
  std::vector<double> value(n), out(n), jacobian(n * d), product(n);
  REQUIRE(query.evaluate(x.data(), value.data(), workspace).inside());
  REQUIRE(query.jacobian(x.data(), out.data(), jacobian.data(), workspace).inside());
  for (size_t i = 0; i < n; ++i) CHECK(out[i] == Approx(value[i]).epsilon(1e-13));

  for (size_t j = 0; j < d; ++j) {
    const std::vector<double> expected = difference(query, x, j, workspace);
    for (size_t r = 0; r < requests.size(); ++r) {
      const size_t first = static_cast<size_t>(query.blocks()[r].offset);
      const size_t last = r + 1 < requests.size() ? static_cast<size_t>(query.blocks()[r + 1].offset) : n;
      const bool labelled = std::string(requests[r].output) == "derived";
      double largest_value = 0;
      for (size_t i = first; i < last; ++i) largest_value = std::max(largest_value, std::abs(value[i]));
      for (size_t i = first; i < last; ++i) {
        // 1e-6 of the slope, or of a thousandth of the slope that doubles the value over |x|: what
        // is smaller drowns in the difference's round-off.
        const double natural = (labelled ? std::abs(value[i]) : largest_value) / std::abs(x[j]);
        const double found = jacobian[i * d + j];
        if (std::abs(found - expected[i]) <= 1e-6 * (std::abs(expected[i]) + 1e-3 * natural)) continue;
        CAPTURE(question.title, question.names[j], requests[r].output, i - first, found, expected[i]);
        FAIL("slope");
      }
    }
  }

  std::vector<double> direction(d), cotangent(n), pulled(d);
  for (size_t j = 0; j < d; ++j) direction[j] = std::abs(x[j]) * std::sin(1.0 + static_cast<double>(j));
  for (size_t i = 0; i < n; ++i) cotangent[i] = std::cos(static_cast<double>(i)) / (1e-12 + std::abs(value[i]));
  REQUIRE(query.jvp(x.data(), direction.data(), out.data(), product.data(), workspace).inside());
  for (size_t i = 0; i < n; ++i) {
    double sum = 0, size = 0;
    for (size_t j = 0; j < d; ++j)
      sum += jacobian[i * d + j] * direction[j], size += std::abs(jacobian[i * d + j] * direction[j]);
    CHECK(std::abs(product[i] - sum) <= 1e-12 * size + 1e-300);
    CHECK(out[i] == Approx(value[i]).epsilon(1e-13));
  }
  REQUIRE(query.vjp(x.data(), cotangent.data(), out.data(), pulled.data(), workspace).inside());
  for (size_t j = 0; j < d; ++j) {
    double sum = 0, size = 0;
    for (size_t i = 0; i < n; ++i)
      sum += cotangent[i] * jacobian[i * d + j], size += std::abs(cotangent[i] * jacobian[i * d + j]);
    CHECK(std::abs(pulled[j] - sum) <= 1e-12 * size);
  }
}

}  // namespace

TEST_CASE("derivatives on native axes agree with differences, for every way to name the inputs",
          "[runtime][gradient]") {
  const auto& question = kQuestions[GENERATE(0, 1, 2, 3, 4)];
  check_gradients(question, kNative, 0.11);
  check_gradients(question, kNative, -0.27);
}

TEST_CASE("derivatives on requested axes agree with differences", "[runtime][gradient]") {
  const auto& question = kQuestions[GENERATE(0, 2, 3)];
  check_gradients(question, kOffNode, 0.07);
  check_gradients(question, kOffNode, -0.33);
}

TEST_CASE("there is no derivative with respect to what was held fixed", "[runtime][gradient]") {
  const std::vector<std::string> names{"ombh2", "omch2", "H0", "tau", "logA", "ns", "mnu", "omk", "w0_fld"};
  const Query query = emulator().query(names, {{"derived", {}}});
  zelos::Workspace workspace = query.workspace();
  std::vector<double> x = toy::interior(emulator(), 0.1);
  x.insert(x.end(), {0.06, 0, -1});
  const size_t n = static_cast<size_t>(query.size());
  std::vector<double> out(n, 5.0), jacobian(n * x.size()), product(x.size(), 5.0);
  const auto refusal = [](const std::function<void()>& action) {
    try {
      action();
    } catch (const zelos::Error& error) {
      CHECK(error.status() == ZELOS_E_ARGUMENT);
      return std::string(error.what());
    }
    return std::string("answered");
  };
  // Matchers keep references to their parts.
  const Catch::Matchers::StdString::ContainsMatcher name = Catch::Contains("'mnu'"),
                                                    reason = Catch::Contains("held fixed in training");
  const auto told = name && reason;
  CHECK_THAT(refusal([&] { query.jacobian(x.data(), out.data(), jacobian.data(), workspace); }), told);
  CHECK_THAT(refusal([&] { query.vjp(x.data(), x.data(), out.data(), product.data(), workspace); }), told);
  std::vector<double> direction(x.size(), 0.0);
  for (size_t j = 6; j < x.size(); ++j) {
    direction[j] = 1e-3;
    CHECK_THAT(refusal([&] { query.jvp(x.data(), direction.data(), out.data(), product.data(), workspace); }),
               Catch::Contains("'" + names[j] + "'") && Catch::Contains("held fixed"));
    direction[j] = 0;
  }
  CHECK(out == std::vector<double>(n, 5.0));
  CHECK(product == std::vector<double>(x.size(), 5.0));

  direction[0] = 1;
  REQUIRE(query.jvp(x.data(), direction.data(), out.data(), product.data(), workspace).inside());
  const std::vector<double> expected = difference(query, x, 0, workspace);
  for (size_t i = 0; i < n; ++i) CHECK(product[i] == Approx(expected[i]).epsilon(1e-6).margin(1e-6));
}

TEST_CASE("a point in other names is the same point", "[runtime][names]") {
  const toy::Point point = toy::interior(emulator(), 0.21);
  const Query plain = emulator().query(kQuestions[0].names, kNative);
  zelos::Workspace workspace = plain.workspace();
  std::vector<double> expected(plain.size());
  REQUIRE(plain.evaluate(point.data(), expected.data(), workspace).inside());
  for (const Question& question : kQuestions) {
    const Query query = emulator().query(question.names, kNative);
    zelos::Workspace own = query.workspace();
    const std::vector<double> x = question.from(point);
    std::vector<double> out(query.size()), canonical(6);
    CAPTURE(question.title);
    REQUIRE(query.evaluate(x.data(), out.data(), own).inside());
    // The derived angle and the feature are two regressions: they agree to the accuracy of the
    // fits, not to round-off.
    const bool solved = std::string(question.title).find("angle") != std::string::npos ||
                        std::string(question.title).find("unit") != std::string::npos;
    for (size_t i = 0; i < out.size(); ++i)
      CHECK(out[i] == Approx(expected[i]).epsilon(solved ? 5e-3 : 1e-11).margin(solved ? 5e-3 : 1e-11));
    REQUIRE(query.canonical(x.data(), canonical.data(), own).inside());
    for (size_t j = 0; j < 6; ++j) CHECK(canonical[j] == Approx(point[j]).epsilon(solved ? 1e-3 : 1e-13));
  }
}

TEST_CASE("what is solved for gives back what was asked", "[runtime][names]") {
  const std::vector<std::string> names{"ombh2", "omch2", "H0", "tau", "logA", "ns"};
  const toy::Point point = toy::interior(emulator(), 0.3);
  const double asked = toy::truth("derived", point, 0);
  std::vector<double> x = point, canonical(6);
  x[2] = asked;
  const Query query = emulator().query({"ombh2", "omch2", "thetastar", "tau", "logA", "ns"}, {{"Cl.tt", {}}});
  zelos::Workspace workspace = query.workspace();
  REQUIRE(query.canonical(x.data(), canonical.data(), workspace).inside());
  // thetastar ~ H0^0.2: the angle's fit, known to 1e-5, gives H0 to five times that.
  CHECK(canonical[2] == Approx(point[2]).epsilon(5e-5));
  CHECK(toy::truth("derived", canonical, 0) == Approx(asked).epsilon(1e-5));
}
