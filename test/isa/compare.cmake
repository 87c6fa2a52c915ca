# SPDX-License-Identifier: Apache-2.0
# Runs EXPECTED and ACTUAL and demands the same output, and some.
cmake_minimum_required(VERSION 3.25)

foreach(role EXPECTED ACTUAL)
  execute_process(COMMAND "${${role}}" RESULT_VARIABLE code OUTPUT_VARIABLE output_${role} ERROR_VARIABLE errors)
  if(NOT code EQUAL 0)
    message(FATAL_ERROR "${${role}} ended with ${code}\n${errors}")
  endif()
endforeach()
if(NOT output_EXPECTED MATCHES "float16 offline [0-9a-f]+\n$")
  message(FATAL_ERROR "${EXPECTED} printed no digests:\n${output_EXPECTED}")
endif()
if(NOT output_EXPECTED STREQUAL output_ACTUAL)
  message(FATAL_ERROR "${ACTUAL} computes other bits.\nExpected:\n${output_EXPECTED}\nGot:\n${output_ACTUAL}")
endif()
