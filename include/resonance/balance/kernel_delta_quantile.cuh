// SPDX-License-Identifier: Apache-2.0
//! \file
//! The kernel of a batch's quantile: one block.
#ifndef RESONANCE_BALANCE_KERNEL_DELTA_QUANTILE_CUH
#define RESONANCE_BALANCE_KERNEL_DELTA_QUANTILE_CUH

#include <resonance/balance/block_delta_quantile.cuh>
#include <resonance/config.hpp>
#include <resonance/core/block_select.cuh>
#include <resonance/core/collectives.cuh>
#include <resonance/core/launch.cuh>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/core/views.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace balance {
RESONANCE_ARCH_NAMESPACE_BEGIN

template <int Threads>
__global__ __launch_bounds__(Threads, 1) void kernel_delta_quantile(matrix_view<const float> affinity, double q,
                                                                    const std::int64_t* num_tokens, float* quantile) {
  using scratch_type = selection_scratch<1, false>;
  RESONANCE_SHARED_ARRAY(scratch_type, scratch, 1);
  wait_for_previous_kernel();
  const float found = block_delta_quantile(scratch[0], affinity, live_tokens(affinity.rows, num_tokens), q);
  if (block_thread() == 0) store(quantile, found);
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace balance
RESONANCE_NAMESPACE_END

#endif
