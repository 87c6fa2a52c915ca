// SPDX-License-Identifier: Apache-2.0
//! \file
//! The kernel of unpermute: a warp for every piece of every token's row.
#ifndef RESONANCE_PERMUTE_KERNEL_UNPERMUTE_CUH
#define RESONANCE_PERMUTE_KERNEL_UNPERMUTE_CUH

#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/launch.cuh>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>
#include <resonance/permute/in_place_experts.hpp>
#include <resonance/permute/kernel_permute.cuh>
#include <resonance/permute/row_plan.hpp>
#include <resonance/permute/warp_permute.cuh>
#include <resonance/permute/warp_unpermute.cuh>

RESONANCE_NAMESPACE_BEGIN
namespace detail {
RESONANCE_ARCH_NAMESPACE_BEGIN

inline constexpr int unpermute_threads = 256;

//! Blocks of a multiprocessor. 1280 threads with 48 registers each keep 80 KiB of loads in flight there; more threads
//! would have fewer loads each. Turing has room for 1024 threads.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
inline constexpr int unpermute_blocks = 1024 / unpermute_threads;
#else
inline constexpr int unpermute_blocks = 1280 / unpermute_threads;
#endif

//! What experts without rows are takes registers, too: 64 of them.
inline constexpr int unpermute_in_place_blocks = 1024 / unpermute_threads;

//! Pieces of unpermute_piece elements, a warp for each.
template <int Threads, int Elements, class Row, class Index>
__global__ __launch_bounds__(Threads, unpermute_blocks) void kernel_unpermute(
    matrix_view<const Row> permuted, permute::row_plan<Index> plan, const std::int64_t* num_tokens, row_shares shares,
    matrix_view<Row> y, permute::no_slot without, matrix_view<const Row> x) {
  wait_for_previous_kernel();
  const std::int64_t token = shares.token(block_index());
  const std::int64_t piece = shares.piece(block_index(), token);
  if (token < live_tokens(y.rows, num_tokens) && piece < shares.pieces)
    warp_unpermute_piece<Elements>(
        planned_slot_rows<Row, Index>{permuted, plan.inverse, plan.assignments.weights, live_rows(plan)}, token, piece,
        token_slots(plan.assignments, token), y, without, x);
}

//! The same where some experts have no rows.
template <int Threads, int Elements, class Row, class Index>
__global__ __launch_bounds__(Threads, unpermute_in_place_blocks) void kernel_unpermute_in_place(
    matrix_view<const Row> permuted, permute::row_plan<Index> plan, permute::in_place_experts<Row> experts,
    const std::int64_t* num_tokens, row_shares shares, matrix_view<Row> y) {
  wait_for_previous_kernel();
  const std::int64_t token = shares.token(block_index());
  const std::int64_t piece = shares.piece(block_index(), token);
  if (token >= live_tokens(y.rows, num_tokens) || piece >= shares.pieces) return;
  const slot_rows_in_place<Row, Index> rows{{permuted, plan.inverse, plan.assignments.weights, live_rows(plan)},
                                            experts,
                                            plan.assignments.ids,
                                            plan.assignments.experts,
                                            token};
  warp_unpermute_piece<Elements>(rows, token, piece, token_slots(plan.assignments, token), y, permute::no_slot::zero,
                                 matrix_view<const Row>{});
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
