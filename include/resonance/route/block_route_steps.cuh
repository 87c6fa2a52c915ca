// SPDX-License-Identifier: Apache-2.0
//! \file
//! A route after the choice of the tokens, as steps of one kernel: merge, ranks, cut, plan, of any composition.
#ifndef RESONANCE_ROUTE_BLOCK_ROUTE_STEPS_CUH
#define RESONANCE_ROUTE_BLOCK_ROUTE_STEPS_CUH

#include <resonance/config.hpp>
#include <resonance/core/block_columns.cuh>
#include <resonance/core/block_group.cuh>
#include <resonance/core/collectives.cuh>
#include <resonance/core/expert_members.cuh>
#include <resonance/core/launch.cuh>
#include <resonance/core/ordered_steps.cuh>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/core/views.hpp>
#include <resonance/merge/block_expert_thresholds.cuh>
#include <resonance/merge/block_merge.cuh>
#include <resonance/merge/expert_side.hpp>
#include <resonance/plan/block_plan.cuh>
#include <resonance/prune/block_expert_capacities.cuh>
#include <resonance/prune/block_prune.cuh>
#include <resonance/prune/block_prune_call.cuh>
#include <resonance/token_choice/policies.hpp>
#include <resonance/token_choice/warp_weights.cuh>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

//! Items of every step, in order; 0: the step is left out.
struct route_items {
  std::uint32_t best_of_choices = 0;  // tiles of tokens
  std::uint32_t ask_experts = 0;      // groups of columns
  std::uint32_t mark = 0;             // tiles of slots (intersection) or of tokens
  std::uint32_t extend = 0;           // tiles of tokens; this and below up to `list_count`: the ragged merges
  std::uint32_t weigh = 0;            // the same
  std::uint32_t list_count = 0;       // tiles of slots
  std::uint32_t list_place = 0;       // the same
  std::uint32_t best = 0;             // tiles of tokens
  std::uint32_t prune = 0;            // experts
  std::uint32_t cut = 0;              // experts, where they share a capacity
  std::uint32_t renormalize = 0;      // tiles of tokens
  std::uint32_t plan_count = 0;       // tiles of slots
  std::uint32_t plan_place = 0;       // the same
  std::uint32_t plan_rank = 0;        // local experts, where rows go by affinity

  std::int64_t sum() const {
    return std::int64_t{best_of_choices} + ask_experts + mark + extend + weigh + list_count + list_place + best +
           prune + cut + renormalize + plan_count + plan_place + plan_rank;
  }
};

//! Slots of one item where each takes a thread for a moment.
inline constexpr std::int64_t mark_tile_slots = 2048;

//! A placement of slots into the experts' lists; a slot without an expert is dropped at once.
struct pruned_rank_placement : list_placement {
  std::int32_t* ids = nullptr;
  float* weights = nullptr;  // nullable
  std::int32_t* rank_in_expert = nullptr;

  RESONANCE_DEVICE void none(std::int64_t slot) const {
    store(ids + slot, -1);
    if (weights != nullptr) store(weights + slot, 0.0f);
    store(rank_in_expert + slot, -1);
  }
};

//! Shared memory that an item of ask_experts takes before the staged keys.
template <class Rule>
RESONANCE_HOST_DEVICE constexpr std::size_t ask_experts_bytes() {
  constexpr std::size_t of_capacities = sizeof(prune::capacity_scratch<Rule::by_mass>);
  constexpr std::size_t of_thresholds = sizeof(merge::threshold_scratch);
  return ((of_capacities > of_thresholds ? of_capacities : of_thresholds) + 15) / 16 * 16;
}

//! What the steps read and write; copied to the kernel.
template <class Merge, class Rule, class Order, class Score, class Index>
struct route_steps_call {
  Rule rule;
  Score score;
  token_choice::options choice;
  route_items items;
  assignment_view choices;

  // Where the merge asks the experts:
  merge::expert_side expert;
  std::int64_t* capacities = nullptr;  // [E] where they are not given
  float* delta_max = nullptr;          // [1] where the rule needs it and it is not given: of the choices (D1)
  std::uint64_t* thresholds = nullptr;
  merge::ragged_scratch ragged;
  assignment_buffers merged;
  bool stages_columns = false;

  prune_call pruning;  // assignments: the merged ones
  pruned_rank_placement lists;
  std::int64_t list_tile_slots = 0;
  std::uint32_t* list_counts = nullptr;
  std::uint64_t* rank_spill = nullptr;  // [2 * slots, or rows with their padding]

  slot_experts of_plan;
  std::int64_t plan_tile_slots = 0;
  std::uint32_t* plan_counts = nullptr;
  rows_by_affinity<Index> plan_rows;  // members: null where rows go by slot

  RESONANCE_DEVICE std::int64_t tokens() const { return live_tokens(choices.tokens, pruning.num_tokens); }

