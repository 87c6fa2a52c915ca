// SPDX-License-Identifier: Apache-2.0
//! \file
//! The kernel that blends scores with a prior per sequence.
#ifndef RESONANCE_AFFINITY_KERNEL_BLEND_CUH
#define RESONANCE_AFFINITY_KERNEL_BLEND_CUH

#include <resonance/affinity/blend.hpp>
#include <resonance/affinity/warp_blend.cuh>
#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/launch.cuh>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/core/views.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace affinity {
RESONANCE_ARCH_NAMESPACE_BEGIN

//! One warp per token.
template <int Threads>
__global__ __launch_bounds__(Threads) void kernel_blend(matrix_view<const float> scores, sequence_prior prior,
                                                        blend_weights weights, bool aligned, matrix_view<float> out,
                                                        const std::int64_t* num_tokens) {
  wait_for_previous_kernel();
  const std::int64_t tokens = live_tokens(scores.rows, num_tokens);
  const int warps = block_threads() / warp_size;
  for (std::int64_t t = block_index() * warps + warp_id(); t < tokens; t += block_count() * warps)
    warp_blend(warp_team{}, weights, scores.row(t), prior.row_of(load(prior.sequence_of_token + t)), scores.cols,
               aligned, out.row(t));
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace affinity
RESONANCE_NAMESPACE_END

#endif
