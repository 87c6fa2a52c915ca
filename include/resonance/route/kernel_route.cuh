// SPDX-License-Identifier: Apache-2.0
//! \file
//! The choice of the tokens, and what follows it where a large batch is routed by a kernel each for experts and rows.
#ifndef RESONANCE_ROUTE_KERNEL_ROUTE_CUH
#define RESONANCE_ROUTE_KERNEL_ROUTE_CUH

#include <resonance/config.hpp>
#include <resonance/core/block_group.cuh>
#include <resonance/core/collectives.cuh>
#include <resonance/core/expert_members.cuh>
#include <resonance/core/launch.cuh>
#include <resonance/core/ordered_steps.cuh>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/merge/block_merge.cuh>
#include <resonance/plan/block_plan.cuh>
#include <resonance/prune/block_prune.cuh>
#include <resonance/prune/block_prune_call.cuh>
#include <resonance/route/block_route.cuh>
#include <resonance/token_choice/kernel_token_choice.cuh>

RESONANCE_NAMESPACE_BEGIN
namespace detail {
RESONANCE_ARCH_NAMESPACE_BEGIN

//! with_tile_shape in coarser steps, since every shape is one more kernel, or branch, to compile.
RESONANCE_NO_EXEC_CHECK
template <bool WholeWarp, class F>
RESONANCE_HOST_DEVICE void with_route_shape(std::int32_t experts, std::int32_t deepest, const F& f) {
  using shallow = std::integral_constant<int, 8>;
  using deep = std::integral_constant<int, 32>;
  if constexpr (!WholeWarp) {
    using half_warp = std::integral_constant<int, 16>;
    if (experts <= 4 * 16) return deepest <= 8 ? f(half_warp{}, shallow{}) : f(half_warp{}, deep{});
  }
  using whole_warp = std::integral_constant<int, warp_size>;
  return deepest <= 8 ? f(whole_warp{}, shallow{}) : f(whole_warp{}, deep{});
}

//! Tokens of one block of the first launch.
struct route_row {
  std::int64_t index;
  std::int64_t first_token;
  std::int64_t tokens;  // that there are
};

//! After the choice of a row: counts per expert, for a plan of everything chosen.
struct count_chosen {
  assignment_view choices;
  slot_experts experts;
  std::uint32_t* counts;  // [rows][L]

  RESONANCE_DEVICE void operator()(const block_team&, const route_row& row, unsigned char* shared) const {
    const std::int64_t begin = row.first_token * choices.slots_per_token;
    block_count_slots(begin, begin + row.tokens * choices.slots_per_token, experts, reinterpret_cast<unsigned*>(shared),
                      counts + row.index * experts.groups);
  }
};

//! After the choice of a row: its lists, and its best affinities where pruning asks for them.
struct list_chosen {
  prune_call call;
  row_list_placement placement;
  bool wants_best;

  RESONANCE_DEVICE void operator()(const block_team& team, const route_row& row, unsigned char* shared) const {
    const assignment_view& a = call.assignments;
    if (wants_best) {
      const std::uint64_t best =
          prune::best_affinities(team, a, static_cast<std::uint32_t>(row.first_token),
                                 static_cast<std::uint32_t>(row.first_token + row.tokens), call.token_best);
      if (team.rank() == 0) store(call.tile_best + row.index, best);
    }
    const std::int64_t slots = row.tokens * a.slots_per_token;
    slot_experts experts(a);
    experts.ids += row.first_token * a.slots_per_token;
    row_list_placement of_row = placement;
    of_row.row = row.index;
    block_place_slots(team, shared, group_tile{0, slots, slots}, experts, of_row);
  }
};

//! After the choice of a row: the counters of the steps that follow begin at 0.
struct start_steps {
  unsigned* counters;  // [ordered_steps::words]

