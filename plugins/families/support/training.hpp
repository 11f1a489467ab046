// SPDX-License-Identifier: BSD-3-Clause
// training.hpp: what trainings have in common: checks of the set, independent tasks on threads,
// fingerprint.
#pragma once

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <exception>
#include <mutex>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "family_support.hpp"

namespace zelos::family {

/// ZELOS_E_ARGUMENT unless the set has points, inputs and outputs, finite numbers and positive
/// scales.
inline void check_training_set(const zelos_training_set& set) {
  if (set.x == nullptr || set.y == nullptr || set.n < 1 || set.n_inputs < 1 || set.n_outputs < 1) {
    throw Error(ZELOS_E_ARGUMENT, "training set: n, n_inputs and n_outputs should be at least 1, found " +
                                      std::to_string(set.n) + ", " + std::to_string(set.n_inputs) + ", " +
                                      std::to_string(set.n_outputs));
  }
  const auto check = [](const char* what, const double* data, int64_t n, int64_t columns, bool positive) {
    for (int64_t i = 0; i < n; ++i) {
      if (std::isfinite(data[i]) && (!positive || data[i] > 0.0)) continue;
      throw Error(ZELOS_E_ARGUMENT, std::string("training set: ") + what + " in row " + std::to_string(i / columns) +
                                        ", column " + std::to_string(i % columns) + " is " + std::to_string(data[i]));
    }
  };
  check("x", set.x, set.n * set.n_inputs, set.n_inputs, false);
  check("y", set.y, set.n * set.n_outputs, set.n_outputs, false);
  if (set.y_scale != nullptr) check("y_scale", set.y_scale, set.n_outputs, set.n_outputs, true);
}

/// The integer params[key] within [low, high]; ZELOS_E_ARGUMENT otherwise.
inline int integer_param(const nlohmann::json& params, const char* key, int low, int high) {
  const double value = params.at(key).get<double>();
  if (value != std::floor(value) || value < low || value > high) {
    throw Error(ZELOS_E_ARGUMENT, std::string("emulator_fn params: '") + key + "' should be an integer from " +
                                      std::to_string(low) + " to " + std::to_string(high) + ", found " +
                                      params.at(key).dump());
  }
  return static_cast<int>(value);
}

/// ZELOS_E_ARGUMENT unless good: `expected` says what params[key] should be.
inline void require_param(bool good, const nlohmann::json& params, const char* key, const char* expected) {
  if (!good) {
    throw Error(ZELOS_E_ARGUMENT, std::string("emulator_fn params: '") + key + "' should be " + expected + ", found " +
                                      params.at(key).dump());
  }
}

/// params[key] = [low, high], both positive.
inline void bounds_param(const nlohmann::json& params, const char* key, double (&out)[2]) {
  const auto& value = params.at(key);
  require_param(value.size() == 2 && value[0].is_number() && value[1].is_number() && value[0].get<double>() > 0.0 &&
                    value[1].get<double>() >= value[0].get<double>(),
                params, key, "[low, high] with 0 < low <= high");
  out[0] = value[0].get<double>();
  out[1] = value[1].get<double>();
}

inline Eigen::MatrixXd select_columns(const Eigen::MatrixXd& m, const std::vector<int64_t>& columns) {
  Eigen::MatrixXd out(m.rows(), static_cast<Eigen::Index>(columns.size()));
  for (size_t i = 0; i < columns.size(); ++i) out.col(static_cast<Eigen::Index>(i)) = m.col(columns[i]);
  return out;
}

/// Outputs in descending order of variance (in units of y_scale), cut into runs of nearly equal
/// length.
inline std::vector<std::vector<int64_t>> group_outputs(const Eigen::MatrixXd& y, const double* y_scale, int groups) {
  const int64_t m = y.cols();
  Eigen::VectorXd power = y.colwise().squaredNorm();
  if (y_scale != nullptr) power.array() /= ConstVectorMap(y_scale, m).array().square();
  std::vector<int64_t> order(static_cast<size_t>(m));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return power[a] > power[b]; });
  std::vector<std::vector<int64_t>> out(static_cast<size_t>(groups));
  for (int64_t i = 0; i < m; ++i) {
    out[static_cast<size_t>(i * groups / m)].push_back(order[static_cast<size_t>(i)]);
  }
  return out;
}

/// Hash of the training set and the params: a checkpoint belongs to one of them (FNV-1a, 16 hex
/// digits).
inline std::string fingerprint(const zelos_training_set& set, const std::string& params, uint64_t seed) {
  uint64_t hash = 0xcbf29ce484222325u;
  const auto feed = [&hash](const void* data, size_t bytes) {
    const auto* p = static_cast<const unsigned char*>(data);
    for (size_t i = 0; i < bytes; ++i) hash = (hash ^ p[i]) * 0x100000001b3u;
  };
  const int64_t shape[3] = {set.n, set.n_inputs, set.n_outputs};
  feed(shape, sizeof shape);
  feed(set.x, sizeof(double) * static_cast<size_t>(set.n * set.n_inputs));
  feed(set.y, sizeof(double) * static_cast<size_t>(set.n * set.n_outputs));
  if (set.y_scale != nullptr) feed(set.y_scale, sizeof(double) * static_cast<size_t>(set.n_outputs));
  feed(params.data(), params.size());
  feed(&seed, sizeof seed);
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

/// Runs work(task) for each task on n_threads threads, and done(task) on the calling thread after
/// each, in the order of completion. When done returns false the tasks not yet begun are dropped;
/// returns false then. The first exception is rethrown here after all threads have ended.
template <class Work, class Done>
bool run_tasks(const std::vector<int64_t>& tasks, int n_threads, Work&& work, Done&& done) {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<int64_t> finished;
  std::exception_ptr failure;
  size_t next = 0, running = 0;
  bool stopped = false;
  const auto loop = [&] {
    std::unique_lock<std::mutex> lock(mutex);
    while (!stopped && next < tasks.size()) {
      const int64_t task = tasks[next++];
      lock.unlock();
      std::exception_ptr caught;
      try {
        work(task);
      } catch (...) {
        caught = std::current_exception();
      }
      lock.lock();
      if (caught) {
        if (!failure) failure = caught;
        stopped = true;
      } else {
        finished.push_back(task);
      }
      changed.notify_one();
    }
    --running;
    changed.notify_one();
  };
  std::vector<std::thread> threads;
  const size_t n = std::min(tasks.size(), static_cast<size_t>(std::max(1, n_threads)));
  running = n;
  try {
    for (size_t i = 0; i < n; ++i) threads.emplace_back(loop);
  } catch (...) {
    std::lock_guard<std::mutex> lock(mutex);
    running -= n - threads.size();
    if (threads.empty()) failure = std::current_exception();
  }
  bool keep_going = true;
  {
    std::unique_lock<std::mutex> lock(mutex);
    while (true) {
      changed.wait(lock, [&] { return !finished.empty() || running == 0; });
      if (finished.empty()) break;
      const int64_t task = finished.front();
      finished.pop_front();
      if (!keep_going || failure) continue;
      lock.unlock();
      bool go = true;
      std::exception_ptr caught;
      try {
        go = done(task);
      } catch (...) {
        caught = std::current_exception();
      }
      lock.lock();
      if (caught && !failure) failure = caught;
      if (!go || caught) {
        keep_going = false;
        stopped = true;
      }
    }
  }
  for (std::thread& thread : threads) thread.join();
  if (failure) std::rethrow_exception(failure);
  return keep_going;
}

}  // namespace zelos::family
