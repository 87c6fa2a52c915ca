// SPDX-License-Identifier: Apache-2.0
// Bytes that the stages move which look at assignments by expert: expert choice, merge, prune, plan.
#include <resonance/expert_choice/device_expert_choice.cuh>
#include <resonance/merge/device_merge.cuh>
#include <resonance/plan/device_plan.cuh>
#include <resonance/prune/device_prune.cuh>

#include <gtest/gtest.h>

#include "plan/fixture.hpp"
#include "table.hpp"

namespace {

using namespace resonance;
using support::exact_workspace;
using support::guarded_buffer;

TEST(Traffic, ExpertChoice) {
  support::random_source random(21);
  for (const support::batch_shape& s : {support::batch_shape{256, 8, 2}, {512, 64, 8}, {1024, 128, 8}, {256, 512, 8}}) {
    const std::int64_t capacity = s.tokens * s.top_k / s.experts;
    const auto scores = traffic::normal_rows<float>(random, s.tokens * s.experts);
    expert_choice::options o;
    o.capacity = capacity;
    guarded_buffer<std::int32_t> ids(static_cast<std::size_t>(capacity * s.experts));
    guarded_buffer<float> chosen(ids.size());
    exact_workspace space(expert_choice::device_expert_choice_workspace_bytes(s.tokens, s.experts, o));
    traffic::measure("expert choice", traffic::shape_of(s), 4 * s.tokens * s.experts + 8 * s.experts * capacity, 2,
                     {1.9, "Expert choice in two launches."}, [&] {
                       return expert_choice::device_expert_choice(device_stream{}, {scores.data(), s.tokens, s.experts},
                                                                  o, {ids.data(), chosen.data()}, space.view());
                     });
  }
}

TEST(Traffic, RestrictedMergeAndPrune) {
  support::random_source random(22);
  for (const support::batch_shape& s : {support::batch_shape{256, 8, 2}, {1024, 64, 8}, {2048, 128, 8}}) {
    const traffic::full_choices choices(random, s);
    guarded_buffer<std::int32_t> ranks(choices.ids.size()), ids(choices.ids.size());
    guarded_buffer<float> weights(choices.ids.size());
    guarded_buffer<std::int64_t> capacities(static_cast<std::size_t>(s.experts));
    assignment_view merged = choices.view();
    merged.rank_in_expert = ranks.data();
    prune::factor rule;
    using order = prune::affinity_order;
    exact_workspace for_merge(merge::device_merge_workspace_bytes<merge::restricted>(s.tokens, s.experts, s.top_k, 0));
    exact_workspace for_prune(prune::device_prune_workspace_bytes<prune::factor, order>(merged));
    const std::int64_t slots = s.tokens * s.top_k;
    traffic::measure("merge + prune", traffic::shape_of(s), 16 * slots + 4 * s.experts, 6,
                     {7.8, "Merge and prune by lists of members."}, [&] {
                       assignment_buffers out;
                       out.rank_in_expert = ranks.data();
                       const status ranked = merge::device_merge(device_stream{}, merge::restricted{}, choices.view(),
                                                                 {}, out, for_merge.view());
                       if (!ranked.ok()) return ranked;
                       prune::outputs pruned;
                       pruned.ids = ids.data();
                       pruned.weights = weights.data();
                       return prune::device_prune(device_stream{}, rule, order{}, merged, {}, pruned, for_prune.view());
                     });
  }
}

TEST(Traffic, Plan) {
  support::random_source random(23);
  const support::batch_shape shapes[] = {{256, 8, 2},    {1024, 64, 8},  {1024, 128, 8},
                                         {1024, 256, 8}, {8192, 128, 8}, {8192, 512, 8}};
  for (const support::batch_shape& s : shapes) {
    const traffic::full_choices choices(random, s);
    const plan::options o;
    plan_test::plan_arrays<std::int32_t> out(choices.view(), o);
    exact_workspace space(plan::device_plan_workspace_bytes<std::int32_t>(choices.view(), o));
    auto asked = out.view();
    asked.tokens_per_expert = nullptr;
    asked.expert_ids = nullptr;
    const bool one_tile = s.tokens * s.top_k <= 8192;
    const traffic::allowance allowed =
        one_tile ? traffic::allowance{} : traffic::allowance{1.53, "Plan in two launches."};
    traffic::measure("plan", traffic::shape_of(s), 12 * s.tokens * s.top_k + 4 * (s.experts + 1), one_tile ? 1 : 2,
                     allowed,
                     [&] { return plan::device_plan(device_stream{}, choices.view(), o, asked, space.view()); });
  }
}

}  // namespace