  RESONANCE_DEVICE void operator()(const block_team& team, const route_row& row, unsigned char*) const {
    if (row.index == 0 && team.rank() < ordered_steps::words) store(counters + team.rank(), 0u);
  }
};

//! First launch: a block chooses for `row_tokens` tokens, then tells the next launch what it chose.
template <class Source, class Score, class Selection, int Size, int Deepest, class After>
__global__ void __launch_bounds__(token_choice_threads, tile_blocks(Source::block, Deepest))
    kernel_route_choice(Source source, token_choice::row_rules<Score, Selection> rules,
                        token_choice::choice_outputs out, std::int64_t row_tokens, After after,
                        const std::int64_t* num_tokens) {
  RESONANCE_DYNAMIC_SHARED(shared);
  RESONANCE_SHARED_ARRAY(std::uint64_t, team_words, block_team::scratch_words);
  wait_for_previous_kernel();
  using rows = tile_rows<Source, token_choice::warp_row_chooser<Score, Selection, Size, Deepest>>;
  const std::int64_t tokens = live_tokens(source.tokens(), num_tokens);
  const std::int64_t begin = block_index() * row_tokens < tokens ? block_index() * row_tokens : tokens;
  const std::int64_t end = begin + row_tokens < tokens ? begin + row_tokens : tokens;
  for (std::int64_t first = begin; first < end; first += rows::tokens_per_turn(block_threads() / warp_size))
    rows::choose(source, rules, first, end, reinterpret_cast<std::uint32_t*>(shared), out);
  sync_block();
  after(block_team(team_words), route_row{block_index(), begin, end - begin}, shared);
}

//! First launch where rows or choices are too long for registers.
template <class Source, class Score, class Selection>
__global__ void __launch_bounds__(row_block_threads, 1)
    kernel_route_choice_by_block(Source source, token_choice::row_rules<Score, Selection> rules, long_rows rows,
                                 token_choice::choice_outputs out, start_steps after, const std::int64_t* num_tokens) {
  RESONANCE_DYNAMIC_SHARED(shared);
  RESONANCE_SHARED_ARRAY(std::uint64_t, team_words, block_team::scratch_words);
  wait_for_previous_kernel();
  const block_team team(team_words);
  const std::int64_t tokens = live_tokens(source.tokens(), num_tokens);
  choose_by_block(team, source, rules, rows, tokens, shared, out);
  after(team, route_row{block_index(), 0, tokens}, shared);
}

//! What the experts of a pruned route read and write.
struct route_experts {
  prune_call call;
  row_lists lists;
  std::uint32_t* members = nullptr;     // [slots]
  std::uint64_t* rank_spill = nullptr;  // [2 * slots]
  std::int32_t* rank_in_expert = nullptr;
  std::uint32_t* kept_counts = nullptr;  // [rows][E]
  std::int64_t row_tokens = 0;

  RESONANCE_DEVICE std::int64_t rows() const {
    const std::int64_t tokens = live_tokens(call.assignments.tokens, call.num_tokens);
    return (tokens + row_tokens - 1) / row_tokens;
  }
};

//! Second launch, a block per expert: its members, their ranks, its capacity and the cut.
template <int Threads, class Rule, class Order>
__global__ void __launch_bounds__(Threads, 1) kernel_route_experts(Rule rule, route_experts r) {
  RESONANCE_SHARED_ARRAY(std::uint64_t, team_words, block_team::scratch_words);
  RESONANCE_SHARED_ARRAY(std::uint64_t, shared, prune_shared_words);
  wait_for_previous_kernel();
  const block_team team(team_words);
  const auto expert = static_cast<std::int32_t>(block_index());
  const assignment_view& a = r.call.assignments;
  const expert_members members = gather_members(team, r.lists, r.rows(), expert, r.members);
  merge::rank_members(team, members, a.affinity, r.rank_in_expert,
                      {shared, prune_shared_words, r.rank_spill + 2 * members.first});
  const prune::batch_facts facts = r.call.template facts<Rule>(team, expert == 0);
  prune::prune_expert<Order>(team, rule, facts, r.call.options.capacity_cap, expert, members, a, r.call.token_best,
                             r.call.out, r.call.scratch_of(members, shared));
  team.sync();
  count_kept(team, r.lists, r.rows(), expert, r.call.out.ids, r.kept_counts);
}

//! Last launch, a block per tile of slots: the rows of what was kept, from counts by row.
template <int Threads, class Index>
__global__ void __launch_bounds__(Threads, 1)
    kernel_route_place(assignment_view kept, slot_experts experts, const std::int64_t* num_tokens,
                       std::int64_t tile_slots, std::int64_t row_slots, const std::uint32_t* counts,
                       rows_by_slot<Index> placement) {
  RESONANCE_DYNAMIC_SHARED(shared);
  RESONANCE_SHARED_ARRAY(std::uint64_t, team_words, block_team::scratch_words);
  wait_for_previous_kernel();
  const group_tile tile{block_index(), tile_slots, live_slots(kept, num_tokens), counts, row_slots};
  if (tile.index < tile.tiles()) block_place_slots(block_team(team_words), shared, tile, experts, placement);
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
