// SPDX-License-Identifier: Apache-2.0
//! \file
//! What the sanitizers have to be told about fibers and the shared memory arena.
//!
//! Their functions are weak: they are there only when the program is linked with a sanitizer, so that the same
//! uninstrumented runtime serves every build.
#ifndef RESONANCE_TEST_SIMT_RUNTIME_SANITIZERS_HPP
#define RESONANCE_TEST_SIMT_RUNTIME_SANITIZERS_HPP

#include <cstddef>

extern "C" {
[[gnu::weak]] void* __tsan_get_current_fiber();
[[gnu::weak]] void* __tsan_create_fiber(unsigned flags);
[[gnu::weak]] void __tsan_destroy_fiber(void* fiber);
[[gnu::weak]] void __tsan_switch_to_fiber(void* fiber, unsigned flags);
[[gnu::weak]] void __tsan_acquire(void* address);
[[gnu::weak]] void __tsan_release(void* address);
[[gnu::weak]] void __sanitizer_start_switch_fiber(void** fake_stack, const void* bottom, std::size_t bytes);
[[gnu::weak]] void __sanitizer_finish_switch_fiber(void* fake_stack, const void** bottom, std::size_t* bytes);
[[gnu::weak]] void __asan_poison_memory_region(const volatile void* address, std::size_t bytes);
[[gnu::weak]] void __asan_unpoison_memory_region(const volatile void* address, std::size_t bytes);
}

namespace simt::detail {

inline const bool under_tsan = &__tsan_create_fiber != nullptr;
inline const bool under_asan = &__asan_poison_memory_region != nullptr;

inline void poison(const void* address, std::size_t bytes) {
  if (under_asan) __asan_poison_memory_region(address, bytes);
}
inline void unpoison(const void* address, std::size_t bytes) {
  if (under_asan) __asan_unpoison_memory_region(address, bytes);
}

//! A point that orders threads for the thread sanitizer: what came before a release comes before a later acquire. The
//! address is the point, so it must not move.
struct sync_point {
  char address = 0;
  void release() {
    if (under_tsan) __tsan_release(&address);
  }
  void acquire() {
    if (under_tsan) __tsan_acquire(&address);
  }
};

}  // namespace simt::detail

#endif
