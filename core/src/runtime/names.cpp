// SPDX-License-Identifier: BSD-3-Clause
#include "runtime/names.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <optional>

#include "base/text.hpp"
#include "runtime/model.hpp"

namespace zelos {
namespace {

/// `name` = factor * base, or a logarithm of it.
struct Synonym {
  const char* name;
  const char* base;
  NamePlan::Op to_base = NamePlan::Op::affine;
  double factor = 1;
};

// CAMB, CLASS, Cobaya, CosmoMC and Planck names, then those of stellar spectra. CLASS's 100*theta_s is not here: it is
// another angle than CAMB's thetastar (maximum of the visibility against optical depth one).
constexpr Synonym kSynonyms[] = {
    {"ombh2", "ombh2"},
    {"omegabh2", "ombh2"},
    {"omega_b", "ombh2"},
    {"omch2", "omch2"},
    {"omegach2", "omch2"},
    {"omega_cdm", "omch2"},
    {"H0", "H0"},
    {"h", "H0", NamePlan::Op::affine, 100},
    {"tau", "tau"},
    {"tau_reio", "tau"},
    {"ns", "ns"},
    {"n_s", "ns"},
    {"logA", "logA"},
    {"ln10^{10}A_s", "logA"},
    {"As", "logA", NamePlan::Op::log_amplitude},
    {"A_s", "logA", NamePlan::Op::log_amplitude},
    {"Omega_b", "Omega_b"},
    {"omegab", "Omega_b"},
    {"Omega_cdm", "Omega_cdm"},
    {"Omega_c", "Omega_cdm"},
    {"mnu", "mnu"},
    {"nnu", "nnu"},
    {"N_eff", "nnu"},
    {"Neff", "nnu"},
    {"omk", "omk"},
    {"Omega_k", "omk"},
    {"omegak", "omk"},
    {"w", "w"},
    {"w0", "w"},
    {"w0_fld", "w"},
    {"wa", "wa"},
    {"wa_fld", "wa"},
    {"thetastar", "thetastar"},
    {"100thetastar", "thetastar", NamePlan::Op::affine, 0.01},
    {"cosmomc_theta", "cosmomc_theta"},
    {"theta_MC_100", "cosmomc_theta", NamePlan::Op::affine, 0.01},
    {"100theta_MC", "cosmomc_theta", NamePlan::Op::affine, 0.01},
    {"Alens", "Alens"},
    {"A_lens", "Alens"},
    {"nrun", "nrun"},
    {"alpha_s", "nrun"},
    {"YHe", "YHe"},
    {"yheused", "YHe"},
    {"num_massive_neutrinos", "num_massive_neutrinos"},
    {"TCMB", "TCMB"},
    {"T_cmb", "TCMB"},
    {"Teff", "Teff"},
    {"T_eff", "Teff"},
    {"teff", "Teff"},
    {"logg", "logg"},
    {"log_g", "logg"},
    {"M_H", "M_H"},
    {"[M/H]", "M_H"},
};

/// target from two other base names.
struct Rule {
  const char* target;
  const char* source;
  NamePlan::Op op;
};
constexpr Rule kDensityRules[] = {
    {"ombh2", "Omega_b", NamePlan::Op::times_h2},
    {"omch2", "Omega_cdm", NamePlan::Op::times_h2},
    {"Omega_b", "ombh2", NamePlan::Op::over_h2},
    {"Omega_cdm", "omch2", NamePlan::Op::over_h2},
};

const Synonym* find_synonym(const std::string& name) {
  for (const Synonym& s : kSynonyms) {
    if (name == s.name) return &s;
  }
  return nullptr;
}

std::string base_of(const std::string& name) {
  const Synonym* s = find_synonym(name);
  return s == nullptr ? name : s->base;
}

NamePlan::Step step_from_base(const Synonym& s, int base, int out) {
  const bool amplitude = s.to_base == NamePlan::Op::log_amplitude;
  return {
      amplitude ? NamePlan::Op::exp_amplitude : NamePlan::Op::affine, base, -1, out, amplitude ? 1 : 1 / s.factor, -1};
}

class Planner {
 public:
  Planner(const Emulator::Impl& model, const std::vector<std::string>& given) : model_(model), given_(given) {
    plan_.n_slots = static_cast<int>(given.size());
  }

