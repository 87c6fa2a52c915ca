// SPDX-License-Identifier: Apache-2.0
//! \file
//! What a fused route adds to the stages' own bodies: lists of the slots of a few tokens, and how an expert gathers its
//! members from them.
#ifndef RESONANCE_ROUTE_BLOCK_ROUTE_CUH
#define RESONANCE_ROUTE_BLOCK_ROUTE_CUH

#include <resonance/config.hpp>
#include <resonance/core/block_group.cuh>
#include <resonance/core/collectives.cuh>
#include <resonance/core/expert_members.cuh>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/core/views.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

//! Slots grouped by expert within rows of `row_slots` slots: what the blocks of the first launch leave for the experts.
struct row_lists {
  std::uint32_t* begins = nullptr;  // [rows][E + 1] where the expert's slots begin in the row's part of `slots`
  std::uint32_t* slots = nullptr;   // [slots] slot numbers, row by row
  std::int64_t row_slots = 0;
  std::int32_t experts = 0;

  RESONANCE_DEVICE std::uint32_t* begins_of(std::int64_t row) const {
    return begins + row * (std::int64_t{experts} + 1);
  }
};

//! A placement (block_place_slots) of one row's slots into its list. A slot without an expert is dropped at once.
struct row_list_placement {
  using position = unsigned;
  static constexpr bool sums_held = false;
  static constexpr bool fills = false;
  row_lists lists;
  std::int64_t row = 0;
  std::int32_t* ids = nullptr;  // pruned
  float* weights = nullptr;     // pruned; nullable
  std::int32_t* rank_in_expert = nullptr;

  RESONANCE_DEVICE unsigned width(unsigned count) const { return count; }
  RESONANCE_DEVICE unsigned held(unsigned count) const { return count; }
  RESONANCE_DEVICE void group(std::int32_t e, unsigned first, unsigned) const {
    store(lists.begins_of(row) + e, first);
  }
  RESONANCE_DEVICE void all(unsigned places, unsigned) const { store(lists.begins_of(row) + lists.experts, places); }
  RESONANCE_DEVICE void place(std::int64_t slot, std::int32_t, unsigned at) const {
    const std::int64_t first = row * lists.row_slots;
    store(lists.slots + first + at, static_cast<std::uint32_t>(first + slot));
  }
  RESONANCE_DEVICE void none(std::int64_t slot) const {
    const std::int64_t own = row * lists.row_slots + slot;
    store(ids + own, -1);
    if (weights != nullptr) store(weights + own, 0.0f);
    store(rank_in_expert + own, -1);
  }
};

//! The part of one expert's members that lies in one row.
struct row_part {
  const std::uint32_t* slots;
  std::uint32_t count;

  RESONANCE_DEVICE row_part(const row_lists& lists, std::int64_t row, std::int32_t expert) {
    const std::uint32_t* begin = lists.begins_of(row) + expert;
    const std::uint32_t first = load(begin);
    slots = lists.slots + row * lists.row_slots + first;
    count = load(begin + 1) - first;
  }
};

//! Puts an expert's members side by side, slots rising.
//!
//! Threads    all of `team`
//! Inputs     lists, filled for `rows` rows
//! Outputs    members uint32[slots of all experts]: the expert's, at the number of slots of the experts before it
//! Contract   no order of blocks or threads changes the list; ends with a barrier
//! Cost       8 bytes per row and expert, and 8 per member
template <class Team>
RESONANCE_DEVICE expert_members gather_members(const Team& team, const row_lists& lists, std::int64_t rows,
                                               std::int32_t expert, std::uint32_t* members) {
  expert_members gathered;
  std::int64_t before = 0;
  for (std::int64_t row = team.rank(); row < rows; row += team.size()) before += load(lists.begins_of(row) + expert);
  gathered.first = team.sum(before);
  members += gathered.first;
  for (std::int64_t first = 0; first < rows; first += team.size()) {
    const std::int64_t row = first + team.rank();
    const row_part part(lists, row < rows ? row : 0, expert);
    std::uint32_t all = 0;
    const std::uint32_t place = gathered.count + team.exclusive_sum(row < rows ? part.count : 0u, all);
    for (std::uint32_t i = 0; row < rows && i < part.count; ++i) store(members + place + i, load(part.slots + i));
    gathered.count += all;
  }
  gathered.slots = members;
  team.sync();
  return gathered;
}

//! counts[row * E + expert] = members of the row that were kept; after a barrier of the team.
template <class Team>
RESONANCE_DEVICE void count_kept(const Team& team, const row_lists& lists, std::int64_t rows, std::int32_t expert,
                                 const std::int32_t* kept_ids, std::uint32_t* counts) {
  for (std::int64_t row = team.rank(); row < rows; row += team.size()) {
    const row_part part(lists, row, expert);
    std::uint32_t kept = 0;
    for (std::uint32_t i = 0; i < part.count; ++i) kept += load(kept_ids + load(part.slots + i)) >= 0 ? 1u : 0u;
    store(counts + row * lists.experts + expert, kept);
  }
}

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
