// SPDX-License-Identifier: Apache-2.0
#include <resonance/core/softmax.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "core/naive_sum.hpp"
#include "reference/score.hpp"
#include "support/random.hpp"

namespace {

constexpr float absent = -std::numeric_limits<float>::infinity();

resonance::softmax_terms terms_of(const std::vector<float>& arguments, std::vector<float>& numerators) {
  return resonance::softmax_numerators(
      static_cast<std::int64_t>(arguments.size()), [&](std::int64_t i) { return arguments[static_cast<size_t>(i)]; },
      [&](std::int64_t i) -> float& { return numerators[static_cast<size_t>(i)]; });
}

TEST(SoftmaxNumerators, AgreeWithTheReference) {
  support::random_source random(4);
  for (std::size_t count : {1, 2, 6, 64, 127, 129, 257, 1025, 2880}) {
    std::vector<float> arguments = support::normal_values(random, count, 5);
    for (float& argument : arguments)
      if (count > 1 && random.coin(0.1)) argument = absent;
    std::vector<float> numerators(count, -1);
    const resonance::softmax_terms terms = terms_of(arguments, numerators);
    const std::vector<double> expected = reference::softmax(std::vector<double>(arguments.begin(), arguments.end()));
    for (std::size_t i = 0; i < count; ++i) {
      ASSERT_NEAR(numerators[i] / terms.sum, expected[i], 1e-5 * expected[i]) << i << " of " << count;
      ASSERT_EQ(numerators[i] == 0.0F, arguments[i] == absent) << i << " of " << count;
    }
    EXPECT_EQ(terms.sum, naive::ordered_sum(0, static_cast<std::int64_t>(count), [&](float sum, std::int64_t i) {
                return sum + numerators[static_cast<size_t>(i)];
              }));
  }
}

TEST(SoftmaxNumerators, ShiftByTheLargestSoThatNothingOverflows) {
  std::vector<float> numerators(4);
  const resonance::softmax_terms terms = terms_of({3.0e38F, -3.0e38F, absent, 3.0e38F}, numerators);
  EXPECT_EQ(terms.largest, 3.0e38F);
  EXPECT_EQ(terms.sum, 2.0F);
  EXPECT_EQ(numerators, (std::vector<float>{1, 0, 0, 1}));
}

TEST(SoftmaxNumerators, AreAllZeroWhereNoneIsPresent) {
  std::vector<float> numerators(3, -1);
  const resonance::softmax_terms terms = terms_of({absent, absent, absent}, numerators);
  EXPECT_EQ(terms.largest, 0.0F);
  EXPECT_EQ(terms.sum, 0.0F);
  EXPECT_EQ(numerators, (std::vector<float>{0, 0, 0}));
  EXPECT_EQ(terms_of({}, numerators).sum, 0.0F);
}

}  // namespace
