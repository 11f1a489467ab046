// SPDX-License-Identifier: BSD-3-Clause
// worker_process.hpp: one worker `python -m zelos.fallback.worker` and the frames that go to it and come back. The
// protocol is that of fallback/worker.py.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace zelos_python {

using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;

/// How workers are started.
struct Command {
  std::string python;                              ///< path, or name that PATH knows
  std::map<std::string, std::string> environment;  ///< all of it
  double start_timeout = 300;                      ///< seconds until a worker has said hello
};

/// The worker is of no use any more: it died, was too slow, or did not keep to the protocol. Another one may do better.
class WorkerGone : public std::runtime_error {
 public:
  enum class How { died, late, garbage };
  WorkerGone(How how, const std::string& what) : std::runtime_error(what), how(how) {}
  const How how;
};

/// No worker can be started. Trying again changes nothing.
class CannotStart : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct Reply {
  Json message;
  std::vector<double> values;
};

/// One process, for one thread at a time. Its output is kept for messages, never shown. It belongs to the process that
/// started it: a fork of that one must not use it, and does not end it.
class WorkerProcess {
 public:
  /// Starts it and waits for its hello. Throws CannotStart.
  explicit WorkerProcess(const Command& command);
  /// Kills it and everything that it started (in a fork: lets go of it).
  ~WorkerProcess();
  WorkerProcess(const WorkerProcess&) = delete;
  WorkerProcess& operator=(const WorkerProcess&) = delete;

  /// Sends a request and waits for the reply, which has to hold `expected` values if it says "ok". Throws WorkerGone;
  /// the object is then good for destruction alone.
  Reply ask(const Json& request, const std::vector<double>& values, std::int64_t expected, double timeout_seconds);

  /// False if it died, or said something unasked, while nobody used it.
  bool is_idle_and_well() const;

  std::set<std::string> opened;  ///< ids of the codes that this worker was told to open
  pid_t pid() const { return pid_; }

 private:
  void send(const void* data, std::size_t size, Clock::time_point deadline);
  void receive(void* data, std::size_t size, Clock::time_point deadline);
  Reply receive_frame(std::int64_t expected, Clock::time_point deadline);
  void wait_for(short events, Clock::time_point deadline);
  [[noreturn]] void died();
  void kill_and_reap() noexcept;
  std::string last_words() const;

  pid_t pid_ = -1;
  const pid_t owner_;
  int socket_ = -1;
  int output_ = -1;  ///< an unlinked file: what the worker printed since the last request
  int status_ = 0;
  double allowed_ = 0;
};

}  // namespace zelos_python
