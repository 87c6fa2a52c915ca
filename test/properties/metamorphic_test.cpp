// SPDX-License-Identifier: Apache-2.0
// What must happen to a route's result when its input or its executor changes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <numeric>
#include <utility>
#include <vector>

#include "properties/expectation.hpp"
#include "properties/random_route.hpp"
#include "support/executors.hpp"
#include "support/random.hpp"

namespace {

namespace affinity = resonance::affinity;
namespace merge = resonance::merge;
namespace prune = resonance::prune;
namespace token_choice = resonance::token_choice;

affinity::logits_input<float> view_of(const std::vector<float>& logits, std::size_t experts) {
  affinity::logits_input<float> input;
  input.logits = {logits.data(), static_cast<std::int64_t>(logits.size() / experts),
                  static_cast<std::int64_t>(experts)};
  return input;
}

//! Kept (token, expert) pairs with their weights.
std::map<std::pair<std::int64_t, std::int32_t>, float> kept_of(const properties::routed& r) {
  std::map<std::pair<std::int64_t, std::int32_t>, float> kept;
  const resonance::assignment_view view = r.kept_assignments();
  for (std::int64_t slot = 0; slot < r.slots(); ++slot)
    if (view.assigned(slot)) kept[{view.token(slot), view.ids[slot]}] = view.weights[slot];
  return kept;
}

std::vector<std::size_t> shuffled(support::random_source& random, std::size_t count) {
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (std::size_t i = count - 1; i > 0; --i) std::swap(order[i], order[random.below(i + 1)]);
  return order;
}

template <class Options>
void expect_equivariant(Options options) {
  options.choice.top_k = 3;
  const std::size_t tokens = 200;
  const std::size_t experts = 24;
  support::random_source random(77);
  // All distinct, since ties go by position.
  std::vector<float> logits;
  for (const std::size_t place : shuffled(random, tokens * experts))
    logits.push_back(static_cast<float>(place) / 1024 - 2);
  const std::vector<std::size_t> order = shuffled(random, tokens);
  std::vector<float> moved(logits.size());
  for (std::size_t t = 0; t < tokens; ++t)
    std::copy_n(logits.begin() + static_cast<std::ptrdiff_t>(order[t] * experts), experts,
                moved.begin() + static_cast<std::ptrdiff_t>(t * experts));

  const properties::routed here = properties::route_all(support::serial(), view_of(logits, experts), options);
  const properties::routed there = properties::route_all(support::serial(), view_of(moved, experts), options);
  for (std::size_t t = 0; t < tokens; ++t) {
    for (std::size_t slot = 0; slot < 3; ++slot) {
      EXPECT_EQ(there.topk_ids[t * 3 + slot], here.topk_ids[order[t] * 3 + slot]);
      EXPECT_EQ(there.topk_weights[t * 3 + slot], here.topk_weights[order[t] * 3 + slot]);
    }
  }
  std::map<std::pair<std::int64_t, std::int32_t>, float> back;
  for (const auto& pair : kept_of(there))
    back[{static_cast<std::int64_t>(order[static_cast<std::size_t>(pair.first.first)]), pair.first.second}] =
        pair.second;
  EXPECT_EQ(back, kept_of(here));
  EXPECT_EQ(there.capacities, here.capacities);
  EXPECT_EQ(there.tokens_per_expert, here.tokens_per_expert);
  EXPECT_EQ(there.expert_offsets, here.expert_offsets);
}

TEST(Metamorphic, PermutedTokensAreRoutedAlike) {
  properties::composition<affinity::logits, token_choice::top_k, merge::restricted, prune::affinity_mass,
                          affinity::softmax, prune::affinity_order>
      paper;
  paper.capacity.rho = 0.6;
  expect_equivariant(paper);
  properties::composition<affinity::logits, token_choice::top_p, merge::union_, prune::fixed, affinity::sigmoid,
                          prune::affinity_order>
      both_sides;
  both_sides.selection.p = 0.4;
  both_sides.capacity.count = 9;
  expect_equivariant(both_sides);
  properties::composition<affinity::logits, token_choice::grouped_top_k, merge::intersection, prune::factor,
                          affinity::softmax, prune::batch_prioritized>
      grouped;
  grouped.selection.n_group = 6;
  grouped.selection.topk_group = 2;
  grouped.capacity.capacity_factor = 2.5;
  expect_equivariant(grouped);
}

//! Enough tokens that every stage is cut into as many pieces as there are workers.
template <class Options, class Input>
void expect_same_on_every_executor(Options options, const Input& input) {
  options.choice.top_k = 4;
  const properties::routed serial = properties::route_all(support::serial(), input, options);
  support::with_every_executor([&](const auto& executor, const char* name) {
    SCOPED_TRACE(name);
    properties::expect_same_bits(serial, properties::route_all(properties::any_executor(executor), input, options));
  });
}

TEST(Metamorphic, WorkersChangeNoBit) {
  const std::size_t tokens = 9001;
  const std::size_t experts = 21;
  support::random_source random(78);
  const std::vector<float> mixed = support::adversarial_values(random, tokens * experts, support::adversary::mixed);
  properties::composition<affinity::logits, token_choice::grouped_top_k, merge::union_, prune::affinity_mass,
                          affinity::softmax, prune::affinity_order>
      hostile;
  hostile.selection.n_group = 7;
  hostile.selection.topk_group = 4;
  hostile.expert_capacity = 700;
  hostile.capacity.rho = 0.7;
  hostile.plan.by_affinity = true;
  hostile.plan.tile_tokens = 16;
  expect_same_on_every_executor(hostile, view_of(mixed, experts));

  const std::vector<resonance::bfloat16> rows =
      properties::to_rows<resonance::bfloat16>(support::normal_values(random, tokens * 45));
  affinity::hidden_input<resonance::bfloat16> hidden;
  hidden.hidden = {rows.data(), static_cast<std::int64_t>(tokens), 45};
  hidden.experts = static_cast<std::int32_t>(experts);
  properties::composition<affinity::grouped_average_cosine, token_choice::top_k, merge::restricted, prune::lower_bound,
                          affinity::sqrt_softplus, prune::batch_prioritized>
      paper;
  paper.choice.renormalize = true;
  expect_same_on_every_executor(paper, hidden);
}

TEST(Metamorphic, AllTokensToOneExpert) {
  const std::size_t tokens = 1000;
  const std::size_t experts = 8;
  std::vector<float> logits(tokens * experts, 0.0F);
  for (std::size_t t = 0; t < tokens; ++t) logits[t * experts + 5] = 1.0F;
  properties::composition<affinity::logits, token_choice::top_k, merge::restricted, prune::fixed, affinity::softmax,
                          prune::affinity_order>
      options;
  options.capacity.count = 100;
  options.plan.tile_tokens = 64;
  const properties::routed r = properties::route_all(support::serial(), view_of(logits, experts), options);
  EXPECT_EQ(r.num_rows, (std::vector<std::int64_t>{128, 100}));
  EXPECT_EQ(r.expert_offsets, (std::vector<std::int32_t>{0, 0, 0, 0, 0, 0, 128, 128, 128}));
  EXPECT_EQ(r.tokens_per_expert, (std::vector<std::int32_t>{0, 0, 0, 0, 0, 100, 0, 0}));
  for (std::size_t t = 0; t < tokens; ++t) {
    EXPECT_EQ(r.rank_in_expert[t], static_cast<std::int32_t>(t)) << "equal affinities go by token";
    EXPECT_EQ(r.kept_ids[t], t < 100 ? 5 : -1);
    EXPECT_EQ(r.inverse[t], t < 100 ? static_cast<std::int32_t>(t) : -1);
  }
}

TEST(Metamorphic, TokenWithoutAnyChoosableScoreIsUnassigned) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float minus_infinity = -std::numeric_limits<float>::infinity();
  const std::vector<float> logits = {nan, nan, nan, minus_infinity, nan, minus_infinity, 1.0F, nan, -0.0F};
  properties::composition<affinity::logits, token_choice::top_k, merge::union_, prune::unlimited, affinity::softmax,
                          prune::affinity_order>
      options;
  options.choice.top_k = 3;
  const properties::routed r = properties::route_all(support::serial(), view_of(logits, 3), options);
  EXPECT_EQ(r.topk_ids, (std::vector<std::int32_t>{-1, -1, -1, -1, -1, -1, 0, 2, -1}));
  EXPECT_EQ(r.token_offsets, (std::vector<std::int64_t>{0, 0, 0, 2}));
  EXPECT_EQ(r.num_rows, (std::vector<std::int64_t>{2, 2}));
}

