// SPDX-License-Identifier: Apache-2.0
//! \file
//! Ranks of a list of any length by a warp or a block: by counting, by a network in shared memory, by radix beyond it.
#ifndef RESONANCE_CORE_BLOCK_RANK_CUH
#define RESONANCE_CORE_BLOCK_RANK_CUH

#include <resonance/config.hpp>
#include <resonance/core/block_sort.cuh>
#include <resonance/core/collectives.cuh>
#include <resonance/core/expert_members.cuh>
#include <resonance/core/order_key.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>

RESONANCE_NAMESPACE_BEGIN

//! Memory in which a team ranks a list.
struct rank_scratch {
  static constexpr int least_words = 128;  //!< the counters of one warp

  std::uint64_t* shared = nullptr;  //!< [shared_words] in shared memory, the team's own
  int shared_words = 0;             //!< >= least_words; longer lists are sorted in `spill`
  std::uint64_t* spill = nullptr;   //!< [2 * count] in global memory; may be null where no list exceeds shared_words
};

namespace detail {

inline constexpr int radix_bits = 8;
inline constexpr int radix_digits = 1 << radix_bits;

//! Turns the warps' counts of every digit into the places of their first items: digits from the largest, inside a digit
//! warps from the first. True: all items share one digit.
template <class Team>
RESONANCE_DEVICE bool place_digits(const Team& team, unsigned* counters, int warps, std::uint32_t items) {
  unsigned placed = 0;
  unsigned largest = 0;
  for (int first = 0; first < radix_digits; first += team.size()) {
    const int place = first + team.rank();
    unsigned* of_digit = counters + (radix_digits - 1 - place);
    unsigned own = 0;
    if (place < radix_digits)
      for (int warp = 0; warp < warps; ++warp) own += of_digit[warp * radix_digits];
    unsigned all = 0;
    unsigned next = placed + team.exclusive_sum(own, all);
    placed += all;
    largest = own > largest ? own : largest;
    if (place < radix_digits) {
      for (int warp = 0; warp < warps; ++warp) {
        const unsigned count = of_digit[warp * radix_digits];
        of_digit[warp * radix_digits] = next;
        next += count;
      }
    }
  }
  return team.max(largest) == items;
}

//! Moves a warp's items [begin, end) to the places of their digits, in order.
RESONANCE_DEVICE void move_by_digit(const std::uint64_t* from, std::uint64_t* to, std::uint32_t begin,
                                    std::uint32_t end, int shift, unsigned* next) {
  for (std::uint32_t first = begin; first < end; first += warp_size) {
    const std::uint32_t i = first + static_cast<std::uint32_t>(lane_id());
    const bool present = i < end;
    const std::uint64_t item = present ? load(from + i) : 0;
    const unsigned digit = static_cast<unsigned>(item >> shift) % radix_digits;
    const unsigned peers = warp_team::peers(digit, radix_bits) & warp_team::ballot(present);
    const unsigned place = next[digit];
    warp_team::sync();
    const unsigned before = peers & lanes_below(lane_id());
    if (present && before == 0) next[digit] = place + static_cast<unsigned>(count_bits(peers));
    warp_team::sync();
    if (present) store(to + place + count_bits(before), item);
  }
}

//! Sorts packed keys by falling key, stable; `items` and `spare` change places, the sorted one is returned. One pass
//! per byte of the key in which the keys differ: every warp counts, then moves, a piece of its own.
template <class Team>
RESONANCE_DEVICE const std::uint64_t* sort_by_radix(const Team& team, std::uint64_t* items, std::uint64_t* spare,
                                                    std::uint32_t count, const rank_scratch& scratch) {
  const int most_warps = scratch.shared_words / rank_scratch::least_words;
  const int warps = team.size() / warp_size < most_warps ? team.size() / warp_size : most_warps;
  const int warp = team.rank() / warp_size;
  auto* counters = reinterpret_cast<unsigned*>(scratch.shared);
  const std::uint32_t rows = (count - 1) / warp_size + 1;
  const std::uint32_t piece = ((rows - 1) / static_cast<std::uint32_t>(warps) + 1) * warp_size;
  std::uint32_t begin = count;
  if (warp < warps && rows > piece / warp_size * static_cast<std::uint32_t>(warp))
    begin = piece * static_cast<std::uint32_t>(warp);
  const std::uint32_t end = count - begin < piece ? count : begin + piece;
  unsigned* own = counters + (warp < warps ? warp : 0) * radix_digits;
  for (int shift = 32; shift < 64; shift += radix_bits) {
    for (int i = team.rank(); i < warps * radix_digits; i += team.size()) counters[i] = 0;
    team.sync();
    for (std::uint32_t i = begin + static_cast<std::uint32_t>(lane_id()); i < end; i += warp_size)
      atomic_add(own + static_cast<unsigned>(load(items + i) >> shift) % radix_digits, 1u);
    team.sync();
    const bool in_order = place_digits(team, counters, warps, count);
    if (!in_order) {
      team.sync();
      move_by_digit(items, spare, begin, end, shift, own);
      std::uint64_t* moved = spare;
      spare = items;
      items = moved;
    }
    team.sync();
  }
  return items;
}

//! By one warp, up to 32 items.
template <class KeyAt, class Visit>
RESONANCE_DEVICE void rank_by_shuffles(std::uint32_t count, const KeyAt& key_at, const Visit& visit) {
  const auto own = static_cast<std::uint32_t>(lane_id());
  const std::uint32_t key = own < count ? key_at(own) : never_chosen;
  std::uint32_t rank = 0;
  for (std::uint32_t other = 0; other < count; ++other) {
    const std::uint32_t theirs = warp_team::shuffle(key, static_cast<int>(other));
    rank += theirs > key || (theirs == key && other < own) ? 1 : 0;
  }
  if (own < count) visit(own, rank);
}

}  // namespace detail

