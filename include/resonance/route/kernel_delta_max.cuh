// SPDX-License-Identifier: Apache-2.0
//! \file
//! The kernel that measures delta_max (reading D1) before a merge may lose or add pairs.
#ifndef RESONANCE_ROUTE_KERNEL_DELTA_MAX_CUH
#define RESONANCE_ROUTE_KERNEL_DELTA_MAX_CUH

#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/launch.cuh>
#include <resonance/core/math.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/core/views.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {
RESONANCE_ARCH_NAMESPACE_BEGIN

inline constexpr int delta_max_threads = 1024;

//! The largest affinity that the tokens chose, by one block.
template <int Threads>
__global__ void __launch_bounds__(Threads, 1)
    kernel_delta_max(assignment_view choices, const std::int64_t* num_tokens, float* delta_max) {
  RESONANCE_SHARED_ARRAY(std::uint64_t, team_words, block_team::scratch_words);
  wait_for_previous_kernel();
  const block_team team(team_words);
  const std::int64_t slots = live_tokens(choices.tokens, num_tokens) * choices.slots_per_token;
  float best = math::negative_infinity();
  for (std::int64_t slot = team.rank(); slot < slots; slot += team.size()) {
    const float own = choices.is_expert(load(choices.ids + slot)) ? load(choices.affinity + slot) : best;
    best = own > best ? own : best;
  }
  best = team.max(best);
  if (team.rank() == 0) store(delta_max, best);
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
