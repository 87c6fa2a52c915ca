// SPDX-License-Identifier: Apache-2.0
// Routers with a capacity: against transformers where it has them, and against their papers' definitions.
#include "resonance/catalogue/capacity_routers.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

#include "catalogue/golden.hpp"
#include "catalogue/ragged_route.hpp"
#include "support/random.hpp"

namespace {

using namespace resonance;
using catalogue_test::expect_golden;
using catalogue_test::expect_router;
using catalogue_test::golden;
using catalogue_test::routed;

//! The softmax of every row, as a router's input.
struct probabilities {
  explicit probabilities(const golden& g) : values(g.logits.size()), tokens(g.tokens), experts(g.experts) {
    const matrix_view<float> rows{values.data(), tokens, experts};
    EXPECT_TRUE(
        support::accepted(affinity::host_scores(serial_executor{}, affinity::softmax{}, g.input().logits, rows)));
  }
  affinity::logits_input<> input() const { return {{values.data(), tokens, experts}}; }

  std::vector<float> values;
  std::int64_t tokens;
  std::int32_t experts;
};

TEST(Catalogue, SwitchTransformer) {  // T = 24, E = 8: C = 3
  expect_router(golden("switch"), catalogue::switch_transformer(1.0));
}

TEST(Catalogue, Gshard) {  // C = 3 = 0.5 * 2 * 24 / 8
  expect_router(golden("gshard"), catalogue::gshard(0.5));
}

// The recorded router drops first and normalizes what is left: renormalizing over the kept.
TEST(Catalogue, VMoe) {
  const golden g("v_moe");
  auto o = catalogue::v_moe(2, 4.0 * 8.0 / (2.0 * 24.0));
  o.prune.renormalize = true;
  expect_golden(g, catalogue_test::route_of(probabilities(g).input(), o, g));
}

TEST(Catalogue, ExpertChoice) {  // C = 6 = 2 * 24 / 8; a token may be taken by any number of experts
  const golden g("expert_choice");
  const probabilities p(g);
  const auto o = catalogue::expert_choice(2.0);
  const catalogue_test::ragged_route taken(p.input(), o);
  const auto experts = static_cast<std::size_t>(g.experts);
  routed by_weight{std::vector<std::int32_t>(g.ids.size(), -1), std::vector<float>(g.ids.size(), 0.0F)};
  for (std::size_t t = 0; t < static_cast<std::size_t>(g.tokens); ++t) {
    const auto first = static_cast<std::size_t>(taken.offsets[t]);
    for (std::size_t i = first; i < static_cast<std::size_t>(taken.offsets[t + 1]); ++i) {
      by_weight.ids[t * experts + i - first] = taken.ids[i];
      by_weight.weights[t * experts + i - first] = taken.weights[i];
    }
  }
  expect_golden(g, by_weight);
  EXPECT_EQ(taken.offsets.back(), 6 * g.experts);
}

TEST(Catalogue, BaseBySinkhorn) {
  const golden g("sinkhorn");
  const serial_executor executor;
  std::vector<float> bias(static_cast<std::size_t>(g.experts));
  support::exact_workspace balancing(balance::host_sinkhorn_workspace_bytes(executor, g.tokens, g.experts));
  ASSERT_TRUE(support::accepted(balance::host_sinkhorn(executor, g.input().logits, {}, bias.data(), balancing.view())));
  const auto o = catalogue::sinkhorn(bias.data());
  routed chosen = catalogue_test::route_of(g.input(), o, g);
  assignment_view a;
  a.tokens = g.tokens;
  a.experts = g.experts;
  a.slots_per_token = 1;
  a.ids = chosen.ids.data();
  support::exact_workspace weighing(token_choice::host_weights_workspace_bytes(executor, g.experts));
  ASSERT_TRUE(support::accepted(token_choice::host_weights(executor, g.input().logits, a, affinity::sigmoid{}, {},
                                                           chosen.weights.data(), weighing.view())));
  expect_golden(g, chosen);
  EXPECT_NE(chosen.ids, catalogue_test::route_of(g.input(), catalogue::llama4(), g).ids);  // it did balance
}

//! Isotropic tokens for the routers that start from hidden states.
struct hidden_batch {
  static constexpr std::int64_t tokens = 512;
  static constexpr std::int32_t experts = 8, hidden = 128;

