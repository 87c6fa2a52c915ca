// SPDX-License-Identifier: Apache-2.0
//! \file
//! Resonance merge in a block: ranks of an expert's members, the intersection's filter, the ragged lists.
#ifndef RESONANCE_MERGE_BLOCK_MERGE_CUH
#define RESONANCE_MERGE_BLOCK_MERGE_CUH

#include <resonance/config.hpp>
#include <resonance/core/block_rank.cuh>
#include <resonance/core/collectives.cuh>
#include <resonance/core/expert_members.cuh>
#include <resonance/core/order_key.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/core/views.hpp>
#include <resonance/merge/warp_merge.cuh>

RESONANCE_NAMESPACE_BEGIN
namespace merge {

//! Ranks the members of one expert: rank_in_expert[slot] = place by (affinity desc, slot asc), 0 = best.
//!
//! Threads    all of `team` (warp_team or block_team)
//! Inputs     members: the expert's slots, rising; affinity float[slots]
//!            scratch: rank_scratch, its spill for `members.count` where that exceeds shared_words
//! Outputs    rank_in_expert int32[slots], only the members'; on return all threads of the team see them
//! Contract   NaN and -inf rank last, ties by slot; the team's size changes no rank
//! Resources  see team_rank_list
//! Cost       12 bytes per member; an expert that holds all assignments is one team's work, linear beyond shared_words
//! Example    test/simt/merge/device_merge_test.cpp
template <class Team>
RESONANCE_DEVICE void rank_members(const Team& team, const detail::expert_members& members, const float* affinity,
                                   std::int32_t* rank_in_expert, const rank_scratch& scratch) {
  team_rank_list(
      team, members.count, [&](std::uint32_t i) { return order_key(load(affinity + members.slot(i))); }, scratch,
      [&](std::uint32_t i, std::uint32_t rank) {
        store(rank_in_expert + members.slot(i), static_cast<std::int32_t>(rank));
      });
}

//! Keeps a choice that the expert returns: ids[slot] = the chosen expert if it takes the token, else -1.
//!
//! Threads    any; no barrier
//! Inputs     choices ids [T,K]; affinity float[T,E]; thresholds uint64[E]: the least packed (key, token) that each
//!            takes
//! Outputs    ids int32[T,K], may alias the choices'
//! Example    test/simt/merge/device_merge_test.cpp
RESONANCE_DEVICE void keep_mutual(const assignment_view& choices, const matrix_view<const float>& affinity,
                                  const std::uint64_t* thresholds, std::uint32_t slot, std::int32_t* ids) {
  const std::int32_t expert = load(choices.ids + slot);
  const std::uint32_t token = detail::token_of(choices, slot);
  const bool taken =
      choices.is_expert(expert) && expert_takes(load(affinity.row(token) + expert), token, thresholds, expert);
  store(ids + slot, taken ? expert : -1);
}

//! Tokens that one block merges into a ragged list.
inline constexpr std::uint32_t merge_tile_tokens = 64;

RESONANCE_HOST_DEVICE constexpr std::int64_t merge_tiles(std::int64_t tokens) {
  return tokens > merge_tile_tokens ? (tokens - 1) / merge_tile_tokens + 1 : 1;
}

//! The tokens of a tile, of those that there are.
struct merge_tile {
  std::uint32_t begin, end;

  RESONANCE_DEVICE merge_tile(std::int64_t index, std::int64_t tokens)
      : begin(static_cast<std::uint32_t>(index) * merge_tile_tokens), end(static_cast<std::uint32_t>(tokens)) {
    if (end > begin + merge_tile_tokens) end = begin + merge_tile_tokens;
  }
};

//! What the two steps of a ragged merge hand on, in global memory.
struct ragged_scratch {
  std::uint32_t* gained = nullptr;     // [T, gained_words(E)]
  std::int64_t* tile_slots = nullptr;  // [merge_tiles(T)]
};

//! First step: counts a tile's merged slots. token_offsets[t] = slots of the tile's tokens before t.
//!
//! Threads    all of the block
//! Inputs     as warp_count_merged; tokens: those that there are; tile < merge_tiles(tokens)
//! Outputs    token_offsets of the tile's tokens, scratch.gained, scratch.tile_slots[tile]
//! Resources  four barriers, the last at the end
//! Example    test/simt/merge/device_merge_test.cpp
template <class Policy>
RESONANCE_DEVICE void block_count_merged(const block_team& team, const assignment_view& choices,
                                         const matrix_view<const float>& affinity, const std::uint64_t* thresholds,
                                         std::int64_t tile, std::int64_t tokens, const ragged_scratch& scratch,
                                         std::int64_t* token_offsets) {
  const merge_tile range(tile, tokens);
  const std::int64_t words = gained_words(choices.experts);
  const auto warps = static_cast<std::uint32_t>(team.size() / warp_size);
  for (std::uint32_t token = range.begin + static_cast<std::uint32_t>(warp_id()); token < range.end; token += warps) {
    const std::int64_t count =
        warp_count_merged<Policy>(choices, affinity, thresholds, token, scratch.gained + token * words);
    if (lane_id() == 0) store(token_offsets + token, count);
  }
  team.sync();
  std::int64_t before = 0;
  for (std::uint32_t first = range.begin; first < range.end; first += static_cast<std::uint32_t>(team.size())) {
    const std::uint32_t token = first + static_cast<std::uint32_t>(team.rank());
    std::int64_t all = 0;
    const std::int64_t own = team.exclusive_sum(token < range.end ? load(token_offsets + token) : std::int64_t{0}, all);
    if (token < range.end) store(token_offsets + token, before + own);
    before += all;
  }
  if (team.rank() == 0) store(scratch.tile_slots + tile, before);
  team.sync();
}

//! Second step: adds what the tiles before hold and writes the tile's part of the list.
//!
//! Threads    all of the block
//! Inputs     what the first step of all tiles wrote
//! Outputs    token_offsets of the tile's tokens, and [tokens] by the last tile; ids, affinity, token_of_slot.
//!            A list that would exceed out.capacity ends there.
//! Resources  the barriers of one sum; ends with a barrier
//! Example    test/simt/merge/device_merge_test.cpp
template <class Policy>
RESONANCE_DEVICE void block_place_merged(const block_team& team, const assignment_view& choices,
                                         const matrix_view<const float>& affinity, std::int64_t tile,
                                         std::int64_t tokens, const ragged_scratch& scratch,
                                         const assignment_buffers& out) {
  const merge_tile range(tile, tokens);
  const std::int64_t words = gained_words(choices.experts);
  std::int64_t own = 0;
  for (std::int64_t other = team.rank(); other < tile; other += team.size()) own += load(scratch.tile_slots + other);
  const std::int64_t before = team.sum(own);
  const auto held = [&](std::int64_t slot) { return slot < out.capacity ? slot : out.capacity; };
  const auto warps = static_cast<std::uint32_t>(team.size() / warp_size);
  for (std::uint32_t token = range.begin + static_cast<std::uint32_t>(warp_id()); token < range.end; token += warps) {
    const std::int64_t slot = before + load(out.token_offsets + token);
    warp_team::sync();
    if (lane_id() == 0) store(out.token_offsets + token, held(slot));
    warp_place_merged<Policy>(choices, affinity, token, scratch.gained + token * words, slot, out);
  }
  if (range.end == static_cast<std::uint32_t>(tokens) && team.rank() == 0)
    store(out.token_offsets + tokens, held(before + load(scratch.tile_slots + tile)));
  team.sync();
}

}  // namespace merge
RESONANCE_NAMESPACE_END

#endif
