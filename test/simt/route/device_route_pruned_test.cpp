// SPDX-License-Identifier: Apache-2.0
// Pruned routes on the device: one launch for small batches, three for large ones, the host's bits in every output.
#include <resonance/route/device_route.cuh>

#include "route_case.hpp"

namespace {

using namespace route_case;

using etr = router<affinity::grouped_average_cosine, token_choice::top_k, merge::restricted, prune::affinity_mass>;
using gshard = router<affinity::logits, token_choice::top_k, merge::token_only, prune::factor, affinity::softmax,
                      prune::slot_major>;
using bounded = router<affinity::logits, token_choice::top_k, merge::restricted, prune::lower_bound, affinity::sigmoid,
                       prune::batch_prioritized>;

TEST(DeviceRoutePruned, ExpertTokenResonance) {
  expect_every_batch<etr, affinity::grouped_average_cosine>(1, asked::everything, {1, 3},
                                                            [](etr::options& o, const support::batch_shape&) {
                                                              o.capacity.rho = 0.76;
                                                              o.plan.tile_tokens = 16;
                                                            });
}

TEST(DeviceRoutePruned, SlotMajorCapacityWithPaddedExperts) {
  expect_every_batch<gshard, affinity::logits>(2, asked::everything, {1, 3},
                                               [](gshard::options& o, const support::batch_shape& shape) {
                                                 o.capacity.capacity_factor = 0.7;
                                                 o.plan.pad_to_capacity = shape.tokens / 8;
                                               });
}

TEST(DeviceRoutePruned, TheLowerBoundCutsTheTokensBestFirst) {
  expect_every_batch<bounded, affinity::logits>(3, asked::everything, {1, 3},
                                                [](bounded::options& o, const support::batch_shape&) {
                                                  o.prune.hidden = 64;
                                                  o.capacity.delta_given = true;
                                                  o.capacity.delta = 0.3;
                                                });
}

TEST(DeviceRoutePruned, WorksOnTheTokensThatThereAre) {
  support::random_source random(4);
  for (const support::batch_shape& shape : {support::batch_shape{200, 13, 3}, support::batch_shape{700, 13, 3}}) {
    for (const std::int64_t live : {std::int64_t{0}, std::int64_t{1}, std::int64_t{130}, shape.tokens}) {
      const route_test::batch_input<float> batch(random, {shape, 64});
      const auto input = batch.of<affinity::logits>();
      auto live_input = input;
      live_input.logits.rows = live;
      gshard::options o;
      o.choice.top_k = shape.top_k;
      SCOPED_TRACE(::testing::Message() << shape << ", live " << live);
      expect_the_hosts_bits<gshard>(input, live_input, o, shape, asked::everything, live);
    }
  }
}

TEST(DeviceRoutePruned, HasTheSameBitsUnderEverySchedule) {
  support::random_source random(5);
  for (const support::batch_shape& shape : {support::batch_shape{40, 13, 3}, support::batch_shape{300, 13, 3}}) {
    const route_test::batch_input<float> batch(random, {shape, 64});
    const auto input = batch.of<affinity::logits>();
    gshard::options o;
    o.choice.top_k = shape.top_k;
    simt::under_every_schedule([&] { expect_the_hosts_bits<gshard>(input, input, o, shape, asked::everything, -1); });
  }
}

}  // namespace
