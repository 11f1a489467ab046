// SPDX-License-Identifier: BSD-3-Clause
#include "zelos/fallback.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <deque>
#include <limits>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "base/sha256.hpp"
#include "base/text.hpp"
#include "fallback/cache.hpp"
#include "fallback/plugin.hpp"
#include "runtime/bound_query.hpp"
#include "runtime/resample.hpp"

namespace zelos {
namespace {

using fallback::Cache;
using fallback::Code;
using fallback::CodeSettings;
using fallback::Plugin;
using fallback::Point;
using nlohmann::json;

using Values = std::vector<std::vector<double>>;
using Axes = std::vector<std::vector<double>>;

/// Outputs of one point are often asked for one after the other.
constexpr std::size_t kKeptRuns = 4;

std::string trim(std::string line) {
  line.erase(0, line.find_first_not_of(" \t\r"));
  line.erase(line.find_last_not_of(" \t\r") + 1);
  return line;
}

std::string first_difference(const std::string& trained, const std::string& here) {
  std::istringstream before(trained), now(here);
  std::string a, b;
  while (true) {
    const bool more_before = static_cast<bool>(std::getline(before, a));
    const bool more_now = static_cast<bool>(std::getline(now, b));
    if (!more_before && !more_now) return "the same lines with other ends";
    if (!more_before) return "'" + trim(b) + "' here, nothing in training";
    if (!more_now) return "nothing here, '" + trim(a) + "' in training";
    if (a != b) return "'" + trim(b) + "' here, '" + trim(a) + "' in training";
  }
}

const char* reason_name(Verdict::Reason reason) {
  switch (reason) {
    case Verdict::Reason::inside:
      return "inside";
    case Verdict::Reason::not_finite:
      return "not_finite";
    case Verdict::Reason::fixed_parameter:
      return "fixed_parameter";
    case Verdict::Reason::box:
      return "box";
    case Verdict::Reason::hull:
      return "hull";
    case Verdict::Reason::error_bound:
      return "error_bound";
    case Verdict::Reason::no_solution:
      return "no_solution";
  }
  return "unknown";
}

std::string text_of(const json& object, const char* key) {
  const auto at = object.find(key);
  return at != object.end() && at->is_string() ? at->get<std::string>() : std::string();
}

/// A request of a query: which output of the emulator, on which axes.
struct Wanted {
  std::size_t output;
  const Axes* axes;
};

std::vector<Wanted> wanted_of(const Query& query) {
  std::vector<Wanted> all;
  for (const int node : query.impl().request_node) {
    const Node& n = query.impl().nodes[static_cast<std::size_t>(node)];
    all.push_back({static_cast<std::size_t>(n.output), &n.axes});
  }
  return all;
}

bool covers(const std::vector<Output>& outputs, const std::vector<Wanted>& wanted) {
  for (const Wanted& w : wanted) {
    for (std::size_t a = 0; a < w.axes->size(); ++a) {
      if (!includes(outputs[w.output].axes[a].values, (*w.axes)[a])) return false;
    }
  }
  return true;
}

/// An output of a run at the wanted points: those that the code was to be `asked` for as it gave them; on an axis of
/// which it was not, interpolated between the native points (logarithms, where all values are positive).
double* extract(const OutputModel& output, const Output& asked, const Output& ran, const std::vector<double>& values,
                const Axes& wanted, double* out) {
  const auto n = static_cast<Eigen::Index>(ran.axes[0].values.size());
  Eigen::MatrixXd field = Eigen::Map<const Eigen::Matrix<double, -1, -1, Eigen::RowMajor>>(
      values.data(), n, static_cast<Eigen::Index>(values.size()) / n);
  bool in_logarithm = false;
  for (std::size_t a = 0; a < wanted.size(); ++a) {
    if (a == 1) field.transposeInPlace();
    const std::vector<double>& have = ran.axes[a].values;
    if (includes(asked.axes[a].values, wanted[a])) {
      field = pick(have, wanted[a], field);
      continue;
    }
    if (!in_logarithm && (field.array() > 0).all()) {
      in_logarithm = true;
      field = field.array().log();
    }
    field = resample(output.axes[a], wanted[a], pick(have, output.axes[a].axis.values, field));
  }
  if (in_logarithm) field = field.array().exp();
  // Of two axes the second now runs down the columns, in which a matrix lies in memory.
  return std::copy_n(field.data(), field.size(), out);
}

}  // namespace

struct Fallback::Impl {
  Impl(const Emulator& e, const std::string& name, const Options& options)
      : emulator(e), plugin(fallback::find_plugin(name)) {
    const json& info = emulator.info();
    const json provenance = info.value("provenance", json::object());
    const std::string trained_on = text_of(provenance, "code");
    if (!plugin.code.empty() && plugin.code != trained_on) refuse_code(plugin.code, trained_on);
    settings.code = plugin.code.empty() ? trained_on : plugin.code;
    settings.config_json = provenance.value("config", json::object()).dump();
    settings.options_json = merged(options);
    settings.has_ini = provenance.contains("ini");
    settings.ini = text_of(provenance, "ini");
    native = open_native();
    if (native->name() != trained_on) refuse_code(native->name(), trained_on);
    if (!options.cache.empty()) open_cache(options.cache);
    compare(provenance);
    if (!differences.empty() && !options.any_version) {
      throw Error(ZELOS_E_ARGUMENT, "fallback '" + native->name() + "' is not the code that " + emulator.name() +
                                        " emulates: " + join(differences, "; "));
    }
  }

