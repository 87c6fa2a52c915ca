// SPDX-License-Identifier: Apache-2.0
//! \file
//! Expert choice on the host: every expert takes its best tokens.
#ifndef RESONANCE_EXPERT_CHOICE_HOST_EXPERT_CHOICE_HPP
#define RESONANCE_EXPERT_CHOICE_HOST_EXPERT_CHOICE_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>

#include <resonance/core/executor.hpp>
#include <resonance/core/host_best_first.hpp>
#include <resonance/core/host_group.hpp>
#include <resonance/core/host_score_columns.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/order_key.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/views.hpp>
#include <resonance/core/workspace.hpp>
#include <resonance/expert_choice/options.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

//! Sorts the `wanted` best of candidates[0..count) to the front and writes the expert's row; token_of(candidate) and
//! score_of(candidate) read one.
template <class TokenOf, class ScoreOf>
void write_best_tokens(std::uint64_t* candidates, std::int64_t count, std::int64_t wanted, std::int64_t slots,
                       const TokenOf& token_of, const ScoreOf& score_of, std::int32_t* ids, float* scores) {
  const std::int64_t found = std::min(count, wanted);
  if (count > 2 * found) {
    std::nth_element(candidates, candidates + found, candidates + count, std::greater<std::uint64_t>());
    count = found;
  }
  sort_best_first(candidates, count, found);
  for (std::int64_t k = 0; k < found; ++k) ids[k] = token_of(candidates[k]);
  std::fill(ids + found, ids + slots, -1);
  if (scores == nullptr) return;
  for (std::int64_t k = 0; k < found; ++k) scores[k] = score_of(candidates[k]);
  std::fill(scores + found, scores + slots, 0.0f);
}

}  // namespace detail

namespace expert_choice {

//! Bytes of workspace that host_expert_choice over all tokens needs: 76 T and 2 KiB per worker, about.
template <class Executor>
std::size_t host_expert_choice_workspace_bytes(const Executor& executor, std::int64_t tokens) {
  detail::workspace_carver counter;
  detail::column_scan scan;
  scan.carve(counter, detail::worker_count(executor), tokens);
  return counter.bytes();
}

//! Takes the C best tokens of every expert, over all tokens.
//!
//! Equation   row i = the first C_i tokens by (score[.,i] desc, token asc)   EC section 3
//! Inputs     scores float[T,E] strided: raw affinity, or affinity::host_scores over experts or over tokens
//! Outputs    token_ids int32[E,C], token_scores float[E,C] (nullable); slots past C_i or past T: -1, 0
//! Contract   NaN and -inf are never taken; same result at any worker count
//! Errors     null_pointer (scores, token_ids), out_of_range (capacity, E < 1), index_overflow, workspace_too_small
//! Resources  host_expert_choice_workspace_bytes; no allocation
//! Cost       T*E reads; per expert O(T + C), O(T + C log C) where scores crowd
//! Example    test/expert_choice/host_expert_choice_test.cpp
template <class Executor>
status host_expert_choice(const Executor& executor, matrix_view<const float> scores, const options& o,
                          const outputs& out, workspace_view workspace) {
  detail::checks c;
  c.also(detail::check_expert_choice(scores, o, out));
  if (!c.result().ok()) return c.result();
  c.also(detail::check_workspace(workspace, host_expert_choice_workspace_bytes(executor, scores.rows)));
  if (!c.result().ok()) return c.result();

  detail::workspace_carver carver(workspace.data);
  detail::column_scan scan;
  scan.carve(carver, detail::worker_count(executor), scores.rows);
  scan.run(executor, scores, [&](const detail::score_columns& columns, std::int64_t e, std::uint64_t* candidates) {
    detail::write_best_tokens(
        candidates, columns.list_best(e, o.of(e), candidates), o.of(e), o.capacity,
        [](std::uint64_t item) { return static_cast<std::int32_t>(packed_index(item)); },
        [&](std::uint64_t item) { return columns.score(e, item); }, out.token_ids + e * o.capacity,
        out.token_scores != nullptr ? out.token_scores + e * o.capacity : nullptr);
  });
  return {};
}

//! Bytes of workspace that host_expert_choice over candidates needs: 16 slots, 16 E and 8 (E + 1) per worker.
template <class Executor>
std::size_t host_expert_choice_workspace_bytes(const Executor& executor, const assignment_view& candidates) {
  if (!detail::check_assignments(candidates).ok()) return 0;
  detail::workspace_carver counter;
  detail::members_by_expert members;
  members.carve(counter, detail::worker_count(executor), candidates);
  return counter.bytes();
}

//! Takes the C best tokens of every expert among those that chose it.
//!
//! Equation   row i = the first C_i members of A_i by (affinity desc, token asc, slot asc)   ETR Eq. 6
//! Inputs     candidates: ids and affinity
//! Outputs    as above; token_scores are affinities
//! Contract   same result at any worker count. A token that names an expert twice may be taken twice.
//! Errors     null_pointer (candidates, token_ids), out_of_range (capacity), workspace_too_small
//! Resources  host_expert_choice_workspace_bytes; no allocation
//! Cost       8 bytes per slot read; per expert O(|A_i|), O(|A_i| log C) where affinities crowd
//! Example    test/expert_choice/host_expert_choice_test.cpp
template <class Executor>
status host_expert_choice(const Executor& executor, const assignment_view& candidates, const options& o,
                          const outputs& out, workspace_view workspace) {
  detail::checks c;
  c.also(detail::check_assignments(candidates));
  if (!c.result().ok()) return c.result();
  c.also(detail::check_expert_choice(candidates, candidates.slots() > 0, o, out));
  c.also(detail::check_workspace(workspace, host_expert_choice_workspace_bytes(executor, candidates)));
  if (!c.result().ok()) return c.result();

  detail::workspace_carver carver(workspace.data);
  detail::members_by_expert members;
  members.carve(carver, detail::worker_count(executor), candidates);
  members.gather(executor, candidates, [&](std::int64_t slot) { return order_key(candidates.affinity[slot]); });
  const std::int64_t expert_grain =
      detail::grain_of_groups(candidates.experts, candidates.slots(), detail::members_by_expert::least_members);
  detail::for_ranges(executor, candidates.experts, expert_grain, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t e = begin; e < end; ++e) {
      const std::int64_t first = members.offsets[e];
      std::uint64_t* keys = members.keys + first;
      std::int64_t count = members.offsets[e + 1] - first;
      count = std::remove_if(keys, keys + count, [](std::uint64_t k) { return packed_key(k) == never_chosen; }) - keys;
      const auto slot_of = [&](std::uint32_t member) { return members.slots[first + member]; };
      detail::write_best_tokens(
          keys, count, o.of(e), o.capacity,
          [&](std::uint64_t item) { return static_cast<std::int32_t>(candidates.token(slot_of(packed_index(item)))); },
          [&](std::uint64_t item) { return candidates.affinity[slot_of(packed_index(item))]; },
          out.token_ids + e * o.capacity, out.token_scores != nullptr ? out.token_scores + e * o.capacity : nullptr);
    }
  });
  return {};
}

}  // namespace expert_choice
RESONANCE_NAMESPACE_END

#endif
