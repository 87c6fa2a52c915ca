// SPDX-License-Identifier: Apache-2.0
#include "resonance/balance/moving_average.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace {

using resonance::status_code;
using resonance::balance::moving_average;

TEST(MovingAverage, IsTheWeightedSumOfWhatWasAdded) {
  moving_average average{0.75F};
  EXPECT_EQ(average.value, -std::numeric_limits<float>::infinity());
  const std::vector<float> values = {4.0F, 1.0F, -2.0F, 0.5F};
  double expected = 4.0;
  for (const float value : values) {
    average.add(value);
    expected = 0.75 * expected + 0.25 * static_cast<double>(value);
    EXPECT_NEAR(average.value, expected, 1e-6);
  }
}

TEST(MovingAverage, PassesOverAbsentValues) {
  moving_average average{0.5F};
  const float infinity = std::numeric_limits<float>::infinity();
  average.add(-infinity);
  average.add(std::nanf(""));
  EXPECT_EQ(average.value, -infinity);
  average.add(2.0F);
  average.add(std::nanf(""));
  average.add(-infinity);
  EXPECT_EQ(average.value, 2.0F);
  average.add(4.0F);
  EXPECT_EQ(average.value, 3.0F);
}

TEST(MovingAverage, RefusesItsDecayByName) {
  EXPECT_TRUE(moving_average{0.0F}.check().ok());
  for (const float decay : {-0.1F, 1.0F, std::nanf("")}) {
    EXPECT_EQ(moving_average{decay}.check().code, status_code::out_of_range);
    EXPECT_STREQ(moving_average{decay}.check().argument, "decay");
  }
}

}  // namespace
