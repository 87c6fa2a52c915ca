// SPDX-License-Identifier: Apache-2.0
//! \file
//! The kernels of the fused routes: the stages' own bodies, with a barrier or a launch between them.
#ifndef RESONANCE_ROUTE_KERNEL_ROUTE_CUH
#define RESONANCE_ROUTE_KERNEL_ROUTE_CUH

#include <resonance/config.hpp>
#include <resonance/core/block_group.cuh>
#include <resonance/core/collectives.cuh>
#include <resonance/core/expert_members.cuh>
#include <resonance/core/kernel_group.cuh>
#include <resonance/core/launch.cuh>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/merge/block_merge.cuh>
#include <resonance/plan/block_plan.cuh>
#include <resonance/prune/block_prune.cuh>
#include <resonance/prune/kernel_prune.cuh>
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

//! What the experts of a pruned route read and write.
struct route_experts {
  prune_call call;
  row_lists lists;
  std::uint32_t* members = nullptr;     // [slots]
  std::int64_t* offsets = nullptr;      // [E + 1] of the members, where the cut is a launch of its own
  std::uint64_t* rank_spill = nullptr;  // [2 * slots]
  std::int32_t* rank_in_expert = nullptr;
  std::uint32_t* kept_counts = nullptr;  // [rows][E]
  std::int64_t row_tokens = 0;

  RESONANCE_DEVICE std::int64_t rows() const {
    const std::int64_t tokens = live_tokens(call.assignments.tokens, call.num_tokens);
    return (tokens + row_tokens - 1) / row_tokens;
  }
};

//! Second launch, a block per expert: its members, their ranks, its capacity and, unless that is shared, the cut.
template <int Threads, class Rule, class Order, bool Shared>
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
  const prune::batch_facts facts = r.call.template facts<Rule>(team);
  const prune::expert_scratch scratch = r.call.scratch_of(members, shared);
  if constexpr (Shared) {
    const std::int64_t capacity =
        prune::expert_capacity(team, rule, facts, r.call.options.capacity_cap, expert, members, a, scratch);
    if (team.rank() == 0) {
      store(r.call.capacities + expert, capacity);
      store(r.offsets + expert, members.first);
      if (expert == a.experts - 1) store(r.offsets + a.experts, members.first + members.count);
    }
  } else {
    prune::prune_expert<Order>(team, rule, facts, r.call.options.capacity_cap, expert, members, a, r.call.token_best,
                               r.call.out, scratch);
    team.sync();
    count_kept(team, r.lists, r.rows(), expert, r.call.out.ids, r.kept_counts);
  }
}

