// SPDX-License-Identifier: BSD-3-Clause
#include "runtime/family_state.hpp"

#include <algorithm>
#include <exception>

namespace zelos {
namespace {

zelos_array view_of(const char* name, const artifact::Array& array) {
  zelos_array a{name, array.data.data(), static_cast<int32_t>(array.shape.size()), {0, 0, 0, 0}};
  std::copy(array.shape.begin(), array.shape.end(), a.shape);
  return a;
}

zelos_state state_of(const std::vector<zelos_array>& views, const std::string& settings) {
  return {sizeof(zelos_state), static_cast<uint32_t>(views.size()), views.data(), settings.c_str()};
}

}  // namespace

FamilyState FamilyState::copy(const zelos_state& source) {
  FamilyState state;
  state.settings = source.settings_json;
  for (uint32_t i = 0; i < source.n_arrays; ++i) {
    const zelos_array& a = source.arrays[i];
    artifact::Array array;
    int64_t size = 1;
    for (int32_t r = 0; r < a.rank; ++r) {
      array.shape.push_back(a.shape[r]);
      size *= a.shape[r];
    }
    array.data = AlignedBuffer(size);
    std::copy(a.data, a.data + size, array.data.begin());
    state.names.emplace_back(a.name);
    state.arrays.push_back(std::move(array));
  }
  return state;
}

zelos_status FamilyState::save(void* data, const zelos_state* source, zelos_error*) {
  try {
    *static_cast<FamilyState*>(data) = copy(*source);
    return ZELOS_OK;
  } catch (const std::exception&) {
    return ZELOS_E_MEMORY;
  }
}

zelos_state FamilyState::view(std::vector<zelos_array>* views) const {
  views->clear();
  for (size_t i = 0; i < arrays.size(); ++i) views->push_back(view_of(names[i].c_str(), arrays[i]));
  return state_of(*views, settings);
}

void FamilyState::store(const std::string& path, artifact::Contents* contents) && {
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i] == ZELOS_LEFT_OUT_ERRORS) {
      arrays[i].storage = artifact::Array::Storage::float32;
      for (double& e : arrays[i].data) e = static_cast<float>(e);
    }
    contents->arrays[path + "/model/" + names[i]] = std::move(arrays[i]);
  }
}

zelos_state stored_state(const artifact::Contents& contents, const std::string& path, const std::string& settings,
                         std::vector<zelos_array>* views) {
  const std::string prefix = path + "/model/";
  views->clear();
  for (auto it = contents.arrays.lower_bound(prefix);
       it != contents.arrays.end() && it->first.compare(0, prefix.size(), prefix) == 0; ++it) {
    views->push_back(view_of(it->first.c_str() + prefix.size(), it->second));
  }
  return state_of(*views, settings);
}

zelos_host empty_host() {
  return {sizeof(zelos_host), nullptr, [](const zelos_host*, const char*) -> const void* { return nullptr; }};
}

}  // namespace zelos
