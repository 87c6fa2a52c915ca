// SPDX-License-Identifier: Apache-2.0
//! \file
//! Launches, and the switching between the fibers of a block.
//!
//! A block's threads are fibers that switch to one another directly; the host's stack runs again when the block is over
//! or something has to be done there. The thread sanitizer is told of every switch but not to order threads by it: the
//! only order is that of launches, barriers and __syncwarp. Neighbouring blocks use different sanitizer fibers, so that
//! nothing orders a block after the one before it, which may run at the same time on a device.
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "state.hpp"

namespace simt::detail {

using boost::context::detail::jump_fcontext;
using boost::context::detail::make_fcontext;
using boost::context::detail::transfer_t;

launch_slot current_launch;
block_slot current_block;
thread_slot threads[threads_per_block];
warp_slot warps[warps_per_block];
thread_slot* running = nullptr;

namespace {

constexpr std::size_t stack_bytes = std::size_t{192} << 10;
constexpr std::size_t guard_bytes = 4096;
constexpr unsigned most_pools = 8;
constexpr unsigned fibers_wanted = 512;

context_slot host;
//! What a CUDA thread lives on. Another one for each pool, because stacks are memory like any other: two blocks whose
//! threads are unordered would race on them.
struct fiber_slot {
  char* stack = nullptr;  //!< the guard page is below
  void* tsan_fiber = nullptr;
};
fiber_slot fibers[most_pools][threads_per_block];
pool_points points[most_pools];
sync_point launch_begins, thread_ends;

//! What the host's stack is asked to do when a fiber switches to it; no action: the block is over.
struct request {
  void (*action)(void*) = nullptr;
  void* data = nullptr;
  thread_slot* asked_by = nullptr;
};
request host_request;

// Threads that can run, as sets: constant time for every schedule but lifo, which keeps a stack besides.
unsigned ready[warps_per_block];
unsigned ready_warps;
unsigned lifo[threads_per_block];
unsigned lifo_count;
std::uint64_t random_state;

unsigned next_random() {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return static_cast<unsigned>(random_state >> 32);
}

unsigned lowest(unsigned set) { return static_cast<unsigned>(__builtin_ctz(set)); }
unsigned highest(unsigned set) { return 31u - static_cast<unsigned>(__builtin_clz(set)); }
//! Any member, by a random number: the first at or after a random place.
unsigned any_of(unsigned set, unsigned number) {
  const unsigned at = number & 31;
  const unsigned rotated = (set >> at) | (set << ((32 - at) & 31));
  return (lowest(rotated) + at) & 31;
}

//! Index of the thread that runs next, no longer in the ready sets.
unsigned take_ready() {
  unsigned warp = 0;
  unsigned lane_number = 0;
  switch (current_launch.settings.order) {
    case schedule::round_robin: {
      const unsigned last = running == nullptr ? threads_per_block - 1 : running->linear;
      warp = last / lanes_per_warp;
      const unsigned after = ready[warp] & ~(0xffffffffu >> (31 - last % lanes_per_warp));
      if (after != 0) {
        lane_number = lowest(after);
        break;
      }
      const unsigned warps_after = ready_warps & ~(0xffffffffu >> (31 - warp));
      warp = lowest(warps_after != 0 ? warps_after : ready_warps);
      lane_number = lowest(ready[warp]);
      break;
    }
    case schedule::random: {
      const unsigned number = next_random();
      warp = any_of(ready_warps, number);
      lane_number = any_of(ready[warp], number >> 5);
      break;
    }
    case schedule::lifo: {
      const unsigned last = lifo[--lifo_count];
      warp = last / lanes_per_warp;
      lane_number = last % lanes_per_warp;
      break;
    }
    case schedule::warps_forward:
      warp = lowest(ready_warps);
      lane_number = lowest(ready[warp]);
      break;
    case schedule::warps_backward:
      warp = highest(ready_warps);
      lane_number = highest(ready[warp]);
      break;
  }
  ready[warp] &= ~(1u << lane_number);
  if (ready[warp] == 0) ready_warps &= ~(1u << warp);
  return warp * lanes_per_warp + lane_number;
}

//! First thing to do on a stack that was switched to: the one that was left gets its context noted.
void arrive(transfer_t from, context_slot& self) {
  auto& left = *static_cast<context_slot*>(from.data);
  left.context = from.fctx;
  if (under_asan) {
    const void* bottom = nullptr;
    std::size_t bytes = 0;
    __sanitizer_finish_switch_fiber(self.asan_fake_stack, &bottom, &bytes);
    if (&left == &host) {
      host.stack_bottom = bottom;
      host.stack_bytes = bytes;
    }
  }
}

void switch_to(context_slot& self, context_slot& other, bool self_ends) {
  running = &other == &host ? nullptr : static_cast<thread_slot*>(&other);
  if (under_tsan) __tsan_switch_to_fiber(other.tsan_fiber, 1);
  if (under_asan)
    __sanitizer_start_switch_fiber(self_ends ? nullptr : &self.asan_fake_stack, other.stack_bottom, other.stack_bytes);
  arrive(jump_fcontext(other.context, &self), self);
}

//! Leaves the running thread for one that is ready; for the host's stack when there is none.
void leave(bool ends) {
  thread_slot& self = *running;
  if (ready_warps == 0) {
    switch_to(self, host, ends);
    return;
  }
  thread_slot& next = threads[take_ready()];
  if (&next == &self) return;
  switch_to(self, next, ends);
}

void end_thread() {
  thread_slot& self = *running;
  block_slot& block = current_block;
  warp_slot& warp = warps[self.linear / lanes_per_warp];
  const unsigned bit = 1u << self.linear % lanes_per_warp;
  for (unsigned l = 0; l < lanes_per_warp; ++l) {
    const thread_slot& other = threads[self.linear / lanes_per_warp * lanes_per_warp + l];
    if ((warp.waiting >> l & 1u) == 0 || (other.mask & bit) == 0) continue;
    report("returns while lane %u waits for it in %s at %s:%d (mask %08x)", l, name_of(other.op), other.from.file,
           other.from.line, other.mask);
    abandon();
  }
  if (block.arrived != 0)
    report("returns while %u threads wait in the barrier at %s:%d", block.arrived, block.barrier_from.file,
           block.barrier_from.line);
  self.status = thread_status::ended;
  warp.ended |= bit;
  --block.live;
  if (block.arrived != 0 && block.arrived == block.live) release_barrier();
}

void run_thread(transfer_t from) {
  arrive(from, *running);
  launch_begins.acquire();
  current_launch.call(current_launch.kernel, current_launch.parameters);
  thread_ends.release();
  end_thread();
  leave(true);
  std::abort();
}

char* new_stack() {
  void* const all = mmap(nullptr, guard_bytes + stack_bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (all == MAP_FAILED || mprotect(all, guard_bytes, PROT_NONE) != 0) {
    std::fputs("simt: no memory for the stacks of the threads\n", stderr);
    std::abort();
  }
  return static_cast<char*>(all) + guard_bytes;
}

void open_thread(unsigned i) {
  thread_slot& t = threads[i];
  const dim3& shape = current_launch.block;
  t.index = {i % shape.x, i / shape.x % shape.y, i / (shape.x * shape.y)};
  t.linear = i;
  t.status = thread_status::ready;
  t.has_fenced = false;
  t.atomics = 0;
  fiber_slot& fiber = fibers[current_block.pool][i];
  if (fiber.stack == nullptr) fiber.stack = new_stack();
  if (under_tsan && fiber.tsan_fiber == nullptr) fiber.tsan_fiber = __tsan_create_fiber(0);
  t.tsan_fiber = fiber.tsan_fiber;
  t.stack_bottom = fiber.stack;
  t.stack_bytes = stack_bytes;
  t.asan_fake_stack = nullptr;
  // Tops at different places of a page, or all stacks would compete for the same lines of the cache.
  const std::size_t offset = i % 31 * 128;
  t.context = make_fcontext(fiber.stack + stack_bytes - offset, stack_bytes - offset, run_thread);
}

//! Who waits where; neighbours that wait in the same place together.
void report_deadlock() {
  char text[800];
  int length = 0;
  const auto append = [&](const char* format, auto... values) {
    length += std::snprintf(text + length, sizeof text - static_cast<std::size_t>(length), format, values...);
    length = std::min(length, static_cast<int>(sizeof text) - 1);
  };
  const auto alike = [](const thread_slot& a, const thread_slot& b) {
    if (a.status != b.status) return false;
    if (a.status == thread_status::ended) return true;
    if (a.from.file != b.from.file || a.from.line != b.from.line) return false;
    return a.status == thread_status::at_barrier || a.mask == b.mask;
  };
  unsigned end = 0;
  for (unsigned first = 0; first < current_block.threads; first = end) {
    const thread_slot& t = threads[first];
    while (end < current_block.threads && alike(t, threads[end])) ++end;
    append("\n    threads %u to %u ", first, end - 1);
    if (t.status == thread_status::ended)
      append("%s", "have returned");
    else if (t.status == thread_status::at_barrier)
      append("wait in the barrier at %s:%d", t.from.file, t.from.line);
    else
      append("wait in %s at %s:%d (mask %08x)", name_of(t.op), t.from.file, t.from.line, t.mask);
  }
  report("deadlock: %u of %u threads never go on%s", current_block.live, current_block.threads, text);
}

}  // namespace

void run_block(uint3 index, std::uint64_t number, std::size_t dynamic_bytes) {
  const dim3& shape = current_launch.block;
  block_slot& block = current_block;
  block = block_slot{};
  block.index = index;
  block.number = number;
  block.threads = block.live = shape.x * shape.y * shape.z;
  if (under_tsan)
    block.pool = static_cast<unsigned>(number % std::clamp(fibers_wanted / block.threads, 2u, most_pools));
  open_block_memory(dynamic_bytes);
  ready_warps = lifo_count = 0;
  for (unsigned i = 0; i < block.threads; ++i) open_thread(i);
  for (unsigned warp = 0; warp * lanes_per_warp < block.threads; ++warp) {
    const unsigned there = block.threads - warp * lanes_per_warp;
    const unsigned all = there >= lanes_per_warp ? 0xffffffffu : (1u << there) - 1;
    warps[warp] = warp_slot{};
    warps[warp].ended = ~all;
    ready[warp] = 0;
    make_ready(warp, all);
  }
  switch_to(host, threads[take_ready()], false);
  while (host_request.action != nullptr) {
    const request asked = host_request;
    host_request = request{};
    running = asked.asked_by;  // whom a report is about
    asked.action(asked.data);
    switch_to(host, *asked.asked_by, false);
  }
  if (block.live != 0 && !current_launch.abandoned) {
    report_deadlock();
    current_launch.abandoned = true;
  }
  const std::size_t shared_bytes = close_block_memory();
  close_block_traffic(shared_bytes);
}

void begin_threads() {
  if (under_tsan) host.tsan_fiber = __tsan_get_current_fiber();
  random_state = current_launch.settings.seed * 0x9e3779b97f4a7c15u | 1;  // never 0
  order_threads_after_host();
}

void order_threads_after_host() { launch_begins.release(); }

void finish_threads() {
  thread_ends.acquire();
  if (!current_launch.abandoned) return;
  // Fibers are in the middle of functions that they will never leave: the sanitizers have to forget that.
  for (unsigned i = 0; i < current_block.threads; ++i) {
    fiber_slot& fiber = fibers[current_block.pool][i];
    unpoison(fiber.stack, stack_bytes);
    if (!under_tsan || threads[i].status == thread_status::ended) continue;
    __tsan_switch_to_fiber(fiber.tsan_fiber, 0);  // a switch without flags orders what was done before it
    __tsan_switch_to_fiber(host.tsan_fiber, 0);
    __tsan_destroy_fiber(fiber.tsan_fiber);
    fiber.tsan_fiber = nullptr;
  }
}

void make_ready(unsigned warp, unsigned lanes) {
  if (lanes == 0) return;
  ready[warp] |= lanes;
  ready_warps |= 1u << warp;
  if (current_launch.settings.order != schedule::lifo) return;
  for (unsigned rest = lanes; rest != 0; rest &= ~(1u << highest(rest)))
    lifo[lifo_count++] = warp * lanes_per_warp + highest(rest);
}

void wait() { leave(false); }

void on_host_stack(void (*action)(void*), void* data) {
  if (running == nullptr) {
    action(data);
    return;
  }
  host_request = {action, data, running};
  switch_to(*running, host, false);
}

void abandon() {
  current_launch.abandoned = true;
  if (running != nullptr) switch_to(*running, host, true);
  std::abort();
}

pool_points& points_of_block() { return points[current_block.pool]; }

}  // namespace simt::detail
