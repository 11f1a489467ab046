# SPDX-License-Identifier: BSD-3-Clause
# Compile options shared by every target of this project.

set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")
set(CMAKE_C_FLAGS_RELEASE "-O2 -DNDEBUG")
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

function(zelos_compile_options target)
  set_target_properties(
    ${target}
    PROPERTIES CXX_STANDARD 17
               CXX_STANDARD_REQUIRED ON
               CXX_EXTENSIONS OFF
               CXX_VISIBILITY_PRESET hidden
               C_VISIBILITY_PRESET hidden
               VISIBILITY_INLINES_HIDDEN ON
               POSITION_INDEPENDENT_CODE ON)
  target_compile_options(
    ${target}
    PRIVATE -Wall
            -Wextra
            -Wpedantic
            -fno-math-errno
            # Vector types only cross functions that are always inlined.
            $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-psabi>
            $<$<BOOL:${ZELOS_DEVELOPER_MODE}>:-Werror>)
  if(ZELOS_SANITIZE)
    target_compile_options(${target} PRIVATE -fsanitize=${ZELOS_SANITIZE} -fno-omit-frame-pointer
                                             -fno-sanitize-recover=all)
    target_link_options(${target} PRIVATE -fsanitize=${ZELOS_SANITIZE})
  endif()
endfunction()
