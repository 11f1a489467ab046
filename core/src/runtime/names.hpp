// SPDX-License-Identifier: BSD-3-Clause
// names.hpp: the field's names for cosmological parameters, and the way from the names that a caller hands over to the
// parameters of an emulator.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "zelos/emulator.hpp"

namespace zelos {

/// Names that stand for the same number, or for a one-to-one function of it ("h" and "H0", "As" and "logA").
std::vector<std::string> synonyms_of(const std::string& name);

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
  int n_slots = 0;
  std::vector<Step> steps;
  std::vector<int> canonical;     ///< slot of each parameter of the emulator
  std::vector<int> solve_inputs;  ///< slots of the other parameters at the solve step; -1 for the solved one
  std::vector<Fixed> fixed;       ///< slots that must have a certain value
};

/// Throws Error(ZELOS_E_ARGUMENT) naming what is missing, unknown (with the nearest name), given twice or superfluous.
NamePlan plan_names(const Emulator::Impl& model, const std::vector<std::string>& given);

}  // namespace zelos
