// SPDX-License-Identifier: Apache-2.0
// Bytes that whole routes move, from logits to the plan.
#include <resonance/route/device_route.cuh>

#include <gtest/gtest.h>

#include <resonance/route/router.hpp>
#include <string>

#include "plan/fixture.hpp"
#include "table.hpp"

namespace {

using namespace resonance;

//! Fewest: the logits in; ids, weights, sorted ids, inverse and offsets out.
template <class Router>
void expect_few_bytes(const std::string& name, std::size_t most_launches, const traffic::allowance& one_launch,
                      const traffic::allowance& more) {
  support::random_source random(41);
  for (const support::batch_shape& s : {support::batch_shape{64, 8, 2}, {256, 128, 8}, {2048, 128, 8}, {512, 512, 8}}) {
    const auto logits = traffic::normal_rows<float>(random, s.tokens * s.experts);
    const affinity::logits_input<float> input{{logits.data(), s.tokens, s.experts}};
    typename Router::options o;
    o.choice.top_k = s.top_k;
    const std::int64_t slots = s.tokens * s.top_k;
    support::guarded_buffer<std::int32_t> ids(static_cast<std::size_t>(slots));
    support::guarded_buffer<float> weights(ids.size());
    plan_test::plan_arrays<std::int32_t> plan(slots, s.experts, slots, 1);
    route::outputs<> out;
    out.choice = {ids.data(), weights.data(), nullptr};
    out.plan = plan.view();
    out.plan.tokens_per_expert = nullptr;
    out.plan.expert_ids = nullptr;
    support::exact_workspace space(Router::workspace_bytes(on_device(device_stream{}), input, o));
    const bool small = s.tokens <= 256;
    traffic::measure(name, traffic::shape_of(s), 4 * s.tokens * s.experts + 16 * slots + 4 * (s.experts + 1),
                     small ? 1 : most_launches, small ? one_launch : more,
                     [&] { return Router::run(on_device(device_stream{}), input, o, out, space.view()); });
  }
}

TEST(Traffic, RouteThatKeepsAll) {
  using dropless = router<affinity::logits, token_choice::top_k, merge::token_only, prune::unlimited>;
  const std::string reason = "A route that keeps all.";
  expect_few_bytes<dropless>("route, all kept", 2, {1.26, reason}, {1.46, reason});
}

TEST(Traffic, RouteThatPrunes) {
  using capped = router<affinity::logits, token_choice::top_k, merge::restricted, prune::factor>;
  const std::string reason = "A route that prunes.";
  expect_few_bytes<capped>("route, capacity by factor", 3, {3.65, reason}, {2.85, reason});
}

}  // namespace