  std::string merged(const Options& options) const {
    const auto defaults = options.defaults.find(plugin.entry->id);
    if (defaults == options.defaults.end()) return options.settings;
    const json given = json::parse(options.settings, nullptr, false);
    json all = json::parse(defaults->second, nullptr, false);
    if (!given.is_object() || !all.is_object()) return options.settings;
    all.update(given);
    return all.dump();
  }

  /// With what the emulator may be asked to solve for ("H0") among the scalars, if the code gives it.
  std::shared_ptr<const Code> open_native() const {
    std::vector<Output> outputs = emulator.outputs();
    for (const auto& [given, target] : emulator.solvable()) add_scalar(target, &outputs);
    try {
      return std::make_shared<Code>(plugin, settings, outputs);
    } catch (const Error& e) {
      if (e.status() != ZELOS_E_ARGUMENT || emulator.solvable().empty()) throw;
      return std::make_shared<Code>(plugin, settings, emulator.outputs());
    }
  }

  static void add_scalar(const std::string& name, std::vector<Output>* outputs) {
    auto scalars = std::find_if(outputs->begin(), outputs->end(),
                                [](const Output& o) { return o.axes.size() == 1 && !o.axes[0].labels.empty(); });
    if (scalars == outputs->end()) {
      outputs->push_back({"derived", "", "", {{"name", "", {}, {}}}, {}});
      scalars = outputs->end() - 1;
    }
    Output::Axis& axis = scalars->axes[0];
    if (std::find(axis.labels.begin(), axis.labels.end(), name) != axis.labels.end()) return;
    axis.values.push_back(static_cast<double>(axis.labels.size()));
    axis.labels.push_back(name);
    scalars->units.resize(axis.labels.size(), fallback::kAnyUnit);
  }

  /// The value of a scalar in an answer, NaN if it is not there.
  static double scalar(const std::string& name, const Code& code, const Values& values) {
    for (std::size_t i = 0; i < code.outputs().size(); ++i) {
      for (const Output::Axis& axis : code.outputs()[i].axes) {
        const auto at = std::find(axis.labels.begin(), axis.labels.end(), name);
        if (at != axis.labels.end()) return values[i][static_cast<std::size_t>(at - axis.labels.begin())];
      }
    }
    return std::numeric_limits<double>::quiet_NaN();
  }

  void open_cache(const std::filesystem::path& folder) {
    if (native->interpolates()) {
      throw Error(ZELOS_E_ARGUMENT, "cache '" + folder.string() + "': it keeps a code's own answers, and fallback '" +
                                        native->name() + "' interpolates between runs: do without one of the two");
    }
    cache.emplace(folder);
  }

  [[noreturn]] void refuse_code(const std::string& code, const std::string& trained_on) const {
    throw Error(ZELOS_E_ARGUMENT, "fallback '" + code + "': the emulator " + emulator.name() + " was trained on " +
                                      (trained_on.empty() ? "an unknown code" : "'" + trained_on + "'"));
  }

