// SPDX-License-Identifier: Apache-2.0
//! \file
//! Stable grouping on the device: the launches, and the lists of every expert's slots.
#ifndef RESONANCE_CORE_DEVICE_GROUP_CUH
#define RESONANCE_CORE_DEVICE_GROUP_CUH

#include <resonance/config.hpp>
#include <resonance/core/block_group.cuh>
#include <resonance/core/kernel_group.cuh>
#include <resonance/core/launch.cuh>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>
#include <resonance/core/workspace.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

//! How slots are cut into tiles; from the shapes alone.
//!
//! Every block reads the counts of all tiles: tiles^2 * groups words, held to half a word per slot. One block
//! takes what fits its registers, and a smaller share per block would leave its threads idle.
struct group_tiling {
  static constexpr std::int64_t least_tile_slots = std::int64_t{group_items} * group_threads;
  static constexpr std::int64_t most_tiles_wanted = 1024;

  std::int64_t wanted = 1;  // grows with the slots, unlike tiles
  std::int64_t tile_slots = least_tile_slots;
  std::int64_t tiles = 1;

  constexpr group_tiling(std::int64_t slots, std::int32_t groups) {
    const std::int64_t by_size = divide_up(slots, least_tile_slots);
    while (wanted < by_size && wanted < most_tiles_wanted &&
           (wanted + 1) * (wanted + 1) <= slots / (2 * std::int64_t{groups}))
      ++wanted;
    if (wanted > 1)
      tile_slots = divide_up(divide_up(slots, wanted), 1024) * 1024;
    else if (slots > tile_slots)
      tile_slots = slots;
    tiles = slots > tile_slots ? divide_up(slots, tile_slots) : 1;
  }

  //! Words of counts[tiles][groups] to ask for.
  constexpr std::int64_t count_words(std::int32_t groups) const { return wanted > 1 ? wanted * groups : 0; }
};

//! Warps of a placing block: no more than the slots keep busy, nor than the shared memory has counters for.
template <class Position>
constexpr int group_warps(std::int64_t tile_slots, std::int32_t groups) {
  constexpr std::size_t most_bytes = shared_bytes_per_block - block_team::scratch_words * sizeof(std::uint64_t);
  const std::int64_t by_slots = divide_up(tile_slots, 2 * warp_size);
  const std::int64_t by_groups = divide_up(groups, warp_size);
  const std::int64_t wanted = by_slots > by_groups ? by_slots : by_groups;
  constexpr int most_warps = place_threads<Position> / warp_size;
  int warps = wanted < most_warps ? static_cast<int>(wanted) : most_warps;
  while (warps > 1 && group_scratch<Position>::bytes(groups, warps) > most_bytes) --warps;
  return warps;
}

//! Slots that 32 bits can number.
inline status check_slot_numbers(const assignment_view& a) {
  return checks{}.fits(a.most_slots() <= std::int64_t{0xffffffffu}, "assignments").result();
}

//! Bytes of workspace that device_expert_lists needs: 4 E per tile.
inline std::size_t device_expert_lists_workspace_bytes(const assignment_view& a) {
  workspace_carver counter;
  counter.take<std::uint32_t>(group_tiling(a.most_slots(), a.experts).count_words(a.experts));
  return counter.bytes();
}

RESONANCE_ARCH_NAMESPACE_BEGIN

//! Launches the passes: one where there is one tile, else two. `counts`: group_tiling::count_words in device memory.
template <class Placement>
status place_slots(const device_stream& on, const assignment_view& a, const slot_experts& experts,
                   std::uint32_t* counts, const Placement& placement) {
  const group_tiling tiling(a.most_slots(), experts.groups);
  if (tiling.tiles > 1) {
    const launch_shape shape{tiling.tiles, group_threads,
                             static_cast<std::size_t>(least(experts.groups, count_range)) * sizeof(unsigned)};
    const status counted =
        launch(on, shape, kernel_count_slots<group_threads>, a, experts, on.num_tokens, tiling.tile_slots, counts);
    if (!counted.ok()) return counted;
  }
  using position = typename Placement::position;
  const int warps = group_warps<position>(tiling.tiles > 1 ? tiling.tile_slots : a.most_slots(), experts.groups);
  return launch(on, {tiling.tiles, warps * warp_size, group_scratch<position>::bytes(experts.groups, warps)},
                kernel_place_slots<place_threads<position>, Placement>, a, experts, on.num_tokens, tiling.tile_slots,
                static_cast<const std::uint32_t*>(counts), placement);
}

//! Fills the lists of the assigned slots of the tokens that there are.
//!
//! Inputs     assignments: ids in device memory; the shapes are checked by the caller (check_device_assignments)
//! Outputs    lists: offsets, slots
//! Contract   rising slots inside an expert; ids outside [0, E) are in no list
//! Errors     index_overflow (assignments: 2^32 slots), workspace_too_small
//! Resources  1 launch up to 8192 slots, else 2; device_expert_lists_workspace_bytes
//! Cost       12 bytes per slot (8 in one launch), and the counts
inline status device_expert_lists(const device_stream& on, const assignment_view& a, const expert_lists& lists,
                                  workspace_view workspace) {
  const status checked = checks{}
                             .also(check_slot_numbers(a))
                             .also(check_workspace(workspace, device_expert_lists_workspace_bytes(a)))
                             .result();
  if (!checked.ok()) return checked;
  workspace_carver carver(workspace.data);
  auto* counts = carver.take<std::uint32_t>(group_tiling(a.most_slots(), a.experts).count_words(a.experts));
  return place_slots(on, a, slot_experts(a), counts, list_placement{lists, a.experts});
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
