// SPDX-License-Identifier: BSD-3-Clause
#include "worker_process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <system_error>

namespace zelos_python {
namespace {

constexpr char kMagic[4] = {'Z', 'W', 'R', 'K'};
constexpr std::uint32_t kProtocol = 1;
constexpr std::uint32_t kMaxText = 1u << 26;
constexpr std::size_t kLastWords = 600;

struct Header {
  char magic[4];
  std::uint32_t protocol, text_bytes, reserved;
  std::uint64_t n_values;
};
static_assert(sizeof(Header) == 24 && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the frame of fallback/worker.py");

std::string reason(int code) { return std::generic_category().message(code); }

std::string seconds(double s) {
  char text[32];
  std::snprintf(text, sizeof text, "%g s", s);
  return text;
}

Clock::time_point after(double s) {
  constexpr double kYear = 3e7;
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(std::min(s, kYear)));
}

class FileActions {
 public:
  FileActions() { posix_spawn_file_actions_init(&actions_); }
  ~FileActions() { posix_spawn_file_actions_destroy(&actions_); }
  FileActions(const FileActions&) = delete;
  FileActions& operator=(const FileActions&) = delete;
  posix_spawn_file_actions_t* get() { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_;
};

class Attributes {
 public:
  Attributes() { posix_spawnattr_init(&attributes_); }
  ~Attributes() { posix_spawnattr_destroy(&attributes_); }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;
  posix_spawnattr_t* get() { return &attributes_; }

 private:
  posix_spawnattr_t attributes_;
};

}  // namespace

WorkerProcess::WorkerProcess(const Command& command) : owner_(::getpid()) {
  const auto cannot = [&](const std::string& why) {
    return CannotStart("no worker could be started with '" + command.python + "': " + why);
  };
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) throw cannot(reason(errno));
  socket_ = pair[0];
  output_ = ::memfd_create("zelos-worker-output", MFD_CLOEXEC);
  if (output_ < 0 || ::fcntl(output_, F_SETFL, O_APPEND) != 0) {
    const int code = errno;
    ::close(pair[1]);
    kill_and_reap();
    throw cannot(reason(code));
  }

  FileActions actions;
  posix_spawn_file_actions_adddup2(actions.get(), pair[1], 0);
  posix_spawn_file_actions_adddup2(actions.get(), output_, 1);
  posix_spawn_file_actions_adddup2(actions.get(), output_, 2);
  // A process group of its own: Ctrl-C is not for it, and what it starts ends with it. The host's signal mask and
  // handlers are not for it either.
  Attributes attributes;
  posix_spawnattr_setflags(attributes.get(), POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  posix_spawnattr_setpgroup(attributes.get(), 0);
  sigset_t set;
  sigemptyset(&set);
  posix_spawnattr_setsigmask(attributes.get(), &set);
  for (const int number : {SIGPIPE, SIGINT, SIGTERM, SIGCHLD}) sigaddset(&set, number);
  posix_spawnattr_setsigdefault(attributes.get(), &set);

  std::vector<std::string> arguments = {command.python, "-m", "zelos.fallback.worker"};
  std::vector<std::string> environment;
  for (const auto& [name, value] : command.environment) environment.push_back(name + "=" + value);
  std::vector<char*> argv, envp;
  for (std::string& text : arguments) argv.push_back(text.data());
  for (std::string& text : environment) envp.push_back(text.data());
  argv.push_back(nullptr);
  envp.push_back(nullptr);
  const int failure =
      ::posix_spawnp(&pid_, command.python.c_str(), actions.get(), attributes.get(), argv.data(), envp.data());
  ::close(pair[1]);
  if (failure != 0) {
    pid_ = -1;
    kill_and_reap();
    throw cannot(reason(failure));
  }

  try {
    allowed_ = command.start_timeout;
    const Reply hello = receive_frame(0, after(command.start_timeout));
    if (hello.message.value("hello", "") != "zelos.fallback.worker") {
      throw WorkerGone(WorkerGone::How::garbage, "it did not say hello");
    }
  } catch (const WorkerGone& gone) {
    const std::string words = gone.how == WorkerGone::How::died ? "" : last_words();
    kill_and_reap();
    throw cannot(gone.what() + words);
  }
}

WorkerProcess::~WorkerProcess() { kill_and_reap(); }

void WorkerProcess::kill_and_reap() noexcept {
  if (pid_ > 0 && owner_ == ::getpid()) {
    ::kill(-pid_, SIGKILL);
    while (::waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
  }
  if (socket_ >= 0) ::close(socket_);
  if (output_ >= 0) ::close(output_);
  socket_ = output_ = -1;
}

bool WorkerProcess::is_idle_and_well() const {
  pollfd entry{socket_, POLLIN, 0};
  return ::poll(&entry, 1, 0) == 0;
}

Reply WorkerProcess::ask(const Json& request, const std::vector<double>& values, std::int64_t expected,
                         double timeout_seconds) {
  allowed_ = timeout_seconds;
  const Clock::time_point deadline = after(timeout_seconds);
  // What it printed before is of no interest any more, and must not grow for ever.
  if (::ftruncate(output_, 0) != 0) {
  }
  const std::string text = request.dump();
  Header header{};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.protocol = kProtocol;
  header.text_bytes = static_cast<std::uint32_t>(text.size());
  header.n_values = values.size();
  send(&header, sizeof header, deadline);
  send(text.data(), text.size(), deadline);
  send(values.data(), values.size() * sizeof(double), deadline);
  return receive_frame(expected, deadline);
}

Reply WorkerProcess::receive_frame(std::int64_t expected, Clock::time_point deadline) {
  const auto garbage = [](const std::string& what) {
    return WorkerGone(WorkerGone::How::garbage, "the worker did not keep to the protocol: " + what);
  };
  Header header;
  receive(&header, sizeof header, deadline);
  if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0) throw garbage("what came is not a frame");
  if (header.protocol != kProtocol) {
    throw garbage("expected version " + std::to_string(kProtocol) + ", found " + std::to_string(header.protocol) +
                  " (another zelos is installed for its Python)");
  }
  if (header.text_bytes > kMaxText) throw garbage("a text of " + std::to_string(header.text_bytes) + " bytes");
  // Nothing is allocated for more values than were asked for.
  const auto n = static_cast<std::uint64_t>(expected);
  if (header.n_values != n && header.n_values != 0) {
    throw garbage("expected " + std::to_string(n) + " values, found " + std::to_string(header.n_values));
  }
  std::string text(header.text_bytes, '\0');
  receive(text.data(), text.size(), deadline);
  Reply reply;
  reply.values.resize(header.n_values);
  receive(reply.values.data(), reply.values.size() * sizeof(double), deadline);
  reply.message = Json::parse(text, nullptr, false);
  if (!reply.message.is_object()) throw garbage("what came is not a JSON object");
  const auto ok = reply.message.find("ok");
  if (ok != reply.message.end() && *ok == true && header.n_values != n) {
    throw garbage("expected " + std::to_string(n) + " values, found none");
  }
  return reply;
}

void WorkerProcess::wait_for(short events, Clock::time_point deadline) {
  while (true) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) {
      throw WorkerGone(WorkerGone::How::late, "the worker had no answer within " + seconds(allowed_));
    }
    pollfd entry{socket_, events, 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(std::min<long long>(left, 1000000)));
    if (ready > 0) return;
    if (ready < 0 && errno != EINTR) throw WorkerGone(WorkerGone::How::died, reason(errno));
  }
}

