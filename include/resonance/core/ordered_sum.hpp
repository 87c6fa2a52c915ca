// SPDX-License-Identifier: Apache-2.0
//! \file
//! The one order in which the library adds floats, so that a sum has the same bits at any vector width.
//!
//! Positions are absolute (the column in its row). A row is cut into chunks of 1024 positions; inside a chunk, position
//! j belongs to lane j mod 128, and a lane adds its terms by rising position, starting from +0. The 128 lanes are then
//! added as a binary tree of neighbours (0+1, 2+3, ...; then pairs of those; ...), and the chunks' sums from left to
//! right. A sum over [begin, end) treats the positions outside as absent; since adding +0 changes nothing, a short
//! range needs only the aligned power-of-two window of lanes around it.
//!
//! Why these numbers: 128 lanes are 32 threads with 16-byte loads, or 8 AVX-512 registers; the chunk bounds the chain
//! of dependent additions at 8 + 7 and lets several warps share one row.
#ifndef RESONANCE_CORE_ORDERED_SUM_HPP
#define RESONANCE_CORE_ORDERED_SUM_HPP

#include <resonance/config.hpp>
#include <resonance/core/std.hpp>

RESONANCE_NAMESPACE_BEGIN

inline constexpr int sum_lanes = 128;
inline constexpr int sum_chunk = 1024;

namespace detail {

//! Adds Width lanes (a power of two) as a tree of neighbours.
template <int Width>
RESONANCE_FORCE_INLINE float sum_neighbours(const float* lanes) {
  if constexpr (Width == 1) {
    return lanes[0];
  } else {
    alignas(64) float pairs[static_cast<std::size_t>(Width / 2)];
    for (int i = 0; i < Width / 2; ++i) pairs[i] = lanes[2 * i] + lanes[2 * i + 1];
    return sum_neighbours<Width / 2>(pairs);
  }
}

//! The sum over [begin, end) inside one aligned window of Width lanes: every lane has one term at most.
template <int Width, class Step>
RESONANCE_FORCE_INLINE float window_sum(std::int64_t begin, std::int64_t end, const Step& step) {
  alignas(64) float lanes[static_cast<std::size_t>(Width)];
  if (end - begin == Width) {
    for (int i = 0; i < Width; ++i) lanes[i] = step(0.0f, begin + i);
  } else {
    const std::int64_t first = begin - begin % Width;
    for (int i = 0; i < Width; ++i) lanes[i] = 0.0f;
    for (std::int64_t j = begin; j < end; ++j) lanes[j - first] = step(0.0f, j);
  }
  return sum_neighbours<Width>(lanes);
}

//! The sum over [begin, end) inside one chunk, begin < end.
template <class Step>
RESONANCE_FORCE_INLINE float chunk_sum(std::int64_t begin, std::int64_t end, const Step& step) {
  const std::int64_t differing = begin ^ (end - 1);
  if (differing < 4) return window_sum<4>(begin, end, step);
  if (differing < 16) return window_sum<16>(begin, end, step);
  if (differing < 32) return window_sum<32>(begin, end, step);
  if (differing < 64) return window_sum<64>(begin, end, step);
  if (differing < sum_lanes) return window_sum<sum_lanes>(begin, end, step);

  alignas(64) float lanes[sum_lanes];
  for (int i = 0; i < sum_lanes; ++i) lanes[i] = 0.0f;
  std::int64_t j = begin;
  for (; j < end && j % sum_lanes != 0; ++j) lanes[j % sum_lanes] = step(lanes[j % sum_lanes], j);
  for (; j + sum_lanes <= end; j += sum_lanes)
    for (int i = 0; i < sum_lanes; ++i) lanes[i] = step(lanes[i], j + i);
  for (int i = 0; j < end; ++j, ++i) lanes[i] = step(lanes[i], j);
  return sum_neighbours<sum_lanes>(lanes);
}

}  // namespace detail

//! Folds step(accumulator, j) -> accumulator over begin <= j < end in the order above; an empty range gives +0.
//! `step` adds one term: acc + term, or fma(a, b, acc).
template <class Step>
RESONANCE_FORCE_INLINE float ordered_sum(std::int64_t begin, std::int64_t end, const Step& step) {
  float total = 0.0f;
  while (begin < end) {
    const std::int64_t next_chunk = begin - begin % sum_chunk + sum_chunk;
    const std::int64_t stop = next_chunk < end ? next_chunk : end;
    total += detail::chunk_sum(begin, stop, step);
    begin = stop;
  }
  return total;
}

RESONANCE_NAMESPACE_END

#endif
