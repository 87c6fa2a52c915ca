// SPDX-License-Identifier: Apache-2.0
//! \file
//! The experts' side of a merge, the room that merged assignments need, and what both backends check.
#ifndef RESONANCE_MERGE_EXPERT_SIDE_HPP
#define RESONANCE_MERGE_EXPERT_SIDE_HPP

#include <resonance/config.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>
#include <resonance/merge/policies.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace merge {

//! The experts' side, for the policies that need it.
struct expert_side {
  matrix_view<const float> affinity;  //!< [T,E]; restricted and token_only do not read it
  //! C >= 0, the same for every expert, where `capacities` is null. Beside capacities in device memory, which the host
  //! cannot read: the largest of them, if it is known (it sizes outputs and workspace); <= 0 means T.
  std::int64_t capacity = 0;
  const std::int64_t* capacities = nullptr;  //!< [E] C_i >= 0 (in device memory unchecked: less than 0 counts as 0)

  RESONANCE_HOST_DEVICE std::int64_t of(std::int64_t expert) const {
    return capacities != nullptr ? capacities[expert] : capacity;
  }
};

//! Slots that the merged assignments may fill: T*K, or for the ragged policies T*E at most and T*K (for union_) plus
//! the experts' capacities.
template <class Policy>
std::int64_t merged_slots(std::int64_t tokens, std::int32_t experts, std::int32_t top_k, std::int64_t most_capacity) {
  if (!Policy::adds_expert_choice) return tokens * top_k;
  const std::int64_t chosen = Policy::keeps_token_choice ? tokens * top_k : 0;
  return chosen + (most_capacity < tokens ? most_capacity : tokens) * experts;
}

}  // namespace merge

namespace detail {

//! Does the merge look at what the tokens chose, or only at the shape of that table?
template <class Policy>
inline constexpr bool reads_choices = Policy::keeps_token_choice || !Policy::adds_expert_choice;

//! The largest C_i that a merge must make room for, and whether all of them are in range.
struct capacity_bound {
  status checked;
  std::int64_t most = 0;
};

//! The bound where the host can read the capacities.
template <class Policy>
capacity_bound bound_capacities(const merge::expert_side& expert, std::int32_t experts) {
  capacity_bound bound;
  if (!Policy::needs_expert_choice) return bound;
  checks c;
  for (std::int32_t e = 0; e < experts; ++e) {
    c.in_range(expert.of(e) >= 0, "expert.capacity");
    bound.most = expert.of(e) > bound.most ? expert.of(e) : bound.most;
  }
  bound.checked = c.result();
  return bound;
}

//! The bound where the capacities are in device memory.
template <class Policy>
capacity_bound bound_device_capacities(const merge::expert_side& expert, std::int64_t tokens) {
  if (!Policy::needs_expert_choice) return {};
  if (expert.capacities != nullptr) return {{}, expert.capacity > 0 ? expert.capacity : tokens};
  return {checks{}.in_range(expert.capacity >= 0, "expert.capacity").result(), expert.capacity};
}

//! What both backends check once the choices themselves have been.
template <class Policy>
status check_merge(const assignment_view& choices, const merge::expert_side& expert, const assignment_buffers& out,
                   const capacity_bound& bound) {
  checks c;
  c.present(choices.affinity, reads_choices<Policy> && choices.tokens > 0, "choices.affinity");
  if (Policy::needs_expert_choice) {
    c.also(check_matrix(expert.affinity, "expert.affinity"));
    c.matches(expert.affinity.rows == choices.tokens && expert.affinity.cols == choices.experts, "expert.affinity");
    c.also(bound.checked);
  }
  const std::int64_t most_slots =
      merge::merged_slots<Policy>(choices.tokens, choices.experts, choices.slots_per_token, bound.most);
  c.present(out.rank_in_expert, most_slots > 0, "rank_in_expert");
  c.present(out.ids, Policy::needs_expert_choice && most_slots > 0, "ids");
  if (Policy::adds_expert_choice) {
    c.present(out.token_offsets, true, "token_offsets");
    c.present(out.token_of_slot, most_slots > 0, "token_of_slot");
    c.present(out.affinity, most_slots > 0, "affinity");
    c.fits(out.capacity >= most_slots, "capacity");
  }
  return c.result();
}

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
