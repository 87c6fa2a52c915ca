// SPDX-License-Identifier: Apache-2.0
//! \file
//! The ragged merges, one token per warp: which experts it gains, and its part of the merged list.
#ifndef RESONANCE_MERGE_WARP_MERGE_CUH
#define RESONANCE_MERGE_WARP_MERGE_CUH

#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/order_key.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/core/views.hpp>
#include <resonance/merge/policies.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace merge {

//! Words of gained experts per token: bit e % 32 of word e / 32 is expert e.
RESONANCE_HOST_DEVICE constexpr std::int64_t gained_words(std::int32_t experts) {
  return (static_cast<std::int64_t>(experts) + warp_size - 1) / warp_size;
}

//! Does expert e choose the token? `thresholds`: the least packed (key, token) that each expert takes.
RESONANCE_DEVICE bool expert_takes(float affinity, std::uint32_t token, const std::uint64_t* thresholds,
                                   std::int32_t expert) {
  return pack_key(order_key(affinity), token) >= load(thresholds + expert);
}

//! The expert that a slot of token choice really chose, -1 where there is none: unassigned, or filled in.
RESONANCE_DEVICE std::int32_t chosen_expert(const assignment_view& choices, std::int64_t slot, std::int64_t end) {
  if (slot >= end) return -1;
  const std::int32_t id = load(choices.ids + slot);
  return choices.is_expert(id) && order_key(load(choices.affinity + slot)) != never_chosen ? id : -1;
}

//! Counts the merged experts of one token and marks those that it gains from the experts' side.
//!
//! Equation   union_: its own choices and the experts that take it; expert_only: the experts that take it
//! Threads    a warp, converged
//! Inputs     choices [T,K]; affinity float[T,E]; thresholds uint64[E]
//! Outputs    gained uint32[gained_words(E)] in global memory; the count, in every thread
//! Cost       the token's row of affinity, K ids and affinities; K shuffles per 32 experts of which one takes the token
//! Example    test/simt/merge/device_merge_test.cpp
template <class Policy>
RESONANCE_DEVICE std::int64_t warp_count_merged(const assignment_view& choices,
                                                const matrix_view<const float>& affinity,
                                                const std::uint64_t* thresholds, std::uint32_t token,
                                                std::uint32_t* gained) {
  const int lane = lane_id();
  const std::int64_t begin = std::int64_t{token} * choices.slots_per_token;
  const std::int64_t end = begin + choices.slots_per_token;
  std::int64_t count = 0;
  if constexpr (Policy::keeps_token_choice)
    for (std::int64_t slot = begin; slot < end; slot += warp_size)
      count += count_bits(warp_team::ballot(chosen_expert(choices, slot + lane, end) >= 0));
  for (std::int32_t first = 0; first < choices.experts; first += warp_size) {
    const std::int32_t expert = first + lane;
    bool takes =
        expert < choices.experts && expert_takes(load(affinity.row(token) + expert), token, thresholds, expert);
    if constexpr (Policy::keeps_token_choice) {
      if (warp_team::any(takes)) {
        for (std::int64_t slot = begin; slot < end; slot += warp_size) {
          const std::int32_t own = chosen_expert(choices, slot + lane, end);
          const int held = end - slot < warp_size ? static_cast<int>(end - slot) : warp_size;
          for (int other = 0; other < held; ++other) {
            const std::int32_t chosen = warp_team::shuffle(own, other);
            takes = takes && chosen != expert;
          }
        }
      }
    }
    const unsigned word = warp_team::ballot(takes);
    if (lane == 0) store(gained + first / warp_size, static_cast<std::uint32_t>(word));
    count += count_bits(word);
  }
  return count;
}

//! Writes one token's part of the merged list: its own choices in slot order, then the gained experts by rising id.
//!
//! Threads    a warp, converged
//! Inputs     as warp_count_merged, and what that wrote to `gained`
//! Outputs    out.ids, affinity, token_of_slot from `slot` on; nothing at or past out.capacity
//! Cost       K ids and affinities, E / 8 bytes of marks, and the affinity of the gained
//! Example    test/simt/merge/device_merge_test.cpp
template <class Policy>
RESONANCE_DEVICE void warp_place_merged(const assignment_view& choices, const matrix_view<const float>& affinity,
                                        std::uint32_t token, const std::uint32_t* gained, std::int64_t slot,
                                        const assignment_buffers& out) {
  const int lane = lane_id();
  const auto place = [&](unsigned mask, std::int32_t expert, float delta) {
    const std::int64_t own = slot + count_bits(mask & lanes_below(lane));
    if (((mask >> lane) & 1u) == 0 || own >= out.capacity) return;
    store(out.ids + own, expert);
    store(out.affinity + own, delta);
    store(out.token_of_slot + own, static_cast<std::int32_t>(token));
  };
  if constexpr (Policy::keeps_token_choice) {
    const std::int64_t begin = std::int64_t{token} * choices.slots_per_token;
    const std::int64_t end = begin + choices.slots_per_token;
    for (std::int64_t first = begin; first < end; first += warp_size) {
      const std::int32_t expert = chosen_expert(choices, first + lane, end);
      const unsigned mask = warp_team::ballot(expert >= 0);
      place(mask, expert, expert >= 0 ? load(choices.affinity + first + lane) : 0.0f);
      slot += count_bits(mask);
    }
  }
  const std::int64_t words = gained_words(choices.experts);
  for (std::int64_t first = 0; first < words; first += warp_size) {
    const std::uint32_t own = first + lane < words ? load(gained + first + lane) : 0;
    for (unsigned left = warp_team::ballot(own != 0); left != 0; left &= left - 1) {
      const int word = first_bit(left);
      const unsigned mask = warp_team::shuffle(own, word);
      const std::int32_t expert = static_cast<std::int32_t>((first + word) * warp_size) + lane;
      const bool takes = ((mask >> lane) & 1u) != 0;
      place(mask, expert,
            takes ? choosable_score(load(affinity.row(token) + expert), row_traits<float>::largest) : 0.0f);
      slot += count_bits(mask);
    }
  }
}

}  // namespace merge
RESONANCE_NAMESPACE_END

#endif
