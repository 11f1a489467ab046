// SPDX-License-Identifier: BSD-3-Clause
// The approximate background against quadrature by another rule, closed forms, the growth equation and differences.
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "transforms/background.hpp"

namespace {

using zelos::BackgroundQuantity;
constexpr int kInputs = zelos::kBackgroundInputs;

double logarithm(BackgroundQuantity quantity, const std::vector<double>& inputs, double z) {
  double y = 0;
  zelos::background(quantity, inputs.data(), &z, 1, &y, nullptr);
  return y;
}

constexpr BackgroundQuantity kAll[] = {BackgroundQuantity::hubble,
                                       BackgroundQuantity::comoving_radial_distance,
                                       BackgroundQuantity::transverse_comoving_distance,
                                       BackgroundQuantity::angular_diameter_distance,
                                       BackgroundQuantity::electron_column,
                                       BackgroundQuantity::growth,
                                       BackgroundQuantity::growth_rate};

const std::vector<std::vector<double>> kUniverses = {{0.0224, 0.12, 67.4, 0, 0.06, 3.044, -1, 0},
                                                     {0.02, 0.14, 80, 0.03, 0.5, 2.5, -0.4, -2},
                                                     {0.025, 0.1, 55, -0.05, 0, 4, -1.3, 0.7}};

}  // namespace

TEST_CASE("background: distances are the integral of 1/H", "[background]") {
  for (const auto& u : kUniverses) {
    for (const double z : {0.3, 2.0, 1090.0}) {
      // Simpson's rule in z^(1/4), which no panel ends of ours know.
      const int n = 20000;
      const double end = std::pow(z, 0.25);
      double sum = 0, column = 0;
      for (int i = 0; i <= n; ++i) {
        const double t = end * i / n;
        const double f = 4 * t * t * t / std::exp(logarithm(BackgroundQuantity::hubble, u, t * t * t * t));
        const double weight = i == 0 || i == n ? 1 : i % 2 == 1 ? 4 : 2;
        sum += f * weight;
        column += f * weight * std::pow(1 + t * t * t * t, 2);
      }
      sum *= end / n / 3;
      column *= end / n / 3;
      CHECK(std::exp(logarithm(BackgroundQuantity::electron_column, u, z)) == Approx(column).epsilon(1e-9));
      const double radial = std::exp(logarithm(BackgroundQuantity::comoving_radial_distance, u, z));
      CHECK(radial == Approx(sum).epsilon(1e-9));
      const double k = std::sqrt(std::abs(u[3])) * u[2] / 299792.458;
      const double transverse = u[3] == 0 ? sum : u[3] > 0 ? std::sinh(k * sum) / k : std::sin(k * sum) / k;
      CHECK(std::exp(logarithm(BackgroundQuantity::transverse_comoving_distance, u, z)) ==
            Approx(transverse).epsilon(1e-9));
      CHECK(std::exp(logarithm(BackgroundQuantity::angular_diameter_distance, u, z)) ==
            Approx(transverse / (1 + z)).epsilon(1e-9));
    }
  }
}

TEST_CASE("background: H at z = 0 is H0, and at high z that of matter and radiation", "[background]") {
  for (const auto& u : kUniverses) {
    CHECK(std::exp(logarithm(BackgroundQuantity::hubble, u, 0)) == Approx(u[2] / 299792.458).epsilon(1e-12));
    const double x = 1e5, radiation = 2.47282e-5 * (1 + 0.2271073 * u[5]);
    const double h = 100 * std::sqrt((u[0] + u[1]) * x * x * x + radiation * x * x * x * x) / 299792.458;
    CHECK(std::exp(logarithm(BackgroundQuantity::hubble, u, x - 1)) == Approx(h).epsilon(1e-4));
  }
}

