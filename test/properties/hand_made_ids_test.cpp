// SPDX-License-Identifier: Apache-2.0
// Assignments that no token choice of ours made: ids twice in a token, ids of no expert, affinities of any kind.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "properties/expectation.hpp"
#include "properties/random_route.hpp"
#include "reference/permute.hpp"
#include "support/random.hpp"

namespace {

namespace merge = resonance::merge;
namespace prune = resonance::prune;
namespace plan = resonance::plan;

struct hand_made {
  std::size_t tokens, experts, top_k;
  std::vector<std::int32_t> ids;
  std::vector<float> weights;
  std::vector<float> affinity;

  explicit hand_made(support::random_source& random)
      : tokens(random.below(50)), experts(random.between(1, 9)), top_k(random.between(1, 5)) {
    const std::vector<std::int32_t> strangers = {-1, -2, static_cast<std::int32_t>(experts),
                                                 std::numeric_limits<std::int32_t>::max(),
                                                 std::numeric_limits<std::int32_t>::min()};
    for (std::size_t i = 0; i < tokens * top_k; ++i)
      ids.push_back(random.coin(0.25) ? random.pick(strangers) : static_cast<std::int32_t>(random.below(experts)));
    weights = support::normal_values(random, ids.size());
    affinity = support::adversarial_values(random, ids.size(), support::adversary::mixed);
    for (float& value : affinity)  // what merge reads was made choosable by token choice
      value = value > std::numeric_limits<float>::max() ? std::numeric_limits<float>::max() : value;
  }

  resonance::assignment_view view() const {
    resonance::assignment_view v;
    v.tokens = static_cast<std::int64_t>(tokens);
    v.experts = static_cast<std::int32_t>(experts);
    v.slots_per_token = static_cast<std::int32_t>(top_k);
    v.ids = ids.data();
    v.weights = weights.data();
    v.affinity = affinity.data();
    return v;
  }

