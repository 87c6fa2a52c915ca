// SPDX-License-Identifier: Apache-2.0
//! \file
//! The plan on the device: which row of the expert-ordered buffer every kept assignment gets.
#ifndef RESONANCE_PLAN_DEVICE_PLAN_CUH
#define RESONANCE_PLAN_DEVICE_PLAN_CUH

#include <resonance/config.hpp>
#include <resonance/core/device_group.cuh>
#include <resonance/core/launch.cuh>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>
#include <resonance/core/workspace.hpp>
#include <resonance/plan/block_plan.cuh>
#include <resonance/plan/kernel_plan.cuh>
#include <resonance/plan/plan.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

//! What a plan over `a` carves from its workspace. Position: of the rows.
template <class Position>
struct device_plan_scratch {
  std::uint32_t* counts = nullptr;      // [tiles][L]
  Position* begins = nullptr;           // [L]; this and below: rows by affinity
  std::uint32_t* members_of = nullptr;  // [L]
  std::uint32_t* members = nullptr;     // [slots, or rows with their padding]
  std::uint64_t* spill = nullptr;       // twice as many; where an expert may outgrow shared memory

  void carve(workspace_carver& carver, const assignment_view& a, const plan::options& o) {
    const std::int64_t slots = a.most_slots();
    const std::int32_t local = o.local_experts(a.experts);
    counts = carver.take<std::uint32_t>(group_tiling(slots, local).count_words(local));
    if (!o.by_affinity) return;
    const std::int64_t places = o.pad_to_capacity >= 0 ? slots : plan::max_rows(slots, a.experts, o);
    begins = carver.take<Position>(local);
    members_of = carver.take<std::uint32_t>(local);
    members = carver.take<std::uint32_t>(places);
    if (slots > plan_shared_members) spill = carver.take<std::uint64_t>(2 * places);
  }
};

//! Threads of an expert's block: one for 4 slots, if all are the expert's.
constexpr int plan_threads_of_expert(std::int64_t slots) {
  const std::int64_t warps = divide_up(slots, 4 * warp_size);
  constexpr int most_warps = plan_affinity_threads / warp_size;
  return warp_size * (warps < 1 ? 1 : warps < most_warps ? static_cast<int>(warps) : most_warps);
}

template <class Index>
status check_device_plan(const assignment_view& a, const plan::options& o, const plan::outputs<Index>& out) {
  checks c;
  c.also(check_device_assignments(a));
  if (!c.result().ok()) return c.result();
  return c.also(check_plan(a, a.most_slots(), o, out))
      .fits(!o.by_affinity || check_slot_numbers(a).ok(), "assignments")
      .result();
}

}  // namespace detail

namespace plan {
RESONANCE_ARCH_NAMESPACE_BEGIN

//! Bytes of workspace that device_plan needs: 4 L per tile of 8192 slots or more, none for fewer; with rows by affinity
//! also 12 L, and per row 4, or 20 past 4096 slots.
template <class Index = std::int32_t>
std::size_t device_plan_workspace_bytes(const assignment_view& assignments, const options& o) {
  if (!detail::check_device_assignments(assignments).ok() || !o.check(assignments, assignments.most_slots()).ok())
    return 0;
  detail::workspace_carver counter;
  detail::device_plan_scratch<typename detail::plan_rows<Index>::position> scratch;
  scratch.carve(counter, assignments, o);
  return counter.bytes();
}

//! Gives every kept assignment its row: experts one after the other, each from an aligned offset.
//!
//! Equation   host_plan's
//! Inputs     assignments: ids, affinity for by_affinity, in device memory; options.expert_map [E] too
//! Outputs    see outputs, in device memory; sorted_token_ids and expert_ids past P stay untouched, and so does the
//!            inverse of slots whose tokens are not there (device_stream::num_tokens)
//! Contract   the same values as host_plan, whatever the schedule
//! Errors     host_plan's; index_overflow (assignments: 2^32 slots by affinity); launch_failed
//! Resources  1 launch up to 8192 slots, else 2; one more with rows by affinity; device_plan_workspace_bytes<Index>
//! Cost       12 bytes per slot in one launch, else 16: the ids are read again, since no row is known before all slots
//!            are counted; counts of at most 2 bytes per slot; 4 (L + 1). By affinity: see block_plan_by_affinity
//! Example    test/simt/plan/device_plan_test.cpp
template <class Index>
status device_plan(const device_stream& on, const assignment_view& assignments, const options& o,
                   const outputs<Index>& out, workspace_view workspace) {
  const assignment_view& a = assignments;
  detail::checks c;
  c.also(detail::check_device_plan(a, o, out));
  if (!c.result().ok()) return c.result();
  c.also(detail::check_workspace(workspace, device_plan_workspace_bytes<Index>(a, o)));
  if (!c.result().ok()) return c.result();

  detail::workspace_carver carver(workspace.data);
  detail::device_plan_scratch<typename detail::plan_rows<Index>::position> scratch;
  scratch.carve(carver, a, o);
  const std::int32_t local = o.local_experts(a.experts);
  const detail::slot_experts experts(a, o.expert_map, o.num_local);
  const detail::plan_rows<Index> rows(out, o, local);
  if (!o.by_affinity) return detail::place_slots(on, a, experts, scratch.counts, detail::rows_by_slot<Index>{rows});
  const detail::rows_by_affinity<Index> lists{rows, scratch.begins, scratch.members_of, scratch.members};
  c.also(detail::place_slots(on, a, experts, scratch.counts, lists));
  if (!c.result().ok()) return c.result();
  return detail::launch(on, {local, detail::plan_threads_of_expert(a.most_slots()), 0},
                        detail::kernel_plan_by_affinity<detail::plan_affinity_threads, Index>, a.affinity, lists,
                        scratch.spill);
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace plan
RESONANCE_NAMESPACE_END

#endif
