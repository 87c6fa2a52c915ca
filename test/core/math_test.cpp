// SPDX-License-Identifier: Apache-2.0
// The stated error bounds, in units of the last place of the exact result, over dense samples.
#include <resonance/core/math.hpp>

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <limits>

#include <gtest/gtest.h>

#include "support/random.hpp"

namespace {

namespace math = resonance::math;
using limits = std::numeric_limits<float>;
using resonance::detail::bits_float;
using resonance::detail::float_bits;

//! |value - exact| in units of the last place that a float near `exact` has.
double error_in_ulps(float value, double exact) {
  const int exponent = std::max(std::ilogb(exact), FLT_MIN_EXP - 1);
  return std::fabs(static_cast<double>(value) - exact) / std::ldexp(1.0, exponent - (FLT_MANT_DIG - 1));
}

//! The largest error over the floats from `first` to `last` (both of one sign, |first| <= |last|), `step` bits apart.
template <class Function, class Exact>
double worst_error(float first, float last, std::uint32_t step, const Function& function, const Exact& exact) {
  double worst = 0;
  for (std::uint64_t bits = float_bits(first); bits <= float_bits(last); bits += step) {
    const float x = bits_float(static_cast<std::uint32_t>(bits));
    const double error = error_in_ulps(function(x), exact(static_cast<double>(x)));
    worst = error > worst ? error : worst;
    if (std::isnan(error)) return error;
  }
  return worst;
}

constexpr std::uint32_t coarse = 997;  // about a million floats of each sign

TEST(MathExp, StaysWithinOneUlp) {
  const auto function = [](float x) { return math::exp(x); };
  const auto exact = [](double x) { return std::exp(x); };
  EXPECT_LE(worst_error(0.0F, 88.72F, coarse, function, exact), 1.0);
  EXPECT_LE(worst_error(-0.0F, -87.33F, coarse, function, exact), 1.0);
  EXPECT_LE(worst_error(5.19F, 5.24F, 1, function, exact), 1.0);  // the worst of all floats is in here
}

TEST(MathExp, HasExactEnds) {
  EXPECT_EQ(math::exp(0.0F), 1.0F);
  EXPECT_EQ(math::exp(-0.0F), 1.0F);
  EXPECT_GT(math::exp(-87.33F), 0.0F);
  EXPECT_EQ(float_bits(math::exp(std::nextafter(-87.33F, -100.0F))), 0U);
  EXPECT_EQ(float_bits(math::exp(-limits::infinity())), 0U);
  EXPECT_EQ(float_bits(math::exp(-FLT_MAX)), 0U);
  EXPECT_TRUE(std::isfinite(math::exp(88.72F)));
  EXPECT_EQ(math::exp(88.73F), limits::infinity());
  EXPECT_EQ(math::exp(FLT_MAX), limits::infinity());
  EXPECT_EQ(math::exp(limits::infinity()), limits::infinity());
  EXPECT_TRUE(std::isnan(math::exp(limits::quiet_NaN())));
  EXPECT_TRUE(std::isnan(math::exp(-limits::quiet_NaN())));
}

TEST(MathExp, GivesNoSubnormalAndNeverFalls) {
  float below = 0.0F;
  for (float x = -90.0F; x < 89.0F; x += 1.0F / 512) {
    const float value = math::exp(x);
    EXPECT_TRUE(value == 0.0F || value >= FLT_MIN) << x;
    EXPECT_GE(value, below) << x;
    below = value;
  }
}

TEST(MathLog, StaysWithinTwoUlps) {
  const auto function = [](float x) { return math::log(x); };
  const auto exact = [](double x) { return std::log(x); };
  EXPECT_LE(worst_error(FLT_MIN, FLT_MAX, coarse, function, exact), 2.0);
  EXPECT_LE(worst_error(0.5F, 2.0F, 7, function, exact), 2.0);
  EXPECT_EQ(math::log(1.0F), 0.0F);
}

TEST(MathSoftplus, StaysWithinThreeUlps) {
  const auto function = [](float x) { return math::softplus(x); };
  const auto exact = [](double x) { return std::log1p(std::exp(x)); };
  EXPECT_LE(worst_error(0.0F, 20.0F, coarse, function, exact), 3.0);
  EXPECT_LE(worst_error(-0.0F, -87.33F, coarse, function, exact), 3.0);
  EXPECT_EQ(math::softplus(-1000.0F), 0.0F);
}

TEST(MathTanh, StaysWithinThreeUlpsAndIsOdd) {
  const auto function = [](float x) { return math::tanh(x); };
  const auto exact = [](double x) { return std::tanh(x); };
  EXPECT_LE(worst_error(0.0F, 100.0F, coarse, function, exact), 3.0);
  EXPECT_LE(worst_error(0.6F, 0.65F, 1, function, exact), 3.0);
  for (float x : {0.0F, limits::denorm_min(), 1e-20F, 0.3F, 0.625F, 1.0F, 9.0F, 50.0F, FLT_MAX, limits::infinity()})
    EXPECT_EQ(float_bits(math::tanh(-x)), float_bits(math::tanh(x)) | 0x80000000U) << x;
  EXPECT_EQ(math::tanh(limits::infinity()), 1.0F);
  EXPECT_EQ(math::tanh(FLT_MAX), 1.0F);
  EXPECT_TRUE(std::isnan(math::tanh(limits::quiet_NaN())));
}

TEST(MathSigmoid, StaysWithinTwoAndAHalfUlps) {
  const auto function = [](float x) { return math::sigmoid(x); };
  const auto exact = [](double x) { return 1 / (1 + std::exp(-x)); };
  EXPECT_LE(worst_error(0.0F, 200.0F, coarse, function, exact), 2.5);
  EXPECT_LE(worst_error(-0.0F, -87.3F, coarse, function, exact), 2.5);
  EXPECT_LE(worst_error(-16.6F, -16.7F, 1, function, exact), 2.5);  // the worst of all floats is in here
  EXPECT_EQ(math::sigmoid(0.0F), 0.5F);
  EXPECT_EQ(math::sigmoid(limits::infinity()), 1.0F);
  EXPECT_EQ(math::sigmoid(-limits::infinity()), 0.0F);
}

TEST(MathExpDouble, StaysWithinOneUlp) {
  support::random_source random(5);
  double worst = 0;
  for (int i = 0; i < 400000; ++i) {
    const double x = (2 * random.uniform() - 1) * (random.coin() ? 700.0 : 1.0);
    const long double exact = std::exp(static_cast<long double>(x));
    const long double ulp = std::ldexp(1.0L, std::ilogb(exact) - (DBL_MANT_DIG - 1));
    worst = std::max(worst, static_cast<double>(std::fabs(static_cast<long double>(math::exp(x)) - exact) / ulp));
  }
  EXPECT_LE(worst, 1.0);
  EXPECT_EQ(math::exp(0.0), 1.0);
  EXPECT_EQ(math::exp(-701.0), 0.0);
  EXPECT_EQ(math::exp(701.0), std::numeric_limits<double>::infinity());
  EXPECT_EQ(math::exp(-std::numeric_limits<double>::infinity()), 0.0);
}

TEST(MathFma, RoundsOnce) {
  const float a = 1.0F + 0x1p-12F;
  EXPECT_EQ(math::fma(a, a, -1.0F), 0x1p-11F + 0x1p-24F);  // a * a alone would lose the last term
  const double b = 1.0 + 0x1p-27;
  EXPECT_EQ(math::fma(b, b, -1.0), 0x1p-26 + 0x1p-54);
}

TEST(MathRoots, AreCorrectlyRounded) {
  support::random_source random(6);
  for (int i = 0; i < 200000; ++i) {
    const float x = bits_float(static_cast<std::uint32_t>(random.below(0x7F800000)));
    const float y = bits_float(static_cast<std::uint32_t>(random.below(0x7F800000)));
    // Rounding a correctly rounded double root or quotient once more gives the correctly rounded float.
    ASSERT_EQ(math::sqrt(x), static_cast<float>(std::sqrt(static_cast<double>(x)))) << x;
    const double quotient = static_cast<double>(x) / static_cast<double>(y);
    if (quotient > FLT_MIN && quotient < FLT_MAX) {
      ASSERT_EQ(math::divide(x, y), static_cast<float>(quotient)) << x << " / " << y;
    }
  }
}

TEST(MathBits, AbsAndNan) {
  EXPECT_EQ(math::abs(-2.5F), 2.5F);
  EXPECT_FALSE(std::signbit(math::abs(-0.0F)));
  EXPECT_TRUE(math::is_nan(limits::quiet_NaN()) && math::is_nan(-limits::signaling_NaN()));
  EXPECT_FALSE(math::is_nan(limits::infinity()) || math::is_nan(-limits::infinity()) || math::is_nan(0.0F));
  EXPECT_EQ(math::negative_infinity(), -limits::infinity());
}

}  // namespace
