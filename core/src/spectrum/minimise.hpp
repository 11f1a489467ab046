// SPDX-License-Identifier: BSD-3-Clause
/// minimise.hpp: bounded minimisation of a smooth function with its gradient (L-BFGS-B).
#pragma once

#include <LBFGSB.h>

#include <Eigen/Dense>
#include <limits>
#include <stdexcept>

#include "zelos/error.hpp"

namespace zelos::spectrum {

struct Minimum {
  Eigen::VectorXd x;
  double value = std::numeric_limits<double>::infinity();
  double gradient_norm = std::numeric_limits<double>::infinity();  ///< max norm of the projected gradient at x
  int evaluations = 0;
  bool at_rounding = false;  ///< a new start of the solver from x gained less than `least_gain`
};

/// Best point seen of f(x, gradient) -> value within the bounds. The solver is started anew from there, without its
/// memory, while a line search that rounding has stopped still leaves something to gain. A zelos::Error of f passes.
template <class Function>
Minimum minimise(Function&& f, const Eigen::VectorXd& start, const Eigen::VectorXd& lower, const Eigen::VectorXd& upper,
                 int max_iterations, double tolerance, double least_gain) {
  Minimum best;
  best.x = start.cwiseMax(lower).cwiseMin(upper);
  const auto observed = [&](const Eigen::VectorXd& x, Eigen::VectorXd& gradient) {
    const double value = f(x, gradient);
    ++best.evaluations;
    if (value < best.value) {
      best.value = value;
      best.x = x;
      best.gradient_norm = ((x - gradient).cwiseMax(lower).cwiseMin(upper) - x).lpNorm<Eigen::Infinity>();
    }
    return value;
  };
  LBFGSpp::LBFGSBParam<double> param;
  param.epsilon = tolerance;
  param.epsilon_rel = 0.0;
  param.max_linesearch = 30;
  param.m = 12;
  int left = max_iterations;
  for (int attempt = 0; attempt < 6 && left > 0 && !(best.gradient_norm <= tolerance); ++attempt) {
    const double before = best.value;
    Eigen::VectorXd x = best.x;
    double value = 0.0;
    param.max_iterations = left;
    try {
      LBFGSpp::LBFGSBSolver<double> solver(param);
      left -= solver.minimize(observed, x, value, lower, upper);
    } catch (const Error&) {
      throw;
    } catch (const std::runtime_error&) {
      left /= 2;
    } catch (const std::logic_error&) {
      left /= 2;
    }
    best.at_rounding = attempt > 0 && left > 0 && before - best.value < least_gain;
    if (best.at_rounding || !(best.value < before)) break;
  }
  return best;
}

}  // namespace zelos::spectrum
