// SPDX-License-Identifier: BSD-3-Clause
/// parallel.hpp: independent tasks on several threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace zelos::spectrum {

/// task(0) .. task(n - 1), in any order, on at most n_threads threads, this one among them. The first exception is
/// thrown again when all threads have ended.
template <class Task>
void parallel(int n, int n_threads, Task&& task) {
  std::atomic<int> next{0};
  std::exception_ptr failure;
  std::mutex mutex;
  const auto work = [&] {
    for (int i = next++; i < n; i = next++) {
      try {
        task(i);
      } catch (...) {
        const std::lock_guard<std::mutex> lock(mutex);
        if (!failure) failure = std::current_exception();
        next = n;
      }
    }
  };
  std::vector<std::thread> threads;
  for (int t = 1; t < std::min(n, n_threads); ++t) threads.emplace_back(work);
  work();
  for (auto& thread : threads) thread.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace zelos::spectrum
