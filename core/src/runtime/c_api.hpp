// SPDX-License-Identifier: BSD-3-Clause
// c_api.hpp: what the files that implement zelos.h share: the handles, and how exceptions end.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "zelos/abi/zelos.h"
#include "zelos/emulator.hpp"
#include "zelos/error.hpp"
#include "zelos/error_model.hpp"

struct zelos_emulator {
  explicit zelos_emulator(zelos::Emulator e);
  zelos::Emulator emulator;
  std::string info;
  std::vector<std::vector<const char*>> synonyms;
  std::vector<std::vector<std::vector<const char*>>> labels;
};

struct zelos_query {
  zelos::Query query;
};

struct zelos_workspace {
  zelos::Workspace workspace;
  const zelos::Query::Impl* owner;  ///< the question it was made for
};

struct zelos_error_model {
  zelos::ErrorModel model;
};

namespace zelos::c_api {

inline zelos_status report(zelos_error* error, zelos_status status, const char* message) noexcept {
  if (error == nullptr) return status;
  const size_t header = offsetof(zelos_error, message);
  if (error->struct_size <= header) return status;
  error->code = status;
  std::snprintf(error->message, error->struct_size - header, "%s", message);
  return status;
}

template <class Body>
zelos_status guarded(zelos_error* error, Body&& body) noexcept {
  try {
    return body();
  } catch (const Error& e) {
    return report(error, e.status(), e.what());
  } catch (const std::bad_alloc&) {
    return report(error, ZELOS_E_MEMORY, "out of memory");
  } catch (const std::exception& e) {
    return report(error, ZELOS_E_INTERNAL, e.what());
  } catch (...) {
    return report(error, ZELOS_E_INTERNAL, "unknown exception");
  }
}

inline void need(bool condition, const char* what) {
  if (!condition) throw Error(ZELOS_E_ARGUMENT, what);
}

/// Copies what the caller's struct_size covers, and leaves its struct_size.
template <class T>
void give(const T& source, T* target) {
  const uint32_t size = target->struct_size;
  std::memcpy(reinterpret_cast<char*>(target) + sizeof size, reinterpret_cast<const char*>(&source) + sizeof size,
              std::min<size_t>(size, sizeof(T)) - sizeof size);
}

/// What every evaluation needs; a workspace of another query has another size.
inline void check(const zelos_query* query, const void* values, const zelos_workspace* workspace) {
  need(query != nullptr && workspace != nullptr, "evaluation: query and workspace must not be NULL");
  need(values != nullptr || query->query.n_parameters() == 0, "evaluation: values must not be NULL");
  need(workspace->owner == &query->query.impl(), "evaluation: the workspace was made for another query");
}

inline void fill(const Verdict& verdict, zelos_verdict* out) {
  if (out == nullptr || out->struct_size < sizeof(uint32_t)) return;
  zelos_verdict full{};
  full.reason = static_cast<zelos_reason>(verdict.reason);
  std::snprintf(full.parameter, sizeof full.parameter, "%s", verdict.parameter.c_str());
  full.value = verdict.value;
  full.lower = verdict.lower;
  full.upper = verdict.upper;
  full.excess = verdict.excess;
  if (!verdict.inside()) std::snprintf(full.message, sizeof full.message, "%s", to_string(verdict).c_str());
  give(full, out);
}

}  // namespace zelos::c_api
