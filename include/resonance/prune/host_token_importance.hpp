// SPDX-License-Identifier: Apache-2.0
//! \file
//! How important a token is to those after it, on the host: whose choices are better left alone.
#ifndef RESONANCE_PRUNE_HOST_TOKEN_IMPORTANCE_HPP
#define RESONANCE_PRUNE_HOST_TOKEN_IMPORTANCE_HPP

#include <cstddef>
#include <cstdint>

#include <resonance/core/executor.hpp>
#include <resonance/core/host_simd.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/ordered_sum.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/views.hpp>
#include <resonance/core/workspace.hpp>
#include <resonance/prune/token_importance.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace prune {

//! Bytes of workspace that host_token_importance needs: 8 L per 256 tokens.
inline std::size_t host_token_importance_workspace_bytes(std::int64_t tokens) {
  return detail::importance_workspace_bytes(tokens);
}

//! Weighs every token of a sequence by its length and by the attention that it receives from later tokens.
//!
//! Equation   I_j = |t_j|_1 * (sum_{i=j..L-1} A_ij) / (L - j), i = query, j = key   MC, arXiv 2410.06270
//!            (ODP; reading: attention received, averaged over the queries that there are: L - j counts
//!            from 0, so the last token has one, its own)
//! Inputs     hidden Row[L,H] strided; attention Attention[L,L] strided, row = query, causal: columns past the row's
//!            own are not read. For several heads, their average
//! Outputs    importance float[L]; as [L,1] scores for one expert of capacity floor(0.02 L), expert choice protects the
//!            best 2 %
//! Contract   |t_j|_1 in the order of ordered_sum; attention in double over tiles of 256 queries, then over the tiles:
//!            same bits at any worker count
//! Errors     null_pointer (hidden, attention, importance), out_of_range (hidden, attention), shape_mismatch
//!            (attention), index_overflow, workspace_too_small
//! Resources  host_token_importance_workspace_bytes; no allocation
//! Cost       L*H + L^2 / 2 reads
//! Example    test/prune/host_token_importance_test.cpp
template <class Executor, class Row, class Attention>
status host_token_importance(const Executor& executor, matrix_view<const Row> hidden,
                             matrix_view<const Attention> attention, float* importance, workspace_view workspace) {
  const status checked = detail::check_token_importance(hidden, attention, importance, workspace);
  if (!checked.ok()) return checked;

  const std::int64_t tokens = hidden.rows;
  const std::int64_t tiles = detail::importance_tiles(tokens);
  double* received = detail::workspace_carver(workspace.data).take<double>(tiles * tokens);
  detail::for_ranges(executor, tiles, 1, [&](std::int64_t begin, std::int64_t end, int) {
    detail::run_widest([&]() RESONANCE_INLINE_LAMBDA {
      for (std::int64_t tile = begin; tile < end; ++tile) {
        double* sums = received + tile * tokens;
        const std::int64_t first = tile * detail::importance_tile;
        const std::int64_t past = tokens - first < detail::importance_tile ? tokens : first + detail::importance_tile;
        for (std::int64_t key = 0; key < past; ++key) sums[key] = 0.0;
        for (std::int64_t query = first; query < past; ++query) {
          const Attention* row = attention.row(query);
          for (std::int64_t key = 0; key <= query; ++key)
            sums[key] += static_cast<double>(row_traits<Attention>::widen(row[key]));
        }
      }
    });
  });
  detail::for_ranges(executor, tokens, 32, [&](std::int64_t begin, std::int64_t end, int) {
    detail::run_widest([&]() RESONANCE_INLINE_LAMBDA {
      for (std::int64_t t = begin; t < end; ++t) {
        const Row* row = hidden.row(t);
        const float length = ordered_sum(0, hidden.cols, [row](float sum, std::int64_t j) RESONANCE_INLINE_LAMBDA {
          return sum + math::abs(row_traits<Row>::widen(row[j]));
        });
        double sum = 0.0;
        for (std::int64_t tile = t / detail::importance_tile; tile < tiles; ++tile) sum += received[tile * tokens + t];
        importance[t] = detail::importance_of(length, sum, tokens - t);
      }
    });
  });
  return {};
}

}  // namespace prune
RESONANCE_NAMESPACE_END

#endif
