// SPDX-License-Identifier: Apache-2.0
//! \file
//! The kernels of capacity pruning.
#ifndef RESONANCE_PRUNE_KERNEL_PRUNE_CUH
#define RESONANCE_PRUNE_KERNEL_PRUNE_CUH

#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/expert_members.cuh>
#include <resonance/core/launch.cuh>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/prune/block_prune.cuh>
#include <resonance/prune/block_prune_call.cuh>

RESONANCE_NAMESPACE_BEGIN
namespace detail {
RESONANCE_ARCH_NAMESPACE_BEGIN

inline constexpr int prune_threads = 256;

//! The largest affinity of every token and tile; a block per tile.
template <int Threads>
__global__ __launch_bounds__(Threads) void kernel_best_affinities(prune_call call) {
  RESONANCE_SHARED_ARRAY(std::uint64_t, team_scratch, block_team::scratch_words);
  wait_for_previous_kernel();
  call.measure_best(block_team(team_scratch), call.assignments, static_cast<std::uint32_t>(block_index()));
}

//! Capacity and cut; a block per expert. Half of the registers' room for threads is enough: there are seldom more
//! blocks than multiprocessors hold at once, and 64 registers carry a call of the division in double without spilling.
template <int Threads, class Rule, class Order>
__global__ __launch_bounds__(Threads, 4) void kernel_prune(Rule rule, prune_call call) {
  RESONANCE_SHARED_ARRAY(std::uint64_t, team_scratch, block_team::scratch_words);
  RESONANCE_SHARED_ARRAY(std::uint64_t, shared, prune_shared_words);
  wait_for_previous_kernel();
  const block_team team(team_scratch);
  const auto expert = static_cast<std::int32_t>(block_index());
  const expert_members members = call.lists.of(expert);
  prune::prune_expert<Order>(team, rule, call.facts<Rule>(team, expert == 0), call.options.capacity_cap, expert,
                             members, call.assignments, call.token_best, call.out, call.scratch_of(members, shared));
}

//! Capacities alone, for those who share the largest; a block per expert.
template <int Threads, class Rule>
__global__ __launch_bounds__(Threads) void kernel_expert_capacity(Rule rule, prune_call call) {
  RESONANCE_SHARED_ARRAY(std::uint64_t, team_scratch, block_team::scratch_words);
  RESONANCE_SHARED_ARRAY(std::uint64_t, shared, prune_shared_words);
  wait_for_previous_kernel();
  const block_team team(team_scratch);
  const auto expert = static_cast<std::int32_t>(block_index());
  const expert_members members = call.lists.of(expert);
  const std::int64_t capacity =
      prune::expert_capacity(team, rule, call.facts<Rule>(team, expert == 0), call.options.capacity_cap, expert,
                             members, call.assignments, call.scratch_of(members, shared));
  if (team.rank() == 0) store(call.capacities + expert, capacity);
}

//! The cut at the largest capacity; a block per expert.
template <int Threads, class Rule, class Order>
__global__ __launch_bounds__(Threads, 4) void kernel_cut_shared(prune_call call) {
  RESONANCE_SHARED_ARRAY(std::uint64_t, team_scratch, block_team::scratch_words);
  RESONANCE_SHARED_ARRAY(std::uint64_t, shared, prune_shared_words);
  wait_for_previous_kernel();
  const block_team team(team_scratch);
  const auto expert = static_cast<std::int32_t>(block_index());
  const expert_members members = call.lists.of(expert);
  const std::int64_t capacity = prune::largest_capacity(team, call.capacities, call.batch.experts);
  if (call.out.capacities != nullptr && team.rank() == 0) store(call.out.capacities + expert, capacity);
  prune::cut_members<Rule, Order>(team, expert, capacity, members, call.assignments, call.token_best, call.out,
                                  call.scratch_of(members, shared));
}

//! Weights divided by their token's sum; a thread per token, in strides of the grid.
template <int Threads>
__global__ __launch_bounds__(Threads) void kernel_renormalize(prune_call call) {
  wait_for_previous_kernel();
  prune::renormalize_tokens(call.assignments, block_index() * Threads + block_thread(),
                            live_tokens(call.assignments.tokens, call.num_tokens), block_count() * Threads,
                            call.out.weights);
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
