// SPDX-License-Identifier: Apache-2.0
//! \file
//! The order of additions of ordered_sum.hpp, by the threads of a tile or by one thread: the same bits as on the host.
#ifndef RESONANCE_CORE_WARP_SUM_CUH
#define RESONANCE_CORE_WARP_SUM_CUH

#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/ordered_sum.hpp>
#include <resonance/core/std.hpp>

RESONANCE_NAMESPACE_BEGIN

//! Lanes of the sum that one thread of a tile holds: thread r those of positions 4r to 4r + 3.
inline constexpr int lanes_per_thread = 4;
static_assert(sum_lanes == warp_size * lanes_per_thread, "resonance: a warp holds the lanes of an ordered sum");

//! Adds the lanes that the threads of a tile hold as a tree of neighbours; the sum in every thread. A tile of fewer
//! than
//! 32 threads holds the aligned window of lanes around a short range: the other lanes are +0 and change nothing.
template <class Tile>
RESONANCE_DEVICE float tile_sum_lanes(const Tile& tile, const float (&lanes)[lanes_per_thread]) {
  return tile.sum((lanes[0] + lanes[1]) + (lanes[2] + lanes[3]));
}

//! ordered_sum over [begin, end) by the threads of a tile, the sum in every thread.
//!
//! Threads    all of `tile`, converged; fewer than 32 only where end <= 4 * size
//! Inputs     step(accumulator, j) -> accumulator, called once for every j, by the thread that holds its lane
//! Contract   same bits as ordered_sum
//! Resources  registers only
//! Cost       (end - begin) / (4 size) steps, and log2(size) shuffles per chunk of 1024
template <class Tile, class Step>
RESONANCE_DEVICE float tile_ordered_sum(const Tile& tile, std::int64_t begin, std::int64_t end, const Step& step) {
  float total = 0.0f;
  while (begin < end) {
    const std::int64_t chunk = begin - begin % sum_chunk;
    const std::int64_t stop = chunk + sum_chunk < end ? chunk + sum_chunk : end;
    float lanes[lanes_per_thread] = {};
    for (std::int64_t row = begin - begin % sum_lanes; row < stop; row += sum_lanes) {
      const std::int64_t first = row + lanes_per_thread * tile.rank();
      RESONANCE_UNROLL
      for (int i = 0; i < lanes_per_thread; ++i)
        if (first + i >= begin && first + i < stop) lanes[i] = step(lanes[i], first + i);
    }
    total += tile_sum_lanes(tile, lanes);
    begin = stop;
  }
  return total;
}

namespace detail {

//! The sum over the part of [begin, end) that lies in the Width positions from `first` on, as a tree of neighbours.
template <int Width, class Index, class Step>
RESONANCE_DEVICE float thread_window_sum(Index first, Index begin, Index end, const Step& step) {
  if constexpr (Width == 1) {
    return first >= begin && first < end ? step(0.0f, first) : 0.0f;
  } else {
    const float low = thread_window_sum<Width / 2>(first, begin, end, step);
    return low + thread_window_sum<Width / 2>(first + Width / 2, begin, end, step);
  }
}

}  // namespace detail

//! The longest range that thread_ordered_sum takes: then no lane of the sum has two terms.
inline constexpr int thread_sum_longest = 64;

//! ordered_sum over a short [begin, end) inside one chunk of 1024, by one thread, in registers.
//! Same bits as ordered_sum; end - begin <= thread_sum_longest.
template <class Index, class Step>
RESONANCE_DEVICE float thread_ordered_sum(Index begin, Index end, const Step& step) {
  constexpr int width = 32;
  constexpr int windows = sum_lanes / width;
  float sums[windows] = {};
  for (Index first = begin - begin % width; first < end; first += width) {
    const float sum = detail::thread_window_sum<width>(first, begin, end, step);
    const int window = static_cast<int>(first / width % windows);
    RESONANCE_UNROLL
    for (int w = 0; w < windows; ++w) sums[w] = w == window ? sum : sums[w];
  }
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

RESONANCE_NAMESPACE_END

#endif
