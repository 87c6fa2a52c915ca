// SPDX-License-Identifier: Apache-2.0
//! \file
//! The kernels of the resonance merge.
#ifndef RESONANCE_MERGE_KERNEL_MERGE_CUH
#define RESONANCE_MERGE_KERNEL_MERGE_CUH

#include <resonance/config.hpp>
#include <resonance/core/block_rank.cuh>
#include <resonance/core/collectives.cuh>
#include <resonance/core/expert_members.cuh>
#include <resonance/core/launch.cuh>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>
#include <resonance/merge/block_merge.cuh>

RESONANCE_NAMESPACE_BEGIN
namespace detail {
RESONANCE_ARCH_NAMESPACE_BEGIN

inline constexpr int merge_threads = 256;

//! Members that are ranked in shared memory; more take the workspace.
inline constexpr int merge_shared_words = 2048;

//! A block per expert.
template <int Threads>
__global__ __launch_bounds__(Threads, 4) void kernel_rank_members(member_lists lists, const float* affinity,
                                                                  std::int32_t* rank_in_expert, std::uint64_t* spill) {
  RESONANCE_SHARED_ARRAY(std::uint64_t, team_scratch, block_team::scratch_words);
  RESONANCE_SHARED_ARRAY(std::uint64_t, keys, merge_shared_words);
  wait_for_previous_kernel();
  const expert_members members = lists.of(block_index());
  merge::rank_members(block_team(team_scratch), members, affinity, rank_in_expert,
                      {keys, merge_shared_words, spill != nullptr ? spill + 2 * members.first : nullptr});
}

//! A thread per slot.
template <int Threads>
__global__ __launch_bounds__(Threads) void kernel_keep_mutual(assignment_view choices,
                                                              matrix_view<const float> affinity,
                                                              const std::uint64_t* thresholds,
                                                              const std::int64_t* num_tokens, std::int32_t* ids) {
  wait_for_previous_kernel();
  const std::uint32_t slot =
      static_cast<std::uint32_t>(block_index()) * Threads + static_cast<std::uint32_t>(block_thread());
  if (slot < live_tokens(choices.tokens, num_tokens) * choices.slots_per_token)
    merge::keep_mutual(choices, affinity, thresholds, slot, ids);
}

//! A block per tile of tokens.
template <int Threads, class Policy>
__global__ __launch_bounds__(Threads) void kernel_count_merged(
    assignment_view choices, matrix_view<const float> affinity, const std::uint64_t* thresholds,
    const std::int64_t* num_tokens, merge::ragged_scratch scratch, std::int64_t* token_offsets) {
  RESONANCE_SHARED_ARRAY(std::uint64_t, team_scratch, block_team::scratch_words);
  wait_for_previous_kernel();
  const std::int64_t tokens = live_tokens(choices.tokens, num_tokens);
  if (block_index() < merge::merge_tiles(tokens))
    merge::block_count_merged<Policy>(block_team(team_scratch), choices, affinity, thresholds, block_index(), tokens,
                                      scratch, token_offsets);
}

//! A block per tile of tokens.
template <int Threads, class Policy>
__global__ __launch_bounds__(Threads) void kernel_place_merged(assignment_view choices,
                                                               matrix_view<const float> affinity,
                                                               const std::int64_t* num_tokens,
                                                               merge::ragged_scratch scratch, assignment_buffers out) {
  RESONANCE_SHARED_ARRAY(std::uint64_t, team_scratch, block_team::scratch_words);
  wait_for_previous_kernel();
  const std::int64_t tokens = live_tokens(choices.tokens, num_tokens);
  if (block_index() < merge::merge_tiles(tokens))
    merge::block_place_merged<Policy>(block_team(team_scratch), choices, affinity, block_index(), tokens, scratch, out);
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