  //! Capacities and thresholds of one group of columns.
  RESONANCE_DEVICE void ask_experts(const block_team& team, unsigned char* shared, std::uint32_t group) const {
    prune::batch_facts facts = pruning.batch;
    facts.tokens = tokens();
    if (delta_max != nullptr) {
      facts.delta_max = prune::largest_affinity(team, pruning.tile_best, pruning.best_tiles);
      if (group == 0 && team.rank() == 0) store(delta_max, facts.delta_max);
    } else if (Rule::needs_delta_max) {
      facts.delta_max = load(pruning.options.delta_max);
    }
    auto* staged = stages_columns ? reinterpret_cast<std::uint32_t*>(shared + ask_experts_bytes<Rule>()) : nullptr;
    const column_keys columns = column_keys::of_group(expert.affinity, group, facts.tokens, staged);
    if (capacities != nullptr)
      block_expert_capacities(*reinterpret_cast<prune::capacity_scratch<Rule::by_mass>*>(shared), columns, rule, facts,
                              pruning.options.capacity_cap, capacities);
    block_expert_thresholds(*reinterpret_cast<merge::threshold_scratch*>(shared), columns, expert, thresholds);
  }

  RESONANCE_DEVICE void mark(const block_team& team, std::uint32_t tile) const {
    if constexpr (Merge::adds_expert_choice) {
      if (tile < merge::merge_tiles(tokens()))
        merge::block_count_merged<Merge>(team, choices, expert.affinity, thresholds, tile, tokens(), ragged,
                                         merged.token_offsets);
    } else {
      const std::int64_t slots = tokens() * choices.slots_per_token;
      const std::int64_t begin = tile * mark_tile_slots;
      const std::int64_t end = begin + mark_tile_slots < slots ? begin + mark_tile_slots : slots;
      for (std::int64_t slot = begin + team.rank(); slot < end; slot += team.size())
        merge::keep_mutual(choices, expert.affinity, thresholds, static_cast<std::uint32_t>(slot), merged.ids);
    }
  }

  RESONANCE_DEVICE void weigh(std::uint32_t tile) const {
    const merge::merge_tile range(tile, tokens());
    const auto warps = static_cast<std::uint32_t>(block_threads() / warp_size);
    for (std::uint32_t token = range.begin + static_cast<std::uint32_t>(warp_id()); token < range.end; token += warps)
      token_choice::warp_weights(warp_team{}, score, choice, expert.affinity.row(token), pruning.assignments, token,
                                 merged.weights);
  }

  RESONANCE_DEVICE void count(unsigned char* shared, std::uint32_t index, std::int64_t tile_slots,
                              const slot_experts& experts, std::uint32_t* counts) const {
    const group_tile tile{index, tile_slots, live_slots(pruning.assignments, pruning.num_tokens)};
    if (tile.index < tile.tiles())
      block_count_slots(tile.begin(), tile.end(), experts, reinterpret_cast<unsigned*>(shared),
                        counts + tile.index * experts.groups);
  }

  template <class Placement>
  RESONANCE_DEVICE void place(const block_team& team, unsigned char* shared, std::uint32_t index,
                              std::int64_t tile_slots, const slot_experts& experts, const std::uint32_t* counts,
                              const Placement& placement) const {
    const group_tile tile{index, tile_slots, live_slots(pruning.assignments, pruning.num_tokens), counts};
    if (tile.index < tile.tiles()) block_place_slots(team, shared, tile, experts, placement);
  }

  //! Ranks of one expert's members; then its cut, or its capacity where the experts share the largest.
  template <class Team>
  RESONANCE_DEVICE void prune_members(const Team& team, std::int32_t e, const prune::batch_facts& facts,
                                      std::uint64_t* words, int count_of_words) const {
    const expert_members members = pruning.lists.of(e);
    const assignment_view& a = pruning.assignments;
    merge::rank_members(team, members, a.affinity, lists.rank_in_expert,
                        {words, count_of_words, rank_spill + 2 * members.first});
    const prune::expert_scratch scratch = pruning.scratch_of(members, words, count_of_words);
    const std::int64_t cap = pruning.options.capacity_cap;
    if (pruning.options.shared) {
      const std::int64_t capacity = prune::expert_capacity(team, rule, facts, cap, e, members, a, scratch);
      if (team.rank() == 0) store(pruning.capacities + e, capacity);
    } else {
      prune::prune_expert<Order>(team, rule, facts, cap, e, members, a, pruning.token_best, pruning.out, scratch);
    }
  }

  //! The cut of one expert at the largest capacity.
  template <class Team>
  RESONANCE_DEVICE void cut_members(const Team& team, std::int32_t e, std::uint64_t* words, int count_of_words) const {
    const expert_members members = pruning.lists.of(e);
    const std::int64_t capacity = prune::largest_capacity(team, pruning.capacities, pruning.batch.experts);
    if (pruning.out.capacities != nullptr && team.rank() == 0) store(pruning.out.capacities + e, capacity);
    prune::cut_members<Rule, Order>(team, e, capacity, members, pruning.assignments, pruning.token_best, pruning.out,
                                    pruning.scratch_of(members, words, count_of_words));
  }
};

//! Words of shared memory in which a block, or a warp of a block that does all steps alone, ranks an expert's members.
inline constexpr int block_rank_words = prune_shared_words;
inline constexpr int warp_rank_words = rank_scratch::least_words;

