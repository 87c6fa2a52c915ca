// SPDX-License-Identifier: Apache-2.0
//! \file
//! How important a token is to those after it, by the threads of a warp; the attention of a tile of queries to one key,
//! by a thread.
#ifndef RESONANCE_PRUNE_WARP_TOKEN_IMPORTANCE_CUH
#define RESONANCE_PRUNE_WARP_TOKEN_IMPORTANCE_CUH

#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/math.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/core/views.hpp>
#include <resonance/core/warp_sum.cuh>
#include <resonance/prune/token_importance.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace prune {

//! The attention that `key` receives from the queries of a tile, of those of the first `tokens` that are not before it.
//!
//! Threads    any number, a thread per key; neighbours read neighbouring keys
//! Contract   queries in order, in double: same bits as the host's tile
//! Cost       4 bytes or less per query
template <class Attention>
RESONANCE_DEVICE double thread_attention_received(const matrix_view<const Attention>& attention, std::int64_t tile,
                                                  std::int64_t key, std::int64_t tokens) {
  const std::int64_t first = tile * detail::importance_tile;
  const std::int64_t past = tokens - first < detail::importance_tile ? tokens : first + detail::importance_tile;
  double sum = 0.0;
  for (std::int64_t query = key > first ? key : first; query < past; ++query)
    sum += static_cast<double>(row_traits<Attention>::widen(load(attention.row(query) + key)));
  return sum;
}

//! The importance of one token, in every thread.
//!
//! Threads    a warp, converged
//! Inputs     row Row[H]: the token's; received double[tiles, stride] attention per tile of queries; tokens: L
//! Contract   same bits as host_token_importance
//! Cost       the row once, 8 bytes per tile
template <class Row>
RESONANCE_DEVICE float warp_token_importance(const warp_team& warp, const Row* row, std::int64_t hidden,
                                             const double* received, std::int64_t stride, std::int64_t token,
                                             std::int64_t tokens) {
  const float length = tile_ordered_sum(warp, 0, hidden, [row](float sum, std::int64_t j) {
    return sum + math::abs(row_traits<Row>::widen(load(row + j)));
  });
  double sum = 0.0;
  for (std::int64_t tile = token / detail::importance_tile; tile < detail::importance_tiles(tokens); ++tile)
    sum += load(received + tile * stride + token);
  return detail::importance_of(length, sum, tokens - token);
}

}  // namespace prune
RESONANCE_NAMESPACE_END

#endif
