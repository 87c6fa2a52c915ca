# SPDX-License-Identifier: Apache-2.0
# Finds nvcc, and what stands around it, without enabling the language CUDA: the compile gates and the smoke programs
# call nvcc by themselves, with the architectures and flags that each gate is about. No GPU, no driver.
#   RESONANCE_NVCC, RESONANCE_NVCC_RELEASE, RESONANCE_CUDA_INCLUDE_DIRS, RESONANCE_NVDISASM ("" where there is none)

find_program(RESONANCE_NVCC nvcc HINTS ENV CUDACXX ENV CUDAToolkit_ROOT ENV CUDA_PATH PATHS /usr/local/cuda
             PATH_SUFFIXES bin DOC "The CUDA compiler of the compile gates")
if(RESONANCE_NVCC)
  execute_process(COMMAND "${RESONANCE_NVCC}" --version OUTPUT_VARIABLE nvcc_version OUTPUT_STRIP_TRAILING_WHITESPACE)
  string(REGEX MATCH "release ([0-9]+\\.[0-9]+)" matched "${nvcc_version}")
  set(RESONANCE_NVCC_RELEASE "${CMAKE_MATCH_1}")

  # nvcc itself knows where its toolkit lies, also where it is a wrapper or a link.
  execute_process(COMMAND "${RESONANCE_NVCC}" -dryrun -x cu -c /dev/null -o /dev/null ERROR_VARIABLE dry_run OUTPUT_QUIET)
  string(REGEX MATCH "TOP=([^\n]+)" matched "${dry_run}")
  get_filename_component(toolkit_root "${CMAKE_MATCH_1}" ABSOLUTE)
  find_path(RESONANCE_CUDA_INCLUDE_DIR cuda_occupancy.h NO_DEFAULT_PATH
            PATHS "${toolkit_root}" "${toolkit_root}/targets/${CMAKE_HOST_SYSTEM_PROCESSOR}-linux"
            PATH_SUFFIXES include DOC "The include folder of the CUDA toolkit")
  mark_as_advanced(RESONANCE_CUDA_INCLUDE_DIR)
  set(RESONANCE_CUDA_INCLUDE_DIRS "${RESONANCE_CUDA_INCLUDE_DIR}")
  if(EXISTS "${RESONANCE_CUDA_INCLUDE_DIR}/cccl")  # libcu++ lies deeper since CUDA 13
    list(APPEND RESONANCE_CUDA_INCLUDE_DIRS "${RESONANCE_CUDA_INCLUDE_DIR}/cccl")
  endif()
  find_library(RESONANCE_NVRTC_LIBRARY nvrtc NO_DEFAULT_PATH
               PATHS "${toolkit_root}" "${toolkit_root}/targets/${CMAKE_HOST_SYSTEM_PROCESSOR}-linux"
               PATH_SUFFIXES lib64 lib DOC "The run-time compiler of the CUDA toolkit")
  mark_as_advanced(RESONANCE_NVRTC_LIBRARY)
endif()

# The disassembler is a package of its own; a pinned wheel brings it where the toolkit came without.
function(resonance_find_nvdisasm requirements)
  set(wheels "${PROJECT_BINARY_DIR}/wheels")
  find_program(RESONANCE_NVDISASM nvdisasm HINTS "${toolkit_root}/bin" "${wheels}/nvidia/cu13/bin"
               DOC "The disassembler of CUDA binaries")
  if(NOT RESONANCE_NVDISASM AND RESONANCE_FETCH)
    message(STATUS "Fetching nvdisasm")
    execute_process(COMMAND "${Python3_EXECUTABLE}" -m pip --disable-pip-version-check --quiet install --no-deps
                            --require-hashes --timeout ${RESONANCE_FETCH_TIMEOUT} --retries 1 --target "${wheels}"
                            --requirement "${requirements}"
                    RESULT_VARIABLE code OUTPUT_VARIABLE text ERROR_VARIABLE text)
    if(NOT code EQUAL 0)
      message(STATUS "Fetching nvdisasm failed: ${text}")
    endif()
    find_program(RESONANCE_NVDISASM nvdisasm HINTS "${wheels}/nvidia/cu13/bin")
  endif()
  mark_as_advanced(RESONANCE_NVDISASM)
endfunction()
