// SPDX-License-Identifier: BSD-3-Clause
// worker_pool.hpp: the workers of one command, shared by all codes of this process that are started alike.
#pragma once

#include <unistd.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "worker_process.hpp"

namespace zelos_python {

/// At most `size` workers, started when they are needed, kept warm between runs. Any thread. A fork of the process
/// begins with none: two processes on one connection would take each other's answers.
class WorkerPool {
 public:
  WorkerPool(Command command, int size) : command_(std::move(command)), size_(size), owner_(::getpid()) {}

  /// The pool of this command, made if there is none. It ends when nobody holds it any more.
  static std::shared_ptr<WorkerPool> of(const Command& command, int size);

  /// A worker for the time of one request. It goes back to the pool, unless it was spoilt.
  class Lease {
   public:
    /// Waits until one is free. Throws CannotStart.
    explicit Lease(WorkerPool& pool) : pool_(pool), worker_(pool.take()) {}
    ~Lease() { pool_.give_back(std::move(worker_)); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    WorkerProcess& operator*() { return *worker_; }
    WorkerProcess* operator->() { return worker_.get(); }
    /// Ends the worker.
    void spoil() { worker_.reset(); }

   private:
    WorkerPool& pool_;
    std::unique_ptr<WorkerProcess> worker_;
  };

  /// Calls action(worker) for workers that nobody uses now.
  template <class Action>
  void for_each_idle(Action&& action) {
    const std::lock_guard lock(mutex_);
    forget_after_fork();
    for (auto& worker : idle_) action(*worker);
  }

 private:
  std::unique_ptr<WorkerProcess> take();
  void give_back(std::unique_ptr<WorkerProcess> worker);
  void forget_after_fork();

  const Command command_;
  const int size_;
  pid_t owner_;
  std::mutex mutex_;
  std::condition_variable freed_;
  int in_use_ = 0;
  std::vector<std::unique_ptr<WorkerProcess>> idle_;
};

}  // namespace zelos_python
