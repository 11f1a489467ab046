// SPDX-License-Identifier: BSD-3-Clause
// failure.hpp: what an action that must fail says.
#pragma once

#include <catch2/catch.hpp>
#include <string>

#include "zelos/error.hpp"

/// The message of the zelos::Error that `action` throws: of this status, in one line.
template <class Action>
std::string failure(zelos_status expected, Action&& action) {
  try {
    action();
  } catch (const zelos::Error& error) {
    CHECK(error.status() == expected);
    CHECK_THAT(error.what(), !Catch::Contains("\n"));
    return error.what();
  }
  return "no error";
}
