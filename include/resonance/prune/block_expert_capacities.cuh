// SPDX-License-Identifier: Apache-2.0
//! \file
//! The capacities of experts that may choose among all tokens, by a block.
#ifndef RESONANCE_PRUNE_BLOCK_EXPERT_CAPACITIES_CUH
#define RESONANCE_PRUNE_BLOCK_EXPERT_CAPACITIES_CUH

#include <resonance/config.hpp>
#include <resonance/core/block_columns.cuh>
#include <resonance/core/block_select.cuh>
#include <resonance/core/collectives.cuh>
#include <resonance/core/order_key.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/prune/capacity.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

//! visit(column, key) for every choosable key of the block's columns.
template <class Visit>
RESONANCE_DEVICE void visit_choosable(const column_keys& columns, const Visit& visit) {
  const int column = block_thread() % columns_per_block;
  if (column >= columns.columns) return;
  for (std::int64_t row = block_thread() / columns_per_block; row < columns.rows;
       row += block_threads() / columns_per_block) {
    const std::uint32_t key = columns.key(column, row);
    if (key != never_chosen) visit(column, key);
  }
}

}  // namespace detail

namespace prune {

//! A goal for block_select: the fewest best keys that hold the rule's share of a list's affinity mass; every key of a
//! list without mass.
template <class Rule>
struct select_mass {
  static constexpr bool weighs = true;
  const Rule& rule;
  const double* scales;  //!< [lists] mass_scale of each list

  RESONANCE_DEVICE std::uint64_t weight(int list, std::uint64_t key) const {
    return static_cast<std::uint64_t>(mass_units(score_of_key(packed_key(key)), scales[list]));
  }
  RESONANCE_DEVICE std::uint64_t target(int, std::uint64_t, std::uint64_t total) const {
    if (total == 0) return 1;
    return static_cast<std::uint64_t>(rule.threshold(static_cast<std::int64_t>(total)));
  }
};

//! Shared memory of block_expert_capacities.
template <bool ByMass>
struct capacity_scratch;
template <>
struct capacity_scratch<false> {
  unsigned choosable[columns_per_block];
};
template <>
struct capacity_scratch<true> {
  selection_scratch<columns_per_block, true> selection;
  unsigned long long best[columns_per_block];
  double scales[columns_per_block];
};

//! Computes C_i of up to eight neighbouring experts as if every token with a choosable affinity were a member.
//!
//! Threads    all of the block
//! Inputs     columns: the experts' affinities; it is staged here
//!            batch: what the rule looks at; capacity_cap: -1 = none
//! Outputs    capacities[E] of these experts
//! Contract   same as host_expert_capacities: masses are integers, so that the order of additions is no question
//! Resources  scratch in shared memory; ends with a barrier
//! Cost       columns read once where staged; else once, for affinity_mass once more than block_select's sweeps
//! Example    test/simt/prune/device_expert_capacities_test.cpp
template <class Rule>
RESONANCE_DEVICE void block_expert_capacities(capacity_scratch<Rule::by_mass>& s, const column_keys& columns,
                                              const Rule& rule, const batch_facts& batch, std::int64_t capacity_cap,
                                              std::int64_t* capacities) {
  columns.stage();
  if constexpr (Rule::by_mass) {
    for (int c = block_thread(); c < columns_per_block; c += block_threads()) s.best[c] = 0;
    sync_block();
    unsigned long long own_best = 0;
    detail::visit_choosable(columns, [&](int, std::uint32_t key) { own_best = key > own_best ? key : own_best; });
    if (own_best > 0) atomic_max(&s.best[block_thread() % columns_per_block], own_best);
    sync_block();
    for (int c = block_thread(); c < columns_per_block; c += block_threads()) {
      const auto best = static_cast<std::uint32_t>(s.best[c]);
      s.scales[c] = best != never_chosen ? mass_scale(score_of_key(best)) : 0.0;
    }
    sync_block();
    block_select<columns_per_block>(s.selection, columns.columns, columns.rows, columns,
                                    select_mass<Rule>{rule, s.scales}, ignore_selected{});
  } else {
    for (int c = block_thread(); c < columns_per_block; c += block_threads()) s.choosable[c] = 0;
    sync_block();
    unsigned own = 0;
    detail::visit_choosable(columns, [&](int, std::uint32_t) { ++own; });
    if (own > 0) atomic_add(&s.choosable[block_thread() % columns_per_block], own);
    sync_block();
  }
  for (int c = block_thread(); c < columns.columns; c += block_threads()) {
    const std::int64_t e = columns.first + c;
    std::int64_t capacity;
    if constexpr (Rule::by_mass) {
      capacity = s.selection.taken[c];
    } else {
      capacity = rule.capacity(batch, static_cast<std::int32_t>(e), std::int64_t{s.choosable[c]});
    }
    store(capacities + e, capacity_cap >= 0 && capacity_cap < capacity ? capacity_cap : capacity);
  }
  sync_block();
}

}  // namespace prune
RESONANCE_NAMESPACE_END

#endif
