// SPDX-License-Identifier: Apache-2.0
// AdapMoE as a composition of stages, against double precision: adaptive gating, and the experts fetched ahead.
#include "resonance/catalogue/adapmoe.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

#include "permute/fixture.hpp"
#include "resonance/affinity/host_affinity.hpp"
#include "resonance/prune/host_prune_choices.hpp"
#include "resonance/token_choice/host_token_choice.hpp"
#include "support/assignments.hpp"

namespace {

using namespace resonance;
using permute_test::stored_rows;
using support::accepted;
using support::exact_workspace;

constexpr std::int32_t experts = 8;
constexpr std::int64_t tokens = 400;
constexpr std::int64_t hidden_size = 32;

struct choices {
  std::vector<std::int32_t> ids = std::vector<std::int32_t>(2 * tokens);
  std::vector<float> weights = std::vector<float>(2 * tokens);
};

template <class Metric, class Input, class Options>
choices choose(const Options& o, const Input& input) {
  const affinity::host_source<Metric, Input> source(o.metric, input);
  choices c;
  exact_workspace workspace(token_choice::host_token_choice_workspace_bytes(serial_executor{}, source));
  EXPECT_TRUE(
      accepted(token_choice::host_token_choice(serial_executor{}, source, o.score, o.selection, o.choice,
                                               {c.ids.data(), c.weights.data(), nullptr}, {}, workspace.view())));
  return c;
}

//! Experts by falling score.
std::vector<std::int32_t> ranking(const std::vector<double>& scores) {
  std::vector<std::int32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return scores[static_cast<std::size_t>(a)] > scores[static_cast<std::size_t>(b)];
  });
  return order;
}

TEST(Catalogue, AdapMoEDropsTheSecondExpertBelowItsThreshold) {
  support::random_source random(1);
  stored_rows<float> logits(tokens, experts);
  logits.fill_normal(random);
  const matrix_view<const float> rows = logits.read();
  const choices before = choose<affinity::logits>(catalogue::adapmoe(), affinity::logits_input<>{rows});
  std::int64_t last = tokens + 1;
  for (const float sensitivity : {0.02F, 0.05F, 0.5F, 46.7F}) {
    choices got = before;
    std::int64_t pruned = -1;
    EXPECT_TRUE(accepted(prune::host_prune_choices(
        serial_executor{}, catalogue::adapmoe_rule(sensitivity),
        as_assignments(choice_buffers{got.ids.data(), got.weights.data(), nullptr}, tokens, experts, 2), nullptr,
        catalogue::adapmoe_pruning(), {got.ids.data(), got.weights.data(), &pruned})));
    const double theta = std::sqrt(0.005 / static_cast<double>(sensitivity));
    std::int64_t expected = 0;
    for (std::int64_t t = 0; t < tokens; ++t) {
      std::vector<double> scores;
      for (std::int32_t e = 0; e < experts; ++e) scores.push_back(static_cast<double>(logits.at(t, e)));
      const auto order = ranking(scores);
      const double ratio =
          std::exp(scores[static_cast<std::size_t>(order[1])] - scores[static_cast<std::size_t>(order[0])]);
      const double second = ratio / (1 + ratio);
      ASSERT_GT(std::fabs(second - theta), 1e-7);
      const bool drops = second < theta;
      expected += drops ? 1 : 0;
      const auto slot = static_cast<std::size_t>(2 * t);
      EXPECT_EQ(got.ids[slot], order[0]);
      EXPECT_EQ(got.ids[slot + 1], drops ? -1 : order[1]);
      EXPECT_NEAR(got.weights[slot], drops ? 1.0 : 1 - second, 1e-6);
      EXPECT_NEAR(got.weights[slot + 1], drops ? 0.0 : second, 1e-6);
    }
    EXPECT_EQ(pruned, expected);
    EXPECT_LT(pruned, last) << "a more sensitive layer gives up fewer";
    last = pruned;
  }
  EXPECT_LT(last, tokens / 20);  // the first layer of Mixtral
}

TEST(Catalogue, AdapMoEPredictsTheNextLayerFromThisLayersInput) {
  support::random_source random(2);
  stored_rows<float> hidden(tokens, hidden_size);
  hidden.fill_normal(random);
  stored_rows<float> gate(experts, hidden_size);
  gate.fill_normal(random);
  const auto input = catalogue::adapmoe_next(hidden.read(), gate.read());
  const choices got = choose<affinity::dot>(catalogue::adapmoe_ahead(), input);
  for (std::int64_t t = 0; t < tokens; ++t) {
    std::vector<double> scores(experts, 0.0);
    for (std::int32_t e = 0; e < experts; ++e)
      for (std::int64_t j = 0; j < hidden_size; ++j)
        scores[static_cast<std::size_t>(e)] +=
            static_cast<double>(hidden.at(t, j)) * static_cast<double>(gate.at(e, j));
    const auto order = ranking(scores);
    EXPECT_EQ(got.ids[static_cast<std::size_t>(2 * t)], order[0]);
    EXPECT_EQ(got.ids[static_cast<std::size_t>(2 * t + 1)], order[1]);
  }
}

TEST(Catalogue, AdapMoEFetchesTheFirstPredictedThatIsNotThere) {
  const std::vector<std::uint8_t> cached = {1, 0, 1, 0};
  const auto fetched = [&](const std::vector<std::int32_t>& predicted) {
    return catalogue::adapmoe_prefetch(predicted.data(), static_cast<std::int64_t>(predicted.size()), cached.data(), 4);
  };
  EXPECT_EQ(fetched({0, 3}), 3);
  EXPECT_EQ(fetched({1, 3}), 1);
  EXPECT_EQ(fetched({3, 1}), 3);
  EXPECT_EQ(fetched({2, 0}), -1);
  EXPECT_EQ(fetched({-1, 4, INT32_MIN, INT32_MAX, 1}), 1);
  EXPECT_EQ(fetched({}), -1);
}

}  // namespace
