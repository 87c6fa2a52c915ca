// SPDX-License-Identifier: Apache-2.0
#include <resonance/affinity/score.hpp>

#include <cfloat>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "affinity/reference_score.hpp"
#include "reference/score.hpp"
#include "support/random.hpp"

namespace {

namespace affinity = resonance::affinity;

template <class Score>
class ScoreFunction : public ::testing::Test {};
TYPED_TEST_SUITE(ScoreFunction, reference_score::all, reference_score::names);

TYPED_TEST(ScoreFunction, RefusesBadNumbersByName) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  const auto argument_of = [](float temperature, float cap) {
    TypeParam score;
    score.temperature = temperature;
    score.logit_cap = cap;
    const resonance::status result = score.check();
    EXPECT_EQ(result.code, result.ok() ? resonance::status_code::ok : resonance::status_code::out_of_range);
    return std::string(result.argument);
  };
  EXPECT_EQ(argument_of(1.0F, 0.0F), "");
  EXPECT_EQ(argument_of(FLT_MIN, FLT_MAX), "");
  for (float temperature : {0.0F, -0.0F, -1.0F, nan, infinity, -infinity})
    EXPECT_EQ(argument_of(temperature, 0.0F), "temperature") << temperature;
  for (float cap : {-1.0F, -FLT_MIN, nan, infinity}) EXPECT_EQ(argument_of(1.0F, cap), "logit_cap") << cap;
}

TYPED_TEST(ScoreFunction, ScalesAndCapsLikeTheReference) {
  support::random_source random(21);
  for (float temperature : {0.25F, 1.0F, 3.0F})
    for (float cap : {0.0F, 0.5F, 30.0F}) {
      TypeParam score;
      score.temperature = temperature;
      score.logit_cap = cap;
      const reference::score_options options = reference_score::options_of(score);
      for (int i = 0; i < 2000; ++i) {
        const auto delta = static_cast<float>(random.normal() * 5);
        const double expected = reference::transformed(delta, options);
        ASSERT_NEAR(score.scaled(delta), expected, 1e-6 * std::fabs(expected)) << delta;
        ASSERT_EQ(score.argument(delta), TypeParam::activate(score.scaled(delta)));
      }
      EXPECT_EQ(score.scaled(0.0F), 0.0F);
    }
}

//! A delta of +inf counts as the largest finite value; a small temperature must not make it infinite again.
TYPED_TEST(ScoreFunction, KeepsTheLargestDeltaFinite) {
  TypeParam score;
  score.temperature = 0.5F;
  EXPECT_TRUE(std::isfinite(score.scaled(FLT_MAX)));
  EXPECT_TRUE(std::isfinite(score.scaled(-FLT_MAX)));
  std::vector<float> numerators(2);
  const std::vector<float> delta = {FLT_MAX, 0.0F};
  const resonance::softmax_terms terms = score.numerators(
      2, [&](std::int64_t i) { return delta[static_cast<std::size_t>(i)]; },
      [&](std::int64_t i) -> float& { return numerators[static_cast<std::size_t>(i)]; });
  EXPECT_EQ(terms.sum, numerators[0] + numerators[1]);
  EXPECT_EQ(numerators[0], 1.0F);
}

TYPED_TEST(ScoreFunction, SelectsByDeltaWhereTheFunctionRises) {
  TypeParam score;
  score.temperature = 7.0F;
  for (float delta : {-3.0F, -0.5F, 0.0F, 0.5F, 3.0F}) {
    const bool flat = std::is_same<TypeParam, affinity::relu_softmax>::value && delta < 0;
    EXPECT_EQ(score.unbiased_key(delta), flat ? 0.0F : delta);
  }
}

TEST(Activate, AgreesWithTheReferenceElementwise) {
  for (float x = -87.0F; x < 100.0F; x += 0.03125F) {
    EXPECT_EQ(affinity::identity::activate(x), x);
    EXPECT_EQ(affinity::softmax::activate(x), x);
    EXPECT_EQ(affinity::relu_softmax::activate(x), x > 0 ? x : 0.0F);
    const double sigmoid = reference::sigmoid(x);
    EXPECT_NEAR(affinity::sigmoid::activate(x), sigmoid, 1e-6 * sigmoid) << x;
    const double sqrt_softplus = reference::sqrt_softplus(x);
    EXPECT_NEAR(affinity::sqrt_softplus::activate(x), sqrt_softplus, 1e-6 * sqrt_softplus) << x;
  }
}

//! ln(1 + e^x) vanishes from fp32 below -87.33, its root only below twice that.
TEST(Activate, SqrtSoftplusReachesAsFarDownAsItsRoot) {
  for (float x = -170.0F; x < -80.0F; x += 0.03125F) {
    const double expected = reference::sqrt_softplus(x);
    EXPECT_NEAR(affinity::sqrt_softplus::activate(x), expected, 1e-6 * expected) << x;
  }
}

TEST(Activate, StaysFiniteForTheLargestArguments) {
  EXPECT_EQ(affinity::sigmoid::activate(FLT_MAX), 1.0F);
  EXPECT_EQ(affinity::sigmoid::activate(-FLT_MAX), 0.0F);
  EXPECT_NEAR(affinity::sqrt_softplus::activate(FLT_MAX), std::sqrt(static_cast<double>(FLT_MAX)), 1e13);
  EXPECT_EQ(affinity::sqrt_softplus::activate(-FLT_MAX), 0.0F);
}

TEST(Activate, SqrtSoftplusMeetsTheRootAtTwenty) {
  const float beyond = std::nextafter(20.0F, 21.0F);
  EXPECT_EQ(affinity::sqrt_softplus::activate(beyond), std::sqrt(beyond));
  EXPECT_NEAR(affinity::sqrt_softplus::activate(20.0F), std::sqrt(std::log1p(std::exp(20.0))), 1e-6);
}

}  // namespace