  NamePlan run() {
    read_given();
    for (const Parameter& p : model_.parameters) targets_.push_back(base_of(p.name));
    while (std::any_of(targets_.begin(), targets_.end(), [&](const auto& t) { return known_.count(t) == 0; })) {
      if (!apply_a_rule()) missing();
    }
    for (size_t i = 0; i < targets_.size(); ++i) plan_.canonical.push_back(from_base(model_.parameters[i].name));
    for (const auto& [name, value] : model_.fixed) {
      const auto found = known_.find(base_of(name));
      if (found == known_.end()) continue;
      plan_.fixed.push_back({from_base(name), name, value});
      found->second.used = true;
    }
    for (size_t i = 0; i < model_.parameters.size(); ++i) {
      if (static_cast<int>(i) != solved_) {
        plan_.told.push_back({{model_.parameters[i].name, Physics::Kind::parameter, 0}, plan_.canonical[i]});
      } else {
        plan_.told.push_back({{solved_by_, Physics::Kind::solved, 0}, solved_from_});
      }
    }
    for (const NamePlan::Fixed& f : plan_.fixed) {
      plan_.told.push_back({{f.name, Physics::Kind::fixed, f.value}, f.slot});
    }
    for (const auto& [base, entry] : known_) {
      if (entry.used) continue;
      throw Error(ZELOS_E_ARGUMENT, "parameter '" + given_[entry.given] + "' is in conflict with the others given (" +
                                        join(given_, ", ") + "): emulator " + model_.name +
                                        " does not need it, and it would not be checked");
    }
    return plan_;
  }

 private:
  struct Entry {
    int slot;
    int given;  ///< index of the given name it stems from, -1 if derived
    bool used;
  };

  int new_slot() { return plan_.n_slots++; }

  void read_given() {
    for (size_t i = 0; i < given_.size(); ++i) {
      const std::string& name = given_[i];
      const Synonym* s = find_synonym(name);
      const std::string base = s == nullptr ? name : s->base;
      if (!is_relevant(base)) unknown(name);
      const auto [at, inserted] = known_.insert({base, Entry{static_cast<int>(i), static_cast<int>(i), false}});
      if (!inserted) {
        throw Error(ZELOS_E_ARGUMENT, "parameters '" + given_[at->second.given] + "' and '" + name +
                                          "' are the same quantity: give one of them");
      }
      if (s != nullptr && (s->to_base != NamePlan::Op::affine || s->factor != 1)) {
        at->second.slot = new_slot();
        plan_.steps.push_back({s->to_base, static_cast<int>(i), -1, at->second.slot, s->factor, -1});
      }
    }
  }

  /// Anything the emulator takes, holds fixed, or can compute one of these from.
  bool is_relevant(const std::string& base) const {
    const auto same = [&](const auto& name) { return base_of(name) == base; };
    for (const Parameter& p : model_.parameters) {
      if (same(p.name)) return true;
    }
    for (const auto& f : model_.fixed) {
      if (same(f.first)) return true;
    }
    for (const auto& s : model_.solvable) {
      if (same(s.name)) return true;
    }
    for (const Rule& rule : kDensityRules) {
      if (base != rule.source && base != "H0") continue;
      for (const Parameter& p : model_.parameters) {
        if (base_of(p.name) == rule.target) return true;
      }
    }
    return false;
  }

  bool apply_a_rule() {
    for (const Rule& rule : kDensityRules) {
      const auto source = known_.find(rule.source), h = known_.find("H0");
      if (!wanted(rule.target) || source == known_.end() || h == known_.end()) continue;
      const int out = new_slot();
      plan_.steps.push_back({rule.op, source->second.slot, h->second.slot, out, 1, -1});
      source->second.used = h->second.used = true;
      known_[rule.target] = Entry{out, -1, true};
      return true;
    }
    for (size_t i = 0; i < model_.solvable.size(); ++i) {
      const SolvableParameter& s = model_.solvable[i];
      const std::string target = base_of(model_.parameters[s.parameter].name);
      const auto source = known_.find(base_of(s.name));
      if (!wanted(target) || source == known_.end() || !others_known(s.parameter)) continue;
      plan_.solve_inputs.clear();
      for (size_t j = 0; j < targets_.size(); ++j) {
        plan_.solve_inputs.push_back(static_cast<int>(j) == s.parameter ? -1 : from_base(model_.parameters[j].name));
      }
      const int asked = from_base(s.name);
      solved_ = s.parameter;
      solved_by_ = s.name;
      solved_from_ = asked;
      int out = new_slot();
      plan_.steps.push_back({NamePlan::Op::solve, asked, -1, out, 1, static_cast<int>(i)});
      const Synonym* synonym = find_synonym(model_.parameters[s.parameter].name);
      if (synonym != nullptr && (synonym->to_base != NamePlan::Op::affine || synonym->factor != 1)) {
        const int base = new_slot();
        plan_.steps.push_back({synonym->to_base, out, -1, base, synonym->factor, -1});
        out = base;
      }
      known_[target] = Entry{out, -1, true};
      return true;
    }
    return false;
  }

  bool wanted(const std::string& base) const {
    return known_.count(base) == 0 && std::find(targets_.begin(), targets_.end(), base) != targets_.end();
  }