  std::vector<reference::assignment> assignments() const {
    std::vector<reference::assignment> all;
    for (std::size_t slot = 0; slot < ids.size(); ++slot)
      if (reference::names_expert(ids[slot], experts))
        all.push_back({static_cast<std::int32_t>(slot / top_k), static_cast<std::int32_t>(slot % top_k), ids[slot],
                       affinity[slot], weights[slot], 0});
    for (std::vector<std::size_t>& members : reference::members_by_expert(all, experts)) {
      std::sort(members.begin(), members.end(),
                [&](std::size_t a, std::size_t b) { return reference::better_for_expert(all[a], all[b]); });
      for (std::size_t rank = 0; rank < members.size(); ++rank) all[members[rank]].rank = rank;
    }
    return all;
  }
};

template <class Order>
void check_order(support::random_source& random, const hand_made& h, const std::vector<std::int32_t>& ranks) {
  const resonance::serial_executor serial;
  resonance::assignment_view ranked = h.view();
  ranked.rank_in_expert = ranks.data();
  prune::fixed rule;
  rule.count = static_cast<std::int64_t>(random.below(h.tokens + 1));
  std::vector<std::int32_t> kept(h.ids.size());
  std::vector<float> weights(h.ids.size());
  prune::outputs out;
  out.ids = kept.data();
  out.weights = weights.data();
  std::vector<char> workspace(prune::host_prune_workspace_bytes(serial, ranked));
  ASSERT_TRUE(prune::host_prune(serial, rule, Order{}, ranked, {}, out, {workspace.data(), workspace.size()}).ok());

  reference::prune_options told;
  told.rule = reference::capacity_rule::fixed;
  told.fixed = static_cast<std::size_t>(rule.count);
  told.order = properties::order_of<Order>();
  const std::vector<reference::assignment> all = h.assignments();
  const reference::prune_result wanted = reference::prune(all, h.tokens, h.top_k, h.experts, told);
  const reference::kept_choices choices(all, wanted.kept, h.tokens, h.top_k);
  EXPECT_EQ(kept, choices.ids.values);
  EXPECT_EQ(std::vector<double>(weights.begin(), weights.end()), choices.weights.values);
}

void check(std::uint64_t seed) {
  support::random_source random(seed);
  const hand_made h(random);
  const resonance::serial_executor serial;
  const auto experts = static_cast<std::int32_t>(h.experts);
  std::vector<std::int32_t> ranks(h.ids.size(), -7);
  resonance::assignment_buffers merged;
  merged.rank_in_expert = ranks.data();
  std::vector<char> workspace(merge::host_merge_workspace_bytes<merge::restricted>(
      serial, static_cast<std::int64_t>(h.tokens), experts, static_cast<std::int32_t>(h.top_k), 0));
  ASSERT_TRUE(
      merge::host_merge(serial, merge::restricted{}, h.view(), {}, merged, {workspace.data(), workspace.size()}).ok());
  std::vector<std::int32_t> wanted_ranks(h.ids.size(), -1);
  for (const reference::assignment& a : h.assignments())
    wanted_ranks[static_cast<std::size_t>(a.token) * h.top_k + static_cast<std::size_t>(a.slot)] =
        static_cast<std::int32_t>(a.rank);
  EXPECT_EQ(ranks, wanted_ranks);
  check_order<prune::affinity_order>(random, h, ranks);
  check_order<prune::position>(random, h, ranks);
  check_order<prune::slot_major>(random, h, ranks);
  check_order<prune::batch_prioritized>(random, h, ranks);

  plan::options options;
  options.tile_tokens = static_cast<std::int32_t>(random.between(1, 4));
  options.by_affinity = random.coin();
  const auto slots = static_cast<std::int64_t>(h.ids.size());
  std::vector<std::int64_t> offsets(h.experts + 1);
  std::vector<std::int64_t> sorted(static_cast<std::size_t>(plan::max_rows(slots, experts, options)));
  std::vector<std::int64_t> inverse(h.ids.size());
  std::vector<std::int64_t> num_rows(2);
  plan::outputs<std::int64_t> out;
  out.expert_offsets = offsets.data();
  out.sorted_token_ids = sorted.data();
  out.inverse = inverse.data();
  out.num_rows = num_rows.data();
  workspace.resize(plan::host_plan_workspace_bytes(serial, h.view(), options));
  ASSERT_TRUE(plan::host_plan(serial, h.view(), options, out, {workspace.data(), workspace.size()}).ok());
  const reference::id_table ids(h.tokens, h.top_k, h.ids);
  const reference::matrix affinity = reference::widened(h.affinity, h.tokens, h.top_k);
  reference::plan_options told;
  told.experts = h.experts;
  told.tile_tokens = static_cast<std::size_t>(options.tile_tokens);
  if (options.by_affinity) told.affinity = &affinity;
  const reference::plan_result wanted = reference::plan(ids, told);
  sorted.resize(static_cast<std::size_t>(num_rows[0]));
  EXPECT_EQ(sorted, std::vector<std::int64_t>(wanted.sorted_token_ids.begin(), wanted.sorted_token_ids.end()));
  EXPECT_EQ(inverse, std::vector<std::int64_t>(wanted.inverse.values.begin(), wanted.inverse.values.end()));
  EXPECT_EQ(offsets, std::vector<std::int64_t>(wanted.expert_offsets.begin(), wanted.expert_offsets.end()));

  const std::vector<float> x = support::normal_values(random, h.tokens * 9);
  std::vector<float> permuted(sorted.size() * 9);
  std::vector<float> y(h.tokens * 9);
  const auto tokens = static_cast<std::int64_t>(h.tokens);
  const resonance::permute::row_plan<std::int64_t> rows{h.view(), sorted.data(), inverse.data(), num_rows[0]};
  using const_rows = resonance::matrix_view<const float>;
  using mutable_rows = resonance::matrix_view<float>;
  ASSERT_TRUE(resonance::permute::host_permute(serial, const_rows(x.data(), tokens, 9), rows,
                                               mutable_rows(permuted.data(), num_rows[0], 9))
                  .ok());
  ASSERT_TRUE(resonance::permute::host_unpermute(serial, const_rows(permuted.data(), num_rows[0], 9), rows,
                                                 mutable_rows(y.data(), tokens, 9))
                  .ok());
  const reference::matrix wanted_rows =
      reference::permute(reference::widened(x, h.tokens, 9), wanted.sorted_token_ids, h.top_k);
  EXPECT_EQ(std::vector<double>(permuted.begin(), permuted.end()), wanted_rows.values);
  const reference::matrix wanted_y =
      reference::unpermute(wanted_rows, wanted.inverse, reference::widened(h.weights, h.tokens, h.top_k));
  for (std::size_t i = 0; i < y.size(); ++i) EXPECT_NEAR(y[i], wanted_y.values[i], 1e-5) << i;
}

TEST(HandMadeIds, EveryStageAgreesWithTheReference) {
  for (const std::uint64_t seed : properties::seeds(1000)) {
    SCOPED_TRACE("repeat with RESONANCE_SEED=" + std::to_string(seed));
    check(seed);
    if (::testing::Test::HasFailure()) return;
  }
}

}  // namespace
