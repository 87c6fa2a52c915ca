// SPDX-License-Identifier: Apache-2.0
// ETR Theorem 5 by simulation: how often the one token that an expert should learn from reaches it.
//
// Every sample plants one token that belongs to a random expert i. A share P of successes over N samples has a standard
// error of sqrt(P (1 - P) / N); the tolerance is 4 of them, and stated as a number beside each case.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <resonance/resonance.hpp>

#include "reference/facts.hpp"
#include "support/random.hpp"

namespace {

constexpr int samples = 40000;

double four_standard_errors(double chance) { return 4 * std::sqrt(chance * (1 - chance) / samples); }

//! Token choice: T - 1 tokens pick an expert at random, the planted one, at a random position, picks its own expert
//! with probability p, and experts take the first C that come. Success: the planted token chose expert i and is kept.
double token_choice_rate(std::int64_t tokens, std::int32_t experts, double p, std::int64_t capacity,
                         std::uint64_t seed) {
  namespace affinity = resonance::affinity;
  const resonance::serial_executor serial;
  resonance::route::options<affinity::logits, resonance::token_choice::top_k, resonance::merge::token_only,
                            resonance::prune::fixed, affinity::identity, resonance::prune::position>
      options;
  options.capacity.count = capacity;
  support::random_source random(seed);
  const auto e_count = static_cast<std::size_t>(experts);
  std::vector<float> scores(static_cast<std::size_t>(tokens) * e_count);
  affinity::logits_input<float> input;
  input.logits = {scores.data(), tokens, experts};
  std::vector<std::int32_t> kept(static_cast<std::size_t>(tokens));
  resonance::route::outputs<> out;
  out.prune.ids = kept.data();
  std::vector<char> workspace(resonance::route::host_route_workspace_bytes(serial, input, options));

  int successes = 0;
  for (int sample = 0; sample < samples; ++sample) {
    std::fill(scores.begin(), scores.end(), 0.0F);
    // One draw serves many tokens: `experts` is a power of two here.
    std::uint64_t bits = 0;
    for (std::size_t t = 0; t < kept.size(); ++t) {
      bits = t % 16 == 0 ? random.bits() : bits >> 4;
      scores[t * e_count + bits % e_count] = 1.0F;
    }
    const std::size_t expert = random.below(e_count);
    const std::size_t planted = random.below(kept.size());
    for (std::size_t e = 0; e < e_count; ++e) scores[planted * e_count + e] = 0.0F;
    const std::size_t other = (expert + 1 + random.below(e_count - 1)) % e_count;
    scores[planted * e_count + (random.coin(p) ? expert : other)] = 1.0F;
    if (!resonance::route::host_route(serial, input, options, out, {workspace.data(), workspace.size()}).ok())
      return -1;
    successes += kept[planted] == static_cast<std::int32_t>(expert) ? 1 : 0;
  }
  return successes / static_cast<double>(samples);
}

TEST(Theorem5, TokenChoiceWithRoomForFew) {
  EXPECT_NEAR(reference::token_choice_success(1024, std::vector<double>(8, .5), 64), .250000, 5e-7);
  EXPECT_LT(four_standard_errors(.25), .009);
  EXPECT_NEAR(token_choice_rate(1024, 8, .5, 64, 51), .250000, .009);
}

TEST(Theorem5, TokenChoiceWithRoomForMost) {
  EXPECT_NEAR(reference::token_choice_success(1024, std::vector<double>(8, .5), 128), .483519, 5e-7);
  EXPECT_LT(four_standard_errors(.4835), .010);
  EXPECT_NEAR(token_choice_rate(1024, 8, .5, 128, 52), .483519, .010);
}

TEST(Theorem5, TokenChoiceOfHalfTheBatch) {
  EXPECT_NEAR(reference::token_choice_success(512, std::vector<double>(8, .25), 48), .187373, 5e-7);
  EXPECT_LT(four_standard_errors(.1874), .008);
  EXPECT_NEAR(token_choice_rate(512, 8, .25, 48, 53), .187373, .008);
}

//! Expert choice: to expert i each of the T - 1 other tokens looks better than the planted one with probability q_i.
//! Success: the planted token is among the expert's C best.
double expert_choice_rate(std::int64_t tokens, const std::vector<double>& misleading, std::int64_t capacity,
                          std::uint64_t seed) {
  const resonance::serial_executor serial;
  support::random_source random(seed);
  resonance::expert_choice::options options;
  options.capacity = capacity;
  std::vector<float> scores(static_cast<std::size_t>(tokens));
  const resonance::matrix_view<const float> view(scores.data(), tokens, 1);
  std::vector<std::int32_t> taken(static_cast<std::size_t>(capacity));
  resonance::expert_choice::outputs out;
  out.token_ids = taken.data();
  std::vector<char> workspace(resonance::expert_choice::host_expert_choice_workspace_bytes(serial, tokens));

  int successes = 0;
  for (int sample = 0; sample < samples; ++sample) {
    const double q = misleading[random.below(misleading.size())];
    // Uniform numbers around the planted score of 0: above it with probability q, and without ties.
    for (float& score : scores) score = static_cast<float>(q - random.uniform());
    const std::size_t planted = random.below(scores.size());
    scores[planted] = 0.0F;
    if (!resonance::expert_choice::host_expert_choice(serial, view, options, out, {workspace.data(), workspace.size()})
             .ok())
      return -1;
    for (const std::int32_t token : taken) successes += token == static_cast<std::int32_t>(planted) ? 1 : 0;
  }
  return successes / static_cast<double>(samples);
}

// Corollary 6: where few tokens mislead, expert choice all but always succeeds, where many do, all but never.
TEST(Theorem5, ExpertChoiceKeepsItsBounds) {
  const auto often_misled = [](double q) { return std::exp(-1023 * q / 8); };                   // C <= (T - 1) q / 2
  const auto seldom_misled = [](double capacity) { return 1 - std::exp(-3 * capacity / 16); };  // C >= 2 T q
  EXPECT_NEAR(often_misled(.1) / 2.80e-6, 1, .005);
  EXPECT_NEAR(seldom_misled(21), .980503, 5e-7);
  EXPECT_LT(reference::expert_choice_success(1024, {.1}, 40), often_misled(.1));
  EXPECT_GT(reference::expert_choice_success(1024, {.01}, 21), seldom_misled(21));
  EXPECT_NEAR(reference::expert_choice_success(1024, {.1}, 64) / 8.41e-6, 1, .001);
}

TEST(Theorem5, ExpertChoiceThatIsSeldomMisled) {
  EXPECT_NEAR(reference::expert_choice_success(1024, {.01}, 21), .998043, 5e-7);
  EXPECT_LT(four_standard_errors(.998), .0009);
  EXPECT_NEAR(expert_choice_rate(1024, {.01}, 21, 54), .998043, .0009);
}

TEST(Theorem5, ExpertChoiceThatIsOftenMisledNeverSucceeds) {
  EXPECT_NEAR(reference::expert_choice_success(1024, {.1}, 40) / 8.31e-14, 1, .001);
  EXPECT_EQ(expert_choice_rate(1024, {.1}, 40, 55), 0);
}

TEST(Theorem5, ExpertChoiceOfUnlikeExperts) {
  const std::vector<double> misleading = {.005, .01, .015, .02, .025, .03, .04, .05};
  const double exact = reference::expert_choice_success(1024, misleading, 21);
  EXPECT_NEAR(exact, .5, .1) << "a rate in the middle is the hardest to meet by accident";
  EXPECT_LT(four_standard_errors(exact), .0101);
  EXPECT_NEAR(expert_choice_rate(1024, misleading, 21, 56), exact, .0101);
}

}  // namespace
