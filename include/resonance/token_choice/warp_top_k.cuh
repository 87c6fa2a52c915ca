// SPDX-License-Identifier: Apache-2.0
//! \file
//! The best keys of one row, by the threads of a tile, in registers.
//!
//! Sorted lists are merged across the tile as a butterfly: log2(size) rounds, in each of which all shuffles are
//! independent. A loop of K arg-max rounds would wait for K * log2(size) shuffles one after the other.
#ifndef RESONANCE_TOKEN_CHOICE_WARP_TOP_K_CUH
#define RESONANCE_TOKEN_CHOICE_WARP_TOP_K_CUH

#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/std.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

RESONANCE_DEVICE void put_larger_first(std::uint64_t& a, std::uint64_t& b) {
  const bool swap = b > a;
  const std::uint64_t larger = swap ? b : a;
  b = swap ? a : b;
  a = larger;
}

//! Sorts the first Count entries, largest first, when they rise and then fall, or fall and then rise. Count: 2^n.
template <int Count, int Size>
RESONANCE_DEVICE void sort_bitonic(std::uint64_t (&list)[Size]) {
  static_assert(Count <= Size, "resonance: more entries than the list has");
  RESONANCE_UNROLL
  for (int stride = Count / 2; stride > 0; stride /= 2) {
    RESONANCE_UNROLL
    for (int i = 0; i < Count; ++i)
      if ((i & stride) == 0) put_larger_first(list[i], list[i + stride]);
  }
}

RESONANCE_DEVICE void sort_four(std::uint64_t (&list)[4]) {
  put_larger_first(list[0], list[1]);
  put_larger_first(list[2], list[3]);
  put_larger_first(list[0], list[2]);
  put_larger_first(list[1], list[3]);
  put_larger_first(list[1], list[2]);
}

//! Merges the lists of threads `distance` apart, then twice as far apart, and so on: the K best of two sorted lists of
//! K are the larger of a[i] and b[K - 1 - i] in every place.
template <int K, class Tile>
RESONANCE_DEVICE void merge_full_lists(const Tile& tile, std::uint64_t (&list)[K], int distance) {
  RESONANCE_NO_UNROLL
  for (; distance < Tile::size(); distance *= 2) {
    RESONANCE_UNROLL
    for (int i = 0; i < K / 2; ++i) {
      const std::uint64_t low = tile.shuffle_xor(list[i], distance);
      const std::uint64_t high = tile.shuffle_xor(list[K - 1 - i], distance);
      list[i] = list[i] > high ? list[i] : high;
      list[K - 1 - i] = list[K - 1 - i] > low ? list[K - 1 - i] : low;
    }
    sort_bitonic<K>(list);
  }
}

//! The same for lists of which the first Valid entries are sorted and the others 0: they grow until they are full.
template <int Valid, int Distance, int K, class Tile>
RESONANCE_DEVICE void merge_lists(const Tile& tile, std::uint64_t (&list)[K]) {
  if constexpr (2 * Valid <= K && Distance < Tile::size()) {
    RESONANCE_UNROLL
    for (int i = 0; i < Valid; ++i) list[2 * Valid - 1 - i] = tile.shuffle_xor(list[i], Distance);
    sort_bitonic<2 * Valid>(list);
    merge_lists<2 * Valid, 2 * Distance>(tile, list);
  } else {
    merge_full_lists(tile, list, Distance);
  }
}

}  // namespace detail

namespace token_choice {

//! Chooses the K best of `count` keys.
//!
//! Equation   best[k] = the k-th largest of packed_at(0..count), 0 where there are fewer
//! Threads    all of `tile`, converged; each calls packed_at for its share
//! Inputs     packed_at(i) -> uint64: pack_key(order_key(score), i), or 0 = never chosen
//! Outputs    best uint64[K] in registers, largest first, the same in every thread. K: a power of two, at least 2
//! Contract   SEMANTICS 1: equal scores to the lower index, since the index is in the key
//! Resources  2 K + 8 registers; no shared memory, no barrier
//! Cost       4 keys per thread and step; log2(size) rounds of K 64-bit shuffles that do not wait for one another
//! Example    examples/cuda/01_warp_top_k_in_your_kernel.cu
template <int K, class Tile, class PackedAt>
RESONANCE_DEVICE void warp_top_k(const Tile& tile, std::int32_t count, const PackedAt& packed_at,
                                 std::uint64_t (&best)[K]) {
  static_assert(K >= 2 && (K & (K - 1)) == 0, "resonance: lists have 2, 4, 8, ... entries");
  constexpr int step = 4 * Tile::size();
  const auto four_at = [&](std::int32_t first, std::uint64_t(&four)[4]) {
    RESONANCE_UNROLL
    for (int n = 0; n < 4; ++n) {
      const std::int32_t i = first + n * Tile::size() + tile.rank();
      four[n] = i < count ? packed_at(i) : 0;
    }
    detail::sort_four(four);
  };
  std::uint64_t four[4];
  four_at(0, four);
  RESONANCE_UNROLL
  for (int k = 0; k < K; ++k) best[k] = k < 4 ? four[k] : 0;
  if (count <= step) {
    detail::merge_lists<(K < 4 ? K : 4), 1>(tile, best);
    return;
  }
  RESONANCE_NO_UNROLL
  for (std::int32_t first = step; first < count; first += step) {
    four_at(first, four);
    if (four[0] <= best[K - 1]) continue;
    RESONANCE_UNROLL
    for (int n = 0; n < 4 && n < K; ++n) {
      std::uint64_t& place = best[K - 1 - n];
      place = place > four[n] ? place : four[n];
    }
    detail::sort_bitonic<K>(best);
  }
  detail::merge_full_lists(tile, best, 1);
}

//! Entry `index` of a list in registers; an index outside it gives 0.
template <int K>
RESONANCE_DEVICE std::uint64_t entry(const std::uint64_t (&list)[K], std::int32_t index) {
  std::uint64_t value = 0;
  RESONANCE_UNROLL
  for (int k = 0; k < K; ++k) value = k == index ? list[k] : value;
  return value;
}

}  // namespace token_choice
RESONANCE_NAMESPACE_END

#endif
