// SPDX-License-Identifier: Apache-2.0
//! \file
//! The kernel of permute: pieces of tokens' rows, then groups of rows that may be padding; a warp for each.
#ifndef RESONANCE_PERMUTE_KERNEL_PERMUTE_CUH
#define RESONANCE_PERMUTE_KERNEL_PERMUTE_CUH

#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/launch.cuh>
#include <resonance/core/std.hpp>
#include <resonance/permute/row_plan.hpp>
#include <resonance/permute/warp_permute.cuh>

RESONANCE_NAMESPACE_BEGIN
namespace detail {
RESONANCE_ARCH_NAMESPACE_BEGIN

inline constexpr int permute_threads = 256;

//! How blocks share rows: those of a token, then the next token's. A block has one item, not a loop over items, which
//! would cost 30 registers.
struct row_shares {
  std::int64_t pieces = 0;  // of a row; a warp takes one
  std::int64_t blocks = 0;  // that a row takes
  int warps = 0;            // of a block

  row_shares(std::int64_t row_pieces, int most_threads) : pieces(row_pieces) {
    const int most_warps = most_threads / warp_size;
    warps = pieces < most_warps ? static_cast<int>(pieces) : most_warps;
    blocks = divide_up(pieces, warps);
  }

  //! The token of a block's item: a short division wherever 32 bits hold the item.
  RESONANCE_DEVICE std::int64_t token(std::int64_t item) const {
    if (blocks == 1) return item;
    if (((item | blocks) >> 32) == 0) return static_cast<std::uint32_t>(item) / static_cast<std::uint32_t>(blocks);
    return item / blocks;
  }
  //! The calling warp's piece of the token's row; none where not below `pieces`.
  RESONANCE_DEVICE std::int64_t piece(std::int64_t item, std::int64_t its_token) const {
    return (item - its_token * blocks) * warps + warp_id();
  }
  int threads() const { return warps * warp_size; }
};

//! Rows' pieces of permute_piece packets, then groups of rows that may be padding.
template <int Threads, int Bytes, class Index>
__global__ __launch_bounds__(Threads) void kernel_permute(packet_rows<Bytes> x, permute::row_plan<Index> plan,
                                                          const std::int64_t* num_tokens, row_shares shares,
                                                          packet_rows<Bytes> permuted) {
  wait_for_previous_kernel();
  const std::int64_t rows = live_rows(plan);
  const std::int64_t row_items = live_tokens(plan.assignments.tokens, num_tokens) * shares.blocks;
  const std::int64_t item = block_index();
  if (item >= row_items) {
    warp_zero_padding((item - row_items) * shares.warps + warp_id(), plan.sorted_token_ids, rows, permuted);
    return;
  }
  const std::int64_t token = shares.token(item);
  const std::int64_t piece = shares.piece(item, token);
  if (piece < shares.pieces)
    warp_permute_piece(x, token, piece, token_slots(plan.assignments, token), plan.inverse, rows, permuted);
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
