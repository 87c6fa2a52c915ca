# SPDX-License-Identifier: Apache-2.0
# The library has no dependency. Its tests, benchmarks and examples do: each is first looked for, then fetched as a
# pinned archive if that is allowed and the network answers; otherwise the parts that need it are left out by name.
# Only what a switched-on part needs is looked for, so that the demo asks for nothing but a compiler.
include(FetchContent)

set(RESONANCE_FETCH_TIMEOUT 15 CACHE STRING "Seconds that one download may take")
mark_as_advanced(RESONANCE_FETCH_TIMEOUT)

# Downloads and unpacks with a plain status instead of FetchContent's fatal error. After one failure nothing else is
# tried in this configuration, so that a machine without a network waits once at most.
function(resonance_fetch name url sha256)
  get_property(unreachable GLOBAL PROPERTY RESONANCE_FETCH_FAILED)
  if(unreachable)
    return()
  endif()
  get_filename_component(file_name "${url}" NAME)
  set(archive "${PROJECT_BINARY_DIR}/_deps/${name}-${file_name}")
  if(NOT EXISTS "${archive}")
    message(STATUS "Fetching ${url}")
    file(DOWNLOAD "${url}" "${archive}.part" TIMEOUT ${RESONANCE_FETCH_TIMEOUT} STATUS outcome)
    list(POP_FRONT outcome code text)
    file(SHA256 "${archive}.part" found)
    if(NOT code EQUAL 0 OR NOT found STREQUAL sha256)
      if(code EQUAL 0)
        set(text "\"the archive's SHA-256 is ${found}, not ${sha256}\"")
      endif()
      file(REMOVE "${archive}.part")
      message(STATUS "Fetching ${name} failed: ${text}")
      set_property(GLOBAL PROPERTY RESONANCE_FETCH_FAILED TRUE)
      return()
    endif()
    file(RENAME "${archive}.part" "${archive}")
  endif()
  set(CMAKE_POLICY_DEFAULT_CMP0077 NEW)  # lets the plain variables of the caller set the archive's options
  FetchContent_Declare(${name} URL "${archive}" URL_HASH SHA256=${sha256} DOWNLOAD_EXTRACT_TIMESTAMP OFF)
  FetchContent_MakeAvailable(${name})
endfunction()

# resonance_dependency(NAME PACKAGE package TARGET target APT package [URL url SHA256 hash] [OPTIONS_OFF vars...])
# Tells resonance_can_build() by which target a dependency is known and what to type when it is not there.
function(resonance_dependency name)
  cmake_parse_arguments(arg "" "PACKAGE;TARGET;APT;URL;SHA256" "OPTIONS_OFF" ${ARGN})
  find_package(${arg_PACKAGE} QUIET)
  if(NOT TARGET ${arg_TARGET} AND arg_URL AND RESONANCE_FETCH AND PROJECT_IS_TOP_LEVEL)
    foreach(option IN LISTS arg_OPTIONS_OFF)
      set(${option} OFF)
    endforeach()
    resonance_fetch(${name} "${arg_URL}" ${arg_SHA256})
    if(TARGET ${arg_TARGET})  # its warnings are not ours
      get_target_property(real_target ${arg_TARGET} ALIASED_TARGET)
      set_target_properties(${real_target} PROPERTIES SYSTEM ON)
    endif()
  endif()
  set_property(GLOBAL PROPERTY RESONANCE_TARGET_OF_${name} ${arg_TARGET})
  set_property(GLOBAL PROPERTY RESONANCE_APT_OF_${name} ${arg_APT})
endfunction()

# resonance_can_build(RESULT PART DEPENDENCY...): true when every dependency is there; else records PART as left out.
function(resonance_can_build result part)
  set(missing "")
  foreach(name IN LISTS ARGN)
    get_property(target GLOBAL PROPERTY RESONANCE_TARGET_OF_${name})
    get_property(apt GLOBAL PROPERTY RESONANCE_APT_OF_${name})
    if(NOT TARGET ${target})
      list(APPEND missing "${name} not found: apt-get install ${apt}")
    endif()
  endforeach()
  if(missing)
    list(JOIN missing ", " missing)
    resonance_left_out("${part}" "${missing}")
    set(${result} FALSE PARENT_SCOPE)
  else()
    resonance_builds("${part}")
    set(${result} TRUE PARENT_SCOPE)
  endif()
endfunction()

if(RESONANCE_BUILD_TESTS OR RESONANCE_BUILD_EXAMPLES OR RESONANCE_BUILD_DEMO)
  resonance_dependency(Threads PACKAGE Threads TARGET Threads::Threads APT libc6-dev)
  if(RESONANCE_OPENMP AND RESONANCE_BUILD_TESTS)
    resonance_dependency(OpenMP PACKAGE OpenMP TARGET OpenMP::OpenMP_CXX APT "libgomp1 (gcc) or libomp-dev (clang)")
  endif()
endif()
if(RESONANCE_BUILD_EXAMPLES)
  resonance_dependency(CLI11 PACKAGE CLI11 TARGET CLI11::CLI11 APT libcli11-dev
    URL https://github.com/CLIUtils/CLI11/archive/refs/tags/v2.3.2.tar.gz
    SHA256 aac0ab42108131ac5d3344a9db0fdf25c4db652296641955720a4fbe52334e22
    OPTIONS_OFF CLI11_BUILD_TESTS CLI11_BUILD_EXAMPLES CLI11_BUILD_DOCS CLI11_INSTALL)
  resonance_dependency(nlohmann_json PACKAGE nlohmann_json TARGET nlohmann_json::nlohmann_json APT nlohmann-json3-dev
    URL https://github.com/nlohmann/json/releases/download/v3.11.3/json.tar.xz
    SHA256 d6c65aca6b1ed68e7a182f4757257b107ae403032760ed6ef121c9d55e81757d
    OPTIONS_OFF JSON_BuildTests JSON_Install)
endif()
if(RESONANCE_BUILD_TESTS)
  resonance_dependency(GoogleTest PACKAGE GTest TARGET GTest::gtest_main APT libgtest-dev
    URL https://github.com/google/googletest/archive/refs/tags/v1.14.0.tar.gz
    SHA256 8ad598c73ad796e0d8280b082cebd82a630d73e73cd3c70057938a6501bba5d7
    OPTIONS_OFF INSTALL_GTEST BUILD_GMOCK)
  # The first interpreter that has NumPy, not the first interpreter: a tool's own Python often comes first in PATH.
  set(RESONANCE_PYTHON "" CACHE FILEPATH "Python interpreter with NumPy, for the independent check of resonance-route")
  foreach(candidate python3 python /usr/bin/python3)
    if(NOT RESONANCE_PYTHON)
      execute_process(COMMAND ${candidate} -c "import numpy" RESULT_VARIABLE code OUTPUT_QUIET ERROR_QUIET)
      if(code EQUAL 0)
        set_property(CACHE RESONANCE_PYTHON PROPERTY VALUE ${candidate})
      endif()
    endif()
  endforeach()
endif()
if(RESONANCE_BUILD_BENCH)
  resonance_dependency(GoogleBenchmark PACKAGE benchmark TARGET benchmark::benchmark APT libbenchmark-dev
    URL https://github.com/google/benchmark/archive/refs/tags/v1.8.3.tar.gz
    SHA256 6bc180a57d23d4d9515519f92b0c83d61b05b5bab188961f36ac7b06b0d9e9ce
    OPTIONS_OFF BENCHMARK_ENABLE_TESTING BENCHMARK_ENABLE_INSTALL BENCHMARK_ENABLE_WERROR BENCHMARK_INSTALL_DOCS)
endif()
