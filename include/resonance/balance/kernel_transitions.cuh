// SPDX-License-Identifier: Apache-2.0
//! \file
//! The kernel that counts transitions between the experts of two layers.
#ifndef RESONANCE_BALANCE_KERNEL_TRANSITIONS_CUH
#define RESONANCE_BALANCE_KERNEL_TRANSITIONS_CUH

#include <resonance/balance/block_transitions.cuh>
#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/launch.cuh>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace balance {
RESONANCE_ARCH_NAMESPACE_BEGIN

//! One block per expert.
template <int Threads>
__global__ __launch_bounds__(Threads) void kernel_transitions(assignment_view from, assignment_view to,
                                                              matrix_view<std::int64_t> counts,
                                                              const std::int64_t* num_tokens) {
  RESONANCE_SHARED_ARRAY(unsigned long long, counters, transition_columns);
  wait_for_previous_kernel();
  const std::int64_t tokens = live_tokens(from.tokens, num_tokens);
  for (std::int64_t expert = block_index(); expert < from.experts; expert += block_count()) {
    for (std::int64_t first = 0; first < to.experts; first += transition_columns) {
      const std::int64_t left = to.experts - first;
      block_transitions(counters, from, to, tokens, expert, first,
                        left < transition_columns ? left : transition_columns, counts.row(expert) + first);
    }
  }
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace balance
RESONANCE_NAMESPACE_END

#endif
