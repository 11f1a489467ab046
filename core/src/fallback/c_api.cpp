// SPDX-License-Identifier: BSD-3-Clause
// c_api.cpp: the fallback's part of zelos.h on top of fallback.hpp.
#include "runtime/c_api.hpp"

#include <nlohmann/json.hpp>

#include "base/text.hpp"
#include "zelos/fallback.hpp"

struct zelos_fallback {
  zelos::Fallback fallback;
  std::string differences;
};

namespace {

using namespace zelos::c_api;

/// Whether the caller's struct has the member.
#define ZELOS_COVERS(object, member) \
  ((object)->struct_size >= offsetof(std::decay_t<decltype(*(object))>, member) + sizeof((object)->member))

zelos::Fallback::Options options_of(const zelos_fallback_options* options) {
  zelos::Fallback::Options o;
  if (options == nullptr) return o;
  if (ZELOS_COVERS(options, any_version)) o.any_version = options->any_version != 0;
  if (ZELOS_COVERS(options, settings_json) && options->settings_json != nullptr) o.settings = options->settings_json;
  if (ZELOS_COVERS(options, cache) && options->cache != nullptr) o.cache = options->cache;
  return o;
}

/// What the statistics count of a verdict.
zelos::Verdict verdict_of(const zelos_verdict* why) {
  zelos::Verdict verdict;
  if (why == nullptr || !ZELOS_COVERS(why, parameter)) return verdict;
  verdict.reason = static_cast<zelos::Verdict::Reason>(why->reason);
  verdict.parameter = why->parameter;
  return verdict;
}

}  // namespace

extern "C" {

zelos_status zelos_fallback_open(const zelos_emulator* emulator, const char* name,
                                 const zelos_fallback_options* options, zelos_fallback** fallback, zelos_error* error) {
  return guarded(error, [&] {
    need(emulator != nullptr && name != nullptr && fallback != nullptr,
         "zelos_fallback_open: emulator, name and fallback must not be NULL");
    zelos::Fallback opened = zelos::Fallback::open(emulator->emulator, name, options_of(options));
    std::string differences = zelos::join(opened.differences(), "; ");
    *fallback = new zelos_fallback{std::move(opened), std::move(differences)};
    return ZELOS_OK;
  });
}

void zelos_fallback_close(zelos_fallback* fallback) { delete fallback; }
const char* zelos_fallback_code(const zelos_fallback* f) { return f->fallback.code().c_str(); }
const char* zelos_fallback_version(const zelos_fallback* f) { return f->fallback.version().c_str(); }
const char* zelos_fallback_differences(const zelos_fallback* f) { return f->differences.c_str(); }

zelos_status zelos_fallback_evaluate(const zelos_fallback* fallback, const zelos_query* query, const double* values,
                                     double* out, const zelos_verdict* why, zelos_error* error) {
  return guarded(error, [&] {
    need(fallback != nullptr && query != nullptr && values != nullptr && out != nullptr,
         "zelos_fallback_evaluate: fallback, query, values and out must not be NULL");
    fallback->fallback.evaluate(query->query, values, out, verdict_of(why));
    return ZELOS_OK;
  });
}

zelos_status zelos_answer(const zelos_query* query, const zelos_fallback* fallback, const double* values, double* out,
                          zelos_workspace* workspace, zelos_verdict* verdict, zelos_source* source,
                          zelos_error* error) {
  if (source != nullptr) *source = ZELOS_SOURCE_NONE;
  return guarded(error, [&] {
    check(query, values, workspace);
    need(out != nullptr, "zelos_answer: out must not be NULL");
    const zelos::Verdict found = query->query.evaluate(values, out, workspace->workspace);
    fill(found, verdict);
    if (!found.inside()) {
      if (fallback == nullptr || found.reason == zelos::Verdict::Reason::not_finite) {
        return report(error, ZELOS_E_OUTSIDE, to_string(found).c_str());
      }
      fallback->fallback.evaluate(query->query, values, out, found);
    }
    if (source != nullptr) *source = found.inside() ? ZELOS_SOURCE_EMULATOR : ZELOS_SOURCE_FALLBACK;
    return ZELOS_OK;
  });
}

zelos_status zelos_fallback_count(const zelos_fallback* fallback, zelos_fallback_statistics* statistics,
                                  zelos_error* error) {
  return guarded(error, [&] {
    need(fallback != nullptr && statistics != nullptr,
         "zelos_fallback_count: fallback and statistics must not be NULL");
    need(statistics->struct_size >= sizeof(uint32_t), "zelos_fallback_count: struct_size is not set");
    const zelos::Fallback::Statistics s = fallback->fallback.statistics();
    give(zelos_fallback_statistics{0, s.points, s.runs, s.from_cache, s.repeated, s.failed, s.seconds}, statistics);
    return ZELOS_OK;
  });
}

size_t zelos_fallback_report_json(const zelos_fallback* fallback, char* buffer, size_t size) {
  try {
    const zelos::Fallback::Statistics s = fallback->fallback.statistics();
    const nlohmann::json report = {{"points", s.points},
                                   {"runs", s.runs},
                                   {"from_cache", s.from_cache},
                                   {"repeated", s.repeated},
                                   {"failed", s.failed},
                                   {"seconds", s.seconds},
                                   {"reasons", s.reasons},
                                   {"last_failure", s.last_failure},
                                   {"cache_failure", s.cache_failure}};
    const std::string text = report.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    if (size > 0) std::snprintf(buffer, size, "%s", text.c_str());
    return text.size() + 1;
  } catch (const std::exception&) {
    if (size > 0) *buffer = '\0';
    return 1;
  }
}

}  // extern "C"
