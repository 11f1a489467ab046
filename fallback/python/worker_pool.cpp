// SPDX-License-Identifier: BSD-3-Clause
#include "worker_pool.hpp"

#include <map>
#include <tuple>

namespace zelos_python {

std::shared_ptr<WorkerPool> WorkerPool::of(const Command& command, int size) {
  using Key = std::tuple<std::string, std::map<std::string, std::string>, double, int>;
  static std::mutex mutex;
  static std::map<Key, std::weak_ptr<WorkerPool>> pools;
  const std::lock_guard lock(mutex);
  std::weak_ptr<WorkerPool>& known = pools[Key(command.python, command.environment, command.start_timeout, size)];
  std::shared_ptr<WorkerPool> pool = known.lock();
  if (pool == nullptr) known = pool = std::make_shared<WorkerPool>(command, size);
  return pool;
}

std::unique_ptr<WorkerProcess> WorkerPool::take() {
  std::unique_lock lock(mutex_);
  forget_after_fork();
  freed_.wait(lock, [&] { return in_use_ < size_; });
  ++in_use_;
  while (!idle_.empty()) {
    std::unique_ptr<WorkerProcess> worker = std::move(idle_.back());
    idle_.pop_back();
    if (worker->is_idle_and_well()) return worker;
  }
  lock.unlock();
  try {
    return std::make_unique<WorkerProcess>(command_);
  } catch (...) {
    give_back(nullptr);
    throw;
  }
}

void WorkerPool::give_back(std::unique_ptr<WorkerProcess> worker) {
  {
    const std::lock_guard lock(mutex_);
    --in_use_;
    if (worker != nullptr) idle_.push_back(std::move(worker));
  }
  freed_.notify_one();
}

void WorkerPool::forget_after_fork() {
  if (owner_ == ::getpid()) return;
  owner_ = ::getpid();
  idle_.clear();
  in_use_ = 0;
}

}  // namespace zelos_python
