// SPDX-License-Identifier: Apache-2.0
//! \file
//! The kernel of the plan with rows by affinity. Rows by slot come from core's kernel_place_slots.
#ifndef RESONANCE_PLAN_KERNEL_PLAN_CUH
#define RESONANCE_PLAN_KERNEL_PLAN_CUH

#include <resonance/config.hpp>
#include <resonance/core/block_rank.cuh>
#include <resonance/core/collectives.cuh>
#include <resonance/core/std.hpp>
#include <resonance/plan/block_plan.cuh>

RESONANCE_NAMESPACE_BEGIN
namespace detail {
RESONANCE_ARCH_NAMESPACE_BEGIN

inline constexpr int plan_affinity_threads = 512;

//! Members that are ranked in shared memory: 32 KiB of keys.
inline constexpr int plan_shared_members = 4096;

//! A block per expert.
template <int Threads, class Index>
__global__ __launch_bounds__(Threads) void kernel_plan_by_affinity(const float* affinity, rows_by_affinity<Index> lists,
                                                                   std::uint64_t* spill) {
  RESONANCE_SHARED_ARRAY(std::uint64_t, keys, plan_shared_members);
  RESONANCE_SHARED_ARRAY(std::uint64_t, team_scratch, block_team::scratch_words);
  wait_for_previous_kernel();
  block_plan_by_affinity(block_team(team_scratch), static_cast<std::int32_t>(block_index()), affinity, lists,
                         rank_scratch{keys, plan_shared_members, spill});
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
