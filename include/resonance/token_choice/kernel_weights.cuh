// SPDX-License-Identifier: Apache-2.0
//! \file
//! The kernel of device_weights: a warp per token.
#ifndef RESONANCE_TOKEN_CHOICE_KERNEL_WEIGHTS_CUH
#define RESONANCE_TOKEN_CHOICE_KERNEL_WEIGHTS_CUH

#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/launch.cuh>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>
#include <resonance/token_choice/warp_weights.cuh>

RESONANCE_NAMESPACE_BEGIN
namespace detail {
RESONANCE_ARCH_NAMESPACE_BEGIN

inline constexpr int weights_threads = 128;

template <class Score>
__global__ void __launch_bounds__(weights_threads, 1)
    kernel_weights(matrix_view<const float> affinity, assignment_view assignments, Score score, token_choice::options o,
                   float* weights, const std::int64_t* num_tokens) {
  wait_for_previous_kernel();
  const std::int64_t tokens = live_tokens(assignments.tokens, num_tokens);
  const int warps = block_threads() / warp_size;
  for (std::int64_t token = block_index() * warps + warp_id(); token < tokens; token += block_count() * warps)
    token_choice::warp_weights(warp_team{}, score, o, affinity.row(token), assignments, token, weights);
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
