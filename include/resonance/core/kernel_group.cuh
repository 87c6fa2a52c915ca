// SPDX-License-Identifier: Apache-2.0
//! \file
//! The kernels of stable grouping: count the tiles, place the slots.
#ifndef RESONANCE_CORE_KERNEL_GROUP_CUH
#define RESONANCE_CORE_KERNEL_GROUP_CUH

#include <resonance/config.hpp>
#include <resonance/core/block_group.cuh>
#include <resonance/core/collectives.cuh>
#include <resonance/core/expert_members.cuh>
#include <resonance/core/launch.cuh>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {
RESONANCE_ARCH_NAMESPACE_BEGIN

inline constexpr int group_threads = 1024;

//! Threads of a placing block at most: places of 64 bits take more registers than 1024 threads have.
template <class Position>
inline constexpr int place_threads = sizeof(Position) == 4 ? group_threads : group_threads / 2;

//! counts[tile][group], a block per tile.
template <int Threads>
__global__ __launch_bounds__(Threads) void kernel_count_slots(assignment_view a, slot_experts experts,
                                                              const std::int64_t* num_tokens, std::int64_t tile_slots,
                                                              std::uint32_t* counts) {
  RESONANCE_DYNAMIC_SHARED(shared);
  wait_for_previous_kernel();
  const group_tile tile{block_index(), tile_slots, live_slots(a, num_tokens)};
  if (tile.index >= tile.tiles()) return;
  block_count_slots(tile.begin(), tile.end(), experts, reinterpret_cast<unsigned*>(shared),
                    counts + tile.index * experts.groups);
}

//! Every slot to its place, a block per tile.
template <int Threads, class Placement>
__global__ __launch_bounds__(Threads, 1) void kernel_place_slots(assignment_view a, slot_experts experts,
                                                                 const std::int64_t* num_tokens,
                                                                 std::int64_t tile_slots, const std::uint32_t* counts,
                                                                 Placement placement) {
  RESONANCE_DYNAMIC_SHARED(shared);
  RESONANCE_SHARED_ARRAY(std::uint64_t, team_scratch, block_team::scratch_words);
  wait_for_previous_kernel();
  const group_tile tile{block_index(), tile_slots, live_slots(a, num_tokens), counts};
  if (tile.index < tile.tiles()) block_place_slots(block_team(team_scratch), shared, tile, experts, placement);
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
