// SPDX-License-Identifier: Apache-2.0
//! \file
//! The plan on the host: which row of the expert-ordered buffer every kept assignment gets.
#ifndef RESONANCE_PLAN_HOST_PLAN_HPP
#define RESONANCE_PLAN_HOST_PLAN_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <resonance/core/executor.hpp>
#include <resonance/core/host_group.hpp>
#include <resonance/core/order_key.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/views.hpp>
#include <resonance/core/workspace.hpp>
#include <resonance/plan/plan.hpp>

RESONANCE_NAMESPACE_BEGIN

namespace detail {

struct plan_scratch {
  members_by_expert members;  // used where rows go by affinity
  expert_grouping grouping;
  std::int64_t* counts = nullptr;  // [L]

  void carve(workspace_carver& carver, int workers, std::int64_t slots, const plan::options& o, std::int32_t experts) {
    const std::int32_t local = o.local_experts(experts);
    if (o.by_affinity) {
      members.carve(carver, workers, local, slots);
      return;
    }
    grouping.carve(carver, workers, local);
    counts = carver.take<std::int64_t>(local);
  }
};

}  // namespace detail

namespace plan {

//! Bytes of workspace that host_plan needs: 8 E and 8 (E + 1) per worker; with rows by affinity also 8 E and
//! 16 per slot.
template <class Executor>
std::size_t host_plan_workspace_bytes(const Executor& executor, const assignment_view& assignments, const options& o) {
  if (!detail::check_assignments(assignments).ok() || !o.check(assignments).ok()) return 0;
  detail::workspace_carver counter;
  detail::plan_scratch scratch;
  scratch.carve(counter, detail::worker_count(executor), assignments.slots(), o, assignments.experts);
  return counter.bytes();
}

//! Gives every kept assignment its row: experts one after the other, each from an aligned offset.
//!
//! Equation   expert_offsets[e+1] = expert_offsets[e] + aligned(n_e), n_e = kept assignments of e; the rows of
//!            an expert are by token, then slot (or by affinity desc, then token, slot), padding last
//! Inputs     assignments: ids (outside [0,E): unassigned; a token may name an expert twice), affinity for by_affinity
//! Outputs    see outputs; sorted_token_ids and expert_ids past P stay untouched
//!            with pad_to_capacity assignments past an expert's C have no row (inverse -1) and do not count
//! Contract   stable and deterministic at any worker count
//! Errors     null_pointer, out_of_range (tile_tokens, pad_to_capacity, num_local), index_overflow (slots or max_rows
//!            do not fit Index), workspace_too_small
//! Resources  host_plan_workspace_bytes; no allocation
//! Cost       two passes over the ids, 12 bytes per slot and 4 (L + 1); O(slots + E * workers)
//! Example    examples/02_stages.cpp
template <class Executor, class Index>
status host_plan(const Executor& executor, const assignment_view& assignments, const options& o,
                 const outputs<Index>& out, workspace_view workspace) {
  const assignment_view& a = assignments;
  detail::checks c;
  c.also(detail::check_assignments(a));
  if (!c.result().ok()) return c.result();
  c.also(detail::check_plan(a, a.slots(), o, out));
  if (!c.result().ok()) return c.result();
  c.also(detail::check_workspace(workspace, host_plan_workspace_bytes(executor, a, o)));
  if (!c.result().ok()) return c.result();
  const std::int64_t slots = a.slots();
  const std::int32_t local = o.local_experts(a.experts);

  detail::workspace_carver carver(workspace.data);
  detail::plan_scratch scratch;
  scratch.carve(carver, detail::worker_count(executor), slots, o, a.experts);
  const auto expert_of = [&](std::int64_t slot) {
    return o.expert_map == nullptr ? a.ids[slot] : o.local_expert(a, slot);
  };
  std::int64_t* counts = o.by_affinity ? scratch.members.counts : scratch.counts;
  if (o.by_affinity) {
    scratch.members.gather(executor, slots, expert_of, [&](std::int64_t slot) { return order_key(a.affinity[slot]); });
  } else {
    scratch.grouping.count(executor, slots, expert_of, counts);
  }

  const bool padded = o.pad_to_capacity >= 0;
  std::int64_t rows = 0;
  std::int64_t unpadded = 0;
  for (std::int32_t e = 0; e < local; ++e) {
    const std::int64_t placed = padded ? std::min(counts[e], o.pad_to_capacity) : counts[e];
    if (out.tokens_per_expert != nullptr) out.tokens_per_expert[e] = static_cast<Index>(placed);
    out.expert_offsets[e] = static_cast<Index>(rows);
    rows += padded ? o.padded_capacity() : o.aligned(placed);
    unpadded += placed;
  }
  out.expert_offsets[local] = static_cast<Index>(rows);
  out.num_rows[0] = rows;
  out.num_rows[1] = unpadded;

  // Masks instead of branches: which slots have no row looks random. Those write to `nowhere`.
  const std::int64_t most_ranks = padded ? o.pad_to_capacity : slots;
  const auto place = [&](std::int64_t slot, std::int32_t expert, std::int64_t rank) {
    const bool has_row = expert < local && rank < most_ranks;
    const std::int64_t mask = -static_cast<std::int64_t>(has_row);
    const std::int64_t row = out.expert_offsets[expert] + rank;
    Index nowhere;
    Index* const columns[2] = {&nowhere, out.sorted_token_ids};
    columns[has_row][row & mask] = static_cast<Index>(slot);
    out.inverse[slot] = static_cast<Index>(row | ~mask);
  };
  if (o.by_affinity) {
    detail::for_ranges(executor, slots, 4096, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t slot = begin; slot < end; ++slot) out.inverse[slot] = -1;
    });
    scratch.members.rank_by_key(executor, local, place);
  } else if (unpadded < slots) {
    scratch.grouping.rank(executor, slots, expert_of, place);
  } else {
    scratch.grouping.rank(executor, slots, expert_of, [&](std::int64_t slot, std::int32_t expert, std::int64_t rank) {
      const auto row = static_cast<Index>(out.expert_offsets[expert] + rank);
      out.sorted_token_ids[row] = static_cast<Index>(slot);
      out.inverse[slot] = row;
    });
  }
  for (std::int32_t e = 0; e < local; ++e) {
    const std::int64_t first = out.expert_offsets[e];
    const std::int64_t last = out.expert_offsets[e + 1];
    const std::int64_t placed = padded ? std::min(counts[e], o.pad_to_capacity) : counts[e];
    std::fill(out.sorted_token_ids + first + placed, out.sorted_token_ids + last, Index{-1});
    if (out.expert_ids != nullptr)
      std::fill(out.expert_ids + first / o.tile_tokens, out.expert_ids + last / o.tile_tokens, e);
  }
  return {};
}

}  // namespace plan
RESONANCE_NAMESPACE_END

#endif