//! body(team, expert, facts(is_first), words, count) for every expert, a block each.
template <class Facts, class Body>
RESONANCE_DEVICE void for_each_expert(ordered_steps& steps, const block_team& team, unsigned char* shared,
                                      std::uint32_t experts, const Facts& facts, const Body& body) {
  steps.step(experts, [&](std::uint32_t e) {
    body(team, static_cast<std::int32_t>(e), facts(e == 0), reinterpret_cast<std::uint64_t*>(shared), block_rank_words);
  });
}

//! The same by a block that is alone, an expert per warp.
template <class Facts, class Body>
RESONANCE_DEVICE void for_each_expert(const serial_steps&, const block_team& team, unsigned char* shared,
                                      std::uint32_t experts, const Facts& facts, const Body& body) {
  if (experts == 0) return;
  const auto of_all = facts(true);
  std::uint64_t* words = reinterpret_cast<std::uint64_t*>(shared) + warp_id() * warp_rank_words;
  const auto warps = static_cast<std::uint32_t>(block_threads() / warp_size);
  for (auto e = static_cast<std::uint32_t>(warp_id()); e < experts; e += warps) {
    body(warp_team{}, static_cast<std::int32_t>(e), of_all, words, warp_rank_words);
    warp_team::sync();
  }
  team.sync();
}

//! All steps, from what the tokens chose to the plan.
//!
//! Threads    all of the block; steps: ordered_steps of a grid of items.sum() blocks, or serial_steps of one block
//! Inputs     call, with the choices and, where the merge asks the experts, their affinity written
//! Contract   the bits of the stages run one after the other
template <class Merge, class Rule, class Order, class Score, class Index, class Steps>
RESONANCE_DEVICE void run_route_steps(Steps& steps, const block_team& team, unsigned char* shared,
                                      const route_steps_call<Merge, Rule, Order, Score, Index>& call) {
  const route_items& items = call.items;
  const prune_call& pruning = call.pruning;
  const assignment_view& a = pruning.assignments;
  if constexpr (Merge::needs_expert_choice) {
    steps.step(items.best_of_choices, [&](std::uint32_t tile) { pruning.measure_best(team, call.choices, tile); });
    steps.step(items.ask_experts, [&](std::uint32_t group) { call.ask_experts(team, shared, group); });
    steps.step(items.mark, [&](std::uint32_t tile) { call.mark(team, tile); });
  }
  if constexpr (Merge::adds_expert_choice) {
    steps.step(items.extend, [&](std::uint32_t tile) {
      if (tile < merge::merge_tiles(call.tokens()))
        merge::block_place_merged<Merge>(team, call.choices, call.expert.affinity, tile, call.tokens(), call.ragged,
                                         call.merged);
    });
    steps.step(items.weigh, [&](std::uint32_t tile) { call.weigh(tile); });
  }
  steps.step(items.list_count, [&](std::uint32_t tile) {
    call.count(shared, tile, call.list_tile_slots, slot_experts(a), call.list_counts);
  });
  steps.step(items.list_place, [&](std::uint32_t tile) {
    call.place(team, shared, tile, call.list_tile_slots, slot_experts(a), call.list_counts, call.lists);
  });
  steps.step(items.best, [&](std::uint32_t tile) { pruning.measure_best(team, a, tile); });
  for_each_expert(
      steps, team, shared, items.prune, [&](bool is_first) { return pruning.template facts<Rule>(team, is_first); },
      [&](const auto& worker, std::int32_t e, const prune::batch_facts& facts, std::uint64_t* words, int count) {
        call.prune_members(worker, e, facts, words, count);
      });
  for_each_expert(
      steps, team, shared, items.cut, [](bool) { return 0; },
      [&](const auto& worker, std::int32_t e, int, std::uint64_t* words, int count) {
        call.cut_members(worker, e, words, count);
      });
  steps.step(items.renormalize, [&](std::uint32_t tile) {
    const std::int64_t begin = std::int64_t{tile} * prune_tile_tokens;
    const std::int64_t end = begin + prune_tile_tokens < call.tokens() ? begin + prune_tile_tokens : call.tokens();
    prune::renormalize_tokens(a, begin + team.rank(), end, team.size(), pruning.out.weights);
  });
  steps.step(items.plan_count, [&](std::uint32_t tile) {
    call.count(shared, tile, call.plan_tile_slots, call.of_plan, call.plan_counts);
  });
  steps.step(items.plan_place, [&](std::uint32_t tile) {
    const auto place = [&](const auto& placement) {
      call.place(team, shared, tile, call.plan_tile_slots, call.of_plan, call.plan_counts, placement);
    };
    if (call.plan_rows.members == nullptr) {
      place(rows_by_slot<Index>{call.plan_rows.rows});
    } else {
      place(call.plan_rows);
    }
  });
  for_each_expert(
      steps, team, shared, items.plan_rank, [](bool) { return 0; },
      [&](const auto& worker, std::int32_t e, int, std::uint64_t* words, int count) {
        block_plan_by_affinity(worker, e, a.affinity, call.plan_rows, rank_scratch{words, count, call.rank_spill});
      });
}

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