  void compare(const json& provenance) {
    const std::string trained = text_of(provenance, "code_version");
    if (native->version() != trained) {
      differences.push_back("version " + native->version() + " here, " + (trained.empty() ? "unknown" : trained) +
                            " in training");
    }
    const json at = provenance.value("settings_at", json());
    const std::string digest = text_of(provenance, "settings_sha256");
    if (at.is_object()) {
      for (const auto& [name, value] : at.items()) {
        if (value.is_number()) centre.emplace_back(name, value.get<double>());
      }
    }
    if (centre.empty() || digest.empty()) {
      centre.clear();
      const std::string all = settings.config_json + settings.ini;
      settings_sha256 = sha256_hex(all.data(), all.size());
      return;
    }
    native_settings = native->settings(centre);
    settings_sha256 = sha256_hex(native_settings.data(), native_settings.size());
    if (settings_sha256 != digest) {
      differences.push_back("settings: " + first_difference(text_of(provenance, "settings"), native_settings));
    }
  }

  /// Whether a code on other axes computes what the native one does, as far as can be told.
  bool is_as_trained(const Code& code) const { return centre.empty() || code.settings(centre) == native_settings; }

  static void widen(std::vector<double>* axis, const std::vector<double>& more) {
    std::vector<double> both;
    std::set_union(axis->begin(), axis->end(), more.begin(), more.end(), std::back_inserter(both));
    *axis = std::move(both);
  }

  /// The code on the native axes, and on those wanted besides which leave its settings as they were in the training:
  /// CAMB takes the non-linear correction of the lensing from the redshifts that are asked for.
  std::shared_ptr<const Code> code_for(const std::vector<Wanted>& wanted) {
    if (covers(native->outputs(), wanted)) return native;
    std::vector<Output> all = native->outputs();
    for (const Wanted& w : wanted) {
      for (std::size_t a = 0; a < w.axes->size(); ++a) widen(&all[w.output].axes[a].values, (*w.axes)[a]);
    }
    Axes key;
    for (const Output& output : all) {
      for (const Output::Axis& axis : output.axes) key.push_back(axis.values);
    }
    const std::lock_guard lock(mutex);
    std::shared_ptr<const Code>& code = others[key];
    if (code == nullptr) code = widest_as_trained(all);
    return code;
  }

  std::shared_ptr<const Code> widest_as_trained(const std::vector<Output>& all) const {
    auto widest = std::make_shared<const Code>(plugin, settings, all);
    if (is_as_trained(*widest)) return widest;
    widest = native;
    for (std::size_t i = 0; i < all.size(); ++i) {
      for (std::size_t a = 0; a < all[i].axes.size(); ++a) {
        std::vector<Output> wider = widest->outputs();
        if (wider[i].axes[a].values == all[i].axes[a].values) continue;
        wider[i].axes[a].values = all[i].axes[a].values;
        auto code = std::make_shared<const Code>(plugin, settings, std::move(wider));
        if (is_as_trained(*code)) widest = std::move(code);
      }
    }
    return widest;
  }

  /// What the code is told; canonical, if not null, gets what is known of the canonical parameters, NaN for the others.
  Point physics(const Query& query, const double* values, double* canonical) const {
    Workspace workspace = query.workspace();
    const std::vector<Physics>& told_of = query.physics();
    std::vector<double> numbers(told_of.size());
    std::vector<int32_t> told(told_of.size());
    const Verdict verdict = query.physics(values, numbers.data(), told.data(), workspace);
    if (!verdict.inside()) throw Error(ZELOS_E_OUTSIDE, to_string(verdict));
    Point point;
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      for (std::size_t j = 0; canonical != nullptr && j < emulator.parameters().size(); ++j) {
        if (emulator.parameters()[j].name == told_of[i].name) canonical[j] = numbers[i];
      }
      if (told[i] == 0) continue;
      if (!std::isfinite(numbers[i])) {
        throw Error(ZELOS_E_OUTSIDE,
                    "parameter '" + told_of[i].name + "' is " + to_text(numbers[i]) + ": the point has no meaning");
      }
      point.emplace_back(told_of[i].name, numbers[i]);
    }
    return point;
  }

  /// The answer is right whether or not it can be kept.
  void keep_on_disk(const Cache::Question& question, const Values& values) {
    try {
      cache->store(question, values);
    } catch (const Error& e) {
      const std::lock_guard lock(mutex);
      statistics.cache_failure = e.what();
    }
  }

