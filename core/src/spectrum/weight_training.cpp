// SPDX-License-Identifier: BSD-3-Clause
#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <random>
#include <string>

#include "spectrum/minimise.hpp"
#include "spectrum/parallel.hpp"
#include "spectrum/weight_problem.hpp"

namespace zelos::spectrum {
namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

// log density of Gamma up to a constant, at x = exp(sign * log_x), and its derivative by log_x.
double log_prior(const GammaPrior& prior, double log_x, double sign, double& slope) {
  const double x = std::exp(sign * log_x);
  slope += sign * ((prior.shape - 1.0) - prior.rate * x);
  return (prior.shape - 1.0) * sign * log_x - prior.rate * x;
}

double log_posterior(const WeightProblem& problem, const WeightTraining& training, const VectorXd& theta,
                     VectorXd& gradient, int n_threads) {
  double value = problem.log_likelihood(theta, &gradient, n_threads);
  if (!std::isfinite(value) || !gradient.allFinite()) return -std::numeric_limits<double>::infinity();
  const Layout& layout = problem.layout;
  for (Index i = 0; i < layout.noises(); ++i) {
    value += log_prior(training.noise_prior, theta[i], -layout.noise_sign(), gradient[i]);
  }
  if (!training.length_priors.empty()) {
    for (Index i = 0; i < layout.m; ++i) {
      for (Index p = 0; p < layout.d; ++p) {
        const Index at = layout.length(i) + p;
        value += log_prior(training.length_priors[static_cast<std::size_t>(p)], theta[at], 1.0, gradient[at]);
      }
    }
  }
  return value;
}

struct Bounds {
  VectorXd lower, upper;
};

Bounds bounds(const WeightData& data) {
  const Layout layout(data);
  const double points = static_cast<double>(data.points.rows());
  const VectorXd power =
      (data.weights.colwise().squaredNorm() / points).cwiseMax(std::numeric_limits<double>::min()).transpose();
  Bounds b{VectorXd(layout.size()), VectorXd(layout.size())};
  for (Index i = 0; i < layout.noises(); ++i) {
    // The noise of a weight lies between 1e-13 and 10 of its mean square.
    const double log_power = std::log(layout.own_noise ? power[i] : power.maxCoeff());
    const double log_least = std::log(layout.own_noise ? power[i] : power.minCoeff());
    const double low = std::log(1e-13) + log_least, high = std::log(10.0) + log_power;
    b.lower[i] = layout.own_noise ? low : -high;
    b.upper[i] = layout.own_noise ? high : -low;
  }
  for (Index i = 0; i < layout.m; ++i) {
    b.lower[layout.variance(i)] = std::log(power[i]) - 12.0;
    b.upper[layout.variance(i)] = std::log(power[i]) + 18.0;
    for (Index p = 0; p < layout.d; ++p) {
      std::vector<double> x(data.points.col(p).begin(), data.points.col(p).end());
      std::sort(x.begin(), x.end());
      double least = x.back() - x.front();
      for (std::size_t k = 1; k < x.size(); ++k) {
        if (x[k] > x[k - 1]) least = std::min(least, x[k] - x[k - 1]);
      }
      const double range = x.back() > x.front() ? x.back() - x.front() : 1.0;
      b.lower[layout.length(i) + p] = std::log(0.1 * (least > 0.0 ? least : range));
      b.upper[layout.length(i) + p] = std::log(100.0 * range);
    }
  }
  return b;
}

VectorXd random_start(const WeightData& data, std::uint64_t seed) {
  const Layout layout(data);
  std::mt19937_64 generator(seed);
  // std::uniform_real_distribution differs between libraries.
  const auto uniform = [&generator](double low, double high) {
    return low + (high - low) * static_cast<double>(generator() >> 11) * 0x1.0p-53;
  };
  const VectorXd power =
      (data.weights.colwise().squaredNorm() / static_cast<double>(data.points.rows())).cwiseMax(1e-300).transpose();
  VectorXd start(layout.size());
  for (Index i = 0; i < layout.noises(); ++i) {
    const double noise = std::log(layout.own_noise ? power[i] : power.mean()) - uniform(6.0, 16.0);
    start[i] = layout.own_noise ? noise : -noise;
  }
  for (Index i = 0; i < layout.m; ++i) {
    start[layout.variance(i)] = std::log(power[i]) + uniform(0.0, 6.0);
    for (Index p = 0; p < layout.d; ++p) {
      const double range = data.points.col(p).maxCoeff() - data.points.col(p).minCoeff();
      start[layout.length(i) + p] = std::log(range > 0.0 ? range : 1.0) + uniform(-1.2, 1.6);
    }
  }
  return start;
}

// Component i alone, with its own noise.
WeightData component(const WeightData& data, Index i) {
  WeightData one = data;
  one.weights = data.weights.col(i);
  one.own_noise = true;
  one.scales.clear();  // its points are on them
  return one;
}

VectorXd component(const Layout& layout, const VectorXd& theta, Index i) {
  VectorXd one(2 + layout.d);
  one << layout.log_noise(theta, i), theta[layout.variance(i)], theta.segment(layout.length(i), layout.d);
  return one;
}

// A noise that all share stays as it is.
void put(const Layout& layout, const VectorXd& one, Index i, VectorXd& theta) {
  if (layout.own_noise) theta[i] = one[0];
  theta[layout.variance(i)] = one[1];
  theta.segment(layout.length(i), layout.d) = one.tail(layout.d);
}

// What the solver moves: all hyperparameters, or, with ratios kept, one length scale of each component.
class Free {
 public:
  Free(const Layout& layout, const VectorXd& start, bool keep_ratios) : layout_(layout) {
    if (!keep_ratios) return;
    ratios_.resize(layout.m, layout.d);
    for (Index i = 0; i < layout.m; ++i) {
      const auto lengths = start.segment(layout.length(i), layout.d);
      ratios_.row(i) = (lengths.array() - lengths.mean()).transpose();
    }
  }

