// SPDX-License-Identifier: Apache-2.0
//! \file
//! Kernels that write dense affinities and dense scores.
#ifndef RESONANCE_AFFINITY_KERNEL_AFFINITY_CUH
#define RESONANCE_AFFINITY_KERNEL_AFFINITY_CUH

#include <resonance/affinity/warp_affinity.cuh>
#include <resonance/affinity/warp_scores.cuh>
#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/launch.cuh>
#include <resonance/core/order_key.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/core/views.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {
RESONANCE_ARCH_NAMESPACE_BEGIN

inline constexpr int affinity_threads = 128;

//! One warp per `Source::block` tokens. Rows are made in shared memory, or in `memory` (block * E floats per warp)
//! where they do not fit.
template <class Source>
__global__ void __launch_bounds__(affinity_threads, 1)
    kernel_affinity(Source source, matrix_view<float> affinity, float* memory, const std::int64_t* num_tokens) {
  RESONANCE_DYNAMIC_SHARED(shared);
  wait_for_previous_kernel();
  const warp_team warp;
  const std::int32_t experts = source.experts();
  const std::int64_t rows_floats = std::int64_t{Source::block} * experts;
  const int warps = block_threads() / warp_size;
  float* scratch = reinterpret_cast<float*>(shared) + warp_id() * Source::scratch_floats;
  float* rows = memory != nullptr
                    ? memory + (block_index() * warps + warp_id()) * rows_floats
                    : reinterpret_cast<float*>(shared) + warps * Source::scratch_floats + warp_id() * rows_floats;
  const std::int64_t tokens = live_tokens(source.tokens(), num_tokens);
  const std::int64_t turn = std::int64_t{Source::block} * warps;
  for (std::int64_t first = block_index() * turn + warp_id() * Source::block; first < tokens;
       first += block_count() * turn) {
    const std::int64_t left = tokens - first;
    const int count = static_cast<int>(left < Source::block ? left : Source::block);
    source.fill(warp, first, count, rows, experts, scratch, 0, 1);
    warp.sync();
    for (int t = 0; t < count; ++t) {
      for (std::int32_t e = warp.rank(); e < experts; e += warp_size) {
        const float delta = rows[t * std::int64_t{experts} + e];
        store(affinity.row(first + t) + e, delta > row_traits<float>::largest ? Source::largest : delta);
      }
    }
    warp.sync();
  }
}

//! The lines of a matrix that a score function runs over: element i of line l at data[l * line_step + i * step].
struct score_lines {
  const float* affinity;
  float* scores;
  std::int64_t lines, length;
  std::int64_t line_step, step, out_line_step, out_step;
  bool by_column;  //!< lines are experts, whose length is the number of tokens
};

//! One warp per line. The warps of a block take neighbouring lines, so that columns share their sectors.
template <class Score>
__global__ void __launch_bounds__(affinity_threads, 1)
    kernel_scores(Score score, score_lines m, const std::int64_t* num_tokens) {
  wait_for_previous_kernel();
  const std::int64_t lines = m.by_column ? m.lines : live_tokens(m.lines, num_tokens);
  const std::int64_t length = m.by_column ? live_tokens(m.length, num_tokens) : m.length;
  const int warps = block_threads() / warp_size;
  for (std::int64_t line = block_index() * warps + warp_id(); line < lines; line += block_count() * warps) {
    affinity::warp_scores(
        warp_team{}, score, length,
        [&](std::int64_t i) {
          return choosable_score(load(m.affinity + line * m.line_step + i * m.step), row_traits<float>::largest);
        },
        [&](std::int64_t i, float value) { store(m.scores + line * m.out_line_step + i * m.out_step, value); });
  }
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
