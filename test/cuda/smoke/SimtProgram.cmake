# SPDX-License-Identifier: Apache-2.0
# resonance_simt_program(NAME SOURCE): a .cu file with a main of its own, compiled by the C++ compiler for the CPU
# executor (test/simt). Not optimized: these run for milliseconds, and would take longer to compile than to run.
function(resonance_simt_program name source)
  add_executable(${name} "${source}")
  set_source_files_properties("${source}" PROPERTIES LANGUAGE CXX)
  target_compile_options(${name} PRIVATE -x c++ -O0)
  target_link_libraries(${name} PRIVATE resonance_build_options simt_runtime)
  set_target_properties(${name} PROPERTIES ENABLE_EXPORTS ON)  # kernels are named by their symbols
endfunction()