  /// A solve reads the other parameters through the plan's canonical slots, so they must be there before it.
  bool others_known(int parameter) const {
    for (size_t i = 0; i < targets_.size(); ++i) {
      if (static_cast<int>(i) != parameter && known_.count(targets_[i]) == 0) return false;
    }
    return true;
  }

  /// The slot of `name`, converted from its base if the two differ.
  int from_base(const std::string& name) {
    Entry& entry = known_.at(base_of(name));
    entry.used = true;
    const Synonym* s = find_synonym(name);
    if (s == nullptr || (s->to_base == NamePlan::Op::affine && s->factor == 1)) return entry.slot;
    const int out = new_slot();
    plan_.steps.push_back(step_from_base(*s, entry.slot, out));
    return out;
  }

  [[noreturn]] void unknown(const std::string& name) const {
    std::vector<std::string> names;
    for (const Parameter& p : model_.parameters) {
      names.push_back(p.name);
      for (const std::string& s : p.synonyms) names.push_back(s);
    }
    for (const auto& f : model_.fixed) names.push_back(f.first);
    for (const auto& s : model_.solvable) names.push_back(s.name);
    throw Error(ZELOS_E_ARGUMENT, "emulator " + model_.name + " does not know the parameter '" + name + "'" +
                                      did_you_mean(name, names) + " (it takes: " + takes() + ")");
  }

  [[noreturn]] void missing() const {
    std::vector<std::string> names;
    for (size_t i = 0; i < targets_.size(); ++i) {
      if (known_.count(targets_[i]) != 0) continue;
      names.push_back(with_ways(i, model_.parameters[i].synonyms));
    }
    throw Error(ZELOS_E_ARGUMENT, "emulator " + model_.name + " needs " + join(names, " and ") + ", which " +
                                      (names.size() == 1 ? "is" : "are") +
                                      " missing; given: " + (given_.empty() ? "nothing" : join(given_, ", ")));
  }

  std::string takes() const {
    std::vector<std::string> names;
    for (size_t i = 0; i < model_.parameters.size(); ++i) names.push_back(with_ways(i, {}));
    return join(names, ", ");
  }

  /// A parameter, and in brackets the `ways` and what is solved for it.
  std::string with_ways(size_t parameter, std::vector<std::string> ways) const {
    for (const auto& s : model_.solvable) {
      if (s.parameter == static_cast<int>(parameter)) ways.push_back(s.name);
    }
    return model_.parameters[parameter].name + (ways.empty() ? "" : " (or " + join(ways, ", ") + ")");
  }

  const Emulator::Impl& model_;
  const std::vector<std::string>& given_;
  std::vector<std::string> targets_;
  std::map<std::string, Entry> known_;
  int solved_ = -1;  ///< index of the parameter that is solved for; one is at most, for the others must be known
  std::string solved_by_;
  int solved_from_ = -1;
  NamePlan plan_;
};

}  // namespace

std::vector<std::string> synonyms(const std::string& name) {
  std::vector<std::string> names;
  const std::string base = base_of(name);
  for (const Synonym& s : kSynonyms) {
    if (base == s.base && name != s.name) names.push_back(s.name);
  }
  return names;
}

double convert(double value, const std::string& name, const std::string& other) {
  if (name == other) return value;
  const Synonym *from = find_synonym(name), *to = find_synonym(other);
  if (from == nullptr || to == nullptr || std::strcmp(from->base, to->base) != 0) {
    throw Error(ZELOS_E_ARGUMENT, "'" + name + "' is not a synonym of '" + other + "'");
  }
  double unused;
  const double base = elementary({from->to_base, 0, -1, 0, from->factor, -1}, value, 1, &unused, &unused);
  return elementary(step_from_base(*to, 0, 0), base, 1, &unused, &unused);
}

bool holds(double found, double held) { return std::abs(found - held) <= (held == 0 ? 1e-12 : 1e-8 * std::abs(held)); }

double elementary(const NamePlan::Step& step, double a, double b, double* da, double* db) {
  *da = *db = 0;
  switch (step.op) {
    case NamePlan::Op::affine:
      *da = step.c0;
      return step.c0 * a;
    case NamePlan::Op::log_amplitude:
      *da = 1 / a;
      return std::log(1e10 * a);
    case NamePlan::Op::exp_amplitude:
      return *da = 1e-10 * std::exp(a);
    case NamePlan::Op::times_h2: {
      const double h = b / 100;
      *da = h * h;
      *db = 2 * a * h / 100;
      return a * h * h;
    }
    case NamePlan::Op::over_h2: {
      const double h = b / 100, out = a / (h * h);
      *da = 1 / (h * h);
      *db = -2 * out / (h * 100);
      return out;
    }
    case NamePlan::Op::solve:
      break;
  }
  return std::numeric_limits<double>::quiet_NaN();
}

NamePlan plan_names(const Emulator::Impl& model, const std::vector<std::string>& given) {
  return Planner(model, given).run();
}

}  // namespace zelos
