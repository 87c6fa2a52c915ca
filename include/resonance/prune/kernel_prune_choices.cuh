// SPDX-License-Identifier: Apache-2.0
//! \file
//! The kernels of token-side pruning: a thread per token.
#ifndef RESONANCE_PRUNE_KERNEL_PRUNE_CHOICES_CUH
#define RESONANCE_PRUNE_KERNEL_PRUNE_CHOICES_CUH

#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/expert_members.cuh>
#include <resonance/core/launch.cuh>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/core/views.hpp>
#include <resonance/prune/prune_choices.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {
RESONANCE_ARCH_NAMESPACE_BEGIN

inline constexpr int prune_choices_threads = 256;

//! counts: [blocks] what each block dropped; nullable.
template <int Threads, class Rule>
__global__ __launch_bounds__(Threads) void kernel_prune_choices(float bound, assignment_view a,
                                                                const std::uint8_t* protected_tokens,
                                                                prune::choice_options o, prune::choice_outputs out,
                                                                const std::int64_t* num_tokens, std::int64_t* counts) {
  RESONANCE_SHARED_ARRAY(std::uint64_t, team_scratch, block_team::scratch_words);
  wait_for_previous_kernel();
  const std::int64_t token = block_index() * Threads + block_thread();
  std::int64_t dropped = 0;
  if (token < live_tokens(a.tokens, num_tokens)) {
    const bool is_protected = protected_tokens != nullptr && load(protected_tokens + token) != 0;
    dropped = prune_token_choices<Rule>(
        bound_of_token(bound, is_protected), o, a.experts, first_slot(a, token), first_slot(a, token + 1),
        [&](std::int64_t slot) { return load(a.ids + slot); },
        [&](std::int64_t slot) { return load(a.weights + slot); },
        [&](std::int64_t slot, std::int32_t id, float weight) {
          store(out.ids + slot, id);
          store(out.weights + slot, weight);
        });
  }
  if (counts == nullptr) return;
  const std::int64_t all = block_team(team_scratch).sum(dropped);
  if (block_thread() == 0) store(counts + block_index(), all);
}

//! One block adds up the blocks' counts.
template <int Threads>
__global__ __launch_bounds__(Threads) void kernel_sum_counts(const std::int64_t* counts, std::int64_t blocks,
                                                             std::int64_t* total) {
  RESONANCE_SHARED_ARRAY(std::uint64_t, team_scratch, block_team::scratch_words);
  wait_for_previous_kernel();
  std::int64_t own = 0;
  for (std::int64_t i = block_thread(); i < blocks; i += Threads) own += load(counts + i);
  const std::int64_t all = block_team(team_scratch).sum(own);
  if (block_thread() == 0) store(total, all);
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
