// SPDX-License-Identifier: Apache-2.0
//! \file
//! The kernel of the contrast of two rows of logits.
#ifndef RESONANCE_AFFINITY_KERNEL_CONTRAST_CUH
#define RESONANCE_AFFINITY_KERNEL_CONTRAST_CUH

#include <resonance/affinity/block_contrast.cuh>
#include <resonance/affinity/contrast.hpp>
#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/launch.cuh>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace affinity {
RESONANCE_ARCH_NAMESPACE_BEGIN

//! One block per row.
template <int Threads, class Row>
__global__ __launch_bounds__(Threads) void kernel_contrast(matrix_view<const Row> strong, matrix_view<const Row> weak,
                                                           contrast_options options, bool aligned,
                                                           matrix_view<float> out, const std::int64_t* num_tokens) {
  RESONANCE_SHARED_ARRAY(std::uint64_t, scratch, block_team::scratch_words);
  wait_for_previous_kernel();
  const std::int64_t rows = live_tokens(strong.rows, num_tokens);
  for (std::int64_t t = block_index(); t < rows; t += block_count())
    block_contrast(block_team(scratch), options, strong.row(t), weak.row(t), strong.cols, aligned, out.row(t));
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace affinity
RESONANCE_NAMESPACE_END

#endif
