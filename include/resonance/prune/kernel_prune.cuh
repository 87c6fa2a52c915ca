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
#include <resonance/core/views.hpp>
#include <resonance/prune/block_prune.cuh>

RESONANCE_NAMESPACE_BEGIN
namespace detail {
RESONANCE_ARCH_NAMESPACE_BEGIN

inline constexpr int prune_threads = 256;

//! Members of an expert that are ranked in shared memory (by key; twice as many by mass); more take the workspace.
inline constexpr int prune_shared_words = 2048;

//! Tokens whose best affinities one block measures.
inline constexpr std::uint32_t prune_tile_tokens = 256;

//! What all kernels of one pruning read and write.
struct prune_call {
  assignment_view assignments;
  prune::batch_facts batch;  // tokens: the most; delta_max: not yet known
  prune::options options;
  prune::outputs out;
  const std::int64_t* num_tokens = nullptr;
  member_lists lists;
  float* token_best = nullptr;         // [T]
  std::uint64_t* tile_best = nullptr;  // [best_tiles]
  std::int64_t best_tiles = 0;
  std::int64_t* capacities = nullptr;   // [E], where they are shared
  std::uint32_t* rank_spill = nullptr;  // [slots]
  std::uint64_t* key_spill = nullptr;   // [2 * slots]

  RESONANCE_DEVICE prune::expert_scratch scratch_of(const expert_members& members, std::uint64_t* shared,
                                                    int shared_words = prune_shared_words) const {
    return {shared, shared_words, rank_spill != nullptr ? rank_spill + members.first : nullptr,
            key_spill != nullptr ? key_spill + 2 * members.first : nullptr};
  }

  //! The facts of the tokens that there are; delta_max is reported by the block that `is_first`.
  template <class Rule>
  RESONANCE_DEVICE prune::batch_facts facts(const block_team& team, bool is_first) const {
    prune::batch_facts now = batch;
    now.tokens = live_tokens(batch.tokens, num_tokens);
    const bool reports = out.delta_max != nullptr && is_first;
    const bool given = options.delta_max != nullptr;
    if (reports || (Rule::needs_delta_max && !given)) {
      const float best = prune::largest_affinity(team, tile_best, best_tiles);
      if (reports && team.rank() == 0) store(out.delta_max, best);
      if (Rule::needs_delta_max) now.delta_max = best;
    }
    if (Rule::needs_delta_max && given) now.delta_max = load(options.delta_max);
    return now;
  }

  //! token_best and tile_best of one tile of tokens.
  RESONANCE_DEVICE void measure_best(const block_team& team, const assignment_view& of, std::uint32_t tile) const {
    const std::uint32_t begin = tile * prune_tile_tokens;
    const auto tokens = static_cast<std::uint32_t>(live_tokens(of.tokens, num_tokens));
    const std::uint32_t end = tokens < begin + prune_tile_tokens ? tokens : begin + prune_tile_tokens;
    const std::uint64_t best = prune::best_affinities(team, of, begin, end, token_best);
    if (team.rank() == 0) store(tile_best + tile, best);
  }
};

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
