// SPDX-License-Identifier: BSD-3-Clause
// family_support.hpp: what every C++ family needs at its boundary: guard, access to stored state, params with defaults.
#pragma once

#include <Eigen/Dense>
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "zelos/abi/zelos_plugin.h"

namespace zelos::family {

using RowMatrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using ConstRowMap = Eigen::Map<const RowMatrix>;
using RowMap = Eigen::Map<RowMatrix>;
using ConstVectorMap = Eigen::Map<const Eigen::VectorXd>;
using VectorMap = Eigen::Map<Eigen::VectorXd>;

/// A family's own model behind the opaque handle. Families are linked together, so none defines the global struct
/// zelos_model itself: several definitions of one name would share one destructor.
template <class Model>
zelos_model* to_handle(Model* model) {
  return reinterpret_cast<zelos_model*>(model);
}
template <class Model>
Model* from_handle(zelos_model* handle) {
  return reinterpret_cast<Model*>(handle);
}
template <class Model>
const Model* from_handle(const zelos_model* handle) {
  return reinterpret_cast<const Model*>(handle);
}

/// Thrown inside a family only; guard() turns it into a status.
class Error : public std::runtime_error {
 public:
  Error(zelos_status status, const std::string& message) : std::runtime_error(message), status_(status) {}
  zelos_status status() const noexcept { return status_; }

 private:
  zelos_status status_;
};

inline zelos_status fill_error(zelos_error* error, zelos_status status, const char* message) noexcept {
  if (error != nullptr) {
    error->code = status;
    std::snprintf(error->message, sizeof error->message, "%s", message);
  }
  return status;
}

/// Runs the body of an ABI function: no exception leaves it.
template <class Body>
zelos_status guard(zelos_error* error, Body&& body) noexcept {
  try {
    std::forward<Body>(body)();
    return ZELOS_OK;
  } catch (const Error& e) {
    return fill_error(error, e.status(), e.what());
  } catch (const std::bad_alloc&) {
    return fill_error(error, ZELOS_E_MEMORY, "out of memory");
  } catch (const nlohmann::json::exception& e) {
    return fill_error(error, ZELOS_E_ARGUMENT, e.what());
  } catch (const std::exception& e) {
    return fill_error(error, ZELOS_E_INTERNAL, e.what());
  } catch (...) {
    return fill_error(error, ZELOS_E_INTERNAL, "unknown exception");
  }
}

/// The array `name` of a stored state, checked for its rank; ZELOS_E_FORMAT if absent.
inline const zelos_array& find_array(const zelos_state& state, const char* name, int rank) {
  for (uint32_t i = 0; i < state.n_arrays; ++i) {
    const zelos_array& array = state.arrays[i];
    if (std::strcmp(array.name, name) != 0) continue;
    if (array.rank != rank) {
      throw Error(ZELOS_E_FORMAT, std::string("array '") + name + "': expected rank " + std::to_string(rank) +
                                      ", found " + std::to_string(array.rank));
    }
    return array;
  }
  throw Error(ZELOS_E_FORMAT, std::string("stored state has no array '") + name + "'");
}

inline bool has_array(const zelos_state& state, const char* name) {
  return std::any_of(state.arrays, state.arrays + state.n_arrays,
                     [&](const zelos_array& array) { return std::strcmp(array.name, name) == 0; });
}

inline ConstRowMap matrix(const zelos_state& state, const char* name) {
  const zelos_array& a = find_array(state, name, 2);
  return ConstRowMap(a.data, a.shape[0], a.shape[1]);
}

inline ConstVectorMap vector(const zelos_state& state, const char* name) {
  const zelos_array& a = find_array(state, name, 1);
  return ConstVectorMap(a.data, a.shape[0]);
}

/// Defaults overridden by the user's params; an unknown key or a value of another JSON type is ZELOS_E_ARGUMENT.
inline nlohmann::json merge_params(const char* defaults_json, const char* params_json) {
  nlohmann::json merged = nlohmann::json::parse(defaults_json);
  const nlohmann::json given = nlohmann::json::parse(params_json == nullptr ? "{}" : params_json);
  for (const auto& [key, value] : given.items()) {
    if (!merged.contains(key)) {
      std::string known;
      for (const auto& item : merged.items()) known += (known.empty() ? "" : ", ") + item.key();
      throw Error(ZELOS_E_ARGUMENT, "emulator_fn params: unknown key '" + key + "'; known: " + known);
    }
    const bool same = merged[key].type() == value.type() || (merged[key].is_number() && value.is_number());
    if (!same) {
      throw Error(ZELOS_E_ARGUMENT, "emulator_fn params: '" + key + "' should be a " + merged[key].type_name() +
                                        ", found a " + value.type_name());
    }
    merged[key] = value;
  }
  return merged;
}

/// Collects the arrays of a state that is about to be handed to zelos_save_state. Keeps pointers, copies nothing.
class StateBuilder {
 public:
  /// A vector, row-major matrix or map of one; it must outlive the builder.
  template <class Derived>
  void add(const char* name, const Eigen::PlainObjectBase<Derived>& m) {
    append(name, m.derived());
  }
  template <class Plain>
  void add(const char* name, const Eigen::Map<Plain>& m) {
    append(name, m);
  }
  void settings(const nlohmann::json& json) { settings_ = json.dump(); }
  /// Valid while the builder and the arrays live.
  zelos_state state() const {
    return {sizeof(zelos_state), static_cast<uint32_t>(arrays_.size()), arrays_.data(), settings_.c_str()};
  }

 private:
  template <class Matrix>
  void append(const char* name, const Matrix& m) {
    static_assert(Matrix::IsVectorAtCompileTime || Matrix::IsRowMajor, "states are row-major");
    const int32_t rank = Matrix::IsVectorAtCompileTime ? 1 : 2;
    arrays_.push_back({name, m.data(), rank, {rank == 1 ? m.size() : m.rows(), rank == 1 ? 0 : m.cols(), 0, 0}});
  }

  std::vector<zelos_array> arrays_;
  std::string settings_ = "{}";
};

}  // namespace zelos::family
