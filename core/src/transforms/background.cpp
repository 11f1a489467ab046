// SPDX-License-Identifier: BSD-3-Clause
#include "transforms/background.hpp"

#include <Eigen/Dense>
#include <cmath>
#include <limits>
#include <unsupported/Eigen/AutoDiff>

namespace zelos {

const char* const kBackgroundInputNames[kBackgroundInputs] = {"ombh2", "omch2", "H0", "omk", "mnu", "nnu", "w", "wa"};

namespace {

using Gradient = Eigen::Matrix<double, kBackgroundInputs, 1>;
using Dual = Eigen::AutoDiffScalar<Gradient>;

constexpr double kSpeedOfLight = 299792.458;  // km/s
constexpr double kPhotons = 2.47282e-5;       // Omega h^2 at 2.7255 K
constexpr double kNeutrino = 0.2271073;       // density of a relativistic neutrino over that of photons
constexpr double kMassPerTemperature = 5968;  // 1 eV / (k T_nu), at (4/11)^(1/3) 2.7255 K
constexpr double kPanel = 0.25;               // of ln(1 + z): five nodes there leave 1e-11
constexpr double kNodes[5] = {-0.906179845938664, -0.5384693101056831, 0, 0.5384693101056831, 0.906179845938664};
constexpr double kWeights[5] = {0.23692688505618908, 0.47862867049936647, 0.5688888888888889, 0.47862867049936647,
                                0.23692688505618908};

double value(double x) { return x; }
double value(const Dual& x) { return x.value(); }

template <class T>
class Universe {
 public:
  explicit Universe(const T* p) : h0_(p[2]), w_(p[6]), wa_(p[7]) {
    using std::pow;
    const T h = p[2] / 100.0, h2 = h * h, heat = p[5] / 3.0;
    matter_ = p[0] + p[1];
    curvature_ = p[3] * h2;
    relativistic_neutrinos_ = kPhotons * kNeutrino * p[5];
    mass_ = kMassPerTemperature / 3.0 * 0.3173 * p[4] / pow(heat, 0.25);
    heavy_neutrinos_ = relativistic_neutrinos_ * mass_;
    dark_ = h2 - curvature_ - matter_ - kPhotons - neutrinos(T(1.0));
    // K in 1/Mpc^2.
    curved_ = -p[3] * h2 * (100 * 100 / (kSpeedOfLight * kSpeedOfLight));
  }

  /// H(z) / (100 km/s/Mpc), u = ln(1 + z).
  T expansion(double u) const {
    using std::sqrt;
    const double x = std::exp(u);
    const T square =
        matter_ * (x * x * x) + T(kPhotons * x * x * x * x) + neutrinos(T(x)) + curvature_ * (x * x) + dark_energy(u);
    return sqrt(square);
  }

  T rate(double u) const {
    using std::exp;
    using std::log;
    const double x = std::exp(u);
    const T matter = (matter_ + heavy_neutrinos_) * (x * x * x);
    const T fraction = matter / (matter + curvature_ * (x * x) + dark_energy(u));
    const T w = w_ + wa_ * (1.0 - 1.0 / x);
    const T gamma = 3.0 * (1.0 - w) / (5.0 - 6.0 * w);
    return exp(gamma * log(fraction));
  }

  /// Mpc.
  T radial_to_transverse(const T& radial) const {
    using std::cos;
    using std::sin;
    using std::sinh;
    using std::sqrt;
    const T q = curved_ * radial * radial;
    if (std::abs(value(q)) < 1e-2) {
      const T series = 1.0 - q / 6.0 * (1.0 - q / 20.0 * (1.0 - q / 42.0 * (1.0 - q / 72.0)));
      return radial * series;
    }
    if (value(q) > 0) {
      const T root = sqrt(q);
      return radial * (sin(root) / root);
    }
    const T root = sqrt(-q);
    return radial * (sinh(root) / root);
  }

 private:
  T neutrinos(const T& x) const {
    using std::exp;
    using std::log;
    // ( 1 + (A y)^p )^(1/p), y the mass over the temperature.
    const T y = mass_ / x;
    T heavy(1.0);
    if (value(y) > 0) heavy = exp(log(1.0 + exp(1.83 * log(y))) / 1.83);
    return relativistic_neutrinos_ * x * x * x * x * heavy;
  }

  T dark_energy(double u) const {
    using std::exp;
    const double a = std::exp(-u);
    const T exponent = 3.0 * u * (1.0 + w_ + wa_) - 3.0 * (1.0 - a) * wa_;
    return dark_ * exp(exponent);
  }

