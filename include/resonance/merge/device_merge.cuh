// SPDX-License-Identifier: Apache-2.0
//! \file
//! Resonance merge on the device: which (token, expert) pairs survive, and every survivor's rank in its expert.
#ifndef RESONANCE_MERGE_DEVICE_MERGE_CUH
#define RESONANCE_MERGE_DEVICE_MERGE_CUH

#include <resonance/config.hpp>
#include <resonance/core/device_group.cuh>
#include <resonance/core/launch.cuh>
#include <resonance/core/policy.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>
#include <resonance/core/workspace.hpp>
#include <resonance/merge/device_expert_thresholds.cuh>
#include <resonance/merge/expert_side.hpp>
#include <resonance/merge/kernel_merge.cuh>
#include <resonance/merge/policies.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {
RESONANCE_ARCH_NAMESPACE_BEGIN

//! Lists every expert's members; what has no expert gets no rank.
struct ranked_list_placement : list_placement {
  std::int32_t* rank_in_expert = nullptr;

  RESONANCE_DEVICE void none(std::int64_t slot) const { store(rank_in_expert + slot, -1); }
};

struct device_merge_scratch {
  expert_lists lists;
  std::uint32_t* tile_counts = nullptr;
  std::uint64_t* spill = nullptr;       // [2 * slots], where a list may exceed the shared memory
  std::uint64_t* thresholds = nullptr;  // [E]
  merge::ragged_scratch ragged;
  workspace_view for_thresholds;

  template <class Policy>
  void carve(workspace_carver& carver, std::int64_t tokens, std::int32_t experts, std::int64_t most_slots) {
    lists.offsets = carver.take<std::int64_t>(std::int64_t{experts} + 1);
    lists.slots = carver.take<std::uint32_t>(most_slots);
    tile_counts = carver.take<std::uint32_t>(group_tiling(most_slots, experts).count_words(experts));
    if (most_slots > merge_shared_words) spill = carver.take<std::uint64_t>(2 * most_slots);
    if (!Policy::needs_expert_choice) return;
    thresholds = carver.take<std::uint64_t>(experts);
    for_thresholds.bytes = merge::device_expert_thresholds_workspace_bytes(tokens, experts);
    for_thresholds.data = carver.take<char>(static_cast<std::int64_t>(for_thresholds.bytes));
    if (!Policy::adds_expert_choice) return;
    ragged.gained = carver.take<std::uint32_t>(tokens * merge::gained_words(experts));
    ragged.tile_slots = carver.take<std::int64_t>(merge::merge_tiles(tokens));
  }
};