//! The cut at the largest capacity, a block per expert.
template <int Threads, class Rule, class Order>
__global__ void __launch_bounds__(Threads, 1) kernel_route_cut(route_experts r) {
  RESONANCE_SHARED_ARRAY(std::uint64_t, team_words, block_team::scratch_words);
  RESONANCE_SHARED_ARRAY(std::uint64_t, shared, prune_shared_words);
  wait_for_previous_kernel();
  const block_team team(team_words);
  const auto expert = static_cast<std::int32_t>(block_index());
  const expert_members members = member_lists{r.offsets, r.members}.of(expert);
  const std::int64_t capacity = prune::largest_capacity(team, r.call.capacities, r.call.batch.experts);
  if (r.call.out.capacities != nullptr && team.rank() == 0) store(r.call.out.capacities + expert, capacity);
  prune::cut_members<Rule, Order>(team, expert, capacity, members, r.call.assignments, r.call.token_best, r.call.out,
                                  r.call.scratch_of(members, shared));
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

//! What one block needs to route a small batch.
struct small_route {
  route_experts experts;      // lists and kept_counts are not used
  expert_lists members;       // of all slots
  std::int32_t choosing = 0;  // warps that have shared memory for rows
  std::int32_t deepest = 0;   // position of the order that is chosen
  bool wants_best = false;
};

//! A placement of all slots into the experts' lists; a slot without an expert is dropped at once.
struct small_list_placement : list_placement {
  std::int32_t* ids = nullptr;
  float* weights = nullptr;  // nullable
  std::int32_t* rank_in_expert = nullptr;

  RESONANCE_DEVICE void none(std::int64_t slot) const {
    store(ids + slot, -1);
    if (weights != nullptr) store(weights + slot, 0.0f);
    store(rank_in_expert + slot, -1);
  }
};

//! Lists, ranks, capacities and cuts of all experts by one block, an expert per warp at a time.
template <class Order, class Rule>
RESONANCE_DEVICE void prune_small(const block_team& team, unsigned char* shared, const Rule& rule, const small_route& r,
                                  const group_tile& slots) {
  const prune_call& call = r.experts.call;
  const assignment_view& a = call.assignments;
  small_list_placement placement;
  placement.lists = r.members;
  placement.groups = a.experts;
  placement.ids = call.out.ids;
  placement.weights = call.out.weights;
  placement.rank_in_expert = r.experts.rank_in_expert;
  block_place_slots(team, shared, slots, slot_experts(a), placement);
  if (r.wants_best) {
    const std::uint64_t best = prune::best_affinities(
        team, a, 0, static_cast<std::uint32_t>(live_tokens(a.tokens, call.num_tokens)), call.token_best);
    if (team.rank() == 0) store(call.tile_best, best);
    team.sync();
  }
  const prune::batch_facts facts = call.template facts<Rule>(team);
  const member_lists lists{r.members.offsets, r.members.slots};
  const warp_team warp;
  const int warps = block_threads() / warp_size;
  constexpr int words = rank_scratch::least_words;
  std::uint64_t* own = reinterpret_cast<std::uint64_t*>(shared) + warp_id() * words;
  const auto scratch_of = [&](const expert_members& members) {
    prune::expert_scratch scratch = call.scratch_of(members, own);
    scratch.shared_words = words;
    return scratch;
  };
  for (std::int32_t e = warp_id(); e < a.experts; e += warps) {
    const expert_members members = lists.of(e);
    merge::rank_members(warp, members, a.affinity, r.experts.rank_in_expert,
                        {own, words, r.experts.rank_spill + 2 * members.first});
    if (call.options.shared) {
      const std::int64_t capacity =
          prune::expert_capacity(warp, rule, facts, call.options.capacity_cap, e, members, a, scratch_of(members));
      if (warp.rank() == 0) store(call.capacities + e, capacity);
    } else {
      prune::prune_expert<Order>(warp, rule, facts, call.options.capacity_cap, e, members, a, call.token_best, call.out,
                                 scratch_of(members));
    }
    warp.sync();
  }
  team.sync();
  if (call.options.shared) {
    const std::int64_t capacity = prune::largest_capacity(team, call.capacities, a.experts);
    for (std::int32_t e = warp_id(); e < a.experts; e += warps) {
      const expert_members members = lists.of(e);
      if (call.out.capacities != nullptr && warp.rank() == 0) store(call.out.capacities + e, capacity);
      prune::cut_members<Rule, Order>(warp, e, capacity, members, a, call.token_best, call.out, scratch_of(members));
      warp.sync();
    }
    team.sync();
  }
  if (call.options.renormalize) {
    prune::renormalize_tokens(a, team.rank(), live_tokens(a.tokens, call.num_tokens), team.size(), call.out.weights);
    team.sync();
  }
}

//! The choice of a small batch, by the block's first `choosing` warps.
template <class Source, class Score, class Selection, int Size, int Deepest>
RESONANCE_DEVICE void choose_small(const Source& source, const token_choice::row_rules<Score, Selection>& rules,
                                   std::int64_t tokens, int choosing, unsigned char* shared,
                                   const token_choice::choice_outputs& out) {
  using rows = tile_rows<Source, token_choice::warp_row_chooser<Score, Selection, Size, Deepest>>;
  if (warp_id() >= choosing) return;
  for (std::int64_t first = 0; first < tokens; first += rows::tokens_per_turn(choosing))
    rows::choose(source, rules, first, tokens, reinterpret_cast<std::uint32_t*>(shared), out);
}

//! The whole route of a small batch, by one block. Prunes: false where everything chosen is kept. The tile shapes are
//! branches of one kernel here, not kernels: all but the choice would be compiled once more for each.
template <int Threads, bool Prunes, class Source, class Score, class Selection, class Rule, class Order, class Index>
__global__ void __launch_bounds__(Threads, 1)
    kernel_route_small(Source source, token_choice::row_rules<Score, Selection> rules,
                       token_choice::choice_outputs chosen, Rule rule, small_route r, slot_experts of_plan,
                       rows_by_slot<Index> rows_of_plan) {
  RESONANCE_DYNAMIC_SHARED(shared);
  RESONANCE_SHARED_ARRAY(std::uint64_t, team_words, block_team::scratch_words);
  wait_for_previous_kernel();
  const block_team team(team_words);
  const prune_call& call = r.experts.call;
  const std::int64_t tokens = live_tokens(source.tokens(), call.num_tokens);
  const auto choose = [&](auto size, auto depth) {
    choose_small<Source, Score, Selection, decltype(size)::value, decltype(depth)::value>(source, rules, tokens,
                                                                                          r.choosing, shared, chosen);
  };
  with_route_shape<Source::whole_warp>(rules.experts, r.deepest, choose);
  team.sync();
  const std::int64_t slots = tokens * call.assignments.slots_per_token;
  const group_tile all_slots{0, slots, slots};
  if constexpr (Prunes) prune_small<Order>(team, shared, rule, r, all_slots);
  if (rows_of_plan.rows.out.expert_offsets != nullptr)
    block_place_slots(team, shared, all_slots, of_plan, rows_of_plan);
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
