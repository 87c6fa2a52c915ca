// SPDX-License-Identifier: Apache-2.0
//! \file
//! The kernel of device_sparse_mixer_weights: a warp per token.
#ifndef RESONANCE_TOKEN_CHOICE_KERNEL_SPARSE_MIXER_CUH
#define RESONANCE_TOKEN_CHOICE_KERNEL_SPARSE_MIXER_CUH

#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/launch.cuh>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>
#include <resonance/token_choice/sparse_mixer.hpp>
#include <resonance/token_choice/warp_sparse_mixer.cuh>

RESONANCE_NAMESPACE_BEGIN
namespace detail {
RESONANCE_ARCH_NAMESPACE_BEGIN

inline constexpr int sparse_mixer_threads = 128;

template <class Row>
__global__ void __launch_bounds__(sparse_mixer_threads, 1)
    kernel_sparse_mixer(matrix_view<const Row> logits, assignment_view assignments, token_choice::sparse_mixer o,
                        float* weights, const std::int64_t* num_tokens) {
  wait_for_previous_kernel();
  const std::int64_t tokens = live_tokens(assignments.tokens, num_tokens);
  const int warps = block_threads() / warp_size;
  for (std::int64_t token = block_index() * warps + warp_id(); token < tokens; token += block_count() * warps)
    token_choice::warp_sparse_mixer(warp_team{}, o, logits.row(token), assignments, token, weights);
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
