// SPDX-License-Identifier: Apache-2.0
//! \file
//! Expert choice on the device: every expert takes its best tokens.
#ifndef RESONANCE_EXPERT_CHOICE_DEVICE_EXPERT_CHOICE_CUH
#define RESONANCE_EXPERT_CHOICE_DEVICE_EXPERT_CHOICE_CUH

#include <resonance/config.hpp>
#include <resonance/core/block_columns.cuh>
#include <resonance/core/device_group.cuh>
#include <resonance/core/expert_members.cuh>
#include <resonance/core/launch.cuh>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>
#include <resonance/core/workspace.hpp>
#include <resonance/expert_choice/kernel_expert_choice.cuh>
#include <resonance/expert_choice/options.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {
RESONANCE_ARCH_NAMESPACE_BEGIN

//! Most threads of a block that sorts one expert's keys, and most keys that it sorts in shared memory.
inline constexpr int expert_choice_threads = 256;
inline constexpr std::int64_t most_staged_choices = 4096;

//! Threads for some `keys`, one each: short lists are sorted by counting, and small blocks share a multiprocessor.
inline int threads_for_choices(std::int64_t keys) {
  const std::int64_t wanted = divide_up(keys, warp_size) * warp_size;
  return wanted < warp_size ? warp_size
                            : (wanted < expert_choice_threads ? static_cast<int>(wanted) : expert_choice_threads);
}

inline std::int64_t staged_choices(std::int64_t most) {
  return most < most_staged_choices ? most : most_staged_choices;
}

inline expert_choice::selected_keys carve_selected_keys(workspace_carver& carver, std::int64_t tokens,
                                                        std::int64_t experts, std::int64_t capacity) {
  expert_choice::selected_keys selected;
  selected.stride = capacity < tokens ? capacity : tokens;
  selected.keys = carver.take<std::uint64_t>(experts * selected.stride);
  selected.found = carver.take<std::uint32_t>(experts);
  return selected;
}

//! The scratch of the choice among candidates.
struct candidate_workspace {
  expert_lists lists;
  std::uint64_t* selected = nullptr;  // [slots]
  workspace_view grouping;

  void carve(workspace_carver& carver, const assignment_view& candidates) {
    lists.offsets = carver.take<std::int64_t>(std::int64_t{candidates.experts} + 1);
    lists.slots = carver.take<std::uint32_t>(candidates.most_slots());
    selected = carver.take<std::uint64_t>(candidates.most_slots());
    grouping.bytes = device_expert_lists_workspace_bytes(candidates);
    grouping.data = carver.take<unsigned char>(static_cast<std::int64_t>(grouping.bytes));
  }
};

RESONANCE_ARCH_NAMESPACE_END
}  // namespace detail

