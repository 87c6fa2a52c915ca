// SPDX-License-Identifier: Apache-2.0
// How the merges and prunings relate to one another, on the library's own results.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <set>
#include <type_traits>
#include <utility>
#include <vector>

#include <resonance/resonance.hpp>

#include "properties/routed.hpp"
#include "support/random.hpp"

namespace {

namespace affinity = resonance::affinity;
namespace merge = resonance::merge;
namespace prune = resonance::prune;

struct batch {
  std::int64_t tokens;
  std::int32_t experts;
  std::int32_t top_k;
  std::vector<float> logits;

  affinity::logits_input<float> input() const {
    affinity::logits_input<float> view;
    view.logits = {logits.data(), tokens, experts};
    return view;
  }
};

//! Random batches, every third of them full of ties.
std::vector<batch> batches() {
  std::vector<batch> all;
  support::random_source random(5);
  for (const std::int64_t tokens : {1, 7, 33, 257}) {
    for (const std::int32_t experts : {1, 6, 13, 72}) {
      for (const std::int32_t top_k : {1, 2, experts}) {
        if (top_k > experts) continue;
        const auto count = static_cast<std::size_t>(tokens * experts);
        const bool ties = all.size() % 3 == 2;
        all.push_back({tokens, experts, top_k,
                       ties ? support::adversarial_values(random, count, support::adversary::ties)
                            : support::normal_values(random, count)});
      }
    }
  }
  return all;
}

template <class Merge, class Capacity, class Order = prune::affinity_order>
properties::routed route(const batch& b, const Capacity& capacity, std::int64_t expert_capacity = -1) {
  resonance::route::options<affinity::logits, resonance::token_choice::top_k, Merge, Capacity, affinity::softmax, Order>
      options;
  options.capacity = capacity;
  options.choice.top_k = b.top_k;
  options.expert_capacity = expert_capacity;
  options.prune.hidden = 4096;
  return properties::route_all(support::serial(), b.input(), options);
}

using pairs = std::set<std::pair<std::int64_t, std::int32_t>>;

//! The kept (token, expert) pairs of a regular route.
pairs kept_pairs(const properties::routed& r) {
  pairs kept;
  for (std::size_t slot = 0; slot < r.kept_ids.size(); ++slot)
    if (r.kept_ids[slot] >= 0) kept.emplace(static_cast<std::int64_t>(slot) / r.top_k, r.kept_ids[slot]);
  return kept;
}

std::vector<std::int64_t> loads(const properties::routed& r) {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(r.experts), 0);
  for (const std::int32_t id : r.topk_ids)
    if (id >= 0) ++counts[static_cast<std::size_t>(id)];
  return counts;
}

TEST(Identities, RestrictedWithRoomForAllIsTokenChoice) {
  for (const batch& b : batches()) {
    const properties::routed free = route<merge::restricted>(b, prune::unlimited{});
    const std::vector<std::int64_t> load = loads(free);
    prune::fixed rule;
    rule.count = *std::max_element(load.begin(), load.end());
    const properties::routed just_enough = route<merge::restricted>(b, rule);
    EXPECT_EQ(free.kept_ids, free.topk_ids);
    EXPECT_EQ(just_enough.kept_ids, free.topk_ids);
    EXPECT_EQ(just_enough.kept_weights, free.topk_weights);
    EXPECT_EQ(route<merge::token_only>(b, prune::unlimited{}).kept_ids, free.topk_ids);
    rule.count -= 1;
    EXPECT_NE(route<merge::restricted>(b, rule).kept_ids, free.topk_ids) << "one place less must drop a token";
  }
}

TEST(Identities, RestrictedWithEveryExpertChosenIsExpertChoice) {
  const resonance::serial_executor serial;
  for (const batch& b : batches()) {
    if (b.top_k != b.experts) continue;
    for (const std::int64_t capacity : {std::int64_t{1}, (b.tokens + 1) / 2, b.tokens}) {
      prune::fixed rule;
      rule.count = capacity;
      const properties::routed r = route<merge::restricted>(b, rule);
      resonance::expert_choice::options options;
      options.capacity = capacity;
      std::vector<std::int32_t> tokens_of(static_cast<std::size_t>(capacity * b.experts));
      resonance::expert_choice::outputs out;
      out.token_ids = tokens_of.data();
      std::vector<char> workspace(resonance::expert_choice::host_expert_choice_workspace_bytes(serial, b.tokens));
      ASSERT_TRUE(resonance::expert_choice::host_expert_choice(serial, b.input().logits, options, out,
                                                               {workspace.data(), workspace.size()})
                      .ok());
      pairs taken;
      for (std::size_t i = 0; i < tokens_of.size(); ++i)
        if (tokens_of[i] >= 0) taken.emplace(tokens_of[i], static_cast<std::int32_t>(i) / capacity);
      EXPECT_EQ(kept_pairs(r), taken) << "T=" << b.tokens << " E=" << b.experts << " C=" << capacity;
    }
  }
}

