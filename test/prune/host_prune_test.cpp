// SPDX-License-Identifier: Apache-2.0
#include "resonance/prune/host_prune.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "prune/fixture.hpp"
#include "support/assignments.hpp"
#include "support/executors.hpp"

namespace {

using namespace resonance;
using prune_test::merged_batch;
using prune_test::pruned_arrays;
using reference::capacity_rule;
using reference::drop_order;

// Prunes on every executor; the results have the same bits.
template <class Rule, class Order>
pruned_arrays prune_everywhere(const Rule& rule, const Order& order, const assignment_view& a,
                               const prune::options& o) {
  pruned_arrays first = prune_test::run(support::any_executor(serial_executor{}), rule, order, a, o);
  support::with_every_executor([&](const auto& executor, const std::string& name) {
    const pruned_arrays again = prune_test::run(support::any_executor(executor), rule, order, a, o);
    EXPECT_TRUE(again.bits() == first.bits()) << name;
  });
  return first;
}

// One rule under all drop orders against the reference, with every combination of cap, sharing and renormalizing (on
// large batches with none and with all of them).
template <class Rule>
void expect_rule(const merged_batch& batch, const Rule& rule, const reference::prune_options& meaning) {
  const auto expect_order = [&](auto order, drop_order order_meaning, int variant) {
    prune_test::expect_reference([](const auto&... arguments) { return prune_everywhere(arguments...); }, batch, rule,
                                 order, meaning, order_meaning, variant);
  };
  const int step = batch.choices.slots() > 1000 ? 7 : 1;
  for (int variant = 0; variant < 8; variant += step) {
    expect_order(prune::affinity_order{}, drop_order::affinity, variant);
    expect_order(prune::position{}, drop_order::position, variant);
    expect_order(prune::slot_major{}, drop_order::slot_major, variant);
    expect_order(prune::batch_prioritized{}, drop_order::batch_prioritized, variant);
    expect_order(prune::slot_major_prioritized{}, drop_order::slot_major_prioritized, variant);
  }
}

// Small batches of every adversary, and two that occupy eight workers.
template <class ExpectOn>
void on_batches(std::uint64_t seed, const ExpectOn& expect_on) {
  support::random_source random(seed);
  for (support::adversary kind : support::all_adversaries()) {
    for (const support::batch_shape& s : {support::batch_shape{0, 6, 2}, {1, 1, 1}, {7, 13, 8}, {33, 6, 6}}) {
      SCOPED_TRACE(::testing::Message() << s << " " << support::name_of(kind));
      expect_on(merged_batch(random, s, {kind, 0.1, true}));
    }
  }
  for (const support::batch_shape& s : {support::batch_shape{257, 128, 22}, {4099, 7, 7}}) {
    SCOPED_TRACE(::testing::Message() << s);
    expect_on(merged_batch(random, s));
  }
}

TEST(HostPrune, Unlimited) {
  on_batches(41, [](const merged_batch& batch) { expect_rule(batch, prune::unlimited{}, {}); });
}

TEST(HostPrune, Fixed) {
  on_batches(42, [](const merged_batch& batch) {
    for (std::int64_t capacity : {0, 2, 50}) {
      reference::prune_options meaning;
      meaning.rule = capacity_rule::fixed;
      meaning.fixed = static_cast<std::size_t>(capacity);
      expect_rule(batch, prune::fixed{capacity}, meaning);
    }
  });
}

TEST(HostPrune, Factor) {
  on_batches(43, [](const merged_batch& batch) {
    reference::prune_options meaning;
    meaning.rule = capacity_rule::factor;
    meaning.capacity_factor = 0.7;
    expect_rule(batch, prune::factor{0.7}, meaning);
  });
}

TEST(HostPrune, HeterogeneousFactor) {
  on_batches(49, [](const merged_batch& batch) {
    const std::size_t full = batch.choices.experts() * 2 / 3;
    reference::prune_options meaning;
    meaning.rule = capacity_rule::heterogeneous_factor;
    meaning.capacity_factor = 0.9;
    meaning.tau = 0.25;
    meaning.full_experts = full;
    for (const bool counts_k : {false, true}) {
      meaning.counts_k = counts_k;
      expect_rule(batch, prune::heterogeneous_factor{0.9, 0.25, static_cast<std::int32_t>(full), counts_k}, meaning);
    }
  });
}

TEST(HostPrune, LowerBound) {
  on_batches(44, [](const merged_batch& batch) {
    reference::prune_options meaning;
    meaning.rule = capacity_rule::lower_bound;
    meaning.hidden = 64;
    meaning.capacity_factor = 0.9;
    expect_rule(batch, prune::lower_bound{false, 0.0, 1, 0.9}, meaning);
    meaning.delta_max = 0.25;
    meaning.floor = 2;
    expect_rule(batch, prune::lower_bound{true, 0.25, 2, 0.9}, meaning);
  });
}

TEST(HostPrune, PerExpert) {
  on_batches(45, [](const merged_batch& batch) {
    std::vector<std::int64_t> capacities;
    reference::prune_options meaning;
    meaning.rule = capacity_rule::per_expert;
    for (std::size_t e = 0; e < batch.choices.experts(); ++e) {
      capacities.push_back(static_cast<std::int64_t>(e * 7 % 5));
      meaning.per_expert.push_back(e * 7 % 5);
    }
    expect_rule(batch, prune::per_expert{capacities.data()}, meaning);
  });
}

TEST(HostPrune, AffinityMass) {
  on_batches(46, [](const merged_batch& batch) {
    for (double rho : {1e-9, 0.5, 0.76, 1.0}) {
      reference::prune_options meaning;
      meaning.rule = capacity_rule::affinity_mass;
      meaning.rho = rho;
      expect_rule(batch, prune::affinity_mass{rho}, meaning);
    }
  });
}

TEST(HostPrune, AgreesWithTheReferenceOnManyShapes) {
  support::random_source random(47);
  for (const support::batch_shape& s : support::batch_shapes(20000)) {
    SCOPED_TRACE(::testing::Message() << s);
    const merged_batch batch(random, s, {random.pick(support::all_adversaries()), 0.1, true});
    reference::prune_options meaning;
    meaning.rule = capacity_rule::affinity_mass;
    meaning.rho = 0.6;
    prune_test::expect_reference(prune_everywhere(prune::affinity_mass{0.6}, prune::affinity_order{}, batch.view(), {}),
                                 batch, meaning);
    meaning = {};
    meaning.rule = capacity_rule::factor;
    meaning.capacity_factor = 0.8;
    meaning.order = drop_order::batch_prioritized;
    prune_test::expect_reference(prune_everywhere(prune::factor{0.8}, prune::batch_prioritized{}, batch.view(), {}),
                                 batch, meaning);
  }
}

TEST(HostPrune, ReadsRaggedListsAsRegularOnes) {
  support::random_source random(48);
  const merged_batch batch(random, {300, 13, 4});
  support::ragged_copy ragged(batch.choices.view(), true);
  assignment_view view = ragged.view();
  view.rank_in_expert = batch.rank.data();
  prune::options o;
  o.top_k = 4;
  o.renormalize = true;
  const auto expect_same = [&](const auto& rule, const auto& order) {
    EXPECT_TRUE(prune_everywhere(rule, order, view, o).bits() == prune_everywhere(rule, order, batch.view(), o).bits());
  };
  expect_same(prune::affinity_mass{0.5}, prune::affinity_order{});
  expect_same(prune::factor{0.5}, prune::slot_major{});
  expect_same(prune::fixed{7}, prune::batch_prioritized{});
}

TEST(HostPrune, DropsSlotsWhoseRankIsNoRank) {
  support::random_source random(49);
  merged_batch batch(random, {33, 6, 2}, {support::adversary::ties, 0.0, false});
  const std::vector<std::int32_t> hostile = {-1, 33 * 2, INT32_MIN, INT32_MAX};
  std::vector<bool> spoilt(batch.rank.size());
  for (std::size_t slot = 0; slot < batch.rank.size(); ++slot) {
    spoilt[slot] = random.coin(0.3);
    if (spoilt[slot]) batch.rank[slot] = random.pick(hostile);
  }
  const auto expect_dropped = [&](const auto& rule) {
    const pruned_arrays got = prune_everywhere(rule, prune::affinity_order{}, batch.view(), {});
    std::int64_t kept = 0;
    for (std::size_t slot = 0; slot < spoilt.size(); ++slot) {
      EXPECT_EQ(got.ids[slot], spoilt[slot] ? -1 : batch.choices.ids[slot]);
      EXPECT_EQ(got.weights[slot], spoilt[slot] ? 0.0F : batch.choices.weights[slot]);
      kept += spoilt[slot] ? 0 : 1;
    }
    std::int64_t counted = 0;
    for (std::int64_t of_expert : got.kept) counted += of_expert;
    EXPECT_EQ(counted, kept);
  };
  expect_dropped(prune::unlimited{});
  expect_dropped(prune::fixed{1000});
}

// Affinities from elsewhere than the library's own token choice may hold what that one never writes.
TEST(HostPrune, CountsInfinityAsTheLargestFiniteValue) {
  support::random_source random(53);
  merged_batch batch(random, {33, 6, 2}, {support::adversary::infinities, 0.1, true});
  for (float& value : batch.choices.affinity)
    if (value == std::numeric_limits<float>::max()) value = std::numeric_limits<float>::infinity();
  reference::prune_options meaning;
  meaning.rule = capacity_rule::affinity_mass;
  meaning.rho = 0.5;
  expect_rule(batch, prune::affinity_mass{0.5}, meaning);
}

TEST(HostPrune, SurvivesRanksThatContradictTheAffinity) {
  const std::vector<std::int32_t> ids = {0, 0, 0, 0};
  const std::vector<float> affinity = {1e-40F, 3e38F, 3e38F, 1.0F};
  const std::vector<std::int32_t> rank = {0, 1, 2, 3};
  assignment_view a;
  a.tokens = 4;
  a.experts = 1;
  a.slots_per_token = 1;
  a.ids = ids.data();
  a.weights = a.affinity = affinity.data();
  a.rank_in_expert = rank.data();
  const pruned_arrays got = prune_everywhere(prune::affinity_mass{1.0}, prune::affinity_order{}, a, {});
  EXPECT_EQ(got.kept[0], got.capacities[0]);
  EXPECT_GE(got.capacities[0], 1);
  EXPECT_LE(got.capacities[0], 4);
}

TEST(HostPrune, MayWriteOverItsInput) {
  support::random_source random(50);
  const merged_batch batch(random, {257, 13, 4});
  prune::options o;
  o.renormalize = true;
  const pruned_arrays apart = prune_everywhere(prune::fixed{20}, prune::slot_major{}, batch.view(), o);
  support::with_every_executor([&](const auto& executor, const std::string& name) {
    pruned_arrays in_place(batch.choices.slots(), batch.choices.experts());
    std::copy(batch.choices.ids.begin(), batch.choices.ids.end(), in_place.ids.begin());
    std::copy(batch.choices.weights.begin(), batch.choices.weights.end(), in_place.weights.begin());
    assignment_view view = batch.view();
    view.ids = in_place.ids.data();
    view.weights = in_place.weights.data();
    support::exact_workspace workspace(prune::host_prune_workspace_bytes(executor, view));
    ASSERT_TRUE(prune::host_prune(support::any_executor(executor), prune::fixed{20}, prune::slot_major{}, view, o,
                                  in_place.view(), workspace.view())
                    .ok());
    EXPECT_TRUE(in_place.bits() == apart.bits()) << name;
  });
}

}  // namespace