  struct Run {
    Point point;
    std::shared_ptr<const Code> code;
    std::shared_ptr<const Values> values;
  };

  /// A run of this code; in the native one's place any will do, which has its settings and its axes.
  Run answer(const Point& point, const std::shared_ptr<const Code>& code) {
    {
      const std::lock_guard lock(mutex);
      for (const Run& run : kept) {
        const bool same = run.code == code || (code == native && !centre.empty());
        if (run.point != point || !same) continue;
        ++statistics.repeated;
        return run;
      }
    }
    Run run{point, code, nullptr};
    const Cache::Question question{run.code->name(), run.code->version(), settings_sha256, &run.code->outputs(),
                                   &point};
    std::optional<Values> known;
    if (cache) known = cache->look_up(question);
    const bool is_new = !known;
    if (is_new) known = run.code->evaluate(point);
    if (is_new && cache) keep_on_disk(question, *known);
    run.values = std::make_shared<Values>(std::move(*known));
    const std::lock_guard lock(mutex);
    ++(is_new ? statistics.runs : statistics.from_cache);
    kept.push_back(run);
    if (kept.size() > kKeptRuns) kept.pop_front();
    return run;
  }

  const Emulator emulator;
  const Plugin plugin;
  CodeSettings settings;
  Point centre;  ///< where the settings of the training are known; empty: nowhere
  std::string native_settings, settings_sha256;
  std::shared_ptr<const Code> native;
  std::vector<std::string> differences;
  std::optional<Cache> cache;

  std::mutex mutex;
  std::map<Axes, std::shared_ptr<const Code>> others;
  std::deque<Run> kept;
  Statistics statistics;
};

Fallback Fallback::open(const Emulator& emulator, const std::string& name, const Options& options) {
  return Fallback(std::make_shared<Impl>(emulator, name, options));
}

const std::string& Fallback::code() const { return impl_->native->name(); }
const std::string& Fallback::version() const { return impl_->native->version(); }
int64_t Fallback::n_canonical() const { return static_cast<int64_t>(impl_->emulator.parameters().size()); }
const std::vector<std::string>& Fallback::differences() const { return impl_->differences; }

void Fallback::evaluate(const Query& query, const double* values, double* out, const Verdict& why,
                        double* canonical) const {
  Impl& impl = *impl_;
  if (query.impl().model.get() != &impl.emulator.impl()) {
    throw Error(ZELOS_E_ARGUMENT, "fallback '" + code() + "': the query is of another emulator than " +
                                      impl.emulator.name() + ", for which it was opened");
  }
  const auto begin = std::chrono::steady_clock::now();
  const auto count = [&](const std::string& failure) {
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    const std::lock_guard lock(impl.mutex);
    ++impl.statistics.points;
    impl.statistics.seconds += took.count();
    if (!why.inside()) ++impl.statistics.reasons[why.parameter.empty() ? reason_name(why.reason) : why.parameter];
    if (failure.empty()) return;
    ++impl.statistics.failed;
    impl.statistics.last_failure = failure;
  };
  try {
    const std::vector<Wanted> wanted = wanted_of(query);
    const std::vector<Parameter>& parameters = impl.emulator.parameters();
    if (canonical != nullptr) std::fill_n(canonical, parameters.size(), std::numeric_limits<double>::quiet_NaN());
    const Point point = impl.physics(query, values, canonical);
    const std::shared_ptr<const Code> code = impl.code_for(wanted);
    const Impl::Run run = impl.answer(point, code);
    for (std::size_t i = 0; canonical != nullptr && i < parameters.size(); ++i) {
      if (std::isnan(canonical[i])) canonical[i] = Impl::scalar(parameters[i].name, *run.code, *run.values);
    }
    double* at = out;
    for (const Wanted& w : wanted) {
      at = extract(impl.emulator.impl().outputs[w.output], code->outputs()[w.output], run.code->outputs()[w.output],
                   (*run.values)[w.output], *w.axes, at);
    }
  } catch (const std::exception& e) {
    count(e.what());
    throw;
  }
  count("");
}

Fallback::Statistics Fallback::statistics() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->statistics;
}

}  // namespace zelos
