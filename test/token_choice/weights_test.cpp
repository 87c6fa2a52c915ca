// SPDX-License-Identifier: Apache-2.0
#include <resonance/token_choice/weights.hpp>

#include <cmath>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include <resonance/affinity/score.hpp>

#include "affinity/reference_score.hpp"
#include "reference/token_choice.hpp"
#include "support/random.hpp"

namespace {

namespace affinity = resonance::affinity;
namespace token_choice = resonance::token_choice;

template <class Score>
class WeighSlots : public ::testing::Test {};
TYPED_TEST_SUITE(WeighSlots, reference_score::all, reference_score::names);

//! The slots hold experts of a longer row, and some slots are empty.
TYPED_TEST(WeighSlots, AgreesWithTheReference) {
  support::random_source random(71);
  for (int trial = 0; trial < 300; ++trial) {
    const std::size_t experts = random.between(1, 40);
    const std::size_t slots = random.between(1, experts);
    const std::vector<float> delta = support::normal_values(random, experts, 3);
    reference::id_table ids(1, slots, -1);
    for (std::size_t k = 0; k < slots; ++k)
      if (random.coin(0.8)) ids(0, k) = static_cast<std::int32_t>(k);

    TypeParam score;
    score.temperature = random.coin() ? 1.0F : 2.0F;
    token_choice::options o;
    o.renormalize = random.coin();
    o.routed_scaling_factor = random.coin() ? 1.0F : -2.5F;
    std::vector<float> numerators(experts);
    const resonance::softmax_terms terms = score.numerators(
        static_cast<std::int64_t>(experts), [&](std::int64_t e) { return delta[static_cast<std::size_t>(e)]; },
        [&](std::int64_t e) -> float& { return numerators[static_cast<std::size_t>(e)]; });
    std::vector<float> weights(slots, -1);
    token_choice::weigh_slots(
        score, o, terms, static_cast<std::int64_t>(slots),
        [&](std::int64_t k) {
          const std::int32_t id = ids(0, static_cast<std::size_t>(k));
          return id < 0 ? -HUGE_VALF : delta[static_cast<std::size_t>(id)];
        },
        [&](std::int64_t k) -> float& { return weights[static_cast<std::size_t>(k)]; });

    reference::choice_options options;
    options.k = slots;
    options.renormalize = o.renormalize;
    options.routed_scaling_factor = o.routed_scaling_factor;
    const reference::score_options scoring = reference_score::options_of(score);
    const reference::matrix expected = reference::weights_of(
        ids, reference::scores(reference::widened(delta, 1, experts), scoring), scoring.function, options);
    double magnitudes = 0;  // signed scores may cancel in the sum that they are divided by
    for (std::size_t k = 0; k < slots; ++k) magnitudes += std::fabs(expected(0, k));
    const double tolerance = o.renormalize ? 5e-6 * (1 + magnitudes) : 5e-6;
    for (std::size_t k = 0; k < slots; ++k)
      ASSERT_NEAR(weights[k], expected(0, k), tolerance * std::fabs(expected(0, k)))
          << "trial " << trial << " slot " << k;
  }
}

TYPED_TEST(WeighSlots, ASumOfZeroOrLessIsNoDivisor) {
  token_choice::options o;
  o.renormalize = true;
  std::vector<float> weights(2, -1);
  const auto weigh = [&](const std::vector<float>& delta) {
    token_choice::weigh_slots(
        TypeParam{}, o, {}, 2, [&](std::int64_t k) { return delta[static_cast<std::size_t>(k)]; },
        [&](std::int64_t k) -> float& { return weights[static_cast<std::size_t>(k)]; });
  };
  weigh({-HUGE_VALF, -HUGE_VALF});
  EXPECT_EQ(weights, (std::vector<float>{0.0F, 0.0F}));
  if (std::is_same<TypeParam, affinity::identity>::value) {
    weigh({-1.0F, -3.0F});
    EXPECT_EQ(weights, (std::vector<float>{-1.0F, -3.0F}));
  }
}

//! The row's best is e^150 times the chosen: its terms would make every weight 0, which renormalizing undoes.
TEST(WeighSlotsFarBelowTheRow, ARenormalizedSoftmaxDoesNotUnderflow) {
  token_choice::options o;
  o.renormalize = true;
  const std::vector<float> delta = {-150.0F, -150.0F + std::log(3.0F)};
  std::vector<float> weights(2, -1);
  resonance::softmax_terms terms;
  terms.largest = 0.0F;
  terms.sum = 1.0F;
  token_choice::weigh_slots(
      affinity::softmax{}, o, terms, 2, [&](std::int64_t k) { return delta[static_cast<std::size_t>(k)]; },
      [&](std::int64_t k) -> float& { return weights[static_cast<std::size_t>(k)]; });
  EXPECT_NEAR(weights[0], 0.25, 1e-5);
  EXPECT_NEAR(weights[1], 0.75, 1e-5);
}

TEST(NeedsRowTerms, OnlyForARowSoftmaxThatIsNotRenormalized) {
  token_choice::options o;
  EXPECT_TRUE(token_choice::needs_row_terms<affinity::softmax>(o));
  EXPECT_TRUE(token_choice::needs_row_terms<affinity::relu_softmax>(o));
  EXPECT_FALSE(token_choice::needs_row_terms<affinity::sigmoid>(o));
  EXPECT_FALSE(token_choice::needs_row_terms<affinity::softmax_over_chosen>(o));
  o.renormalize = true;
  EXPECT_FALSE(token_choice::needs_row_terms<affinity::softmax>(o));
}

}  // namespace
