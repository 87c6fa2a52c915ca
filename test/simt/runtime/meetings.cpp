// SPDX-License-Identifier: Apache-2.0
//! \file
//! Where threads meet: operations of a warp, the barrier of a block, atomics between fences.
#include <iterator>

#include "state.hpp"

namespace simt::detail {

namespace {

unsigned lowest(unsigned set) { return static_cast<unsigned>(__builtin_ctz(set)); }

[[noreturn]] void refuse(const char* what, const thread_slot& self) {
  report("%s: %s at %s:%d (mask %08x, lane %u)", what, name_of(self.op), self.from.file, self.from.line, self.mask,
         self.linear % lanes_per_warp);
  abandon();
}

//! Lanes of one mask have to do the same; the first that does not ends the launch.
void check_partners(const warp_slot& warp, const thread_slot& self, const thread_slot* lanes) {
  const unsigned bit = 1u << self.linear % lanes_per_warp;
  for (unsigned rest = warp.waiting & self.mask & ~bit; rest != 0; rest &= rest - 1) {
    const thread_slot& other = lanes[lowest(rest)];
    if (other.op == self.op && other.mask == self.mask && other.op_bytes == self.op_bytes) continue;
    if ((other.mask & bit) == 0) continue;  // it meets others first
    report(
        "different warp operations meet: %s of %u bytes at %s:%d (mask %08x) and, in lane %u, %s of %u bytes at "
        "%s:%d (mask %08x)",
        name_of(self.op), self.op_bytes, self.from.file, self.from.line, self.mask, lowest(rest), name_of(other.op),
        other.op_bytes, other.from.file, other.from.line, other.mask);
    abandon();
  }
}

std::uint64_t value_of_source(const thread_slot& reader, const thread_slot* lanes) {
  if ((reader.mask >> reader.source & 1u) != 0) return lanes[reader.source].value;
  report("lane %u reads lane %u, which is not in the mask %08x: %s at %s:%d", reader.linear % lanes_per_warp,
         reader.source, reader.mask, name_of(reader.op), reader.from.file, reader.from.line);
  return 0xdeadbeefdeadbeefu;
}

unsigned sync_place(warp_slot& warp, unsigned mask) {
  for (unsigned place = 0; place < warp.sync_mask_count; ++place)
    if (warp.sync_masks[place] == mask) return place;
  if (warp.sync_mask_count == most_sync_masks - 1) return most_sync_masks - 1;
  warp.sync_masks[warp.sync_mask_count] = mask;
  return warp.sync_mask_count++;
}

void complete(warp_slot& warp, const thread_slot& last, thread_slot* lanes) {
  const unsigned mask = last.mask;
  if (last.op >= warp_op::shuffle) {
    for (unsigned rest = mask; rest != 0; rest &= rest - 1) {
      thread_slot& reader = lanes[lowest(rest)];
      reader.result = value_of_source(reader, lanes);
      reader.status = thread_status::ready;
    }
  } else {
    std::uint64_t holds = 0;
    for (unsigned rest = mask; rest != 0; rest &= rest - 1) holds |= lanes[lowest(rest)].value << lowest(rest);
    for (unsigned rest = mask; rest != 0; rest &= rest - 1) {
      lanes[lowest(rest)].result = holds;
      lanes[lowest(rest)].status = thread_status::ready;
    }
  }
  warp.waiting &= ~mask;
  if (last.op == warp_op::sync && under_tsan) {
    const unsigned place = sync_place(warp, mask);
    if (place != most_sync_masks - 1) warp.sync_odd ^= std::uint64_t{1} << place;
  }
}

}  // namespace

std::uint64_t warp_meet(warp_op op, unsigned value_bytes, unsigned mask, std::uint64_t value, unsigned source,
                        site from) {
  thread_slot& self = *running;
  const unsigned warp_number = self.linear / lanes_per_warp;
  warp_slot& warp = warps[warp_number];
  thread_slot* const lanes = threads + warp_number * lanes_per_warp;
  const unsigned bit = 1u << self.linear % lanes_per_warp;
  self.op = op;
  self.op_bytes = value_bytes;
  self.mask = mask;
  self.source = source;
  self.value = value;
  self.from = from;
  if ((mask & bit) == 0) refuse("a lane outside its own mask", self);
  if ((mask & warp.ended) != 0) refuse("the mask names lanes that have returned or never were", self);
  sync_point* ordered = nullptr;
  if (op == warp_op::sync && under_tsan) {
    const unsigned place = sync_place(warp, mask);
    ordered = &points_of_block().meeting[warp_number][place][warp.sync_odd >> place & 1u];
    ordered->release();
  }
  self.status = thread_status::at_warp_op;
  if ((warp.waiting & mask) != 0) check_partners(warp, self, lanes);
  warp.waiting |= bit;
  if ((warp.waiting & mask) == mask) {
    complete(warp, self, lanes);
    make_ready(warp_number, mask);
  }
  wait();
  if (ordered != nullptr) ordered->acquire();
  return self.result;
}

void bad_width(int width, site from) {
  report("a shuffle of width %d, which is no power of two up to 32: %s:%d", width, from.file, from.line);
  abandon();
}

void release_barrier() {
  block_slot& block = current_block;
  const int holds = static_cast<int>(block.barrier_holds);
  switch (block.barrier_vote) {
    case vote::any: block.barrier_result = holds != 0; break;
    case vote::all: block.barrier_result = block.barrier_holds == block.arrived; break;
    default: block.barrier_result = holds; break;
  }
  block.arrived = 0;
  block.barrier_holds = 0;
  block.barrier_odd = !block.barrier_odd;
  for (unsigned warp = 0; warp * lanes_per_warp < block.threads; ++warp) {
    unsigned woken = 0;
    const unsigned first = warp * lanes_per_warp;
    for (unsigned l = 0; l < lanes_per_warp && first + l < block.threads; ++l) {
      if (threads[first + l].status != thread_status::at_barrier) continue;
      threads[first + l].status = thread_status::ready;
      woken |= 1u << l;
    }
    make_ready(warp, woken);
  }
}

int barrier(vote kind, bool predicate, const char* file, int line) {
  thread_slot& self = *running;
  block_slot& block = current_block;
  self.from = {file, line};
  self.status = thread_status::at_barrier;
  sync_point& ordered = points_of_block().barrier[block.barrier_odd ? 1 : 0];
  ordered.release();
  if (block.live != block.threads && !block.said_ended_at_barrier) {
    block.said_ended_at_barrier = true;
    report("waits in the barrier at %s:%d, but %u threads of the block have returned", file, line,
           block.threads - block.live);
  }
  if (block.arrived == 0) {
    block.barrier_from = self.from;
    block.barrier_vote = kind;
    block.barrier_first = self.linear;
  } else if (block.barrier_from.line != line || block.barrier_from.file != file || block.barrier_vote != kind) {
    report("divergent barrier: %s at %s:%d, but thread %u waits in %s at %s:%d", name_of(kind), file, line,
           block.barrier_first, name_of(block.barrier_vote), block.barrier_from.file, block.barrier_from.line);
    abandon();
  }
  ++block.arrived;
  block.barrier_holds += predicate;
  if (block.arrived == block.live) release_barrier();
  wait();
  ordered.acquire();
  return block.barrier_result;
}

bool atomics_observed = false;

void observe_atomic(void* target) {
  if (running == nullptr) return;  // called by the host
  if (counting_traffic) count_atomic(target);
  if (!under_tsan) return;
  thread_slot& self = *running;
  self.atomic_targets[self.atomics++ % std::size(self.atomic_targets)] = target;
  if (self.has_fenced) __tsan_release(target);
}

// The sanitizer knows no fences. It is told of the synchronization that they make out of the atomics around them.
void fence() {
  if (running == nullptr || !under_tsan) return;
  thread_slot& self = *running;
  self.has_fenced = true;
  for (unsigned i = 0; i < self.atomics && i < std::size(self.atomic_targets); ++i)
    __tsan_acquire(self.atomic_targets[i]);
}

}  // namespace simt::detail