void WorkerProcess::send(const void* data, std::size_t size, Clock::time_point deadline) {
  const char* at = static_cast<const char*>(data);
  while (size > 0) {
    wait_for(POLLOUT, deadline);
    const ssize_t n = ::send(socket_, at, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (n < 0) died();
    at += n;
    size -= static_cast<std::size_t>(n);
  }
}

void WorkerProcess::receive(void* data, std::size_t size, Clock::time_point deadline) {
  char* at = static_cast<char*>(data);
  while (size > 0) {
    wait_for(POLLIN, deadline);
    const ssize_t n = ::recv(socket_, at, size, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (n <= 0) died();
    at += n;
    size -= static_cast<std::size_t>(n);
  }
}

void WorkerProcess::died() {
  const std::string words = last_words();
  // The socket is closed at the very end of a process; one that closed it and lives on is killed.
  int status = 0;
  pid_t found = 0;
  for (int i = 0; i < 100 && found == 0; ++i) {
    found = ::waitpid(pid_, &status, WNOHANG);
    if (found == 0) ::usleep(10000);
  }
  std::string how = "it closed the connection";
  if (found == pid_) {
    ::kill(-pid_, SIGKILL);
    pid_ = -1;
    if (WIFSIGNALED(status)) {
      const char* name = ::strsignal(WTERMSIG(status));
      how = "signal " + std::to_string(WTERMSIG(status)) + ", " + (name == nullptr ? "unknown" : name);
    } else {
      how = "exit code " + std::to_string(WEXITSTATUS(status));
    }
  }
  throw WorkerGone(WorkerGone::How::died, "the worker process died (" + how + ")" + words);
}

/// "; it printed last: ..." on one line, or nothing.
std::string WorkerProcess::last_words() const {
  const off_t size = output_ < 0 ? 0 : ::lseek(output_, 0, SEEK_END);
  if (size <= 0) return "";
  const auto n = std::min<std::size_t>(static_cast<std::size_t>(size), kLastWords);
  std::string text(n, '\0');
  const ssize_t got = ::pread(output_, text.data(), n, size - static_cast<off_t>(n));
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  std::string line;
  for (const char c : text) {
    const bool space = static_cast<unsigned char>(c) <= ' ';
    if (!space) line += static_cast<unsigned char>(c) < 127 ? c : '?';
    if (space && !line.empty() && line.back() != ' ') line += ' ';
  }
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line.empty() ? "" : "; it printed last: " + line;
}

}  // namespace zelos_python