TEST_CASE("background: growth solves its equation to a percent", "[background]") {
  // D'' + (2 + dlnH/du) D' = 3/2 Omega_m D in u = ln a, by Runge and Kutta.
  for (const auto& u : kUniverses) {
    if (u[3] != 0 && u[3] != 0.03) continue;
    const auto hubble = [&](double a) { return std::exp(logarithm(BackgroundQuantity::hubble, u, 1 / a - 1)); };
    const double matter = (u[0] + u[1] + u[4] / 94) * 1e4 / (299792.458 * 299792.458);
    const auto slope = [&](double t, double d, double v) {
      const double a = std::exp(t), e = 1e-4;
      const double friction = 2 + (std::log(hubble(a * (1 + e))) - std::log(hubble(a / (1 + e)))) / (2 * std::log1p(e));
      return 1.5 * matter / (a * a * a * hubble(a) * hubble(a)) * d - friction * v;
    };
    double t = std::log(1.0 / 51), d = 1.0 / 51, v = d;
    const int n = 2000;
    const double s = -t / n;
    for (int i = 0; i < n; ++i, t += s) {
      const double k1 = v, l1 = slope(t, d, v), k2 = v + s / 2 * l1, l2 = slope(t + s / 2, d + s / 2 * k1, k2);
      const double k3 = v + s / 2 * l2, l3 = slope(t + s / 2, d + s / 2 * k2, k3), k4 = v + s * l3;
      const double l4 = slope(t + s, d + s * k3, k4);
      d += s / 6 * (k1 + 2 * k2 + 2 * k3 + k4);
      v += s / 6 * (l1 + 2 * l2 + 2 * l3 + l4);
    }
    const double ratio =
        std::exp(logarithm(BackgroundQuantity::growth, u, 0) - logarithm(BackgroundQuantity::growth, u, 50)) / (d * 51);
    CHECK(ratio == Approx(1).margin(0.03));
    CHECK(std::exp(logarithm(BackgroundQuantity::growth_rate, u, 0) - logarithm(BackgroundQuantity::growth, u, 0)) ==
          Approx(v / d).epsilon(0.03));
  }
}

TEST_CASE("background: gradients are those of differences", "[background]") {
  const std::vector<double> z{0, 0.2, 0.25, 1.7, 9};
  const auto n = static_cast<int64_t>(z.size());
  for (const auto& u : kUniverses) {
    for (const BackgroundQuantity quantity : kAll) {
      INFO(zelos::to_string(quantity));
      std::vector<double> y(z.size()), plain(z.size()), gradient(z.size() * kInputs);
      zelos::background(quantity, u.data(), z.data(), n, y.data(), gradient.data());
      zelos::background(quantity, u.data(), z.data(), n, plain.data(), nullptr);
      for (size_t i = 0; i < z.size(); ++i) {
        if (std::isinf(plain[i])) {
          CHECK((y[i] == plain[i] && plain[i] < 0 && z[i] == 0));
          continue;
        }
        CHECK(y[i] == Approx(plain[i]).epsilon(1e-13));
        CHECK(plain[i] == Approx(logarithm(quantity, u, z[i])).epsilon(1e-11));  // whatever else is asked for
        for (int j = 0; j < kInputs; ++j) {
          std::vector<double> up = u, down = u;
          const double step = 1e-5 * (u[j] != 0 ? std::abs(u[j]) : 1);
          up[j] += step;
          if (j == 4 && u[j] == 0) continue;  // no neutrino is lighter than 0
          down[j] -= step;
          const double difference = (logarithm(quantity, up, z[i]) - logarithm(quantity, down, z[i])) / (2 * step);
          INFO(zelos::kBackgroundInputNames[j] << " z = " << z[i]);
          CHECK(gradient[i * kInputs + j] == Approx(difference).epsilon(1e-5).margin(1e-6));
        }
      }
    }
  }
}

TEST_CASE("background: names go both ways, and what is no universe is not a number", "[background]") {
  for (const BackgroundQuantity quantity : kAll) {
    BackgroundQuantity found{};
    REQUIRE(zelos::parse(zelos::to_string(quantity), &found));
    CHECK(found == quantity);
  }
  BackgroundQuantity found{};
  CHECK_FALSE(zelos::parse("luminosity_distance", &found));
  CHECK(std::isnan(logarithm(BackgroundQuantity::hubble, {0.02, 0.1, 70, 3, 0, 3, -1, 0}, 5)) ==
        std::isnan(logarithm(BackgroundQuantity::comoving_radial_distance, {0.02, 0.1, 70, 3, 0, 3, -1, 0}, 5)));
}
