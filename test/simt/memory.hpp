// SPDX-License-Identifier: Apache-2.0
//! \file
//! Shared memory, the block's barrier, and the counting of global accesses: what the library's own macros expand to.
#ifndef RESONANCE_TEST_SIMT_MEMORY_HPP
#define RESONANCE_TEST_SIMT_MEMORY_HPP

#include <cstddef>

#include <simt/language.hpp>

namespace simt::detail {

enum class vote : unsigned char { none, any, all, count };

//! The block's array of the declaration `declared`; the same for all threads of a block, another for each block.
void* shared_array(const void* declared, std::size_t bytes, std::size_t alignment, const char* file, int line);
unsigned char* dynamic_shared();
//! Waits for all threads of the block; the number of those whose predicate holds.
int barrier(vote kind, bool predicate, const char* file, int line);

extern bool counting_traffic;
void count_access(bool is_store, const void* address, std::size_t bytes, const char* file, int line);

}  // namespace simt::detail

//! T name[count] in shared memory. A reference to an array, so that sizeof, begin() and the bounds check of
//! -fsanitize=bounds see what they see on the device. The local static tells declarations and instantiations apart.
#define SIMT_SHARED_ARRAY(T, name, count)                           \
  static char name##_declaration;                                   \
  T(&name)                                                          \
  [count] = *static_cast<T(*)[count]>(::simt::detail::shared_array( \
      &name##_declaration, sizeof(T) * static_cast<::std::size_t>(count), alignof(T), __FILE__, __LINE__))

//! The launch's dynamic shared memory.
#define SIMT_DYNAMIC_SHARED(name) unsigned char* const name = ::simt::detail::dynamic_shared()

//! A barrier of the block, known by the place that its caller names: threads that meet from two places are reported.
#define SIMT_BARRIER(file, line) \
  static_cast<void>(::simt::detail::barrier(::simt::detail::vote::none, false, file, line))

#define __syncthreads() SIMT_BARRIER(__FILE__, __LINE__)
#define __syncthreads_count(predicate) \
  ::simt::detail::barrier(::simt::detail::vote::count, (predicate) != 0, __FILE__, __LINE__)
#define __syncthreads_or(predicate) \
  ::simt::detail::barrier(::simt::detail::vote::any, (predicate) != 0, __FILE__, __LINE__)
#define __syncthreads_and(predicate) \
  ::simt::detail::barrier(::simt::detail::vote::all, (predicate) != 0, __FILE__, __LINE__)

//! Count one access to global memory by the calling thread; do nothing unless configuration::count_traffic is on.
#define SIMT_COUNT_LOAD(pointer, bytes, file, line)                                                  \
  (::simt::detail::counting_traffic                                                                  \
       ? ::simt::detail::count_access(false, pointer, static_cast<::std::size_t>(bytes), file, line) \
       : static_cast<void>(0))
#define SIMT_COUNT_STORE(pointer, bytes, file, line)                                                \
  (::simt::detail::counting_traffic                                                                 \
       ? ::simt::detail::count_access(true, pointer, static_cast<::std::size_t>(bytes), file, line) \
       : static_cast<void>(0))

template <class T>
T __ldg(const T* source) {
  return *source;
}

#endif