  VectorXd from_all(const VectorXd& theta) const {
    return merged(theta, [](const auto& part) { return part.mean(); });
  }
  VectorXd slope_from_all(const VectorXd& slope) const {
    return merged(slope, [](const auto& part) { return part.sum(); });
  }
  VectorXd to_all(const VectorXd& x) const {
    if (ratios_.size() == 0) return x;
    VectorXd theta(layout_.size());
    theta.head(layout_.length(0)) = x.head(layout_.length(0));
    for (Index i = 0; i < layout_.m; ++i) {
      theta.segment(layout_.length(i), layout_.d) = x[layout_.length(0) + i] + ratios_.row(i).transpose().array();
    }
    return theta;
  }
  // Where all length scales of a component are within theirs.
  Bounds bounds(const Bounds& all) const {
    if (ratios_.size() == 0) return all;
    Bounds result{from_all(all.lower), from_all(all.upper)};
    for (Index i = 0; i < layout_.m; ++i) {
      const VectorXd ratio = ratios_.row(i).transpose();
      const Index at = layout_.length(0) + i;
      result.lower[at] = (all.lower.segment(layout_.length(i), layout_.d) - ratio).maxCoeff();
      result.upper[at] = (all.upper.segment(layout_.length(i), layout_.d) - ratio).minCoeff();
      if (result.upper[at] < result.lower[at]) result.lower[at] = result.upper[at] = result.upper[at];
    }
    return result;
  }

 private:
  template <class Merge>
  VectorXd merged(const VectorXd& theta, const Merge& merge) const {
    if (ratios_.size() == 0) return theta;
    VectorXd x(layout_.length(0) + layout_.m);
    x.head(layout_.length(0)) = theta.head(layout_.length(0));
    for (Index i = 0; i < layout_.m; ++i) {
      x[layout_.length(0) + i] = merge(theta.segment(layout_.length(i), layout_.d));
    }
    return x;
  }

  const Layout& layout_;
  MatrixXd ratios_;  // (m, D) of logarithms, less their mean; empty: all are free
};

struct Stopped {};

}  // namespace

