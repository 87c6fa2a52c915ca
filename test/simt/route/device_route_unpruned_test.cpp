// SPDX-License-Identifier: Apache-2.0
// Dropless routes on the device: one launch for small batches, two for large ones, the host's plan.
#include <resonance/route/device_route.cuh>

#include "route_case.hpp"

namespace {

using namespace route_case;

using dropless = router<affinity::logits, token_choice::top_k, merge::token_only, prune::unlimited>;
using deepseek =
    router<affinity::logits, token_choice::grouped_top_k, merge::token_only, prune::unlimited, affinity::sigmoid>;

TEST(DeviceRouteUnpruned, ThePlanAloneTakesTwoLaunches) {
  expect_every_batch<dropless, affinity::logits, bfloat16>(1, asked::plan_alone, {1, 2},
                                                           [](dropless::options& o, const support::batch_shape&) {
                                                             o.choice.renormalize = true;
                                                             o.plan.tile_tokens = 64;
                                                           });
}

TEST(DeviceRouteUnpruned, EveryOutputTakesThree) {
  expect_every_batch<dropless, affinity::logits>(2, asked::everything, {1, 3},
                                                 [](dropless::options&, const support::batch_shape&) {});
}

TEST(DeviceRouteUnpruned, GroupsWithABiasOnLocalExperts) {
  const std::vector<float> bias(300, 0.01f);
  std::vector<std::int32_t> map(300);
  for (std::size_t e = 0; e < map.size(); ++e) map[e] = e % 3 == 0 ? static_cast<std::int32_t>(e / 3) : -1;
  support::random_source random(3);
  for (const std::int64_t tokens : {40, 500, 1500}) {  // the last in more than one tile
    const support::batch_shape shape{tokens, 64, 6};
    const route_test::batch_input<float> batch(random, {shape, 64});
    const auto input = batch.of<affinity::logits>();
    deepseek::options o;
    o.choice.top_k = 6;
    o.choice.correction_bias = bias.data();
    o.selection.n_group = 8;
    o.selection.topk_group = 4;
    o.plan.expert_map = map.data();
    o.plan.num_local = 20;
    const std::size_t launches = expect_the_hosts_bits<deepseek>(input, input, o, shape, asked::plan_alone, -1);
    EXPECT_LE(launches, tokens <= 256 ? 1u : 2u);
    expect_the_hosts_bits<deepseek>(input, input, o, shape, asked::everything, -1);
  }
}

}  // namespace