//! Calls visit(i, rank) for every i in [0, count): rank = its place by (key desc, i asc), 0 = best.
//!
//! Threads    all of `team` (a warp_team or a block_team), converged
//! Inputs     key_at(i) -> uint32, called once for every i
//!            scratch: rank_scratch; its shared memory may be used anew when the call returns
//! Contract   what visit writes is seen by all threads of the team on return; each i is visited by one thread
//! Resources  one barrier up to 32 items, 3 for a few hundred, else those of the network or some 12 per radix pass
//! Cost       up to shared_words items: a sort in shared memory. Above: linear, 24 bytes per item and pass, at most 4
//!            passes, by one team: a list of 65536 takes a block some 3 MiB of traffic in L2
//! Example    test/simt/core/block_rank_test.cpp
template <class Team, class KeyAt, class Visit>
RESONANCE_DEVICE void team_rank_list(const Team& team, std::uint32_t count, const KeyAt& key_at,
                                     const rank_scratch& scratch, const Visit& visit) {
  if (count <= warp_size) {
    if (team.rank() < warp_size) detail::rank_by_shuffles(count, key_at, visit);
    team.sync();
    return;
  }
  // Not pack_key's complement of i: nvcc widens that to a 64-bit operation with a constant that simulators misread.
  const std::uint32_t last = count - 1;
  const bool in_shared = count <= static_cast<std::uint32_t>(scratch.shared_words);
  std::uint64_t* keys = in_shared ? scratch.shared : scratch.spill;
  detail::for_each_of(team, count, [&](std::uint32_t i) {
    const std::uint64_t packed = (std::uint64_t{key_at(i)} << 32) | (last - i);
    if (in_shared) {
      keys[i] = packed;
    } else {
      store(keys + i, packed);
    }
  });
  team.sync();
  if (in_shared && count <= detail::most_sorted_by_counting && count <= 2 * static_cast<std::uint32_t>(team.size())) {
    detail::for_each_of(team, count, [&](std::uint32_t i) {
      const std::uint64_t own = keys[i];
      std::uint32_t rank = 0;
      for (std::uint32_t other = 0; other < count; ++other) rank += keys[other] > own ? 1 : 0;
      visit(i, rank);
    });
  } else if (in_shared) {
    team_sort_descending(team, keys, count);
    const auto* sorted = reinterpret_cast<const packet<8>*>(keys);
    detail::for_each_of(team, count, [&](std::uint32_t rank) { visit(last - sorted[rank].x, rank); });
  } else {
    const auto* sorted =
        reinterpret_cast<const packet<8>*>(detail::sort_by_radix(team, keys, keys + count, count, scratch));
    detail::for_each_of(team, count, [&](std::uint32_t rank) { visit(last - load(sorted + rank).x, rank); });
  }
  team.sync();
}

RESONANCE_NAMESPACE_END

#endif
