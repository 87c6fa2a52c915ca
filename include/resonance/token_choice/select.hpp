// SPDX-License-Identifier: Apache-2.0
//! \file
//! Selection of the best keys of one row, on one thread.
#ifndef RESONANCE_TOKEN_CHOICE_SELECT_HPP
#define RESONANCE_TOKEN_CHOICE_SELECT_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>

#include <resonance/config.hpp>
#include <resonance/core/order_key.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

//! A key that the `wanted`-th best reaches, 1 at least: the `wanted`-th largest of the maxima of `Lanes` lanes, lane =
//! position mod Lanes. wanted <= Lanes <= count.
template <int Lanes>
RESONANCE_FORCE_INLINE std::uint32_t lower_bound_of_best(const std::uint32_t* keys, std::int32_t count,
                                                         std::int32_t wanted) {
  std::uint32_t maxima[static_cast<std::size_t>(Lanes)];
  for (int lane = 0; lane < Lanes; ++lane) maxima[lane] = keys[lane];
  std::int32_t i = Lanes;
  for (; i + Lanes <= count; i += Lanes)
    for (int lane = 0; lane < Lanes; ++lane)
      maxima[lane] = maxima[lane] > keys[i + lane] ? maxima[lane] : keys[i + lane];
  for (int lane = 0; i < count; ++i, ++lane) maxima[lane] = maxima[lane] > keys[i] ? maxima[lane] : keys[i];

  std::uint32_t larger[static_cast<std::size_t>(Lanes)] = {};
  for (int other = 0; other < Lanes; ++other)
    for (int lane = 0; lane < Lanes; ++lane) larger[lane] += maxima[other] > maxima[lane] ? 1u : 0u;
  std::uint32_t bound = 0xffffffffu;
  for (int lane = 0; lane < Lanes; ++lane) {
    const std::uint32_t own = larger[lane] < static_cast<std::uint32_t>(wanted) ? maxima[lane] : 0xffffffffu;
    bound = own < bound ? own : bound;
  }
  return bound > never_chosen ? bound : never_chosen + 1;
}

//! Puts the `wanted` largest of candidates[0..count) into best, largest first, by counting who is larger: no branch
//! depends on the data. count <= most_ranked, no two alike, none 0.
inline constexpr int most_ranked = 64;

RESONANCE_FORCE_INLINE void rank_by_counting(const std::uint64_t* candidates, std::int32_t count, std::int32_t wanted,
                                             std::uint64_t* best) {
  constexpr int width = 8;
  std::uint64_t padded[most_ranked];
  for (std::int32_t i = 0; i < count; ++i) padded[i] = candidates[i];
  for (std::int32_t i = count; i % width != 0; ++i) padded[i] = 0;
  for (std::int32_t first = 0; first < count; first += width) {
    std::uint64_t rank[width] = {};
    for (std::int32_t other = 0; other < count; ++other)
      for (int i = 0; i < width; ++i) rank[i] += padded[other] > padded[first + i] ? 1u : 0u;
    for (int i = 0; i < width; ++i)
      if (rank[i] < static_cast<std::uint64_t>(wanted) && first + i < count) best[rank[i]] = padded[first + i];
  }
}

}  // namespace detail

namespace token_choice {

//! Writes the `wanted` best of keys[0..count) as packed keys, best first, ties to the lower index; returns how many
//! there are (keys that are never_chosen do not count).
//!
//! Inputs     keys uint32[count]; `candidates` uint64[count] scratch
//! Outputs    best uint64[wanted]; entries past the returned count are undefined
//! Cost       two passes over the keys and, for few candidates (random rows: little more than `wanted`), the square of
//!            their number; else O(count + wanted log wanted) on average
RESONANCE_FORCE_INLINE std::int32_t select_best(const std::uint32_t* keys, std::int32_t count, std::int32_t wanted,
                                                std::uint64_t* best, std::uint64_t* candidates) {
  std::uint32_t bound = never_chosen + 1;
  // About lanes * ln(lanes / (lanes - wanted)) keys reach the bound; few enough to be ranked by counting.
  if (wanted <= 12 && count >= 32) {
    bound = detail::lower_bound_of_best<16>(keys, count, wanted);
  } else if (wanted <= 22 && count >= 64) {
    bound = detail::lower_bound_of_best<32>(keys, count, wanted);
  } else if (wanted <= 32 && count >= 128) {
    bound = detail::lower_bound_of_best<64>(keys, count, wanted);
  }
  std::int32_t reaching = 0;
  for (std::int32_t i = 0; i < count; ++i) {
    candidates[reaching] = pack_key(keys[i], static_cast<std::uint32_t>(i));
    reaching += keys[i] >= bound ? 1 : 0;
  }
  const std::int32_t found = std::min(reaching, wanted);
  if (reaching <= detail::most_ranked) {
    detail::rank_by_counting(candidates, reaching, wanted, best);
    return found;
  }
  if (found < reaching)
    std::nth_element(candidates, candidates + found, candidates + reaching, std::greater<std::uint64_t>());
  std::sort(candidates, candidates + found, std::greater<std::uint64_t>());
  std::copy(candidates, candidates + found, best);
  return found;
}

}  // namespace token_choice
RESONANCE_NAMESPACE_END

#endif
