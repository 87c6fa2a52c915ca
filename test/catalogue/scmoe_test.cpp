// SPDX-License-Identifier: Apache-2.0
// SCMoE: strong and weak passes by rank sets, and the contrast of what the two passes say, beside plain code.
#include <resonance/catalogue/scmoe.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

#include <resonance/affinity/host_contrast.hpp>
#include <resonance/core/executor.hpp>
#include <resonance/route/host_route.hpp>

#include "support/assignments.hpp"
#include "support/random.hpp"

namespace {

using namespace resonance;
using catalogue::scmoe;

constexpr std::size_t tokens = 60;
constexpr std::size_t experts = 8;
constexpr std::size_t vocabulary = 50;

struct routed {
  std::vector<std::int32_t> ids;
  std::vector<float> weights;
};

routed route(const std::vector<float>& logits, const scmoe::router::options& o) {
  affinity::logits_input<float> input;
  input.logits = {logits.data(), tokens, experts};
  const auto slots = tokens * static_cast<std::size_t>(o.choice.top_k);
  routed result{std::vector<std::int32_t>(slots), std::vector<float>(slots)};
  route::outputs<> out;
  out.prune.ids = result.ids.data();
  out.prune.weights = result.weights.data();
  const serial_executor executor;
  const auto host = on_host(executor);
  support::exact_workspace space(scmoe::router::workspace_bytes(host, input, o));
  EXPECT_TRUE(support::accepted(scmoe::router::run(host, input, o, out, space.view())));
  return result;
}

//! Experts of a token, best first.
std::vector<std::size_t> ranking(const std::vector<float>& logits, std::size_t token) {
  std::vector<std::size_t> order(experts);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return logits[token * experts + a] > logits[token * experts + b];
  });
  return order;
}

//! Softmax over all experts, then over the given positions of the order, as the paper writes it.
std::vector<double> weights_at(const std::vector<float>& logits, std::size_t token,
                               const std::vector<std::size_t>& ranks) {
  const std::vector<std::size_t> order = ranking(logits, token);
  double sum = 0;
  for (std::size_t e = 0; e < experts; ++e) sum += std::exp(static_cast<double>(logits[token * experts + e]));
  double chosen = 0;
  std::vector<double> weights(experts, 0.0);
  for (std::size_t rank : ranks) {
    weights[order[rank]] = std::exp(static_cast<double>(logits[token * experts + order[rank]])) / sum;
    chosen += weights[order[rank]];
  }
  for (double& weight : weights) weight /= chosen;
  return weights;
}

std::vector<float> random_logits(std::uint64_t seed) {
  support::random_source random(seed);
  std::vector<float> logits = support::normal_values(random, tokens * experts);
  for (std::size_t e = 0; e < experts; ++e) logits[e] = e < 4 ? 1.0F : 0.0F;  // ties
  return logits;
}

TEST(Catalogue, ScmoeStrongIsTheTwoBestRenormalized) {
  const std::vector<float> logits = random_logits(1);
  const routed strong = route(logits, scmoe{}.strong());
  for (std::size_t t = 0; t < tokens; ++t) {
    const std::vector<std::size_t> order = ranking(logits, t);
    const std::vector<double> expected = weights_at(logits, t, {0, 1});
    for (std::size_t k = 0; k < 2; ++k) {
      ASSERT_EQ(static_cast<std::size_t>(strong.ids[2 * t + k]), order[k]);
      EXPECT_NEAR(static_cast<double>(strong.weights[2 * t + k]), expected[order[k]], 1e-6);
    }
  }
}

TEST(Catalogue, ScmoeWeakRanksPartitionTheExperts) {
  const std::vector<float> logits = random_logits(2);
  std::vector<std::vector<int>> times(tokens, std::vector<int>(experts, 0));
  for (std::size_t k = 1; k <= experts; ++k) {
    scmoe router;
    router.weak_rank = static_cast<std::int32_t>(k) - 1;
    const routed weak = route(logits, router.weak());
    for (std::size_t t = 0; t < tokens; ++t) {
      ASSERT_EQ(static_cast<std::size_t>(weak.ids[t]), ranking(logits, t)[k - 1]);
      EXPECT_EQ(weak.weights[t], 1.0F);
      ++times[t][static_cast<std::size_t>(weak.ids[t])];
    }
  }
  for (const std::vector<int>& of_token : times) EXPECT_EQ(of_token, std::vector<int>(experts, 1));
}

TEST(Catalogue, ScmoeRefusesARankThatThereIsNot) {
  scmoe router;
  router.weak_rank = experts;
  const std::vector<float> logits = random_logits(3);
  affinity::logits_input<float> input;
  input.logits = {logits.data(), tokens, experts};
  route::outputs<> out;
  const serial_executor executor;
  EXPECT_TRUE(support::refused(scmoe::router::run(on_host(executor), input, router.weak(), out, {}),
                               status_code::out_of_range, "ranks"));
}

// A model of one layer: expert e adds row e of a table of vocabulary logits, weighted.
TEST(Catalogue, ScmoeContrastsTheTwoPassesAsThePaperWritesIt) {
  support::random_source random(4);
  const std::vector<float> logits = random_logits(5);
  const std::vector<float> head = support::normal_values(random, experts * vocabulary, 2.0);
  scmoe router;
  router.contrast = {0.1F, 0.9F};
  const auto says = [&](const scmoe::router::options& o) {
    const routed r = route(logits, o);
    const auto per_token = static_cast<std::size_t>(o.choice.top_k);
    std::vector<float> z(tokens * vocabulary, 0.0F);
    for (std::size_t slot = 0; slot < r.ids.size(); ++slot)
      for (std::size_t v = 0; v < vocabulary; ++v)
        z[slot / per_token * vocabulary + v] +=
            r.weights[slot] * head[static_cast<std::size_t>(r.ids[slot]) * vocabulary + v];
    return z;
  };
  const std::vector<float> strong = says(router.strong());
  const std::vector<float> weak = says(router.weak());
  std::vector<float> z(tokens * vocabulary);
  const auto table = [](const std::vector<float>& values) {
    return matrix_view<const float>(values.data(), tokens, vocabulary);
  };
  ASSERT_TRUE(support::accepted(affinity::host_contrast_logits(serial_executor{}, table(strong), table(weak),
                                                               router.contrast, {z.data(), tokens, vocabulary})));
  const auto expected_of = [&](std::size_t t, const std::vector<std::size_t>& ranks, std::size_t v) {
    const std::vector<double> weights = weights_at(logits, t, ranks);
    double sum = 0;
    for (std::size_t e = 0; e < experts; ++e) sum += weights[e] * static_cast<double>(head[e * vocabulary + v]);
    return sum;
  };
  std::size_t valid = 0;
  for (std::size_t t = 0; t < tokens; ++t) {
    std::vector<double> s, w;
    for (std::size_t v = 0; v < vocabulary; ++v) {
      s.push_back(expected_of(t, {0, 1}, v));
      w.push_back(expected_of(t, {1}, v));
    }
    const double bound = std::log(0.1) + *std::max_element(s.begin(), s.end());
    for (std::size_t v = 0; v < vocabulary; ++v) {
      if (std::fabs(s[v] - bound) < 1e-4) continue;
      const auto got = static_cast<double>(z[t * vocabulary + v]);
      if (s[v] < bound) {
        EXPECT_EQ(got, -std::numeric_limits<double>::infinity());
      } else {
        EXPECT_NEAR(got, 1.9 * s[v] - 0.9 * w[v], 1e-4);
        ++valid;
      }
    }
  }
  EXPECT_GT(valid, 2 * tokens);
}

}  // namespace
