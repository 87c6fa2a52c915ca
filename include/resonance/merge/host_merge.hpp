// SPDX-License-Identifier: Apache-2.0
//! \file
//! Resonance merge on the host: which (token, expert) pairs survive, and every survivor's rank in its expert.
#ifndef RESONANCE_MERGE_HOST_MERGE_HPP
#define RESONANCE_MERGE_HOST_MERGE_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>

#include <resonance/core/executor.hpp>
#include <resonance/core/host_group.hpp>
#include <resonance/core/host_score_columns.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/order_key.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/views.hpp>
#include <resonance/core/workspace.hpp>
#include <resonance/merge/expert_side.hpp>
#include <resonance/merge/policies.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

//! The least packed (key, token) that an expert still takes: the C_i best of all its tokens are those at or above it.
//! A pair that is never chosen packs below every threshold.
template <class Executor>
void expert_thresholds(const Executor& executor, const merge::expert_side& expert, const column_scan& scan,
                       std::uint64_t* thresholds) {
  scan.run(executor, expert.affinity, [&](const score_columns& columns, std::int64_t e, std::uint64_t* items) {
    const std::int64_t wanted = expert.of(e);
    if (wanted <= 0) {
      thresholds[e] = UINT64_MAX;
      return;
    }
    const std::int64_t count = columns.list_best(e, wanted, items);
    if (count < wanted) {
      thresholds[e] = pack_key(never_chosen + 1, 0);
    } else {
      std::nth_element(items, items + wanted - 1, items + count, std::greater<std::uint64_t>());
      thresholds[e] = items[wanted - 1];
    }
  });
}

struct merge_scratch {
  members_by_expert members;
  std::uint64_t* thresholds = nullptr;  // [E]
  column_scan scan;

  void carve(workspace_carver& carver, int workers, std::int64_t tokens, std::int32_t experts, std::int64_t most_slots,
             bool needs_expert_choice) {
    members.carve(carver, workers, experts, most_slots);
    if (!needs_expert_choice) return;
    thresholds = carver.take<std::uint64_t>(experts);
    scan.carve(carver, workers, tokens);
  }
};

}  // namespace detail

namespace merge {

//! Bytes of workspace that host_merge needs: 16 per merged slot, 16 E and 8 (E + 1) per worker; with the experts'
//! choice also 8 E, and about 76 T and 2 KiB per worker.
template <class Policy, class Executor>
std::size_t host_merge_workspace_bytes(const Executor& executor, std::int64_t tokens, std::int32_t experts,
                                       std::int32_t top_k, std::int64_t most_capacity) {
  detail::workspace_carver counter;
  detail::merge_scratch scratch;
  scratch.carve(counter, detail::worker_count(executor), tokens, experts,
                merged_slots<Policy>(tokens, experts, top_k, most_capacity), Policy::needs_expert_choice);
  return counter.bytes();
}

}  // namespace merge

namespace detail {

//! Calls visit(expert, affinity) for the merged experts of one token: its own choices in slot order, then the gained
//! ones by rising expert id.
template <class Policy, class Visit>
void visit_merged(const assignment_view& choices, const merge::expert_side& expert, const std::uint64_t* thresholds,
                  std::int64_t token, const Visit& visit) {
  const std::int64_t begin = choices.begin(token);
  const std::int64_t end = choices.end(token);
  const float* row = Policy::needs_expert_choice ? expert.affinity.row(token) : nullptr;
  const auto expert_takes = [&](std::int64_t e) {
    return pack_key(order_key(row[e]), static_cast<std::uint32_t>(token)) >= thresholds[e];
  };
  const auto is_choice = [&](std::int64_t slot) {
    return choices.assigned(slot) && order_key(choices.affinity[slot]) != never_chosen;
  };
  if (Policy::keeps_token_choice)
    for (std::int64_t slot = begin; slot < end; ++slot)
      if (is_choice(slot)) visit(choices.ids[slot], choices.affinity[slot]);
  for (std::int32_t e = 0; e < choices.experts; ++e) {
    if (!expert_takes(e)) continue;
    bool chosen = false;
    if (Policy::keeps_token_choice)
      for (std::int64_t slot = begin; slot < end; ++slot)
        chosen = chosen || (choices.ids[slot] == e && is_choice(slot));
    if (!chosen) visit(e, choosable_score(row[e], row_traits<float>::largest));
  }
}

}  // namespace detail

