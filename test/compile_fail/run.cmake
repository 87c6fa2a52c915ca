# SPDX-License-Identifier: Apache-2.0
cmake_minimum_required(VERSION 3.25)

file(STRINGS "${SOURCE}" expectation LIMIT_COUNT 1 REGEX "^// expect: .+")
if(NOT expectation MATCHES "^// expect: (.+)$")
  message(FATAL_ERROR "${SOURCE} has no line \"// expect: REGEX\"")
endif()
set(regex "${CMAKE_MATCH_1}")

execute_process(COMMAND ${CXX} -std=c++17 -fsyntax-only "-I${INCLUDE_DIR}" "${SOURCE}"
                RESULT_VARIABLE code OUTPUT_VARIABLE output ERROR_VARIABLE output)
# A compiler quotes the offending line, and that line may hold the wanted words; only its own `error:` lines count.
string(REGEX MATCHALL "[^\n]*error:[^\n]*" errors "${output}")

set(fault "")
if(regex STREQUAL "success")
  if(NOT code EQUAL 0)
    set(fault "must compile")
  endif()
elseif(code EQUAL 0)
  set(fault "compiles, but must fail with: ${regex}")
elseif(NOT errors MATCHES "${regex}")
  set(fault "fails, but not with: ${regex}")
endif()
if(fault)
  message("${output}")
  message("${SOURCE} ${fault}")
  message(FATAL_ERROR "compile_fail test failed")
endif()
