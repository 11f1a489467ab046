// SPDX-License-Identifier: BSD-3-Clause
#include "zelos/families.hpp"

#include "registry/registry.hpp"

namespace zelos {

std::vector<std::string> families() {
  std::vector<std::string> ids;
  for (const zelos_family* family : registry::list()) ids.emplace_back(family->id);
  return ids;
}

}  // namespace zelos
