// SPDX-License-Identifier: Apache-2.0
//! \file
//! The kernels that carry out the steps of a route: a whole small batch by one block, a large one after its choice.
#ifndef RESONANCE_ROUTE_KERNEL_ROUTE_STEPS_CUH
#define RESONANCE_ROUTE_KERNEL_ROUTE_STEPS_CUH

#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/launch.cuh>
#include <resonance/core/ordered_steps.cuh>
#include <resonance/core/std.hpp>
#include <resonance/route/block_route_steps.cuh>
#include <resonance/route/kernel_route.cuh>

RESONANCE_NAMESPACE_BEGIN
namespace detail {
RESONANCE_ARCH_NAMESPACE_BEGIN

//! How one block chooses for a small batch.
struct small_choice {
  int warps = 0;             // that have shared memory for rows; 0: the block takes the rows one by one
  std::int32_t deepest = 0;  // position of the order that is chosen
  long_rows rows;
};

//! The tile shapes are branches here, not kernels: all that follows would be compiled once more for each.
template <class Source, class Score, class Selection>
RESONANCE_DEVICE void choose_small(const block_team& team, const Source& source,
                                   const token_choice::row_rules<Score, Selection>& rules, std::int64_t tokens,
                                   const small_choice& by, unsigned char* shared,
                                   const token_choice::choice_outputs& out) {
  if (by.warps == 0) {
    choose_by_block(team, source, rules, by.rows, tokens, shared, out);
  } else if (warp_id() < by.warps) {
    with_route_shape<Source::whole_warp>(rules.experts, by.deepest, [&](auto size, auto depth) {
      using rows =
          tile_rows<Source,
                    token_choice::warp_row_chooser<Score, Selection, decltype(size)::value, decltype(depth)::value>>;
      for (std::int64_t first = 0; first < tokens; first += rows::tokens_per_turn(by.warps))
        rows::choose(source, rules, first, tokens, reinterpret_cast<std::uint32_t*>(shared), out);
    });
  }
  team.sync();
}

//! The whole route of a small batch, by one block.
template <int Threads, class Source, class Score, class Selection, class Merge, class Rule, class Order, class Index>
__global__ void __launch_bounds__(Threads, 1)
    kernel_route_small(Source source, token_choice::row_rules<Score, Selection> rules, small_choice by,
                       token_choice::choice_outputs chosen, route_steps_call<Merge, Rule, Order, Score, Index> call) {
  RESONANCE_DYNAMIC_SHARED(shared);
  RESONANCE_SHARED_ARRAY(std::uint64_t, team_words, block_team::scratch_words);
  wait_for_previous_kernel();
  const block_team team(team_words);
  choose_small(team, source, rules, call.tokens(), by, shared, chosen);
  serial_steps steps;
  run_route_steps(steps, team, shared, call);
}

//! The same where everything that is chosen is kept, and nobody asks for more than the plan.
template <int Threads, class Source, class Score, class Selection, class Index>
__global__ void __launch_bounds__(Threads, 1)
    kernel_route_small_unpruned(Source source, token_choice::row_rules<Score, Selection> rules, small_choice by,
                                token_choice::choice_outputs chosen, slot_experts of_plan,
                                rows_by_slot<Index> rows_of_plan, const std::int64_t* num_tokens) {
  RESONANCE_DYNAMIC_SHARED(shared);
  RESONANCE_SHARED_ARRAY(std::uint64_t, team_words, block_team::scratch_words);
  wait_for_previous_kernel();
  const block_team team(team_words);
  const std::int64_t tokens = live_tokens(source.tokens(), num_tokens);
  choose_small(team, source, rules, tokens, by, shared, chosen);
  const std::int64_t slots = tokens * rules.o.top_k;
  if (rows_of_plan.rows.out.expert_offsets != nullptr)
    block_place_slots(team, shared, group_tile{0, slots, slots}, of_plan, rows_of_plan);
}

//! The route of a batch whose tokens have chosen; a block for every item of every step.
template <int Threads, class Merge, class Rule, class Order, class Score, class Index>
__global__ void __launch_bounds__(Threads, 2)
    kernel_route_steps(route_steps_call<Merge, Rule, Order, Score, Index> call, unsigned* counters) {
  RESONANCE_DYNAMIC_SHARED(shared);
  RESONANCE_SHARED_ARRAY(std::uint64_t, team_words, block_team::scratch_words);
  wait_for_previous_kernel();
  const block_team team(team_words);
  ordered_steps steps(team, counters);
  run_route_steps(steps, team, shared, call);
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
