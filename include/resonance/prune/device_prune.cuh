// SPDX-License-Identifier: Apache-2.0
//! \file
//! Capacity pruning on the device: every expert keeps its first C_i assignments under the drop order.
#ifndef RESONANCE_PRUNE_DEVICE_PRUNE_CUH
#define RESONANCE_PRUNE_DEVICE_PRUNE_CUH

#include <resonance/config.hpp>
#include <resonance/core/device_group.cuh>
#include <resonance/core/launch.cuh>
#include <resonance/core/policy.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>
#include <resonance/core/workspace.hpp>
#include <resonance/prune/capacity.hpp>
#include <resonance/prune/check.hpp>
#include <resonance/prune/drop_order.hpp>
#include <resonance/prune/kernel_prune.cuh>
#include <resonance/prune/options.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {
RESONANCE_ARCH_NAMESPACE_BEGIN

//! Lists every expert's members; what has no expert is dropped.
struct pruned_list_placement : list_placement {
  std::int32_t* ids = nullptr;
  float* weights = nullptr;

  RESONANCE_DEVICE void none(std::int64_t slot) const {
    store(ids + slot, -1);
    if (weights != nullptr) store(weights + slot, 0.0f);
  }
};

struct device_prune_scratch {
  expert_lists lists;
  std::uint32_t* tile_counts = nullptr;
  float* token_best = nullptr;          // [T]
  std::uint64_t* tile_best = nullptr;   // [tiles]
  std::int64_t* capacities = nullptr;   // [E]
  std::uint32_t* rank_spill = nullptr;  // [slots]
  std::uint64_t* key_spill = nullptr;   // [2 * slots]

  template <class Rule, class Order>
  void carve(workspace_carver& carver, std::int64_t tokens, std::int32_t experts, std::int64_t most_slots) {
    lists.offsets = carver.take<std::int64_t>(std::int64_t{experts} + 1);
    lists.slots = carver.take<std::uint32_t>(most_slots);
    tile_counts = carver.take<std::uint32_t>(group_tiling(most_slots, experts).count_words(experts));
    token_best = carver.take<float>(tokens);
    tile_best = carver.take<std::uint64_t>(divide_up(tokens, prune_tile_tokens));
    capacities = carver.take<std::int64_t>(experts);
    if (Rule::by_mass && most_slots > 2 * prune_shared_words) rank_spill = carver.take<std::uint32_t>(most_slots);
    if (cuts_by_key<Rule, Order> && most_slots > prune_shared_words)
      key_spill = carver.take<std::uint64_t>(2 * most_slots);
  }
};

RESONANCE_ARCH_NAMESPACE_END
}  // namespace detail

