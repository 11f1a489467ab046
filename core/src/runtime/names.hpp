// SPDX-License-Identifier: BSD-3-Clause
// names.hpp: the field's names for cosmological parameters, and the way from the names that a caller hands over to the
// parameters of an emulator.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "zelos/emulator.hpp"

namespace zelos {

/// A sequence of steps on slots. Slots 0 .. n_values-1 are the caller's values.
struct NamePlan {
  enum class Op {
    affine,         ///< out = c0 * a
    log_amplitude,  ///< out = ln(1e10 a)
    exp_amplitude,  ///< out = 1e-10 exp(a)
    times_h2,       ///< out = a (b / 100)^2
    over_h2,        ///< out = a / (b / 100)^2
    solve,          ///< out = the parameter for which the solvable's feature has the value in slot a
  };
  struct Step {
    Op op;
    int a, b;
    int out;
    double c0;
    int solvable;  ///< solve: index into Impl::solvable
  };
  struct Fixed {
    int slot;
    std::string name;
    double value;
  };
  /// A number of what a real code is told of a point.
  struct Told {
    Physics physics;
    int slot;
  };
  int n_slots = 0;
  std::vector<Step> steps;
  std::vector<int> canonical;     ///< slot of each parameter of the emulator
  std::vector<int> solve_inputs;  ///< slots of the other parameters at the solve step; -1 for the solved one
  std::vector<Fixed> fixed;       ///< slots that must have a certain value
  std::vector<Told> told;         ///< none of their slots depends on a solve
};

/// Whether a fixed parameter has the value of the training. What conversions between names lose, and no more: a fixed
/// value may be as small as A_s.
bool holds(double found, double held);

/// out of a and b, and its derivatives with respect to them; not for `solve`.
double elementary(const NamePlan::Step& step, double a, double b, double* da, double* db);

/// Throws Error(ZELOS_E_ARGUMENT) naming what is missing, unknown (with the nearest name), given twice or superfluous.
NamePlan plan_names(const Emulator::Impl& model, const std::vector<std::string>& given);

}  // namespace zelos
