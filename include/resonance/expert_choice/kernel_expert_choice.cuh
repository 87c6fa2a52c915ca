// SPDX-License-Identifier: Apache-2.0
//! \file
//! The kernels of expert choice.
#ifndef RESONANCE_EXPERT_CHOICE_KERNEL_EXPERT_CHOICE_CUH
#define RESONANCE_EXPERT_CHOICE_KERNEL_EXPERT_CHOICE_CUH

#include <resonance/config.hpp>
#include <resonance/core/block_columns.cuh>
#include <resonance/core/collectives.cuh>
#include <resonance/core/expert_members.cuh>
#include <resonance/core/launch.cuh>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/core/views.hpp>
#include <resonance/expert_choice/block_expert_choice.cuh>
#include <resonance/expert_choice/options.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace expert_choice {
RESONANCE_ARCH_NAMESPACE_BEGIN

//! One block per eight experts; with dynamic shared memory for the keys if `staged`.
template <int Threads>
__global__ __launch_bounds__(Threads, 1) void kernel_choose_tokens(matrix_view<const float> scores, options o,
                                                                   const std::int64_t* num_tokens, bool staged,
                                                                   selected_keys out) {
  RESONANCE_DYNAMIC_SHARED(keys);
  RESONANCE_SHARED_ARRAY(choose_scratch, scratch, 1);
  wait_for_previous_kernel();
  const column_keys columns = column_keys::of_group(scores, block_index(), live_tokens(scores.rows, num_tokens),
                                                    staged ? reinterpret_cast<std::uint32_t*>(keys) : nullptr);
  block_choose_tokens(scratch[0], columns, o, out);
}

//! One block per expert; dynamic shared memory for `room` keys.
template <int Threads>
__global__ __launch_bounds__(Threads) void kernel_write_best(matrix_view<const float> scores, options o,
                                                             selected_keys selected, std::int64_t room, outputs out) {
  RESONANCE_DYNAMIC_SHARED(keys);
  RESONANCE_SHARED_ARRAY(std::uint64_t, partials, block_team::scratch_words);
  wait_for_previous_kernel();
  const std::int64_t e = block_index();
  block_write_best(
      block_team(partials), selected.keys + e * selected.stride, load(selected.found + e), o.capacity,
      {reinterpret_cast<std::uint64_t*>(keys), room}, [](std::uint32_t t) { return static_cast<std::int32_t>(t); },
      [&](std::uint32_t t) { return load(scores.row(static_cast<std::int32_t>(t)) + e); },
      out.token_ids + e * o.capacity, out.token_scores != nullptr ? out.token_scores + e * o.capacity : nullptr);
}

//! One block per expert; dynamic shared memory for `room` keys, which first holds twice as many halves of keys.
template <int Threads>
__global__ __launch_bounds__(Threads) void kernel_choose_candidates(assignment_view candidates,
                                                                    detail::member_lists lists, options o,
                                                                    std::uint64_t* selected, std::int64_t room,
                                                                    outputs out) {
  RESONANCE_DYNAMIC_SHARED(shared);
  RESONANCE_SHARED_ARRAY(candidate_scratch, scratch, 1);
  RESONANCE_SHARED_ARRAY(std::uint64_t, partials, block_team::scratch_words);
  wait_for_previous_kernel();
  const std::int64_t e = block_index();
  const detail::expert_members members = lists.of(e);
  std::uint64_t* keys = selected + members.first;
  const std::int64_t found = block_choose_candidates(scratch[0], members, candidates.affinity, capacity_of(o, e),
                                                     reinterpret_cast<std::uint32_t*>(shared), 2 * room, keys);
  // Never past the last member; the comparison also keeps the compiler from 64-bit masks for a 32-bit index.
  const auto slot_of = [&](std::uint32_t m) { return members.slot(m < members.count ? m : members.count - 1); };
  block_write_best(
      block_team(partials), keys, found, o.capacity, {reinterpret_cast<std::uint64_t*>(shared), room},
      [&](std::uint32_t m) { return static_cast<std::int32_t>(detail::token_of(candidates, slot_of(m))); },
      [&](std::uint32_t m) { return load(candidates.affinity + slot_of(m)); }, out.token_ids + e * o.capacity,
      out.token_scores != nullptr ? out.token_scores + e * o.capacity : nullptr);
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace expert_choice
RESONANCE_NAMESPACE_END

#endif