  hidden_batch() : values(static_cast<std::size_t>(tokens * hidden)) {
    support::random_source random(61);
    for (float& value : values) value = static_cast<float>(random.normal());
  }
  affinity::hidden_input<> input() const { return {{values.data(), tokens, hidden}, {}, experts, nullptr}; }

  std::vector<float> values;
};

struct counts {
  counts(std::int32_t experts, std::int32_t top_k)
      : ids(static_cast<std::size_t>(hidden_batch::tokens * top_k)),
        capacity(static_cast<std::size_t>(experts)),
        kept(capacity),
        dropped(capacity),
        assigned_mass(capacity.size()),
        kept_mass(capacity.size()) {}
  std::int64_t all_kept() const { return std::accumulate(kept.begin(), kept.end(), std::int64_t{0}); }

  std::vector<std::int32_t> ids;
  std::vector<std::int64_t> capacity, kept, dropped;
  std::vector<double> assigned_mass, kept_mass;
  float delta_max = 0.0F;
};

template <class Options>
counts counts_of(const hidden_batch& batch, const Options& o) {
  counts c(hidden_batch::experts, o.choice.top_k);
  route::outputs<> out;
  out.prune.ids = c.ids.data();
  out.prune.capacities = c.capacity.data();
  out.prune.kept = c.kept.data();
  out.prune.dropped = c.dropped.data();
  out.prune.assigned_mass = c.assigned_mass.data();
  out.prune.kept_mass = c.kept_mass.data();
  out.prune.delta_max = &c.delta_max;
  support::exact_workspace workspace(route::host_route_workspace_bytes(serial_executor{}, batch.input(), o));
  EXPECT_TRUE(support::accepted(route::host_route(serial_executor{}, batch.input(), o, out, workspace.view())));
  return c;
}

TEST(Catalogue, EtrKeepsTheShareOfTheMass) {
  const hidden_batch batch;
  const counts c = counts_of(batch, catalogue::etr(0.76));
  EXPECT_LT(c.all_kept(), hidden_batch::tokens);
  for (std::size_t e = 0; e < c.kept.size(); ++e) {
    EXPECT_EQ(c.kept[e], std::min(c.capacity[e], c.kept[e] + c.dropped[e]));
    EXPECT_GE(c.kept_mass[e], 0.76 * c.assigned_mass[e] * (1.0 - 1e-6));
    EXPECT_GT(c.dropped[e], 0);
  }
}

TEST(Catalogue, EtrBoundTakesTheBatchsDeltaOrAGivenOne) {
  const hidden_batch batch;
  const counts measured = counts_of(batch, catalogue::etr_bound());
  auto o = catalogue::etr_bound();
  o.capacity.delta_given = true;
  o.capacity.delta = measured.delta_max;
  EXPECT_EQ(counts_of(batch, o).ids, measured.ids);
  o.capacity.delta = 0.5 * static_cast<double>(measured.delta_max);  // a quantile or a moving average
  const double bound = prune::lower_bound::minimum(o.capacity.delta, hidden_batch::hidden, hidden_batch::experts);
  EXPECT_EQ(counts_of(batch, o).capacity[0], static_cast<std::int64_t>(std::max(1.0, std::ceil(bound))));
}

// Reading D3 of delta_max: a quantile of what the tokens chose, or a moving average of it, in place of the largest.
TEST(Catalogue, EtrBoundTakesAQuantileAndAMovingAverage) {
  const hidden_batch batch;
  const serial_executor executor;
  std::vector<float> chosen(hidden_batch::tokens);
  auto o = catalogue::etr_bound();
  route::outputs<> out;
  out.choice.topk_affinity = chosen.data();
  support::exact_workspace routing(route::host_route_workspace_bytes(executor, batch.input(), o));
  ASSERT_TRUE(support::accepted(route::host_route(executor, batch.input(), o, out, routing.view())));
  float quantile = 0.0F;
  support::exact_workspace counting(balance::host_delta_quantile_workspace_bytes(hidden_batch::tokens, 1));
  ASSERT_TRUE(support::accepted(balance::host_delta_quantile(
      executor, matrix_view<const float>{chosen.data(), hidden_batch::tokens, 1}, 0.99, &quantile, counting.view())));
  std::sort(chosen.begin(), chosen.end());
  EXPECT_EQ(quantile, chosen[506]);  // the ceil(0.99 * 512)-th least
  const auto capacity_at = [](double delta) {
    const double bound = prune::lower_bound::minimum(delta, hidden_batch::hidden, hidden_batch::experts);
    return std::min<std::int64_t>(71, static_cast<std::int64_t>(std::max(1.0, std::ceil(bound))));  // 1.1 * 512 / 8
  };
  o.prune.delta_max = &quantile;
  EXPECT_EQ(counts_of(batch, o).capacity[0], capacity_at(static_cast<double>(quantile)));
  balance::moving_average average{0.5F};
  average.add(quantile);
  average.add(0.5F * quantile);
  EXPECT_NEAR(average.value, 0.75 * static_cast<double>(quantile), 1e-6);
  o.prune.delta_max = &average.value;
  EXPECT_EQ(counts_of(batch, o).capacity[0], capacity_at(static_cast<double>(average.value)));
  EXPECT_LT(capacity_at(static_cast<double>(average.value)), capacity_at(static_cast<double>(quantile)));
}

TEST(Catalogue, EtrTopPTakesFewerExpertsWhereFewHoldTheMass) {
  const hidden_batch batch;
  const counts all = counts_of(batch, catalogue::etr_top_p(1.0, 4));
  const counts half = counts_of(batch, catalogue::etr_top_p(0.3, 4));
  EXPECT_EQ(all.all_kept(), 4 * hidden_batch::tokens);
  EXPECT_LT(half.all_kept(), all.all_kept());
  EXPECT_GE(half.all_kept(), hidden_batch::tokens);
}

TEST(Catalogue, EtrBaselineDropsByPosition) {
  const hidden_batch batch;
  const counts c = counts_of(batch, catalogue::etr_baseline(0.5));
  const counts all = counts_of(batch, catalogue::etr_baseline(8.0));
  EXPECT_EQ(c.capacity[0], 32);  // 0.5 * 512 / 8
  std::vector<int> seen(hidden_batch::experts, 0);
  for (std::size_t t = 0; t < c.ids.size(); ++t) {
    const std::int32_t expert = all.ids[t];
    ASSERT_GE(expert, 0);
    EXPECT_EQ(c.ids[t], seen[static_cast<std::size_t>(expert)]++ < 32 ? expert : -1) << t;
  }
}

TEST(Catalogue, LocmoeTakesTheSliceOfTheLargestMeanFirstComeFirstServed) {
  const hidden_batch batch;
  const counts c = counts_of(batch, catalogue::locmoe(0.75));
  const counts frozen = counts_of(batch, catalogue::locmoe_bound(0.2));
  std::vector<int> seen(hidden_batch::experts, 0);
  const int capacity = 48;  // 0.75 * 512 / 8
  for (std::size_t t = 0; t < c.ids.size(); ++t) {
    const float* x = batch.values.data() + t * hidden_batch::hidden;
    double best = -1.0;
    std::size_t expert = 0;
    for (std::size_t e = 0; e < hidden_batch::experts; ++e) {
      const double mean = std::max(0.0, std::accumulate(x + 16 * e, x + 16 * e + 16, 0.0) / 16.0);
      if (mean > best) {
        best = mean;
        expert = e;
      }
    }
    EXPECT_EQ(c.ids[t], seen[expert]++ < capacity ? static_cast<std::int32_t>(expert) : -1) << t;
  }
  const double bound = prune::lower_bound::minimum(0.2, hidden_batch::hidden, hidden_batch::experts);
  EXPECT_EQ(frozen.capacity[0], static_cast<std::int64_t>(std::max(1.0, std::ceil(bound))));
}

}  // namespace
