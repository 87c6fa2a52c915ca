// SPDX-License-Identifier: Apache-2.0
//! \file
//! The experts' own choice over all tokens, as one threshold per expert, by a block.
#ifndef RESONANCE_MERGE_BLOCK_EXPERT_THRESHOLDS_CUH
#define RESONANCE_MERGE_BLOCK_EXPERT_THRESHOLDS_CUH

#include <resonance/config.hpp>
#include <resonance/core/block_columns.cuh>
#include <resonance/core/block_select.cuh>
#include <resonance/core/collectives.cuh>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/merge/expert_side.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace merge {

//! Shared memory of block_expert_thresholds.
using threshold_scratch = selection_scratch<columns_per_block, false>;

//! Finds the least packed (key, token) that each of up to eight neighbouring experts still takes: its C_i best of all
//! tokens are those at or above it.
//!
//! Threads    all of the block
//! Inputs     columns: the experts' affinities; it is staged here
//!            expert: C_i; less than 0 counts as 0
//! Outputs    thresholds[E] of these experts
//! Contract   as detail::expert_thresholds of the host: all bits set where C_i <= 0, pack_key(never_chosen + 1, 0)
//!            where C_i takes every choosable token. A pair that is never chosen packs below every threshold.
//! Resources  scratch in shared memory; ends with a barrier
//! Cost       columns read once where staged, else once per sweep of block_select
//! Example    test/simt/merge/device_expert_thresholds_test.cpp
RESONANCE_DEVICE void block_expert_thresholds(threshold_scratch& s, const column_keys& columns,
                                              const expert_side& expert, std::uint64_t* thresholds) {
  columns.stage();
  const auto capacity = [&](int column) {
    return expert.capacities != nullptr ? load(expert.capacities + columns.first + column) : expert.capacity;
  };
  block_select<columns_per_block>(s, columns.columns, columns.rows, columns, select_count<decltype(capacity)>{capacity},
                                  ignore_selected{});
  for (int c = block_thread(); c < columns.columns; c += block_threads())
    store(thresholds + columns.first + c, s.threshold(c));
  sync_block();
}

}  // namespace merge
RESONANCE_NAMESPACE_END

#endif