  T h0_, w_, wa_, matter_, curvature_, relativistic_neutrinos_, mass_, heavy_neutrinos_, dark_, curved_;
};

/// Integral of f over [from, to].
template <class T, class F>
T panel(const F& f, double from, double to) {
  const double half = 0.5 * (to - from), middle = 0.5 * (to + from);
  T sum(0.0);
  for (int i = 0; i < 5; ++i) sum = T(sum + kWeights[i] * f(middle + half * kNodes[i]));
  return T(half * sum);
}

template <class T, class Put>
void distances(BackgroundQuantity quantity, const Universe<T>& universe, const double* z, int64_t n, const Put& put) {
  using std::log;
  const double power = quantity == BackgroundQuantity::electron_column ? 3 : 1;
  const auto f = [&](double u) { return T(std::exp(power * u) / universe.expansion(u)); };
  T sum(0.0);
  double u = 0;
  int64_t k = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double target = std::log1p(z[i]);
    for (double end = kPanel * static_cast<double>(k + 1); target >= end; end = kPanel * static_cast<double>(k + 1)) {
      sum = T(sum + panel<T>(f, u, end));
      u = end;
      ++k;
    }
    if (target > u) {
      sum = T(sum + panel<T>(f, u, target));
      u = target;
    }
    T distance = T(kSpeedOfLight / 100 * sum);
    if (quantity == BackgroundQuantity::transverse_comoving_distance ||
        quantity == BackgroundQuantity::angular_diameter_distance) {
      distance = T(universe.radial_to_transverse(distance));
    }
    if (quantity == BackgroundQuantity::angular_diameter_distance) distance = T(distance / (1 + z[i]));
    put(i, value(distance) == 0 ? T(-std::numeric_limits<double>::infinity()) : T(log(distance)));
  }
}

template <class T, class Put>
void growths(BackgroundQuantity quantity, const Universe<T>& universe, const double* z, int64_t n, const Put& put) {
  using std::log;
  const auto f = [&](double u) { return T(1.0 - universe.rate(u)); };
  int64_t k = static_cast<int64_t>(std::ceil(std::log1p(kGrowthLargestZ) / kPanel));
  double u = kPanel * static_cast<double>(k);
  T sum(0.0);
  for (int64_t i = n; i-- > 0;) {
    const double target = std::log1p(z[i]);
    for (double end = kPanel * static_cast<double>(k - 1); target <= end; end = kPanel * static_cast<double>(k - 1)) {
      sum = T(sum + panel<T>(f, end, u));
      u = end;
      --k;
    }
    if (target < u) {
      sum = T(sum + panel<T>(f, target, u));
      u = target;
    }
    T growth = T(-target - sum);
    if (quantity == BackgroundQuantity::growth_rate) growth = T(growth + log(universe.rate(target)));
    put(i, growth);
  }
}

template <class T, class Put>
void evaluate(BackgroundQuantity quantity, const T* inputs, const double* z, int64_t n, const Put& put) {
  using std::log;
  const Universe<T> universe(inputs);
  switch (quantity) {
    case BackgroundQuantity::hubble:
      for (int64_t i = 0; i < n; ++i) {
        put(i, T(log(universe.expansion(std::log1p(z[i])) * (100 / kSpeedOfLight))));
      }
      return;
    case BackgroundQuantity::comoving_radial_distance:
    case BackgroundQuantity::transverse_comoving_distance:
    case BackgroundQuantity::angular_diameter_distance:
    case BackgroundQuantity::electron_column:
      return distances(quantity, universe, z, n, put);
    case BackgroundQuantity::growth:
    case BackgroundQuantity::growth_rate:
      return growths(quantity, universe, z, n, put);
  }
}

constexpr BackgroundQuantity kQuantities[] = {BackgroundQuantity::hubble,
                                              BackgroundQuantity::comoving_radial_distance,
                                              BackgroundQuantity::transverse_comoving_distance,
                                              BackgroundQuantity::angular_diameter_distance,
                                              BackgroundQuantity::electron_column,
                                              BackgroundQuantity::growth,
                                              BackgroundQuantity::growth_rate};

}  // namespace

const char* to_string(BackgroundQuantity quantity) {
  switch (quantity) {
    case BackgroundQuantity::hubble:
      return "Hubble";
    case BackgroundQuantity::comoving_radial_distance:
      return "comoving_radial_distance";
    case BackgroundQuantity::transverse_comoving_distance:
      return "transverse_comoving_distance";
    case BackgroundQuantity::angular_diameter_distance:
      return "angular_diameter_distance";
    case BackgroundQuantity::electron_column:
      return "electron_column";
    case BackgroundQuantity::growth:
      return "growth";
    case BackgroundQuantity::growth_rate:
      return "growth_rate";
  }
  return "";
}

bool parse(const std::string& name, BackgroundQuantity* quantity) {
  for (const BackgroundQuantity q : kQuantities) {
    if (name != to_string(q)) continue;
    *quantity = q;
    return true;
  }
  return false;
}

void background(BackgroundQuantity quantity, const double* inputs, const double* z, int64_t n, double* log_values,
                double* gradient) {
  if (gradient == nullptr) {
    evaluate(quantity, inputs, z, n, [&](int64_t i, double y) { log_values[i] = y; });
    return;
  }
  Dual duals[kBackgroundInputs];
  for (int i = 0; i < kBackgroundInputs; ++i) duals[i] = Dual(inputs[i], kBackgroundInputs, i);
  evaluate(quantity, duals, z, n, [&](int64_t i, const Dual& y) {
    log_values[i] = y.value();
    Eigen::Map<Gradient> row(gradient + i * kBackgroundInputs);
    row = y.derivatives();
    if (!std::isfinite(y.value())) row.setZero();
  });
}

}  // namespace zelos
