// SPDX-License-Identifier: Apache-2.0
//! \file
//! The state of the running launch, shared by the files of the runtime.
//!
//! One launch runs at a time, and one fiber of it, so nothing here is locked. Code that runs in a fiber calls nothing
//! that a sanitizer intercepts (allocation, memset, printf): the calls would count as the CUDA thread's own accesses.
//! What needs one is done on the host's stack, by on_host_stack().
#ifndef RESONANCE_TEST_SIMT_RUNTIME_STATE_HPP
#define RESONANCE_TEST_SIMT_RUNTIME_STATE_HPP

#include <boost/context/detail/fcontext.hpp>
#include <cstddef>
#include <cstdint>

#include <simt/simt.hpp>

#include "sanitizers.hpp"

namespace simt::detail {

inline constexpr unsigned lanes_per_warp = 32;
inline constexpr unsigned warps_per_block = threads_per_block / lanes_per_warp;

//! Something that can be switched to: the host's stack, or the fiber of a CUDA thread.
struct context_slot {
  boost::context::detail::fcontext_t context = nullptr;
  void* tsan_fiber = nullptr;
  void* asan_fake_stack = nullptr;
  const void* stack_bottom = nullptr;
  std::size_t stack_bytes = 0;
};

enum class thread_status : unsigned char { ready, at_barrier, at_warp_op, ended };

struct thread_slot : context_slot {
  uint3 index{};
  unsigned linear = 0;
  thread_status status = thread_status::ended;
  warp_op op{};
  unsigned op_bytes = 0;
  unsigned mask = 0;    //!< of the warp operation it waits in
  unsigned source = 0;  //!< lane it wants to read
  std::uint64_t value = 0;
  std::uint64_t result = 0;
  site from{};  //!< where it waits
  // Fences, for the thread sanitizer:
  bool has_fenced = false;
  unsigned atomics = 0;
  void* atomic_targets[8] = {};  //!< the last ones
};

//! All tiles of a warp have 63 masks. Further masks share the last place, where races may go unseen.
inline constexpr unsigned most_sync_masks = 64;

struct warp_slot {
  unsigned waiting = 0;  //!< lanes in a warp operation
  unsigned ended = 0;    //!< lanes that have returned, or never were
  // For the thread sanitizer: which masks __syncwarp has met with, and which of a mask's two sync points is in use.
  // With one alone, a slow lane would also acquire what a fast one released at the next meeting.
  unsigned sync_masks[most_sync_masks] = {};
  unsigned sync_mask_count = 0;
  std::uint64_t sync_odd = 0;
};

struct block_slot {
  uint3 index{};
  std::uint64_t number = 0;  //!< in the order in which blocks run
  unsigned pool = 0;         //!< which set of sanitizer fibers and sync points it uses
  unsigned threads = 0;
  unsigned live = 0;
  unsigned arrived = 0;  //!< at the barrier
  unsigned barrier_holds = 0;
  int barrier_result = 0;
  bool barrier_odd = false;
  vote barrier_vote = vote::none;
  site barrier_from{};
  unsigned barrier_first = 0;  //!< the thread that came first
  bool said_ended_at_barrier = false;
};

struct launch_slot {
  any_function kernel = nullptr;
  void (*call)(any_function, const void*) = nullptr;
  const void* parameters = nullptr;
  dim3 grid, block;
  configuration settings;
  std::size_t number = 0;
  bool running = false;
  bool abandoned = false;
};

extern launch_slot current_launch;
extern block_slot current_block;
extern thread_slot threads[threads_per_block];
extern warp_slot warps[warps_per_block];
//! The running CUDA thread; null on the host's stack.
extern thread_slot* running;

// scheduler.cpp
void begin_threads();
//! For the thread sanitizer: what the host did until here comes before what later blocks do.
void order_threads_after_host();
void run_block(uint3 index, std::uint64_t number, std::size_t dynamic_bytes);
void finish_threads();
void make_ready(unsigned warp, unsigned lanes);
//! Runs others until the running thread is ready again.
void wait();
//! Ends the launch: never returns to the running thread.
[[noreturn]] void abandon();
//! Runs action(data) on the host's stack, where it may allocate and print.
void on_host_stack(void (*action)(void*), void* data);

// meetings.cpp
//! Wakes the threads at the barrier and decides its vote.
void release_barrier();

// arena.cpp
void open_arena();
bool is_shared(const void* address);
//! Fresh shared memory for a block; on the host's stack.
void open_block_memory(std::size_t dynamic_bytes);
//! Checks the red zones of the block that ends; returns the bytes it used.
std::size_t close_block_memory();

// traffic.cpp
void open_launch_traffic(std::size_t dynamic_bytes);
void count_atomic(const void* target);
void close_block_traffic(std::size_t shared_bytes);  //!< does nothing when traffic isn't counted

// reports.cpp
//! Notes and prints one report about the running thread, or about the block when none is running.
[[gnu::format(printf, 1, 2)]] void report(const char* format, ...);
const char* kernel_name();
const char* name_of(warp_op op);
const char* name_of(vote kind);

// sync points of the thread sanitizer (scheduler.cpp)
struct pool_points {
  sync_point barrier[2];
  sync_point meeting[warps_per_block][most_sync_masks][2];
};
pool_points& points_of_block();

}  // namespace simt::detail

#endif
