// SPDX-License-Identifier: Apache-2.0
//! \file
//! Sorting and ranking of packed keys by a warp or a block: by counting while that is cheap, else by a network.
#ifndef RESONANCE_CORE_BLOCK_SORT_CUH
#define RESONANCE_CORE_BLOCK_SORT_CUH

#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>

RESONANCE_NAMESPACE_BEGIN

//! Calls visit(i, rank) for every i in [0, count): rank = how many keys are larger, 0 = best.
//!
//! Threads    all of `team`; each visits its share (i = rank, rank + size, ...)
//! Inputs     key_at(i) -> uint64, distinct; every thread reads all of them, so they belong in shared memory
//! Contract   no barrier inside: what key_at reads is written before, and visit changes none of it
//! Cost       count reads per thread and `size` keys: for lists of up to a few hundred
//! Example    test/simt/core/block_sort_test.cpp
template <class Team, class KeyAt, class Visit>
RESONANCE_DEVICE void team_rank_descending(const Team& team, std::int64_t count, const KeyAt& key_at,
                                           const Visit& visit) {
  for (std::int64_t i = team.rank(); i < count; i += team.size()) {
    const std::uint64_t own = key_at(i);
    std::int64_t larger = 0;
    for (std::int64_t other = 0; other < count; ++other) larger += key_at(other) > own ? 1 : 0;
    visit(i, larger);
  }
}

namespace detail {

//! Lists up to this length are sorted by counting where every thread holds two keys at most: up to here it takes fewer
//! steps than the network, whose steps each wait for the one before.
inline constexpr std::int64_t most_sorted_by_counting = 256;

template <class Team>
RESONANCE_DEVICE void sort_by_counting(const Team& team, std::uint64_t* keys, int count) {
  const int first = team.rank();
  const int second = first + team.size();
  const std::uint64_t first_key = first < count ? load(keys + first) : 0;
  const std::uint64_t second_key = second < count ? load(keys + second) : 0;
  int above_first = 0;
  int above_second = 0;
  if (first < count) {
    for (int other = 0; other < count; ++other) {
      const std::uint64_t key = load(keys + other);
      above_first += key > first_key ? 1 : 0;
      above_second += key > second_key ? 1 : 0;
    }
  }
  team.sync();
  if (first < count) store(keys + above_first, first_key);
  if (second < count) store(keys + above_second, second_key);
  team.sync();
}

//! One step of the network over all pairs whose lower place has bit `log_half` clear: (p, p with that bit set) or,
//! flipped, (p, p with that bit and all below it inverted). The larger key goes to the lower place, so that the missing
//! places past `count` would hold the smallest keys, never move and need not exist.
template <class Team>
RESONANCE_DEVICE void network_step(const Team& team, std::uint64_t* keys, std::uint32_t count, int log_half,
                                   bool flipped) {
  const std::uint32_t half = std::uint32_t{1} << log_half;
  const std::uint32_t partner = flipped ? half | (half - 1) : half;
  const std::uint32_t pairs = (((count - 1) >> log_half >> 1) + 1) << log_half;
  const std::uint32_t size = static_cast<std::uint32_t>(team.size());
  for (std::uint32_t pair = static_cast<std::uint32_t>(team.rank()); pair < pairs; pair += size) {
    const std::uint32_t low = (pair >> log_half << log_half << 1) | (pair & (half - 1));
    const std::uint32_t high = low ^ partner;
    if (high >= count) continue;
    const std::uint64_t low_key = load(keys + low);
    const std::uint64_t high_key = load(keys + high);
    if (low_key < high_key) {
      store(keys + low, high_key);
      store(keys + high, low_key);
    }
  }
}

//! Bitonic network. The pairs of steps up to this one stay inside 64 keys, the same 64 for every warp, so that a
//! barrier of the warp is enough between them.
inline constexpr int last_step_of_a_warp = 5;

template <class Team>
RESONANCE_DEVICE void sort_by_network(const Team& team, std::uint64_t* keys, std::uint32_t count) {
  for (int stage = 0; stage < 32 && (std::uint32_t{1} << stage) < count; ++stage) {
    for (int step = stage; step >= 0; --step) {
      network_step(team, keys, count, step, step == stage);
      const int widest_neighbour = step > 0 ? step : stage + 1;
      if (widest_neighbour <= last_step_of_a_warp) {
        warp_team::sync();
      } else {
        team.sync();
      }
    }
  }
  team.sync();
}

}  // namespace detail

//! Sorts keys[0..count) in place, largest first.
//!
//! Threads    all of `team` (a warp_team or a block_team), converged
//! Inputs     keys  uint64[count] in shared or global memory, distinct, count < 2^32
//! Contract   the caller synchronizes between writing the keys and the call; on return all threads see the sorted keys
//! Resources  no shared memory of its own; at most log^2(count) / 2 barriers of the team, those inside 64 keys of the
//!            warp only
//! Cost       count^2 reads up to 256 keys (two per thread), else count * log^2(count) / 2 reads and at most as many
//!            writes: lists that fit should be in shared memory
//! Example    test/simt/core/block_sort_test.cpp
template <class Team>
RESONANCE_DEVICE void team_sort_descending(const Team& team, std::uint64_t* keys, std::int64_t count) {
  if (count < 2) return;
  if (count <= detail::most_sorted_by_counting && count <= 2 * team.size()) {
    detail::sort_by_counting(team, keys, static_cast<int>(count));
  } else {
    detail::sort_by_network(team, keys, static_cast<std::uint32_t>(count));
  }
}

RESONANCE_NAMESPACE_END

#endif