namespace prune {
RESONANCE_ARCH_NAMESPACE_BEGIN

//! Bytes of workspace that device_prune needs: 4 per slot, 4 T + T / 32 and 16 E; above 4096 slots also 4 per slot for
//! affinity_mass, above 2048 16 per slot for the orders by key. Of ragged lists slot_capacity counts.
template <class Rule, class Order>
std::size_t device_prune_workspace_bytes(const assignment_view& assignments) {
  if (!detail::check_device_assignments(assignments).ok()) return 0;
  detail::workspace_carver counter;
  detail::device_prune_scratch scratch;
  scratch.carve<Rule, Order>(counter, assignments.tokens, assignments.experts, assignments.most_slots());
  return counter.bytes();
}

//! Keeps an assignment iff its rank under the drop order is below its expert's capacity.
//!
//! Equation   see the capacity rule and the drop order   ETR Eq. 6, Remark 7
//! Inputs     all arrays, also the rule's and options.delta_max, in device memory. assignments: ids; affinity (rules
//!            and orders that read it, and the mass outputs); rank_in_expert (order `affinity_order`, and
//!            affinity_mass);
//!            weights (where outputs.weights is given)
//! Outputs    see outputs; ids and weights may alias the assignments'. Of the tokens past on.num_tokens nothing is
//!            written, and rules see the number of tokens that there are
//! Contract   the host's results, masses included, to the bit; affinity_mass cuts in affinity order whatever `order`
//!            is; a slot whose rank_in_expert is not in [0, |A_i|) is dropped
//! Errors     host_prune's, but for arrays of the rule; index_overflow (assignments: 2^32 slots); launch_failed
//! Resources  2 launches up to 8192 slots, else 3; 1 more each where affinities are compared between tokens (delta_max,
//!            batch_prioritized), for options.shared, and for options.renormalize; device_prune_workspace_bytes; no
//!            allocation, no synchronization
//! Cost       36 bytes per slot; the orders by key rank every A_i. An expert's members are one block's work: linear,
//!            also where one expert holds all
//! Example    test/simt/prune/device_prune_test.cpp
template <class Rule, class Order>
status device_prune(const device_stream& on, const Rule& rule, const Order&, const assignment_view& assignments,
                    const options& o, const outputs& out, workspace_view workspace) {
  static_assert(detail::is_policy_of<Rule, stages::capacity>, "resonance: the second argument must be a capacity rule");
  static_assert(detail::is_policy_of<Order, stages::drop_order>, "resonance: the third argument must be a drop order");
  const assignment_view& a = assignments;
  detail::checks c;
  c.also(detail::check_device_prune<Order>(rule, a, o, out));
  if (!c.result().ok()) return c.result();
  c.also(detail::check_slot_numbers(a));
  c.also(detail::check_workspace(workspace, device_prune_workspace_bytes<Rule, Order>(a)));
  if (!c.result().ok()) return c.result();

  detail::workspace_carver carver(workspace.data);
  detail::device_prune_scratch scratch;
  scratch.carve<Rule, Order>(carver, a.tokens, a.experts, a.most_slots());
  detail::prune_call call;
  call.assignments = a;
  call.batch = detail::facts_of(a, o);
  call.options = o;
  call.out = out;
  call.num_tokens = on.num_tokens;
  call.lists = {scratch.lists.offsets, scratch.lists.slots};
  call.token_best = scratch.token_best;
  call.tile_best = scratch.tile_best;
  call.best_tiles = detail::divide_up(a.tokens, detail::prune_tile_tokens);
  call.capacities = scratch.capacities;
  call.rank_spill = scratch.rank_spill;
  call.key_spill = scratch.key_spill;

  constexpr int threads = detail::prune_threads;
  const detail::launch_shape of_experts{a.experts, detail::threads_per_expert(a.most_slots(), a.experts, threads), 0};
  if (detail::wants_best<Rule, Order>(out))
    c.also(detail::launch(on, {call.best_tiles, threads, 0}, detail::kernel_best_affinities<threads>, call));
  if (!c.result().ok()) return c.result();
  detail::pruned_list_placement placement;
  placement.lists = scratch.lists;
  placement.groups = a.experts;
  placement.ids = out.ids;
  placement.weights = out.weights;
  c.also(detail::place_slots(on, a, detail::slot_experts(a), scratch.tile_counts, placement));
  if (!c.result().ok()) return c.result();
  if (o.shared) {
    c.also(detail::launch(on, of_experts, detail::kernel_expert_capacity<threads, Rule>, rule, call));
    if (!c.result().ok()) return c.result();
    c.also(detail::launch(on, of_experts, detail::kernel_cut_shared<threads, Rule, Order>, call));
  } else {
    c.also(detail::launch(on, of_experts, detail::kernel_prune<threads, Rule, Order>, rule, call));
  }
  if (o.renormalize && c.result().ok())
    c.also(detail::launch(on, {detail::divide_up(a.tokens, threads), threads, 0}, detail::kernel_renormalize<threads>,
                          call));
  return c.result();
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace prune
RESONANCE_NAMESPACE_END

#endif