WeightOptimum WeightModel::train(const WeightTraining& training) const {
  problem_->check(training.start);
  const Layout& layout = problem_->layout;
  if (!training.length_priors.empty() && static_cast<Index>(training.length_priors.size()) != layout.d) {
    throw Error(ZELOS_E_ARGUMENT, "spectral emulator: expected a prior for each of " + std::to_string(layout.d) +
                                      " length scales, found " + std::to_string(training.length_priors.size()));
  }
  const int n_starts = std::max(1, training.n_starts);
  // Independent processes are independent problems.
  const bool split = layout.own_noise;
  const int m = static_cast<int>(layout.m);
  const int n_problems = split ? m : 1;
  std::vector<std::shared_ptr<const WeightProblem>> problems;
  for (int i = 0; i < n_problems; ++i) {
    problems.push_back(split ? std::make_shared<const WeightProblem>(component(problem_->data, i)) : problem_);
  }

  std::mutex mutex;
  bool stopped = false;
  int evaluations = 0;
  VectorXd best_theta = training.start;
  std::vector<double> best(static_cast<std::size_t>(n_problems), -std::numeric_limits<double>::infinity());
  std::vector<Minimum> results(static_cast<std::size_t>(n_problems * n_starts));

  // Call with the mutex held.
  const auto report = [&] {
    ++evaluations;
    double sum = 0.0;
    for (const double b : best) sum += b;
    if (!stopped && training.progress && !training.progress(evaluations, sum, best_theta)) stopped = true;
    if (stopped) throw Stopped();
  };
  const auto seed = [&](int task) { return training.seed * 1000003u + static_cast<std::uint64_t>(task); };

  // -log posterior of what the solver moves; `keep` is told of each with the mutex held.
  const auto objective = [&](const WeightProblem& one, const WeightTraining& priors, const Free& free, int n_threads,
                             const VectorXd& given, VectorXd& slope, const auto& keep) {
    const VectorXd theta = free.to_all(given);
    VectorXd gradient;
    const double value = log_posterior(one, priors, theta, gradient, n_threads);
    {
      const std::lock_guard<std::mutex> lock(mutex);
      keep(value, theta);
      report();
    }
    if (!std::isfinite(value)) {
      slope.setZero(given.size());
      return 1e30;
    }
    slope = -free.slope_from_all(gradient);
    return -value;
  };

  const auto descend = [&](int problem, const VectorXd& first, const VectorXd* random) {
    const auto at = static_cast<std::size_t>(problem);
    const WeightProblem& one = *problems[at];
    const Free free(one.layout, first, training.keep_ratios);
    const auto keep = [&](double value, const VectorXd& theta) {
      if (!(value > best[at])) return;
      best[at] = value;
      if (split) {
        put(layout, theta, problem, best_theta);
      } else {
        best_theta = theta;
      }
    };
    const auto negative = [&](const VectorXd& given, VectorXd& slope) {
      return objective(one, training, free, split ? 1 : training.n_threads, given, slope, keep);
    };
    const Bounds limits = free.bounds(bounds(one.data));
    return minimise(negative, free.from_all(random ? *random : first), limits.lower, limits.upper,
                    training.max_iterations, training.tolerance, 1e-4);
  };
  const auto run = [&](int task) {
    const int start = task / n_problems, problem = task % n_problems;
    const VectorXd first = split ? component(layout, training.start, problem) : training.start;
    if (start == 0) {
      results[static_cast<std::size_t>(task)] = descend(problem, first, nullptr);
    } else {
      const VectorXd random = random_start(problems[static_cast<std::size_t>(problem)]->data, seed(task));
      results[static_cast<std::size_t>(task)] = descend(problem, first, &random);
    }
  };

  Minimum all;  // of the components together, if each is tried alone
  // Given the noise that they share, components are independent. A random start of them all would have to be lucky in
  // each, so each is tried from other starts alone; all go on together from the best of each. Whether one was better.
  const auto improve = [&](int round) {
    WeightTraining alone = training;
    alone.noise_prior = GammaPrior{};
    const VectorXd present = best_theta;
    std::vector<std::shared_ptr<const WeightProblem>> ones;
    for (int i = 0; i < m; ++i) ones.push_back(std::make_shared<const WeightProblem>(component(problem_->data, i)));
    std::vector<Minimum> found(static_cast<std::size_t>(m * n_starts));
    parallel(m * n_starts, training.n_threads, [&](int task) {
      const int i = task % m, start = task / m;
      const WeightProblem& one = *ones[static_cast<std::size_t>(i)];
      const VectorXd first = component(layout, present, i);
      const Free free(one.layout, first, training.keep_ratios);
      const auto negative = [&](const VectorXd& given, VectorXd& slope) {
        return objective(one, alone, free, 1, given, slope, [](double, const VectorXd&) {});
      };
      Minimum& result = found[static_cast<std::size_t>(task)];
      result.x = free.from_all(first);
      if (start == 0) {
        VectorXd slope;
        result.value = negative(result.x, slope);
      } else {
        VectorXd begin = free.from_all(random_start(one.data, seed((round * n_starts + start) * m + i)));
        Bounds limits = free.bounds(bounds(one.data));
        begin[0] = limits.lower[0] = limits.upper[0] = first[0];
        result =
            minimise(negative, begin, limits.lower, limits.upper, training.max_iterations, training.tolerance, 1e-4);
      }
      result.x = free.to_all(result.x);
    });
    VectorXd theta = present;
    bool better = false;
    for (int i = 0; i < m; ++i) {
      const auto value = [&](int start) { return found[static_cast<std::size_t>(start * m + i)].value; };
      int winner = 0;
      for (int start = 1; start < n_starts; ++start) {
        if (round == 0) results[static_cast<std::size_t>(start)].value += value(start);
        if (value(start) < value(winner) - 1e-2) winner = start;
      }
      if (winner == 0) continue;
      better = true;
      put(layout, found[static_cast<std::size_t>(winner * m + i)].x, i, theta);
    }
    if (!better) return false;
    const Minimum together = descend(0, theta, nullptr);
    if (together.value < all.value) all = together;
    return true;
  };

  const bool by_component = !split && problem_->data.gram.size() == 0;
  try {
    if (by_component) {
      run(0);
      all = results[0];
      double slope = 0.0;
      const double prior = log_prior(training.noise_prior, best_theta[0], -layout.noise_sign(), slope);
      for (int start = 1; start < n_starts; ++start) results[static_cast<std::size_t>(start)].value = -prior;
      for (int round = 0; n_starts > 1 && round < 3 && improve(round); ++round) {
      }
    } else {
      parallel(n_problems * n_starts, split ? training.n_threads : 1, run);
    }
  } catch (const Stopped&) {
  }

  WeightOptimum optimum;
  optimum.evaluations = evaluations;
  optimum.stopped = stopped;
  optimum.hyperparameters = best_theta;
  optimum.start_values.assign(static_cast<std::size_t>(n_starts), 0.0);
  for (int start = 0; start < n_starts; ++start) {
    for (int i = 0; i < n_problems; ++i) {
      optimum.start_values[static_cast<std::size_t>(start)] -=
          results[static_cast<std::size_t>(start * n_problems + i)].value;
    }
  }
  optimum.log_posterior = 0.0;
  optimum.gradient_norm = 0.0;
  optimum.converged = !stopped;
  for (int i = 0; i < n_problems; ++i) {
    optimum.log_posterior += best[static_cast<std::size_t>(i)];
    const Minimum* winner = by_component ? &all : nullptr;
    for (int start = 0; start < n_starts && !by_component; ++start) {
      const Minimum& result = results[static_cast<std::size_t>(start * n_problems + i)];
      if (winner == nullptr || result.value < winner->value) winner = &result;
    }
    optimum.gradient_norm = std::max(optimum.gradient_norm, winner->gradient_norm);
    if (!(winner->gradient_norm <= training.tolerance) && !winner->at_rounding) optimum.converged = false;
  }
  if (!std::isfinite(optimum.log_posterior)) {
    throw Error(ZELOS_E_NUMERIC,
                "spectral emulator: the covariance of the weights is not positive definite at any "
                "hyperparameters that were tried");
  }
  return optimum;
}

}  // namespace zelos::spectrum
