# SPDX-License-Identifier: Apache-2.0
# The layering checker must accept a sound tree and name the fault of each tree that breaks one rule.
cmake_minimum_required(VERSION 3.25)

function(write_header path)
  string(JOIN "\n" text ${ARGN})
  file(WRITE "${WORK_DIR}/tree/resonance/${path}" "${text}\n")
endfunction()

function(write_sound_tree)
  file(REMOVE_RECURSE "${WORK_DIR}/tree")
  write_header(version.hpp "#define RESONANCE_VERSION_MAJOR 0")
  write_header(config.hpp "#include <resonance/version.hpp>")
  write_header(core/views.hpp "#include <cstdint>" "#include <resonance/config.hpp>" "// never throw, never new")
  write_header(core/executor_threads.hpp "#include <thread>" "#include <vector>")
  write_header(merge/policy.hpp "#include <resonance/core/views.hpp>" "inline const char* s = \"new\"")
  write_header(merge/host_merge.hpp "#include <resonance/merge/policy.hpp>")
  write_header(merge/warp_merge.hpp "#include <resonance/merge/policy.hpp>")
  write_header(merge/device_merge.cuh "#include <resonance/merge/warp_merge.hpp>")
  write_header(plan/host_plan.hpp "#include <resonance/core/views.hpp>")
  write_header(route/host_route.hpp "#include <resonance/merge/host_merge.hpp>"
               "#include <resonance/plan/host_plan.hpp>")
  write_header(catalogue/models.hpp "#include <resonance/merge/policy.hpp>")
  write_header(resonance.hpp "#include <resonance/catalogue/models.hpp>" "#include <resonance/route/host_route.hpp>")
endfunction()

function(run_checker code_variable output_variable)
  execute_process(COMMAND ${CMAKE_COMMAND} -D "RESONANCE_INCLUDE_DIR=${WORK_DIR}/tree" -P "${CHECKER}"
                  RESULT_VARIABLE code OUTPUT_VARIABLE output ERROR_VARIABLE output)
  string(REGEX REPLACE "[ \n]+" " " output "${output}")
  set(${code_variable} ${code} PARENT_SCOPE)
  set(${output_variable} "${output}" PARENT_SCOPE)
endfunction()

function(expect_sound why)
  run_checker(code output)
  if(NOT code EQUAL 0)
    message(SEND_ERROR "${why}: a sound tree was refused:\n${output}")
  endif()
endfunction()

# Puts one header into the sound tree and demands that exactly the given fault is reported.
function(expect_fault regex path)
  write_sound_tree()
  write_header(${path} ${ARGN})
  run_checker(code output)
  if(code EQUAL 0)
    message(SEND_ERROR "Accepted, but must report \"${regex}\"")
  elseif(NOT output MATCHES "${regex}")
    message(SEND_ERROR "Refused for another reason than \"${regex}\":\n${output}")
  endif()
endfunction()

write_sound_tree()
expect_sound("the tree that every case starts from")

expect_fault("host header may not include a warp_ header" merge/host_merge.hpp
             "#include <resonance/merge/warp_merge.hpp>")
expect_fault("warp header may not include a device_ header" merge/warp_merge.hpp
             "#include <resonance/merge/device_merge.cuh>")
expect_fault("warp header may not include a host_ header" merge/warp_merge.hpp
             "#include <resonance/merge/host_merge.hpp>")
expect_fault("policy header may not include a host_ header" merge/policy.hpp
             "#include <resonance/merge/host_merge.hpp>")
expect_fault("plan may not include merge" plan/host_plan.hpp "#include <resonance/merge/policy.hpp>")
expect_fault("merge may not include route" merge/host_merge.hpp "#include <resonance/route/host_route.hpp>")
expect_fault("core may not include merge" core/views.hpp "#include <resonance/merge/policy.hpp>")
expect_fault("includes the umbrella" plan/host_plan.hpp "#include <resonance/resonance.hpp>")
expect_fault("stand below everything" config.hpp "#include <resonance/core/views.hpp>")
expect_fault("which does not exist" plan/host_plan.hpp "#include <resonance/plan/gone.hpp>")
expect_fault("merge may not include catalogue" merge/host_merge.hpp "#include <resonance/catalogue/models.hpp>")
expect_fault("offline may not include merge" offline/bits.hpp "#include <resonance/merge/policy.hpp>")
expect_fault("neither a stage nor one of: core, route, offline, catalogue" detail/other.hpp "#include <cstdint>")
expect_fault("includes with quotes" plan/host_plan.hpp "#include \"../core/views.hpp\"")
expect_fault("includes <vector>" plan/host_plan.hpp "#include <vector>")
expect_fault("includes <string>" core/executor_threads.hpp "#include <string>")
expect_fault("uses std::function" core/executor_threads.hpp "inline void f(const std::function<void()>&) {}")
expect_fault("host_plan.hpp: uses throw" plan/host_plan.hpp "inline void f() { throw 1 }")
expect_fault("host_plan.hpp: uses new" plan/host_plan.hpp "inline int* f() { return new int }")
expect_fault("host_plan.hpp: uses malloc" plan/host_plan.hpp "inline void* f() { return std::malloc(1) }")
expect_fault("does not include plan/policy.hpp" plan/policy.hpp "#include <cstdint>")
expect_fault("includes the device header" resonance.hpp "#include <resonance/route/host_route.hpp>"
             "#include <resonance/merge/warp_merge.hpp>")