//! The members of every expert, then their ranks: two or three launches.
inline status rank_assignments(const device_stream& on, const assignment_view& merged, std::int32_t* rank_in_expert,
                               const device_merge_scratch& scratch) {
  ranked_list_placement placement;
  placement.lists = scratch.lists;
  placement.groups = merged.experts;
  placement.rank_in_expert = rank_in_expert;
  const status listed = place_slots(on, merged, slot_experts(merged), scratch.tile_counts, placement);
  if (!listed.ok()) return listed;
  const int threads = threads_per_expert(merged.most_slots(), merged.experts, merge_threads);
  return launch(on, {merged.experts, threads, 0}, kernel_rank_members<merge_threads>,
                member_lists{scratch.lists.offsets, scratch.lists.slots}, merged.affinity, rank_in_expert,
                scratch.spill);
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace detail

namespace merge {
RESONANCE_ARCH_NAMESPACE_BEGIN

//! Bytes of workspace that device_merge needs: 4 per merged slot (20 above 2048 slots) and 8 E; with the experts'
//! choice also what their thresholds need, and for the ragged merges T * E / 8 + T / 8.
template <class Policy>
std::size_t device_merge_workspace_bytes(std::int64_t tokens, std::int32_t experts, std::int32_t top_k,
                                         std::int64_t most_capacity) {
  detail::workspace_carver counter;
  detail::device_merge_scratch scratch;
  scratch.carve<Policy>(counter, tokens, experts, merged_slots<Policy>(tokens, experts, top_k, most_capacity));
  return counter.bytes();
}

//! Merges token choice with expert choice and ranks every expert's members.
//!
//! Equation   see the policy; rank_in_expert = place by (affinity desc, token asc, slot asc), 0 = best   ETR Eq. 6
//!            ("Bottom-C" is read as the C lowest ranks, never the lowest affinities)
//! Inputs     all arrays in device memory. choices: [T,K] ids and affinity (expert_only reads its shape alone)
//!            expert: affinity float[T,E] and C_i for intersection, union_, expert_only. The host cannot read
//!            expert.capacities: expert.capacity says how large they get (see expert_side)
//! Outputs    as host_merge's, the same bits. Ragged lists that exceed merged_slots, because expert.capacity was too
//!            small a bound, end there. Of the tokens past on.num_tokens nothing is written
//! Contract   deterministic; ids may alias choices.ids; hostile ids lead nowhere
//! Errors     host_merge's, but for expert.capacities; index_overflow (assignments: 2^32 merged slots); launch_failed
//! Resources  restricted, token_only: 2 launches up to 8192 slots, else 3; intersection 1 more, the ragged merges 2
//!            more,
//!            and those of the thresholds; device_merge_workspace_bytes; no allocation, no synchronization
//! Cost       28 bytes per slot; with the experts' choice T*E reads, and T*E / 4 bytes of marks for the ragged merges.
//!            An expert's members are one block's work: linear, also where one expert holds all
//! Example    test/simt/merge/device_merge_test.cpp
template <class Policy>
status device_merge(const device_stream& on, const Policy&, const assignment_view& choices, const expert_side& expert,
                    const assignment_buffers& out, workspace_view workspace) {
  static_assert(detail::is_policy_of<Policy, stages::merge>, "resonance: the second argument must be a merge policy");
  detail::checks c;
  c.also(detail::check_device_assignments(choices, detail::reads_choices<Policy>));
  c.in_range(!choices.ragged(), "choices");
  if (!c.result().ok()) return c.result();
  const std::int64_t tokens = choices.tokens;
  const std::int32_t experts = choices.experts;
  const std::int32_t top_k = choices.slots_per_token;
  const detail::capacity_bound bound = detail::bound_device_capacities<Policy>(expert, tokens);
  c.also(detail::check_merge<Policy>(choices, expert, out, bound));
  if (!c.result().ok()) return c.result();
  const std::int64_t most_slots = merged_slots<Policy>(tokens, experts, top_k, bound.most);
  assignment_buffers within = out;
  within.capacity = most_slots;
  assignment_view merged = choices;
  if (Policy::adds_expert_choice) merged = as_assignments(within, tokens, experts);
  if (Policy::needs_expert_choice) merged.ids = out.ids;
  c.also(detail::check_slot_numbers(merged));
  if (!c.result().ok()) return c.result();
  c.also(detail::check_workspace(workspace, device_merge_workspace_bytes<Policy>(tokens, experts, top_k, bound.most)));
  if (!c.result().ok()) return c.result();

  detail::workspace_carver carver(workspace.data);
  detail::device_merge_scratch scratch;
  scratch.carve<Policy>(carver, tokens, experts, most_slots);
  if constexpr (Policy::needs_expert_choice)
    c.also(device_expert_thresholds(on, expert, scratch.thresholds, scratch.for_thresholds));
  if constexpr (Policy::adds_expert_choice) {
    const detail::launch_shape tiles{merge_tiles(tokens), detail::merge_threads, 0};
    if (c.result().ok())
      c.also(detail::launch(on, tiles, detail::kernel_count_merged<detail::merge_threads, Policy>, choices,
                            expert.affinity, scratch.thresholds, on.num_tokens, scratch.ragged, out.token_offsets));
    if (c.result().ok())
      c.also(detail::launch(on, tiles, detail::kernel_place_merged<detail::merge_threads, Policy>, choices,
                            expert.affinity, on.num_tokens, scratch.ragged, within));
  } else if constexpr (Policy::needs_expert_choice) {
    if (c.result().ok())
      c.also(detail::launch(on, {detail::divide_up(most_slots, detail::merge_threads), detail::merge_threads, 0},
                            detail::kernel_keep_mutual<detail::merge_threads>, choices, expert.affinity,
                            scratch.thresholds, on.num_tokens, out.ids));
  }
  if (c.result().ok()) c.also(detail::rank_assignments(on, merged, out.rank_in_expert, scratch));
  return c.result();
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace merge
RESONANCE_NAMESPACE_END

#endif
