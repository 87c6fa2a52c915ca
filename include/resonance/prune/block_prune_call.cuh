// SPDX-License-Identifier: Apache-2.0
//! \file
//! One pruning as its blocks see it: arrays, options, scratch, and what they measure over the whole batch.
#ifndef RESONANCE_PRUNE_BLOCK_PRUNE_CALL_CUH
#define RESONANCE_PRUNE_BLOCK_PRUNE_CALL_CUH

#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/expert_members.cuh>
#include <resonance/core/launch.cuh>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/core/views.hpp>
#include <resonance/prune/block_prune.cuh>
#include <resonance/prune/capacity.hpp>
#include <resonance/prune/options.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

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

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