//! A sum of two large negative scores overflows to -inf, but its experts are choosable: their group comes last, not
//! never.
TEST(Metamorphic, GroupWhoseSumOverflowsStaysChoosable) {
  const float least = -std::numeric_limits<float>::max();
  const std::vector<float> logits = {least, least, least, least};
  properties::composition<affinity::logits, token_choice::grouped_top_k, merge::restricted, prune::unlimited,
                          affinity::identity, prune::affinity_order>
      options;
  options.selection.n_group = 2;
  options.selection.topk_group = 1;
  options.choice.top_k = 2;
  const properties::routed r = properties::route_all(support::serial(), view_of(logits, 4), options);
  EXPECT_EQ(r.topk_ids, (std::vector<std::int32_t>{0, 1}));
}

//! A slot that was only filled is no choice of the token's: a union has the pair if the expert chose it, else not.
TEST(Metamorphic, FilledSlotsAreNoPartOfAUnion) {
  const std::vector<float> logits = {5.0F, 1.0F, 0.5F,  //
                                     6.0F, 0.5F, 0.25F};
  properties::composition<affinity::logits, token_choice::top_p, merge::union_, prune::unlimited, affinity::sigmoid,
                          prune::affinity_order>
      options;
  options.selection.p = 0.1;  // one expert is enough
  options.choice.top_k = 3;
  options.choice.missing = token_choice::missing_choice::lowest_ids;
  options.expert_capacity = 1;  // experts 1 and 2 take token 0, expert 0 takes token 1
  const properties::routed r = properties::route_all(support::serial(), view_of(logits, 3), options);
  EXPECT_EQ(r.topk_ids, (std::vector<std::int32_t>{0, 1, 2, 0, 1, 2}));
  EXPECT_EQ(r.token_offsets, (std::vector<std::int64_t>{0, 3, 4}));
  const std::vector<std::int32_t> merged = {0, 1, 2, 0};
  EXPECT_TRUE(std::equal(merged.begin(), merged.end(), r.merged_ids.begin()));
  EXPECT_EQ(r.merged_affinity[1], 1.0F);
  EXPECT_GT(r.merged_weights[1], 0.7F);
  EXPECT_EQ(r.topk_weights[1], 0.0F);
}

}  // namespace
