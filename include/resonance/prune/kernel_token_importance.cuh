// SPDX-License-Identifier: Apache-2.0
//! \file
//! The kernels of the tokens' importance.
#ifndef RESONANCE_PRUNE_KERNEL_TOKEN_IMPORTANCE_CUH
#define RESONANCE_PRUNE_KERNEL_TOKEN_IMPORTANCE_CUH

#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/launch.cuh>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/core/views.hpp>
#include <resonance/prune/token_importance.hpp>
#include <resonance/prune/warp_token_importance.cuh>

RESONANCE_NAMESPACE_BEGIN
namespace detail {
RESONANCE_ARCH_NAMESPACE_BEGIN

inline constexpr int importance_threads = 256;

//! A block per tile of queries and `Threads` keys, tiles first; keys after all of its queries receive nothing.
template <int Threads, class Attention>
__global__ __launch_bounds__(Threads) void kernel_attention_received(matrix_view<const Attention> attention,
                                                                     const std::int64_t* num_tokens, double* received) {
  wait_for_previous_kernel();
  const std::int64_t tokens = live_tokens(attention.rows, num_tokens);
  const std::int64_t tiles = importance_tiles(attention.rows);
  const std::int64_t tile = block_index() % tiles;
  const std::int64_t key = block_index() / tiles * Threads + block_thread();
  if (key >= tokens || tile < key / importance_tile) return;
  store(received + tile * attention.rows + key, prune::thread_attention_received(attention, tile, key, tokens));
}

//! A warp per token.
template <int Threads, class Row>
__global__ __launch_bounds__(Threads) void kernel_token_importance(matrix_view<const Row> hidden,
                                                                   const double* received,
                                                                   const std::int64_t* num_tokens, float* importance) {
  wait_for_previous_kernel();
  const std::int64_t tokens = live_tokens(hidden.rows, num_tokens);
  const std::int64_t token = block_index() * (Threads / warp_size) + warp_id();
  if (token >= tokens) return;
  const float value =
      prune::warp_token_importance(warp_team{}, hidden.row(token), hidden.cols, received, hidden.rows, token, tokens);
  if (lane_id() == 0) store(importance + token, value);
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
