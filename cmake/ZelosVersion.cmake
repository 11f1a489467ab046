# SPDX-License-Identifier: BSD-3-Clause
# Writes base/version.hpp, the version of this project. Defines ZELOS_GIT_COMMIT, the commit that was configured: twelve hex
# digits, "-dirty" appended if the checkout had changes; "unknown" without git.

set(ZELOS_GIT_COMMIT unknown)
find_package(Git QUIET)
if(GIT_FOUND AND EXISTS "${PROJECT_SOURCE_DIR}/.git")
  execute_process(
    COMMAND "${GIT_EXECUTABLE}" describe --always --abbrev=12 --dirty --exclude=*
    WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}"
    RESULT_VARIABLE git_status
    OUTPUT_VARIABLE git_commit
    OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(git_status EQUAL 0)
    set(ZELOS_GIT_COMMIT "${git_commit}")
  endif()
  if(EXISTS "${PROJECT_SOURCE_DIR}/.git/logs/HEAD")
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/.git/logs/HEAD")
  endif()
endif()
set(ZELOS_GENERATED_DIR "${PROJECT_BINARY_DIR}/generated")
configure_file("${PROJECT_SOURCE_DIR}/core/src/base/version.hpp.in" "${ZELOS_GENERATED_DIR}/base/version.hpp" @ONLY)