TEST(Identities, IntersectionIsInsideRestricted) {
  bool strictly = false;
  for (const batch& b : batches()) {
    prune::fixed rule;
    rule.count = std::max<std::int64_t>(1, b.tokens / 3);
    const pairs restricted = kept_pairs(route<merge::restricted>(b, rule));
    const pairs intersection = kept_pairs(route<merge::intersection>(b, rule, rule.count));
    EXPECT_TRUE(std::includes(restricted.begin(), restricted.end(), intersection.begin(), intersection.end()));
    strictly = strictly || intersection.size() < restricted.size();
  }
  EXPECT_TRUE(strictly) << "the two policies never differed: nothing was tested";
}

//! What restricted merge and pruning promise whatever the rule: kept_i = min(|A_i|, C_i), and under the affinity order
//! no dropped member beats a kept one.
template <class Capacity, class Order = prune::affinity_order>
void expect_cut(const Capacity& rule) {
  for (const batch& b : batches()) {
    const properties::routed r = route<merge::restricted, Capacity, Order>(b, rule);
    const std::vector<std::int64_t> load = loads(r);
    std::vector<float> worst_kept(load.size(), std::numeric_limits<float>::infinity());
    std::vector<float> best_dropped(load.size(), -std::numeric_limits<float>::infinity());
    for (std::size_t slot = 0; slot < r.topk_ids.size(); ++slot) {
      if (r.topk_ids[slot] < 0) continue;
      const auto e = static_cast<std::size_t>(r.topk_ids[slot]);
      if (r.kept_ids[slot] >= 0) {
        worst_kept[e] = std::min(worst_kept[e], r.topk_affinity[slot]);
      } else {
        best_dropped[e] = std::max(best_dropped[e], r.topk_affinity[slot]);
      }
    }
    for (std::size_t e = 0; e < load.size(); ++e) {
      EXPECT_EQ(r.kept[e], std::min(load[e], r.capacities[e]));
      EXPECT_EQ(r.kept[e], r.tokens_per_expert[e]);
      EXPECT_EQ(r.kept[e] + r.dropped[e], load[e]);
      if (std::is_same<Order, prune::affinity_order>::value || Capacity::by_mass) {
        EXPECT_GE(worst_kept[e], best_dropped[e]);
      }
    }
  }
}

TEST(Identities, EveryRuleKeepsTheBestUpToItsCapacity) {
  expect_cut(prune::unlimited{});
  for (const std::int64_t count : {0, 1, 5}) {
    prune::fixed rule;
    rule.count = count;
    expect_cut(rule);
    expect_cut<prune::fixed, prune::position>(rule);
    expect_cut<prune::fixed, prune::slot_major>(rule);
    expect_cut<prune::fixed, prune::batch_prioritized>(rule);
  }
  prune::factor factor;
  factor.capacity_factor = 0.6;
  expect_cut(factor);
  prune::lower_bound bound;
  bound.delta_given = true;
  bound.delta = 0.045;
  expect_cut(bound);
  prune::affinity_mass mass;
  mass.rho = 0.5;
  expect_cut(mass);
  expect_cut<prune::affinity_mass, prune::position>(mass);
}

TEST(Identities, MassKeptReachesItsShareAndNoMoreThanNeeded) {
  for (const batch& b : batches()) {
    for (const double rho : {0.1, 0.5, 0.76, 0.95, 1.0}) {
      prune::affinity_mass rule;
      rule.rho = rho;
      const properties::routed r = route<merge::restricted>(b, rule);
      for (std::size_t e = 0; e < r.kept.size(); ++e) {
        // The rule counts in units of 2^-30 of the largest affinity, so a sum may be off by half a unit per member.
        const double unit = 4.0 * 0x1p-30 * static_cast<double>(b.tokens * b.top_k);
        EXPECT_GE(r.kept_mass[e], rho * r.assigned_mass[e] - unit);
        if (r.kept[e] == 0 || r.assigned_mass[e] == 0) continue;
        float worst = std::numeric_limits<float>::infinity();
        for (std::size_t slot = 0; slot < r.kept_ids.size(); ++slot)
          if (r.kept_ids[slot] == static_cast<std::int32_t>(e)) worst = std::min(worst, r.topk_affinity[slot]);
        EXPECT_LT(r.kept_mass[e] - std::max(worst, 0.0F), rho * r.assigned_mass[e] + unit);
      }
    }
  }
}

}  // namespace
