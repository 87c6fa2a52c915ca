// SPDX-License-Identifier: Apache-2.0
// MC's online pruning as a composition of stages, against a whole route in double precision.
#include "resonance/catalogue/mc.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "permute/fixture.hpp"
#include "prune/importance_reference.hpp"
#include "resonance/affinity/host_affinity.hpp"
#include "resonance/balance/host_delta_quantile.hpp"
#include "resonance/expert_choice/host_expert_choice.hpp"
#include "resonance/offline/bit_allocation.hpp"
#include "resonance/offline/usage.hpp"
#include "resonance/prune/host_protect_tokens.hpp"
#include "resonance/prune/host_prune_choices.hpp"
#include "resonance/prune/host_token_importance.hpp"
#include "resonance/token_choice/host_token_choice.hpp"
#include "support/assignments.hpp"

namespace {

using namespace resonance;
using permute_test::stored_rows;
using support::accepted;
using support::exact_workspace;

constexpr std::int32_t experts = 8;

struct choices {
  std::vector<std::int32_t> ids;
  std::vector<float> weights;
  std::int64_t pruned = 0;

  assignment_view view() {
    return as_assignments(choice_buffers{ids.data(), weights.data(), nullptr},
                          static_cast<std::int64_t>(ids.size() / 2), experts, 2);
  }
  std::vector<float> ratios() const {
    std::vector<float> result;
    for (std::size_t slot = 0; slot < ids.size(); slot += 2)
      result.push_back(prune::weight_share(weights[slot + 1], weights[slot]));
    return result;
  }
};

choices choose(const stored_rows<float>& logits) {
  const auto o = catalogue::mc();
  choices c{std::vector<std::int32_t>(static_cast<std::size_t>(2 * logits.rows)),
            std::vector<float>(static_cast<std::size_t>(2 * logits.rows))};
  affinity::host_source<affinity::logits, affinity::logits_input<>> source(o.metric, {logits.read()});
  exact_workspace workspace(token_choice::host_token_choice_workspace_bytes(serial_executor{}, source));
  EXPECT_TRUE(
      accepted(token_choice::host_token_choice(serial_executor{}, source, o.score, o.selection, o.choice,
                                               {c.ids.data(), c.weights.data(), nullptr}, {}, workspace.view())));
  return c;
}

float median(const std::vector<float>& values) {
  const matrix_view<const float> view(values.data(), static_cast<std::int64_t>(values.size()), 1);
  exact_workspace workspace(balance::host_delta_quantile_workspace_bytes(view.rows, 1));
  float result = 0;
  EXPECT_TRUE(accepted(balance::host_delta_quantile(serial_executor{}, view, 0.5, &result, workspace.view())));
  return result;
}

std::vector<std::uint8_t> protect(const stored_rows<float>& hidden, const stored_rows<float>& attention) {
  const std::int64_t tokens = hidden.rows;
  std::vector<float> importance(static_cast<std::size_t>(tokens));
  exact_workspace space(prune::host_token_importance_workspace_bytes(tokens));
  EXPECT_TRUE(accepted(prune::host_token_importance(serial_executor{}, hidden.read(), attention.read(),
                                                    importance.data(), space.view())));
  // Expert choice with one expert, whose affinity is the importance.
  expert_choice::options o;
  o.capacity = catalogue::mc_protected_count(tokens);
  std::vector<std::int32_t> best(static_cast<std::size_t>(o.capacity));
  exact_workspace other(expert_choice::host_expert_choice_workspace_bytes(serial_executor{}, tokens));
  EXPECT_TRUE(accepted(expert_choice::host_expert_choice(serial_executor{},
                                                         matrix_view<const float>(importance.data(), tokens, 1), o,
                                                         expert_choice::outputs{best.data(), nullptr}, other.view())));
  std::vector<std::uint8_t> mask(static_cast<std::size_t>(tokens));
  EXPECT_TRUE(accepted(prune::host_protect_tokens(serial_executor{}, best.data(), o.capacity, tokens, mask.data())));
  return mask;
}

choices pruned(choices c, float mu, const std::uint8_t* protected_tokens) {
  EXPECT_TRUE(
      accepted(prune::host_prune_choices(serial_executor{}, prune::weight_ratio{mu}, c.view(), protected_tokens,
                                         catalogue::mc_pruning(), {c.ids.data(), c.weights.data(), &c.pruned})));
  return c;
}

TEST(Catalogue, McPrunesLikeItsDescription) {
  support::random_source random(1);
  constexpr std::int64_t tokens = 375;
  stored_rows<float> hidden(tokens, 24);
  hidden.fill_normal(random);
  stored_rows<float> logits(tokens, experts);
  logits.fill_normal(random);
  const auto attention = importance_reference::causal_attention<float>(random, tokens);

  const auto mask = protect(hidden, attention);
  const float mu = median(choose(logits).ratios());
  const choices got = pruned(choose(logits), mu, mask.data());

  // The oracle: all in double, from the logits on.
  const auto importance = importance_reference::importance(hidden.widened(), attention.widened());
  std::vector<double> ranked = importance;
  std::sort(ranked.rbegin(), ranked.rend());
  std::vector<double> ratios;
  for (std::int64_t t = 0; t < tokens; ++t) {
    std::vector<double> row;
    for (std::int32_t e = 0; e < experts; ++e) row.push_back(static_cast<double>(logits.at(t, e)));
    std::sort(row.rbegin(), row.rend());
    ratios.push_back(std::exp(row[1] - row[0]));
  }
  std::vector<double> sorted = ratios;
  std::sort(sorted.begin(), sorted.end());
  EXPECT_NEAR(mu, sorted[187], 1e-6);
  std::int64_t expected_pruned = 0;
  for (std::size_t t = 0; t < ratios.size(); ++t) {
    const auto row = static_cast<std::int64_t>(t);
    std::int32_t first = 0;
    for (std::int32_t e = 1; e < experts; ++e) first = logits.at(row, e) > logits.at(row, first) ? e : first;
    std::int32_t second = first == 0 ? 1 : 0;
    for (std::int32_t e = 0; e < experts; ++e)
      if (e != first && logits.at(row, e) > logits.at(row, second)) second = e;
    const bool is_protected = importance[t] >= ranked[6];  // floor(0.02 * 375) = 7
    const bool drops = !is_protected && ratios[t] < sorted[187] - 1e-9;
    expected_pruned += drops ? 1 : 0;
    EXPECT_EQ(mask[t] != 0, is_protected) << t;
    EXPECT_EQ(got.ids[2 * t], first) << t;
    EXPECT_EQ(got.ids[2 * t + 1], drops ? -1 : second) << t;
    EXPECT_NEAR(got.weights[2 * t], drops ? 1.0 : 1 / (1 + ratios[t]), 1e-6) << t;
    EXPECT_NEAR(got.weights[2 * t + 1], drops ? 0.0 : ratios[t] / (1 + ratios[t]), 1e-6) << t;
  }
  EXPECT_EQ(got.pruned, expected_pruned);
  EXPECT_EQ(std::count(mask.begin(), mask.end(), 1), 7);
}

// mu the median, and no two ratios equal: exactly those below it, half of the tokens, a quarter of the expert
// evaluations.
TEST(Catalogue, McHalvesTheTokensAtTheMedian) {
  support::random_source random(2);
  stored_rows<float> logits(1001, experts);
  logits.fill_normal(random);
  const choices c = choose(logits);
  std::vector<float> ratios = c.ratios();
  EXPECT_EQ(pruned(c, median(ratios), nullptr).pruned, 500);

  // With protection the median is that of the others.
  std::vector<std::uint8_t> mask(1001, 0);
  std::vector<float> of_others;
  for (std::size_t t = 0; t < mask.size(); ++t) {
    mask[t] = t % 50 == 7 ? 1 : 0;
    if (mask[t] == 0) of_others.push_back(ratios[t]);
  }
  ASSERT_EQ(of_others.size(), 981U);
  EXPECT_EQ(pruned(c, median(of_others), mask.data()).pruned, 490);
}

TEST(Catalogue, McProtectsTwoPercent) {
  for (const std::int64_t tokens : {0, 1, 49, 50, 99, 100, 2048, 1000000007})
    EXPECT_EQ(catalogue::mc_protected_count(tokens), static_cast<std::int64_t>(std::floor(0.02L * tokens)));
}

// The other half of MC: usage of the recorded routes decides the bits.
TEST(Catalogue, McGivesTheUsedExpertsMoreBits) {
  support::random_source random(3);
  stored_rows<float> logits(2000, experts);
  for (std::int64_t t = 0; t < 2000; ++t)
    for (std::int32_t e = 0; e < experts; ++e) logits.at(t, e) = static_cast<float>(random.normal() - 0.5 * e);
  choices c = choose(logits);
  std::vector<double> share(experts), weight(experts), error;
  EXPECT_TRUE(accepted(offline::usage(c.view(), {share.data(), weight.data()})));
  double shares = 0;
  double weights = 0;
  for (std::size_t e = 0; e < experts; ++e) {
    shares += share[e];
    weights += weight[e];
    error.insert(error.end(), {1.0, 0.3, 0.1});
  }
  EXPECT_NEAR(shares, 2, 1e-12);
  EXPECT_NEAR(weights, 1, 1e-6);
  std::vector<std::int32_t> bits(experts);
  exact_workspace workspace(offline::allocate_bits_workspace_bytes(experts, 16));
  EXPECT_TRUE(accepted(offline::allocate_bits({share.data(), weight.data(), error.data()}, experts, 16, bits.data(),
                                              nullptr, workspace.view())));
  EXPECT_TRUE(std::is_sorted(bits.rbegin(), bits.rend()));  // the experts fall in use from the first to the last
  EXPECT_EQ(bits.front(), 3);
  EXPECT_EQ(bits.back(), 1);
}

}  // namespace
