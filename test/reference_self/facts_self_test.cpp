// SPDX-License-Identifier: Apache-2.0
// The reference as a whole: identities between its stages, and the closed forms and published shares.
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <vector>

#include "reference/affinity.hpp"
#include "reference/balance.hpp"
#include "reference/expert_choice.hpp"
#include "reference/facts.hpp"
#include "reference/merge.hpp"
#include "reference/prune.hpp"
#include "reference/score.hpp"
#include "reference/table.hpp"
#include "reference/token_choice.hpp"
#include "support/random.hpp"

namespace {

using namespace reference;

constexpr double inf = std::numeric_limits<double>::infinity();

TEST(identities, of_merge_and_prune_on_random_batches) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    support::random_source random(seed);
    const std::size_t tokens = random.between(1, 20);
    const std::size_t experts = random.between(1, 6);
    const std::size_t capacity = random.between(0, 6);
    choice_options options;
    options.k = random.between(1, experts);
    matrix delta(tokens, experts);
    for (double& value : delta.values) value = random.coin(.3) ? 0.5 : random.normal();
    const choices chosen = token_choice(delta, score_options{}, {}, options);
    const auto restricted = merge(merge_kind::restricted, chosen.ids, chosen.weights, delta);
    prune_options fixed;
    fixed.rule = capacity_rule::fixed;
    fixed.fixed = capacity;
    const prune_result pruned = prune(restricted, tokens, options.k, experts, fixed);
    const kept_choices kept(restricted, pruned.kept, tokens, options.k);
    for (std::size_t i = 0; i < restricted.size(); ++i) EXPECT_EQ(pruned.kept[i], restricted[i].rank < capacity);

    const token_lists everywhere = expert_choice(delta, capacity);
    for (const assignment& a : merge(merge_kind::intersection, chosen.ids, chosen.weights, delta, everywhere))
      EXPECT_EQ(kept.ids(static_cast<std::size_t>(a.token), static_cast<std::size_t>(a.slot)), a.expert);

    // The members that restricted keeps are the expert's choice among its candidates; with K = E, of all tokens.
    const token_lists among_candidates = expert_choice(delta, capacity, &chosen.ids);
    for (const assignment& a : restricted) {
      if (a.rank >= capacity) continue;
      EXPECT_EQ(among_candidates[static_cast<std::size_t>(a.expert)][a.rank], a.token);
    }
    if (options.k == experts) {
      EXPECT_EQ(among_candidates, everywhere);
    }

    fixed.fixed = tokens;
    EXPECT_EQ(kept_choices(restricted, prune(restricted, tokens, options.k, experts, fixed).kept, tokens, options.k)
                  .ids.values,
              chosen.ids.values);
  }
}

TEST(facts, theorem_5) {
  EXPECT_NEAR(token_choice_success(1024, std::vector<double>(8, .5), 64), .250000, 5e-7);
  EXPECT_NEAR(token_choice_success(1024, std::vector<double>(8, .5), 128), .483519, 5e-7);
  EXPECT_NEAR(token_choice_success(512, std::vector<double>(8, .25), 48), .187373, 5e-7);
  EXPECT_NEAR(expert_choice_success(1024, {.01, .01}, 21), .998043, 5e-7);
  EXPECT_NEAR(expert_choice_success(1024, {.1}, 40), 8.31e-14, 5e-17);
  EXPECT_DOUBLE_EQ(binomial_cdf(1, 3, .5), .5);
  EXPECT_EQ(binomial_cdf(-1, 3, .5), 0);
  EXPECT_EQ(binomial_cdf(2, 3, 1), 0);
}

TEST(facts, capacity_lower_bound_and_its_inverse) {
  EXPECT_NEAR(capacity_lower_bound(.03, 4096, 8), .79, .005);
  EXPECT_NEAR(capacity_lower_bound(.05, 4096, 8), 21.1, .05);
  EXPECT_NEAR(capacity_lower_bound(.08, 4096, 8), 6.4e4, .05e4);
  EXPECT_EQ(capacity_lower_bound(1.5, 4096, 8), inf);
  for (double delta : {.03, .05, .08, .5})
    EXPECT_NEAR(delta_of_capacity(capacity_lower_bound(delta, 4096, 8), 4096, 8), delta, 1e-12);
}

// The published shares are for H = 4096; the distribution of the chosen affinities over their scale depends on H only
// through terms of order 1/H, so a smaller H lands on the same shares.
TEST(facts, affinity_mass_keeps_the_known_share_of_isotropic_tokens) {
  constexpr std::size_t tokens = 16384;
  constexpr std::size_t hidden = 256;
  constexpr std::size_t experts = 8;
  support::random_source random(7);
  const matrix x = widened(support::isotropic_tokens(random, tokens, hidden), tokens, hidden);
  const matrix delta = grouped_average_cosine(x, experts);
  const choices chosen = token_choice(delta, score_options{}, {}, choice_options{});
  const auto assignments = merge(merge_kind::restricted, chosen.ids, chosen.weights, delta);
  const std::vector<double> rho = {.50, .60, .70, .75, .76, .80, .90, .95};
  const std::vector<double> share = {.341, .432, .533, .587, .600, .646, .781, .863};
  for (std::size_t i = 0; i < rho.size(); ++i) {
    prune_options options;
    options.rule = capacity_rule::affinity_mass;
    options.rho = rho[i];
    const prune_result result = prune(assignments, tokens, 1, experts, options);
    double kept = 0;
    for (std::size_t e = 0; e < experts; ++e) {
      kept += static_cast<double>(result.kept_per_expert[e]);
      EXPECT_GE(result.kept_mass[e], rho[i] * result.total_mass[e] * (1 - 1e-9));
    }
    EXPECT_NEAR(kept / tokens, share[i], .01) << "rho " << rho[i];
  }
  double chi_square = 0;
  for (std::size_t count : tokens_per_expert(chosen.ids, experts)) {
    const double mean = static_cast<double>(tokens) / experts;
    chi_square += (static_cast<double>(count) - mean) * (static_cast<double>(count) - mean) / mean;
  }
  EXPECT_LT(chi_square, 24.3);  // 99.9% point at 7 degrees of freedom
}

}  // namespace
