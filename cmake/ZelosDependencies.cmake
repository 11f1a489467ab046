# SPDX-License-Identifier: BSD-3-Clause
# Finds the third-party libraries. ZELOS_DEPS=system takes the machine's; ZELOS_DEPS=bundled takes the static HDF5 and
# yaml-cpp of the prefix that .ci/deps made (ZELOS_DEPS_PREFIX, or the environment variable of that name).
#
# Defines
#   zelos_family_deps  what a family may use: Eigen, nlohmann_json, LBFGSpp, all headers
#   zelos_core_deps    what the core uses: those, and HDF5 (C), yaml-cpp, Boost headers, threads, dl

if(NOT ZELOS_DEPS MATCHES "^(system|bundled)$")
  message(FATAL_ERROR "ZELOS_DEPS is '${ZELOS_DEPS}': expected system or bundled")
endif()

if(ZELOS_DEPS STREQUAL "bundled")
  if(NOT ZELOS_DEPS_PREFIX)
    set(ZELOS_DEPS_PREFIX "$ENV{ZELOS_DEPS_PREFIX}")
  endif()
  if(NOT IS_DIRECTORY "${ZELOS_DEPS_PREFIX}")
    message(FATAL_ERROR "ZELOS_DEPS=bundled needs ZELOS_DEPS_PREFIX, the folder that .ci/deps prints; "
                        "found '${ZELOS_DEPS_PREFIX}'")
  endif()
  list(PREPEND CMAKE_PREFIX_PATH "${ZELOS_DEPS_PREFIX}")
  list(PREPEND CMAKE_INCLUDE_PATH "${ZELOS_DEPS_PREFIX}/include")
endif()

find_package(Threads REQUIRED)
find_package(Eigen3 3.4 REQUIRED NO_MODULE)
find_package(nlohmann_json 3.9 REQUIRED)
find_path(ZELOS_LBFGSPP_INCLUDE LBFGS.h REQUIRED)
find_path(ZELOS_BOOST_INCLUDE boost/dll/shared_library.hpp REQUIRED)

add_library(zelos_family_deps INTERFACE)
target_link_libraries(zelos_family_deps INTERFACE Eigen3::Eigen nlohmann_json::nlohmann_json Threads::Threads)
target_include_directories(zelos_family_deps SYSTEM INTERFACE "${ZELOS_LBFGSPP_INCLUDE}")

add_library(zelos_core_deps INTERFACE)
target_link_libraries(zelos_core_deps INTERFACE zelos_family_deps ${CMAKE_DL_LIBS})
target_include_directories(zelos_core_deps SYSTEM INTERFACE "${ZELOS_BOOST_INCLUDE}")
target_compile_definitions(zelos_core_deps INTERFACE BOOST_DLL_USE_STD_FS EIGEN_MPL2_ONLY)

if(ZELOS_DEPS STREQUAL "bundled")
  find_package(HDF5 2.2 REQUIRED CONFIG COMPONENTS C static PATHS "${ZELOS_DEPS_PREFIX}" NO_DEFAULT_PATH)
  find_package(yaml-cpp 0.7 REQUIRED CONFIG PATHS "${ZELOS_DEPS_PREFIX}" NO_DEFAULT_PATH)
  target_link_libraries(zelos_core_deps INTERFACE hdf5-static)
else()
  find_package(HDF5 1.10 REQUIRED COMPONENTS C)
  find_package(yaml-cpp 0.7 REQUIRED)
  # Of HDF5_C_LIBRARIES only HDF5 itself is needed: the rest are its own dependencies, found at load time.
  list(GET HDF5_C_LIBRARIES 0 zelos_hdf5_library)
  target_include_directories(zelos_core_deps SYSTEM INTERFACE ${HDF5_C_INCLUDE_DIRS})
  target_compile_definitions(zelos_core_deps INTERFACE ${HDF5_C_DEFINITIONS})
  target_link_libraries(zelos_core_deps INTERFACE "${zelos_hdf5_library}")
endif()
if(TARGET yaml-cpp::yaml-cpp)
  target_link_libraries(zelos_core_deps INTERFACE yaml-cpp::yaml-cpp)
else()
  target_link_libraries(zelos_core_deps INTERFACE yaml-cpp)
endif()
