// SPDX-License-Identifier: Apache-2.0
// Routes on the device whose second launch does all that follows the choice: merges that ask the experts, rows by
// affinity, long choices and rows, shared capacities, local experts. One launch up to 256 tokens, two above.
#include <resonance/route/device_route.cuh>

#include "route_case.hpp"

namespace {

using namespace route_case;
using support::batch_shape;

using both_agree = router<affinity::logits, token_choice::top_k, merge::intersection, prune::fixed>;
using either_chose = router<affinity::logits, token_choice::top_k, merge::union_, prune::lower_bound>;
using experts_alone = router<affinity::logits, token_choice::top_k, merge::expert_only, prune::affinity_mass>;
using cut_by_mass = router<affinity::logits, token_choice::top_k, merge::restricted, prune::affinity_mass>;
using bounded = router<affinity::logits, token_choice::top_k, merge::restricted, prune::lower_bound, affinity::sigmoid,
                       prune::batch_prioritized>;

constexpr expected_launches one_or_two{1, 2};

TEST(DeviceRouteStepped, Intersection) {
  expect_every_batch<both_agree, affinity::logits>(
      1, asked::everything, one_or_two, [](both_agree::options& o, const batch_shape&) { o.capacity.count = 20; });
}

TEST(DeviceRouteStepped, IntersectionWithAGivenCapacityAndRowsByAffinity) {
  expect_every_batch<both_agree, affinity::logits>(2, asked::everything, one_or_two,
                                                   [](both_agree::options& o, const batch_shape& shape) {
                                                     o.expert_capacity = shape.tokens / 3;
                                                     o.capacity.count = 20;
                                                     o.plan.by_affinity = true;
                                                   });
}

TEST(DeviceRouteStepped, UnionUnderTheLowerBound) {
  expect_every_batch<either_chose, affinity::logits>(
      3, asked::everything, one_or_two, [](either_chose::options& o, const batch_shape&) { o.prune.hidden = 64; });
}

TEST(DeviceRouteStepped, ExpertsAloneByMass) {
  expect_every_batch<experts_alone, affinity::logits>(
      4, asked::everything, one_or_two, [](experts_alone::options& o, const batch_shape&) { o.capacity.rho = 0.5; });
}

TEST(DeviceRouteStepped, SharedAndRenormalized) {
  expect_every_batch<bounded, affinity::logits>(5, asked::everything, one_or_two,
                                                [](bounded::options& o, const batch_shape&) {
                                                  o.prune.shared = true;
                                                  o.prune.renormalize = true;
                                                  o.prune.hidden = 64;
                                                  o.capacity.delta_given = true;
                                                  o.capacity.delta = 0.3;
                                                });
}

TEST(DeviceRouteStepped, PrunedRowsByAffinityInPaddedExperts) {
  expect_every_batch<cut_by_mass, affinity::logits>(6, asked::everything, one_or_two,
                                                    [](cut_by_mass::options& o, const batch_shape& shape) {
                                                      o.capacity.rho = 0.8;
                                                      o.plan.by_affinity = true;
                                                      o.plan.pad_to_capacity = shape.tokens / 8;
                                                    });
}

TEST(DeviceRouteStepped, PrunedLocalExpertsOverManyTiles) {
  std::vector<std::int32_t> map(40);
  for (std::size_t e = 0; e < map.size(); ++e) map[e] = e % 2 == 0 ? static_cast<std::int32_t>(e / 2) : -1;
  support::random_source random(7);
  for (const batch_shape& shape : {batch_shape{100, 40, 8}, batch_shape{1300, 40, 8}}) {
    const route_test::batch_input<float> batch(random, {shape, 64});
    const auto input = batch.of<affinity::logits>();
    cut_by_mass::options o;
    o.choice.top_k = shape.top_k;
    o.capacity.rho = 0.7;
    o.plan.expert_map = map.data();
    o.plan.num_local = 20;
    SCOPED_TRACE(::testing::Message() << shape);
    const std::size_t launches = expect_the_hosts_bits<cut_by_mass>(input, input, o, shape, asked::everything, -1);
    EXPECT_LE(launches, shape.tokens <= 256 ? 1u : 2u);
  }
}

void expect_few_launches(std::uint64_t seed, std::initializer_list<batch_shape> shapes) {
  support::random_source random(seed);
  for (const batch_shape& shape : shapes) {
    const route_test::batch_input<float> batch(random, {shape, 64});
    const auto input = batch.of<affinity::logits>();
    cut_by_mass::options o;
    o.choice.top_k = shape.top_k;
    SCOPED_TRACE(::testing::Message() << shape);
    const std::size_t launches = expect_the_hosts_bits<cut_by_mass>(input, input, o, shape, asked::everything, -1);
    EXPECT_LE(launches, shape.tokens <= 256 ? 1u : 2u);
  }
}

TEST(DeviceRouteStepped, ChoicesThatRegistersDoNotHold) { expect_few_launches(8, {{9, 64, 40}, {300, 64, 40}}); }

TEST(DeviceRouteStepped, RowsThatSharedMemoryDoesNotHold) { expect_few_launches(9, {{3, 12400, 4}, {257, 12400, 2}}); }

TEST(DeviceRouteStepped, WorksOnTheTokensThatThereAre) {
  support::random_source random(10);
  for (const batch_shape& shape : {batch_shape{200, 13, 3}, batch_shape{700, 13, 3}}) {
    for (const std::int64_t live : {std::int64_t{0}, std::int64_t{1}, std::int64_t{130}, shape.tokens}) {
      const route_test::batch_input<float> batch(random, {shape, 64});
      const auto input = batch.of<affinity::logits>();
      auto live_input = input;
      live_input.logits.rows = live;
      both_agree::options o;
      o.choice.top_k = shape.top_k;
      o.capacity.count = 20;
      o.plan.by_affinity = true;
      SCOPED_TRACE(::testing::Message() << shape << ", live " << live);
      expect_the_hosts_bits<both_agree>(input, live_input, o, shape, asked::everything, live);
    }
  }
}

TEST(DeviceRouteStepped, HasTheSameBitsUnderEverySchedule) {
  support::random_source random(11);
  for (const batch_shape& shape : {batch_shape{40, 13, 3}, batch_shape{300, 13, 3}}) {
    const route_test::batch_input<float> batch(random, {shape, 64});
    const auto input = batch.of<affinity::logits>();
    either_chose::options o;
    o.choice.top_k = shape.top_k;
    o.prune.hidden = 64;
    simt::under_every_schedule(
        [&] { expect_the_hosts_bits<either_chose>(input, input, o, shape, asked::everything, -1); });
  }
}

}  // namespace
