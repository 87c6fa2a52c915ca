// SPDX-License-Identifier: Apache-2.0
// What a route's options mean where the stages' own do not say: H, K and C of the experts' own choice.
#include "resonance/route/options.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "route/fixture.hpp"

namespace {

using namespace resonance;
using route_test::batch_input;
using route_test::route_arrays;

const route_test::route_shape shape{{257, 8, 2}, 64};

template <class Metric, class Merge, class Capacity>
route_arrays<std::int32_t> routed(const batch_input<float>& batch,
                                  typename router<Metric, token_choice::top_k, Merge, Capacity>::options o) {
  o.choice.top_k = 2;
  return route_test::route_all<std::int32_t>(serial_executor{}, batch.of<Metric>(), o, shape.batch);
}

TEST(RouteOptions, ChooseOneExpertAndKeepItByDefault) {
  support::random_source random(141);
  const batch_input<float> batch(random, shape);
  const auto input = batch.of<affinity::grouped_average_cosine>();
  using simple = router<affinity::grouped_average_cosine, token_choice::top_k, merge::restricted, prune::unlimited>;
  const support::batch_shape one{257, 8, 1};
  const auto out = route_test::route_all<std::int32_t>(serial_executor{}, input, simple::options{}, one);
  EXPECT_EQ(support::values_of(out.pruned.ids), support::values_of(out.topk_ids));
  EXPECT_EQ(out.plan.num_rows[0], 257);
  EXPECT_EQ(out.plan.num_rows[1], 257);
}

TEST(RouteOptions, TakeTheHiddenSizeFromHiddenStates) {
  support::random_source random(142);
  const batch_input<float> batch(random, shape);
  using metric = affinity::grouped_average_cosine;
  using options = router<metric, token_choice::top_k, merge::restricted, prune::lower_bound>::options;
  options given;
  given.capacity.delta_given = true;
  given.capacity.delta = 0.35;
  const auto capacity = [&](std::int64_t hidden) {
    options o = given;
    o.prune.hidden = hidden;
    return routed<metric, merge::restricted, prune::lower_bound>(batch, o).pruned.capacities[0];
  };
  EXPECT_EQ(capacity(0), 9);  // exp(64 * .1225 / 1.8775) / 8 = 8.13
  EXPECT_EQ(capacity(64), 9);
  EXPECT_EQ(capacity(32), 2);  // a given H wins
}

TEST(RouteOptions, TakeKFromTheChoiceUnlessPruningHasItsOwn) {
  support::random_source random(143);
  const batch_input<float> batch(random, shape);
  using options = router<affinity::logits, token_choice::top_k, merge::restricted, prune::factor>::options;
  const auto capacity = [&](std::int32_t top_k) {
    options o;
    o.capacity.capacity_factor = 1.0;
    o.prune.top_k = top_k;
    return routed<affinity::logits, merge::restricted, prune::factor>(batch, o).pruned.capacities[0];
  };
  EXPECT_EQ(capacity(0), 65);  // ceil(257 * 2 / 8)
  EXPECT_EQ(capacity(4), 129);
}

TEST(RouteOptions, TheExpertsChooseByTheRuleUnlessTheyHaveACapacityOfTheirOwn) {
  support::random_source random(144);
  const batch_input<float> batch(random, shape);
  using metric = affinity::grouped_average_cosine;
  using options = router<metric, token_choice::top_k, merge::expert_only, prune::fixed>::options;
  const auto assigned = [&](std::int64_t by_rule, std::int64_t cap, std::int64_t own) {
    options o;
    o.capacity.count = by_rule;
    o.prune.capacity_cap = cap;
    o.expert_capacity = own;
    const auto out = routed<metric, merge::expert_only, prune::fixed>(batch, o);
    return std::vector<std::int64_t>{out.token_offsets[257], out.pruned.kept[0], out.pruned.dropped[0]};
  };
  EXPECT_EQ(assigned(5, -1, -1), (std::vector<std::int64_t>{40, 5, 0}));
  EXPECT_EQ(assigned(5, 3, -1), (std::vector<std::int64_t>{24, 3, 0}));  // the cap holds for the experts' choice
  EXPECT_EQ(assigned(5, -1, 9), (std::vector<std::int64_t>{72, 5, 4}));  // nine choose, pruning keeps five
  EXPECT_EQ(assigned(5, -1, 0), (std::vector<std::int64_t>{0, 0, 0}));
  EXPECT_EQ(assigned(5, -1, 1000), (std::vector<std::int64_t>{2056, 5, 252}));
}

}  // namespace
