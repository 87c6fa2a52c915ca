// SPDX-License-Identifier: Apache-2.0
//! \file
//! The kernel of the experts' thresholds.
#ifndef RESONANCE_MERGE_KERNEL_EXPERT_THRESHOLDS_CUH
#define RESONANCE_MERGE_KERNEL_EXPERT_THRESHOLDS_CUH

#include <resonance/config.hpp>
#include <resonance/core/block_columns.cuh>
#include <resonance/core/collectives.cuh>
#include <resonance/core/launch.cuh>
#include <resonance/core/std.hpp>
#include <resonance/merge/block_expert_thresholds.cuh>
#include <resonance/merge/expert_side.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace merge {
RESONANCE_ARCH_NAMESPACE_BEGIN

//! One block per eight experts; with dynamic shared memory for the keys if `staged`.
template <int Threads>
__global__ __launch_bounds__(Threads, 1) void kernel_expert_thresholds(expert_side expert,
                                                                       const std::int64_t* num_tokens, bool staged,
                                                                       std::uint64_t* thresholds) {
  RESONANCE_DYNAMIC_SHARED(keys);
  RESONANCE_SHARED_ARRAY(threshold_scratch, scratch, 1);
  wait_for_previous_kernel();
  const column_keys columns =
      column_keys::of_group(expert.affinity, block_index(), live_tokens(expert.affinity.rows, num_tokens),
                            staged ? reinterpret_cast<std::uint32_t*>(keys) : nullptr);
  block_expert_thresholds(scratch[0], columns, expert, thresholds);
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace merge
RESONANCE_NAMESPACE_END

#endif