namespace expert_choice {
RESONANCE_ARCH_NAMESPACE_BEGIN

//! Bytes of workspace that device_expert_choice over all tokens needs: 8 E min(C, T) and 4 E.
inline std::size_t device_expert_choice_workspace_bytes(std::int64_t tokens, std::int64_t experts, const options& o) {
  detail::workspace_carver counter;
  detail::carve_selected_keys(counter, tokens, experts, o.capacity);
  return counter.bytes();
}

//! Takes the C best tokens of every expert, over all tokens.
//!
//! Equation   row i = the first C_i tokens by (score[.,i] desc, token asc)   EC section 3
//! Inputs     scores float[T,E] strided; o.capacities in device memory
//! Outputs    token_ids int32[E,C], token_scores float[E,C] (nullable); slots past C_i or past T: -1, 0
//! Contract   NaN and -inf are never taken; same result as host_expert_choice
//! Errors     null_pointer (scores, token_ids), out_of_range (capacity, E < 1), index_overflow, workspace_too_small,
//!            launch_failed
//! Resources  2 launches; device_expert_choice_workspace_bytes
//! Cost       T*E reads up to T = 1100 or so, where eight columns fit shared memory; beyond, one more per sweep of
//!            block_select (three with random scores). E / 8 blocks read, E blocks sort C keys each
//! Example    test/simt/expert_choice/device_expert_choice_test.cpp
inline status device_expert_choice(const device_stream& on, matrix_view<const float> scores, const options& o,
                                   const outputs& out, workspace_view workspace) {
  detail::checks c;
  c.also(detail::check_expert_choice(scores, o, out));
  if (!c.result().ok()) return c.result();
  c.also(detail::check_workspace(workspace, device_expert_choice_workspace_bytes(scores.rows, scores.cols, o)));
  if (!c.result().ok()) return c.result();

  detail::workspace_carver carver(workspace.data);
  const selected_keys selected = detail::carve_selected_keys(carver, scores.rows, scores.cols, o.capacity);
  const std::size_t staged = detail::staged_column_bytes(scores.rows, sizeof(choose_scratch));
  const status chosen =
      detail::launch(on, {detail::column_groups(scores.cols), column_threads, staged},
                     kernel_choose_tokens<column_threads>, scores, o, on.num_tokens, staged > 0, selected);
  if (!chosen.ok()) return chosen;
  const std::int64_t room = detail::staged_choices(selected.stride);
  return detail::launch(on,
                        {scores.cols, detail::threads_for_choices(selected.stride),
                         static_cast<std::size_t>(room) * sizeof(std::uint64_t)},
                        kernel_write_best<detail::expert_choice_threads>, scores, o, selected, room, out);
}

//! Bytes of workspace that device_expert_choice over candidates needs: 12 per slot, 8 (E + 1), and the grouping's.
inline std::size_t device_expert_choice_workspace_bytes(const assignment_view& candidates) {
  if (!detail::check_device_assignments(candidates).ok()) return 0;
  detail::workspace_carver counter;
  detail::candidate_workspace scratch;
  scratch.carve(counter, candidates);
  return counter.bytes();
}

//! Takes the C best tokens of every expert among those that chose it.
//!
//! Equation   row i = the first C_i members of A_i by (affinity desc, token asc, slot asc)   ETR Eq. 6
//! Inputs     candidates: ids and affinity; o.capacities; all in device memory
//! Outputs    as above; token_scores are affinities
//! Contract   same result as host_expert_choice. A token that names an expert twice may be taken twice.
//! Errors     null_pointer (candidates, token_ids), out_of_range (capacity), index_overflow (capacity; assignments:
//!            2^32 slots), workspace_too_small, launch_failed
//! Resources  device_expert_lists' launches and 1; device_expert_choice_workspace_bytes
//! Cost       20 bytes per slot, the sort of min(C, |A_i|) keys. A block per expert: an expert with more than 8192
//!            members reads them once per sweep
//! Example    test/simt/expert_choice/device_expert_choice_test.cpp
inline status device_expert_choice(const device_stream& on, const assignment_view& candidates, const options& o,
                                   const outputs& out, workspace_view workspace) {
  detail::checks c;
  c.also(detail::check_device_assignments(candidates));
  if (!c.result().ok()) return c.result();
  c.also(detail::check_expert_choice(candidates, candidates.most_slots() > 0, o, out));
  c.also(detail::check_slot_numbers(candidates));
  c.also(detail::check_workspace(workspace, device_expert_choice_workspace_bytes(candidates)));
  if (!c.result().ok()) return c.result();

  detail::workspace_carver carver(workspace.data);
  detail::candidate_workspace scratch;
  scratch.carve(carver, candidates);
  const status listed = detail::device_expert_lists(on, candidates, scratch.lists, scratch.grouping);
  if (!listed.ok()) return listed;
  const std::int64_t room = detail::staged_choices(candidates.most_slots());
  const int threads =
      detail::threads_per_expert(candidates.most_slots(), candidates.experts, detail::expert_choice_threads);
  return detail::launch(on, {candidates.experts, threads, static_cast<std::size_t>(room) * sizeof(std::uint64_t)},
                        kernel_choose_candidates<detail::expert_choice_threads>, candidates,
                        detail::member_lists{scratch.lists.offsets, scratch.lists.slots}, o, scratch.selected, room,
                        out);
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace expert_choice
RESONANCE_NAMESPACE_END

#endif
