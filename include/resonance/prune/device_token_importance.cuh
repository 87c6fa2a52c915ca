// SPDX-License-Identifier: Apache-2.0
//! \file
//! How important a token is to those after it, on the device: whose choices are better left alone.
#ifndef RESONANCE_PRUNE_DEVICE_TOKEN_IMPORTANCE_CUH
#define RESONANCE_PRUNE_DEVICE_TOKEN_IMPORTANCE_CUH

#include <resonance/config.hpp>
#include <resonance/core/launch.cuh>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>
#include <resonance/core/workspace.hpp>
#include <resonance/prune/kernel_token_importance.cuh>
#include <resonance/prune/token_importance.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace prune {
RESONANCE_ARCH_NAMESPACE_BEGIN

//! Bytes of workspace that device_token_importance needs: 8 L per 256 tokens.
inline std::size_t device_token_importance_workspace_bytes(std::int64_t tokens) {
  return detail::importance_workspace_bytes(tokens);
}

//! Weighs every token of a sequence by its length and by the attention that it receives from later tokens.
//!
//! Equation   I_j = |t_j|_1 * (sum_{i=j..L-1} A_ij) / (L - j), i = query, j = key   MC, arXiv 2410.06270
//!            (ODP; reading: see host_token_importance)
//! Inputs     hidden Row[L,H] strided, attention Attention[L,L] strided, row = query, causal; in device memory
//! Outputs    importance float[L]
//! Contract   the host's bits; L is the number of tokens that there are
//! Errors     as host_token_importance; launch_failed
//! Resources  2 launches; device_token_importance_workspace_bytes
//! Cost       L*H + L^2 / 2 reads
//! Example    test/simt/prune/device_token_importance_test.cpp
template <class Row, class Attention>
status device_token_importance(const device_stream& on, matrix_view<const Row> hidden,
                               matrix_view<const Attention> attention, float* importance, workspace_view workspace) {
  constexpr int threads = detail::importance_threads;
  const std::int64_t tokens = hidden.rows;
  const std::int64_t tiles = detail::importance_tiles(tokens);
  const status checked = detail::checks{}
                             .also(detail::check_token_importance(hidden, attention, importance, workspace))
                             .fits(tiles * detail::divide_up(tokens, threads) <= detail::most_blocks, "hidden")
                             .result();
  if (!checked.ok()) return checked;

  double* received = detail::workspace_carver(workspace.data).take<double>(tiles * tokens);
  const status summed =
      detail::launch(on, {tiles * detail::divide_up(tokens, threads), threads, 0},
                     detail::kernel_attention_received<threads, Attention>, attention, on.num_tokens, received);
  if (!summed.ok()) return summed;
  return detail::launch(on, {detail::divide_up(tokens, threads / warp_size), threads, 0},
                        detail::kernel_token_importance<threads, Row>, hidden, static_cast<const double*>(received),
                        on.num_tokens, importance);
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace prune
RESONANCE_NAMESPACE_END

#endif