namespace merge {

//! Merges token choice with expert choice and ranks every expert's members.
//!
//! Equation   see the policy; rank_in_expert = place by (affinity desc, token asc, slot asc), 0 = best   ETR Eq. 6
//!            ("Bottom-C" is read as the C lowest ranks, never the lowest affinities)
//! Inputs     choices: [T,K] ids and affinity (expert_only reads its shape alone, its arrays may be null)
//!            expert: affinity float[T,E] and C_i for intersection, union_, expert_only
//! Outputs    restricted, token_only: rank_in_expert int32[T,K] (-1 where unassigned); nothing else is written
//!            intersection: ids int32[T,K] with -1 where the expert refused, and rank_in_expert
//!            union_, expert_only: ragged, token-major: token_offsets int64[T+1], token_of_slot, ids, affinity,
//!            rank_in_expert [out.capacity]; a token's own choices in slot order, then the gained by rising id;
//!            weights are left to token_choice::host_weights
//! Contract   deterministic at any worker count; ids may alias choices.ids
//! Errors     null_pointer, out_of_range (choices, expert.capacity), shape_mismatch (expert.affinity),
//!            index_overflow (out.capacity smaller than merged_slots), workspace_too_small
//! Resources  host_merge_workspace_bytes; no allocation
//! Cost       12 bytes per slot, O(|A_i|) per expert, O(|A_i| log |A_i|) where affinities crowd; with expert choice T*E
//!            reads, twice
//! Example    test/merge/host_merge_test.cpp
template <class Executor, class Policy>
status host_merge(const Executor& executor, const Policy&, const assignment_view& choices, const expert_side& expert,
                  const assignment_buffers& out, workspace_view workspace) {
  static_assert(detail::is_policy_of<Policy, stages::merge>, "resonance: the second argument must be a merge policy");
  detail::checks c;
  c.also(detail::check_assignments(choices, detail::reads_choices<Policy>));
  c.in_range(!choices.ragged(), "choices");
  if (!c.result().ok()) return c.result();
  const std::int64_t tokens = choices.tokens;
  const std::int32_t experts = choices.experts;
  const detail::capacity_bound bound = detail::bound_capacities<Policy>(expert, experts);
  c.also(detail::check_merge<Policy>(choices, expert, out, bound));
  const int workers = detail::worker_count(executor);
  c.also(detail::check_workspace(
      workspace, host_merge_workspace_bytes<Policy>(executor, tokens, experts, choices.slots_per_token, bound.most)));
  if (!c.result().ok()) return c.result();

  detail::workspace_carver carver(workspace.data);
  detail::merge_scratch scratch;
  scratch.carve(carver, workers, tokens, experts,
                merged_slots<Policy>(tokens, experts, choices.slots_per_token, bound.most),
                Policy::needs_expert_choice);
  if (Policy::needs_expert_choice) detail::expert_thresholds(executor, expert, scratch.scan, scratch.thresholds);

  assignment_view merged = choices;
  constexpr std::int64_t token_grain = 256;
  if constexpr (Policy::adds_expert_choice) {
    detail::for_ranges(executor, tokens, token_grain, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t t = begin; t < end; ++t) {
        std::int64_t count = 0;
        detail::visit_merged<Policy>(choices, expert, scratch.thresholds, t, [&](std::int32_t, float) { ++count; });
        out.token_offsets[t + 1] = count;
      }
    });
    out.token_offsets[0] = 0;
    for (std::int64_t t = 0; t < tokens; ++t) out.token_offsets[t + 1] += out.token_offsets[t];
    detail::for_ranges(executor, tokens, token_grain, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t t = begin; t < end; ++t) {
        std::int64_t slot = out.token_offsets[t];
        detail::visit_merged<Policy>(choices, expert, scratch.thresholds, t, [&](std::int32_t e, float affinity) {
          out.ids[slot] = e;
          out.affinity[slot] = affinity;
          out.token_of_slot[slot++] = static_cast<std::int32_t>(t);
        });
      }
    });
    merged = as_assignments(out, tokens, experts);
  } else if constexpr (Policy::needs_expert_choice) {
    detail::for_ranges(executor, tokens, token_grain, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t t = begin; t < end; ++t) {
        for (std::int64_t slot = choices.begin(t); slot < choices.end(t); ++slot) {
          const std::int32_t e = choices.ids[slot];
          const bool taken = choices.assigned(slot) && pack_key(order_key(expert.affinity.row(t)[e]),
                                                                static_cast<std::uint32_t>(t)) >= scratch.thresholds[e];
          out.ids[slot] = taken ? e : -1;
        }
      }
    });
    merged.ids = out.ids;
  }

  scratch.members.gather(executor, merged, [&](std::int64_t slot) { return order_key(merged.affinity[slot]); });
  detail::for_ranges(executor, merged.slots(), 4096, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t slot = begin; slot < end; ++slot)
      if (!merged.assigned(slot)) out.rank_in_expert[slot] = -1;
  });
  scratch.members.rank_by_key(executor, experts, [&](std::int64_t slot, std::int32_t, std::int64_t rank) {
    out.rank_in_expert[slot] = static_cast<std::int32_t>(rank);
  });
  return {};
}

}  // namespace merge
RESONANCE_NAMESPACE_END

#endif
