// SPDX-License-Identifier: BSD-3-Clause
/// background.hpp: expansion and growth of a homogeneous universe in closed form or by quadrature, as what features and
/// outputs are divided by before the regression: the real code's number over this one is nearly constant, so that few
/// runs are enough. It is an approximation and need not be more, for the regression learns the rest.
///
/// E^2 h^2 = (ombh2 + omch2) x^3 + ogh2 x^4 + onuh2(x) + omk h^2 x^2 + odeh2(x), x = 1 + z, with photons of 2.7255 K;
/// three neutrinos of mass mnu / 3 at the temperature (4/11)^(1/3) (nnu/3)^(1/4) times that of the photons, their
/// density by the fit of Komatsu et al. 2011 (ApJS 192, 18), eq. 26; dark energy with w(a) = w + wa (1 - a), which
/// closes the budget. Growth: f = Omega_m(a)^gamma with gamma = 3 (1 - w) / (5 - 6 w) (Wang & Steinhardt 1998), without
/// radiation.
#pragma once

#include <cstdint>
#include <string>

namespace zelos {

/// What it is a function of, in this order; H0 in km/s/Mpc, mnu in eV.
constexpr int kBackgroundInputs = 8;
extern const char* const kBackgroundInputNames[kBackgroundInputs];  // ombh2, omch2, H0, omk, mnu, nnu, w, wa

enum class BackgroundQuantity {
  hubble,                        ///< H(z), in units of 1/Mpc
  comoving_radial_distance,      ///< Mpc
  transverse_comoving_distance,  ///< Mpc
  angular_diameter_distance,     ///< Mpc
  electron_column,  ///< integral of (1 + z)^2 c / H from 0 to z, Mpc: of ionised gas, whose optical depth it orders
  growth,           ///< D(z), 1/(1+z) deep in matter domination
  growth_rate,      ///< f D
};

/// As specs and artifacts have it: "Hubble", "comoving_radial_distance", ..., "growth", "growth_rate".
const char* to_string(BackgroundQuantity quantity);
/// False if there is none of that name.
bool parse(const std::string& name, BackgroundQuantity* quantity);

/// Largest z of growth and growth_rate.
constexpr double kGrowthLargestZ = 1000;

/// Where its inputs come from at run time: a feature's index, or a constant where the index is -1.
struct BackgroundSource {
  int feature[kBackgroundInputs];
  double constant[kBackgroundInputs];

  void read(const double* features, double* inputs) const {
    for (int i = 0; i < kBackgroundInputs; ++i) inputs[i] = feature[i] < 0 ? constant[i] : features[feature[i]];
  }
  /// Along a tangent of the features; gradient [kBackgroundInputs].
  double chain(const double* gradient, const double* feature_tangent) const {
    double sum = 0;
    for (int i = 0; i < kBackgroundInputs; ++i) {
      if (feature[i] >= 0) sum += gradient[i] * feature_tangent[feature[i]];
    }
    return sum;
  }
};

/// log_values[n] at z[n], ascending, z >= 0; -infinity for a distance or column at z = 0; NaN where there is no such
/// universe. gradient (may be null): [n][kBackgroundInputs], 0 where the value is infinite. No allocation.
void background(BackgroundQuantity quantity, const double* inputs, const double* z, int64_t n, double* log_values,
                double* gradient);

}  // namespace zelos
