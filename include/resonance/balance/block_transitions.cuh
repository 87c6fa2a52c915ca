// SPDX-License-Identifier: Apache-2.0
//! \file
//! Transitions from one expert to experts of the next layer, counted by a block.
#ifndef RESONANCE_BALANCE_BLOCK_TRANSITIONS_CUH
#define RESONANCE_BALANCE_BLOCK_TRANSITIONS_CUH

#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/expert_members.cuh>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/core/views.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace balance {

//! Experts of the next layer that a block counts at once.
inline constexpr int transition_columns = 512;

//! Counts the transitions from `expert` to the experts [first, first + count) of the next layer.
//!
//! Threads    all of the block
//! Inputs     from, to: ids, regular or ragged; tokens: how many to look at; count <= transition_columns
//! Outputs    row int64[count], written by the block alone
//! Contract   integers: the order in which threads count is no matter
//! Resources  counters: transition_columns in shared memory; ends with a barrier
//! Cost       the ids of `from` once, those of `to` for the tokens that chose `expert`
//! Example    test/simt/balance/device_transitions_test.cpp
RESONANCE_DEVICE void block_transitions(unsigned long long* counters, const assignment_view& from,
                                        const assignment_view& to, std::int64_t tokens, std::int64_t expert,
                                        std::int64_t first, std::int64_t count, std::int64_t* row) {
  for (std::int64_t b = block_thread(); b < count; b += block_threads()) counters[b] = 0;
  sync_block();
  for (std::int64_t t = block_thread(); t < tokens; t += block_threads()) {
    const std::int64_t end = detail::first_slot(from, t + 1);
    RESONANCE_NO_UNROLL
    for (std::int64_t slot = detail::first_slot(from, t); slot < end; ++slot) {
      if (load(from.ids + slot) != expert) continue;
      const std::int64_t last = detail::first_slot(to, t + 1);
      RESONANCE_NO_UNROLL
      for (std::int64_t next = detail::first_slot(to, t); next < last; ++next) {
        const std::int64_t b = load(to.ids + next) - first;
        if (b >= 0 && b < count) atomic_add(counters + b, 1ull);
      }
    }
  }
  sync_block();
  for (std::int64_t b = block_thread(); b < count; b += block_threads())
    store(row + b, static_cast<std::int64_t>(counters[b]));
  sync_block();
}

}  // namespace balance
RESONANCE_NAMESPACE_END

#endif
