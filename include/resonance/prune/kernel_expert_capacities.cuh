// SPDX-License-Identifier: Apache-2.0
//! \file
//! The kernel of the experts' capacities.
#ifndef RESONANCE_PRUNE_KERNEL_EXPERT_CAPACITIES_CUH
#define RESONANCE_PRUNE_KERNEL_EXPERT_CAPACITIES_CUH

#include <resonance/config.hpp>
#include <resonance/core/block_columns.cuh>
#include <resonance/core/collectives.cuh>
#include <resonance/core/launch.cuh>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/core/views.hpp>
#include <resonance/prune/block_expert_capacities.cuh>
#include <resonance/prune/capacity.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace prune {
RESONANCE_ARCH_NAMESPACE_BEGIN

//! One block per eight experts; with dynamic shared memory for the keys if `staged`. delta_max: null = batch's.
template <int Threads, class Rule>
__global__ __launch_bounds__(Threads, 1) void kernel_expert_capacities(Rule rule, matrix_view<const float> affinity,
                                                                       batch_facts batch, const float* delta_max,
                                                                       std::int64_t capacity_cap,
                                                                       const std::int64_t* num_tokens, bool staged,
                                                                       std::int64_t* capacities) {
  RESONANCE_DYNAMIC_SHARED(keys);
  RESONANCE_SHARED_ARRAY(capacity_scratch<Rule::by_mass>, scratch, 1);
  wait_for_previous_kernel();
  batch.tokens = live_tokens(batch.tokens, num_tokens);
  if (delta_max != nullptr) batch.delta_max = load(delta_max);
  const column_keys columns = column_keys::of_group(affinity, block_index(), batch.tokens,
                                                    staged ? reinterpret_cast<std::uint32_t*>(keys) : nullptr);
  block_expert_capacities(scratch[0], columns, rule, batch, capacity_cap, capacities);
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace prune
RESONANCE_NAMESPACE_END

#endif
