// SPDX-License-Identifier: BSD-3-Clause
/// The one exception type that leaves the zelos core.
#pragma once

#include <stdexcept>
#include <string>

#include "zelos/abi/zelos_status.h"

namespace zelos {

/// A failure with its status code. what() is one UTF-8 line that names the file, key or parameter,
/// what was expected and what was found. Immutable after construction.
class ZELOS_EXPORT Error : public std::runtime_error {
 public:
  Error(zelos_status status, const std::string& message) : std::runtime_error(message), status_(status) {}

  /// The code that the C ABI returns for this failure; never ZELOS_OK.
  zelos_status status() const noexcept { return status_; }

 private:
  zelos_status status_;
};

}  // namespace zelos
