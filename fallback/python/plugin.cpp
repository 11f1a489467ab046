// SPDX-License-Identifier: BSD-3-Clause
// plugin.cpp: the fallback plugin "python": every code that has a driver in Python (CAMB, CLASS, a grid, one's own),
// run by worker processes. README.md lists the options.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "worker_pool.hpp"
#include "zelos/abi/zelos_fallback.h"

extern char** environ;

namespace zelos_python {
namespace {

/// What ends a call with a status.
struct Refusal {
  zelos_status status;
  std::string message;
};

/// An answer that is of no use, though the worker and its code say nothing of it. Another worker may do better.
struct Useless {
  std::string message;
};

/// The code of a worker is not the one that was opened. Another worker may have that.
struct Changed {
  std::string message;
};

struct Options {
  Command command;
  int workers = 1;
  int retries = 1;
  std::string grid;
  double timeout = 600;
};

std::string printed(double x) {
  char text[32];
  std::snprintf(text, sizeof text, "%.10g", x);
  return text;
}

[[noreturn]] void bad_option(const std::string& key, const std::string& expected, const Json& found) {
  throw Refusal{ZELOS_E_ARGUMENT, "option '" + key + "': expected " + expected + ", found " + found.dump()};
}

double positive(const std::string& key, const Json& value) {
  if (!value.is_number() || !(value.get<double>() > 0)) bad_option(key, "a number above 0", value);
  return value.get<double>();
}

int whole(const std::string& key, const Json& value, int least, int most) {
  if (!value.is_number_integer() || value.get<double>() < least || value.get<double>() > most) {
    bad_option(key, "a whole number from " + std::to_string(least) + " to " + std::to_string(most), value);
  }
  return value.get<int>();
}

std::string text(const std::string& key, const Json& value) {
  if (!value.is_string() || value.get<std::string>().empty()) bad_option(key, "a text", value);
  return value.get<std::string>();
}

Json parse_object(const char* json, const char* what) {
  Json value = Json::parse(json == nullptr ? "{}" : json, nullptr, false);
  if (!value.is_object()) throw Refusal{ZELOS_E_ARGUMENT, std::string(what) + ": expected a JSON object"};
  return value;
}

/// The environment of this process as it is now: workers that are started later find the same.
std::map<std::string, std::string> environment_now() {
  std::map<std::string, std::string> all;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const std::size_t equals = text.find('=');
    if (equals != std::string::npos && equals > 0) all.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return all;
}

Options read_options(const char* json) {
  Options options;
  options.command.environment = environment_now();
  const char* python = std::getenv("ZELOS_PYTHON");
  options.command.python = python != nullptr && *python != '\0' ? python : "python3";
  // A camb.py in the current folder is not the code.
  options.command.environment["PYTHONSAFEPATH"] = "1";
  const Json given = parse_object(json, "options");
  for (const auto& [key, value] : given.items()) {
    if (key == "python") {
      options.command.python = text(key, value);
    } else if (key == "workers") {
      options.workers = whole(key, value, 1, 1024);
    } else if (key == "threads") {
      for (const char* name : {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"}) {
        options.command.environment[name] = std::to_string(whole(key, value, 1, 4096));
      }
    } else if (key == "retries") {
      options.retries = whole(key, value, 0, 100);
    } else if (key == "timeout") {
      options.timeout = positive(key, value);
    } else if (key == "grid") {
      options.grid = text(key, value);
    } else if (key == "start_timeout") {
      options.command.start_timeout = positive(key, value);
    } else if (key == "environment") {
      if (!value.is_object()) bad_option(key, "an object of texts", value);
      for (const auto& [name, content] : value.items()) {
        if (!content.is_string()) bad_option(key + "." + name, "a text", content);
        options.command.environment[name] = content.get<std::string>();
      }
    } else {
      throw Refusal{ZELOS_E_ARGUMENT, "unknown option '" + key +
                                          "': expected python, workers, threads, retries, timeout, start_timeout, "
                                          "environment or grid"};
    }
  }
  return options;
}

zelos_status status_of(WorkerGone::How how) { return how == WorkerGone::How::late ? ZELOS_E_CANCELLED : ZELOS_E_IO; }

/// What a worker answered with "ok": false.
Refusal refused(const Json& message, zelos_status otherwise) {
  const auto word = [&](const char* key) {
    const auto at = message.find(key);
    return at != message.end() && at->is_string() ? at->get<std::string>() : std::string();
  };
  const std::string kind = word("kind");
  return {kind == "missing" ? ZELOS_E_MISSING : kind == "argument" ? ZELOS_E_ARGUMENT : otherwise, word("error")};
}

class Names {
 public:
  explicit Names(std::vector<std::string> texts) : texts_(std::move(texts)) {
    for (const std::string& t : texts_) pointers_.push_back(t.c_str());
  }
  const char* const* data() const { return pointers_.data(); }
  std::int32_t size() const { return static_cast<std::int32_t>(pointers_.size()); }
  const char* operator[](std::size_t i) const { return pointers_[i]; }

 private:
  std::vector<std::string> texts_;
  std::vector<const char*> pointers_;
};

/// A code with its settings and outputs; the workers know it by an id and open it when they first need it.
class Code {
 public:
  explicit Code(const zelos_code_options& o)
      : options_(read_options(o.options_json)),
        name_(o.code),
        pool_(WorkerPool::of(options_.command, options_.workers)) {
    static std::atomic<unsigned> next{0};
    id_ = std::to_string(next++);
    open_ = {{"op", "open"}, {"id", id_}, {"code", name_}, {"config", parse_object(o.config_json, "config")}};
    open_["grid"] = options_.grid.empty() ? Json() : Json(options_.grid);
    open_["ini"] = o.ini == nullptr ? Json() : Json(o.ini);
    open_["outputs"] = Json::array();
    for (std::int32_t i = 0; i < o.n_outputs; ++i) add(*o.outputs[i]);
    description_ = with_worker([&](WorkerProcess& worker) { return open_in(worker); });
    keep_description();
  }

  ~Code() {
    pool_->for_each_idle([&](WorkerProcess& worker) {
      if (worker.opened.erase(id_) == 0) return;
      try {
        worker.ask({{"op", "close"}, {"id", id_}}, {}, 0, 1);
      } catch (const std::exception&) {
        // What came late is seen as unasked for when the worker is taken next, and ends it.
      }
    });
  }

  void describe(zelos_code_info* info) const {
    zelos_code_info full{};
    full.n_kinds = static_cast<std::int32_t>(kind_pointers_.size());
    full.kinds = kind_pointers_.data();
    full.n_scalars = scalars_->size();
    full.scalars = scalars_->data();
    full.code = (*facts_)[0];
    full.version = (*facts_)[1];
    full.library_sha256 = (*facts_)[2];
    full.interpolates = options_.grid.empty() ? 0 : 1;
    const std::uint32_t size = info->struct_size;
    std::memcpy(reinterpret_cast<char*>(info) + sizeof size, reinterpret_cast<const char*>(&full) + sizeof size,
                std::min<std::size_t>(size, sizeof full) - sizeof size);
  }

  std::string settings(const std::vector<std::string>& names, const std::vector<double>& values) {
    const Reply reply = request({{"op", "settings"}, {"id", id_}, {"names", names}}, values, 0, [](const Reply& r) {
      return r.message.contains("settings") && r.message["settings"].is_string() ? "" : "it gave no settings";
    });
    return reply.message["settings"].get<std::string>();
  }

  void evaluate(const std::vector<std::string>& names, const std::vector<double>& values, double* const* out) {
    const Reply reply = request({{"op", "run"}, {"id", id_}, {"names", names}}, values, total_,
                                [&](const Reply& r) { return not_finite(r.values); });
    std::size_t at = 0;
    for (std::size_t i = 0; i < sizes_.size(); ++i) {
      std::copy_n(reply.values.begin() + static_cast<std::ptrdiff_t>(at), sizes_[i], out[i]);
      at += sizes_[i];
    }
  }

 private:
  using Action = std::function<Reply(WorkerProcess&)>;

  void add(const zelos_code_output& o) {
    Json entry = {{"name", o.name}, {"unit", o.unit == nullptr ? "" : o.unit}, {"axes", Json::array()}};
    entry["labels"] = entry["label_units"] = Json();
    std::size_t size = 1;
    for (std::int32_t a = 0; a < o.n_axes; ++a) {
      entry["axes"].push_back({{"name", o.axis_names[a]}, {"size", o.axis_sizes[a]}});
      size *= static_cast<std::size_t>(o.axis_sizes[a]);
      if (o.labels == nullptr) axes_.insert(axes_.end(), o.axis_values[a], o.axis_values[a] + o.axis_sizes[a]);
    }
    if (o.labels != nullptr) {
      entry["labels"] = std::vector<std::string>(o.labels, o.labels + o.axis_sizes[0]);
      if (o.label_units != nullptr) {
        entry["label_units"] = Json::array();
        for (std::int64_t i = 0; i < o.axis_sizes[0]; ++i) {
          entry["label_units"].push_back(o.label_units[i] == nullptr ? Json() : Json(o.label_units[i]));
        }
      }
    }
    open_["outputs"].push_back(std::move(entry));
    output_names_.emplace_back(o.name);
    sizes_.push_back(size);
    total_ += static_cast<std::int64_t>(size);
  }

  Reply open_in(WorkerProcess& worker) {
    Reply reply = worker.ask(open_, axes_, 0, options_.command.start_timeout);
    if (reply.message.value("ok", Json()) != true) throw refused(reply.message, ZELOS_E_ARGUMENT);
    check_facts(reply.message);
    worker.opened.insert(id_);
    return reply;
  }

  /// A worker that took the place of another one may find another code: what was opened is what answers.
  void check_facts(const Json& now) const {
    const std::pair<const char*, const char*> facts[] = {
        {"code", "the code"}, {"version", "its version"}, {"library_sha256", "the SHA-256 of its library"}};
    const Json& then = description_.message;
    for (const auto& [key, what] : facts) {
      if (then.is_null() || now.value(key, Json()) == then[key]) continue;
      throw Changed{std::string("a worker found another code: ") + what + " is " + now.value(key, Json()).dump() +
                    ", it was " + then[key].dump() + " when it was opened"};
    }
  }

  Reply request(const Json& message, const std::vector<double>& values, std::int64_t expected,
                const std::function<std::string(const Reply&)>& fault) {
    return with_worker([&](WorkerProcess& worker) {
      if (worker.opened.count(id_) == 0) open_in(worker);
      Reply reply = worker.ask(message, values, expected, options_.timeout);
      if (reply.message.value("ok", Json()) != true) throw refused(reply.message, ZELOS_E_NUMERIC);
      const std::string wrong = fault(reply);
      if (!wrong.empty()) throw Useless{wrong};
      return reply;
    });
  }

  /// Does it, again with a new worker if the first was of no use or its numbers were not finite. What the code itself
  /// says of a point is final.
  Reply with_worker(const Action& action) {
    for (int tries = options_.retries + 1;; --tries) {
      WorkerPool::Lease worker(*pool_);
      try {
        return action(*worker);
      } catch (const WorkerGone& gone) {
        worker.spoil();
        if (tries <= 1) throw Refusal{status_of(gone.how), gone.what() + how_often()};
      } catch (const Changed& code) {
        worker.spoil();
        if (tries <= 1) throw Refusal{ZELOS_E_ARGUMENT, code.message + how_often()};
      } catch (const Useless& answer) {
        worker.spoil();
        if (tries <= 1) throw Refusal{ZELOS_E_NUMERIC, answer.message + how_often()};
      }
    }
  }

  std::string how_often() const {
    return options_.retries == 0 ? "" : " (tried " + std::to_string(options_.retries + 1) + " times)";
  }

  /// The first value that is not a number, in words, or "".
  std::string not_finite(const std::vector<double>& values) const {
    std::size_t at = 0;
    for (std::size_t i = 0; i < sizes_.size(); ++i) {
      for (std::size_t j = 0; j < sizes_[i]; ++j) {
        const double x = values[at + j];
        if (!std::isfinite(x)) {
          return "output '" + output_names_[i] + "', value " + std::to_string(j) + " is " + printed(x);
        }
      }
      at += sizes_[i];
    }
    return "";
  }

  void keep_description() {
    const Json& m = description_.message;
    try {
      facts_.emplace(std::vector<std::string>{m.at("code"), m.at("version"), m.at("library_sha256")});
      scalars_.emplace(m.at("scalars").get<std::vector<std::string>>());
      for (const auto& [name, kind] : m.at("kinds").items()) {
        kinds_.push_back(std::make_unique<Kind>(name, kind.at("unit"), kind.at("axes")));
        kind_pointers_.push_back(&kinds_.back()->c);
      }
    } catch (const Json::exception& e) {
      throw Refusal{ZELOS_E_IO, std::string("the worker did not keep to the protocol: ") + e.what()};
    }
  }

  struct Kind {
    Kind(std::string name, std::string unit, std::vector<std::string> axes)
        : texts({std::move(name), std::move(unit)}), axes(std::move(axes)) {
      c = {sizeof(zelos_code_kind), this->axes.size(), texts[0], texts[1], this->axes.data()};
    }
    Names texts, axes;
    zelos_code_kind c;
  };

  Options options_;
  std::string name_;
  std::shared_ptr<WorkerPool> pool_;
  std::string id_;
  Json open_;
  std::vector<double> axes_;
  std::vector<std::string> output_names_;
  std::vector<std::size_t> sizes_;
  std::int64_t total_ = 0;
  Reply description_;
  std::optional<Names> facts_, scalars_;
  std::vector<std::unique_ptr<Kind>> kinds_;
  std::vector<const zelos_code_kind*> kind_pointers_;
};

zelos_status report(zelos_error* error, zelos_status status, const std::string& message) noexcept {
  if (error != nullptr && error->struct_size > offsetof(zelos_error, message)) {
    error->code = status;
    std::snprintf(error->message, error->struct_size - offsetof(zelos_error, message), "%s", message.c_str());
  }
  return status;
}

template <class Body>
zelos_status guarded(zelos_error* error, Body&& body) noexcept {
  try {
    body();
    return ZELOS_OK;
  } catch (const Refusal& refusal) {
    return report(error, refusal.status, refusal.message);
  } catch (const CannotStart& e) {
    return report(error, ZELOS_E_MISSING, e.what());
  } catch (const WorkerGone& e) {
    return report(error, ZELOS_E_IO, e.what());
  } catch (const std::bad_alloc&) {
    return report(error, ZELOS_E_MEMORY, "out of memory");
  } catch (const std::exception& e) {
    return report(error, ZELOS_E_INTERNAL, e.what());
  } catch (...) {
    return report(error, ZELOS_E_INTERNAL, "unknown exception");
  }
}

Code* code_of(zelos_code* code) { return reinterpret_cast<Code*>(code); }

zelos_status create(const zelos_code_options* options, zelos_code** out, zelos_error* error) {
  return guarded(error, [&] { *out = reinterpret_cast<zelos_code*>(std::make_unique<Code>(*options).release()); });
}

void destroy(zelos_code* code) { delete code_of(code); }

zelos_status describe(const zelos_code* code, zelos_code_info* info, zelos_error* error) {
  return guarded(error, [&] { reinterpret_cast<const Code*>(code)->describe(info); });
}

std::vector<std::string> names_of(std::int32_t n, const char* const* names) { return {names, names + n}; }

zelos_status settings(zelos_code* code, std::int32_t n, const char* const* names, const double* values,
                      zelos_take_text take, void* data, zelos_error* error) {
  return guarded(error, [&] {
    const std::string all = code_of(code)->settings(names_of(n, names), std::vector<double>(values, values + n));
    take(data, all.c_str());
  });
}

zelos_status evaluate(zelos_code* code, std::int32_t n, const char* const* names, const double* values,
                      double* const* out, zelos_error* error) {
  return guarded(error,
                 [&] { code_of(code)->evaluate(names_of(n, names), std::vector<double>(values, values + n), out); });
}

const void* get_extension(const char*) { return nullptr; }

}  // namespace
}  // namespace zelos_python

extern "C" {
extern ZELOS_EXPORT const zelos_fallback_entry ZELOS_FALLBACK_ENTRY;
const zelos_fallback_entry ZELOS_FALLBACK_ENTRY = {
    ZELOS_FALLBACK_ABI_MAJOR,
    ZELOS_FALLBACK_ABI_MINOR,
    sizeof(zelos_fallback_entry),
    "zelos",
    "python",
    "1.0.0",
    "codes with a driver in Python (CAMB, CLASS, ...), in worker processes",
    zelos_python::create,
    zelos_python::destroy,
    zelos_python::describe,
    zelos_python::settings,
    zelos_python::evaluate,
    zelos_python::get_extension,
};
}
