// SPDX-License-Identifier: Apache-2.0
//! \file
//! The kernels of the batch statistics.
#ifndef RESONANCE_BALANCE_KERNEL_BALANCE_CUH
#define RESONANCE_BALANCE_KERNEL_BALANCE_CUH

#include <resonance/balance/block_balance.cuh>
#include <resonance/balance/sinkhorn.hpp>
#include <resonance/balance/statistics.hpp>
#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/launch.cuh>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/core/views.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace balance {
RESONANCE_ARCH_NAMESPACE_BEGIN

//! One block per tile of tokens; dynamic shared memory for `room` floats.
template <int Threads, class Row>
__global__ __launch_bounds__(Threads, 2) void kernel_router_sums(router_logits<Row> in, const std::int64_t* num_tokens,
                                                                 std::int64_t room, double* sums) {
  RESONANCE_DYNAMIC_SHARED(probabilities);
  RESONANCE_SHARED_ARRAY(router_scratch, scratch, 1);
  wait_for_previous_kernel();
  const std::int64_t tokens = live_tokens(in.logits.rows, num_tokens);
  const std::int64_t first = block_index() * detail::statistics_block;
  if (first >= tokens) return;
  const std::int64_t end = first + detail::statistics_block;
  block_router_sums(scratch[0], {reinterpret_cast<float*>(probabilities), room}, in, first, end < tokens ? end : tokens,
                    sums + block_index() * (in.logits.cols + 1));
}

//! One thread per expert, and one for the z-loss.
template <int Threads>
__global__ __launch_bounds__(Threads) void kernel_router_means(const double* sums, std::int64_t experts,
                                                               std::int64_t most_tokens, const std::int64_t* num_tokens,
                                                               double* mean_probability, double* z_loss) {
  wait_for_previous_kernel();
  const std::int64_t e = block_index() * block_threads() + block_thread();
  if (e > experts) return;
  double* target = e < experts ? mean_probability + e : z_loss;
  if ((e < experts ? mean_probability : z_loss) == nullptr) return;
  store(target, thread_router_mean(sums, experts + 1, e, live_tokens(most_tokens, num_tokens)));
}

//! One thread per expert. start: null = zeros; may be `bias`.
template <int Threads>
__global__ __launch_bounds__(Threads) void kernel_sinkhorn_step(const double* sums, std::int64_t experts,
                                                                std::int64_t most_tokens,
                                                                const std::int64_t* num_tokens, const float* start,
                                                                float* bias) {
  wait_for_previous_kernel();
  const std::int64_t e = block_index() * block_threads() + block_thread();
  if (e >= experts) return;
  const double mean = thread_router_mean(sums, experts + 1, e, live_tokens(most_tokens, num_tokens));
  store(bias + e, sinkhorn_step(start != nullptr ? load(start + e) : 0.0f, mean, experts));
}

//! One warp per scatter_columns columns of X. scratch: null = dynamic shared memory; between, within: [H].
template <int Threads, class Row>
__global__ __launch_bounds__(Threads) void kernel_column_scatter(matrix_view<const Row> x, assignment_view assignments,
                                                                 const std::int64_t* num_tokens, unsigned char* scratch,
                                                                 double* between, double* within) {
  RESONANCE_DYNAMIC_SHARED(shared);
  wait_for_previous_kernel();
  unsigned char* memory = scratch != nullptr ? scratch + static_cast<std::size_t>(block_index()) *
                                                             scatter_scratch::bytes(assignments.experts)
                                             : shared;
  const std::int64_t column = block_index() * scatter_columns + lane_id();
  const column_scatter scatter = warp_column_scatter(scatter_scratch::at(memory, assignments.experts), x, column,
                                                     assignments, live_tokens(assignments.tokens, num_tokens));
  if (column >= x.cols) return;
  store(between + column, scatter.between);
  store(within + column, scatter.within);
}

//! One block adds the columns from left to right.
template <int Threads>
__global__ __launch_bounds__(Threads) void kernel_scatter_ratio(const double* between, const double* within,
                                                                std::int64_t columns, double* ratio) {
  RESONANCE_SHARED_ARRAY(double, staged, 2 * Threads);
  wait_for_previous_kernel();
  double total_between = 0.0;
  double total_within = 0.0;
  for (std::int64_t first = 0; first < columns; first += Threads) {
    const std::int64_t own = first + block_thread();
    if (own < columns) {
      staged[block_thread()] = load(between + own);
      staged[Threads + block_thread()] = load(within + own);
    }
    sync_block();
    for (int i = 0; i < Threads && first + i < columns; ++i) {
      total_between += staged[i];
      total_within += staged[Threads + i];
    }
    sync_block();
  }
  if (block_thread() == 0) store(ratio, detail::scatter_ratio(total_between, total_within));
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace balance
RESONANCE_NAMESPACE_END

#endif
