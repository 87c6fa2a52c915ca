// SPDX-License-Identifier: Apache-2.0
// Routes on the device that run stage by stage: merges that ask the experts, long choices, rows by affinity.
#include <resonance/route/device_route.cuh>

#include "route_case.hpp"

namespace {

using namespace route_case;

using both_agree = router<affinity::logits, token_choice::top_k, merge::intersection, prune::fixed>;
using either_chose = router<affinity::logits, token_choice::top_k, merge::union_, prune::lower_bound>;
using experts_alone = router<affinity::logits, token_choice::top_k, merge::expert_only, prune::affinity_mass>;

template <class Router, class Configure>
void expect_few_batches(std::uint64_t seed, const Configure& configure) {
  support::random_source random(seed);
  for (const support::batch_shape& shape : {support::batch_shape{0, 4, 1}, support::batch_shape{1, 5, 2},
                                            support::batch_shape{90, 13, 3}, support::batch_shape{300, 40, 4}}) {
    const route_test::batch_input<float> batch(random, {shape, 64});
    const auto input = batch.template of<affinity::logits>();
    typename Router::options o;
    o.choice.top_k = shape.top_k;
    configure(o);
    SCOPED_TRACE(::testing::Message() << shape);
    expect_the_hosts_bits<Router>(input, input, o, shape, asked::everything, -1);
  }
}

TEST(DeviceRouteStaged, Intersection) {
  expect_few_batches<both_agree>(1, [](both_agree::options& o) { o.capacity.count = 20; });
}

TEST(DeviceRouteStaged, IntersectionWithAGivenCapacity) {
  expect_few_batches<both_agree>(2, [](both_agree::options& o) {
    o.expert_capacity = 7;
    o.plan.by_affinity = true;
  });
}

TEST(DeviceRouteStaged, UnionUnderTheLowerBound) {
  expect_few_batches<either_chose>(3, [](either_chose::options& o) { o.prune.hidden = 64; });
}

TEST(DeviceRouteStaged, ExpertsAloneByMass) {
  expect_few_batches<experts_alone>(4, [](experts_alone::options& o) { o.capacity.rho = 0.5; });
}

}  // namespace
