# SPDX-License-Identifier: Apache-2.0
# Flags of this project's own programs; nothing here reaches a user of resonance::resonance.

add_library(resonance_build_options INTERFACE)
target_link_libraries(resonance_build_options INTERFACE resonance::resonance)

set(resonance_gnu_like $<COMPILE_LANG_AND_ID:CXX,GNU,Clang,AppleClang>)
target_compile_options(resonance_build_options INTERFACE
  $<${resonance_gnu_like}:-Wall;-Wextra;-Wpedantic;-Wshadow>
  $<$<AND:${resonance_gnu_like},$<BOOL:${RESONANCE_WARNINGS_AS_ERRORS}>>:-Werror>)

if(RESONANCE_SANITIZE STREQUAL "address")
  set(sanitizer_flags -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")  # checks as calls: two thirds of the time to compile
    list(APPEND sanitizer_flags --param=asan-instrumentation-with-call-threshold=0)
  endif()
elseif(RESONANCE_SANITIZE STREQUAL "thread")
  set(sanitizer_flags -fsanitize=thread -fno-omit-frame-pointer)
elseif(RESONANCE_SANITIZE STREQUAL "")
  set(sanitizer_flags "")
else()
  message(FATAL_ERROR "RESONANCE_SANITIZE is \"${RESONANCE_SANITIZE}\"; it can be empty, address or thread")
endif()
target_compile_options(resonance_build_options INTERFACE ${sanitizer_flags})
target_link_options(resonance_build_options INTERFACE ${sanitizer_flags})
