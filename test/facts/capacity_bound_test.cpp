// SPDX-License-Identifier: Apache-2.0
// The capacity that ETR Remark 7 asks for.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>

#include <resonance/prune/capacity.hpp>

#include "reference/facts.hpp"

namespace {

using resonance::prune::batch_facts;
using resonance::prune::lower_bound;

TEST(CapacityBound, KnownValues) {
  EXPECT_NEAR(lower_bound::minimum(.03, 4096, 8), .79, .005);
  EXPECT_NEAR(lower_bound::minimum(.05, 4096, 8), 21.1, .05);
  EXPECT_NEAR(lower_bound::minimum(.08, 4096, 8), 6.4e4, .05e4);
}

TEST(CapacityBound, CountsRoundUpInsideTheirLimits) {
  const auto capacity = [](double delta, std::int64_t tokens) {
    lower_bound rule;
    rule.delta_given = true;
    rule.delta = delta;
    batch_facts batch;
    batch.tokens = tokens;
    batch.experts = 8;
    batch.top_k = 1;
    batch.hidden = 4096;
    EXPECT_TRUE(rule.check(batch).ok());
    return rule.capacity(batch, 0, 0);
  };
  EXPECT_EQ(capacity(.03, 1 << 20), 1);
  EXPECT_EQ(capacity(.05, 1 << 20), 22);
  EXPECT_NEAR(static_cast<double>(capacity(.08, 1 << 20)), 6.4e4, .05e4);
  EXPECT_EQ(capacity(.08, 32768), 4506) << "ceil(1.1 * 32768 / 8)";
  EXPECT_EQ(capacity(1.5, 32768), 4506) << "m^2 >= 2 gives the upper end";
}

TEST(CapacityBound, AgreesWithTheClosedFormAndItsInverse) {
  for (const std::int64_t hidden : {64, 720, 2880, 4096, 7168}) {
    for (const std::int32_t experts : {1, 7, 8, 128, 512}) {
      const auto h = static_cast<std::size_t>(hidden);
      const auto e = static_cast<std::size_t>(experts);
      for (const double capacity : {1.5, 8.0, 100.0, 4096.0, 1e6}) {
        const double delta = reference::delta_of_capacity(capacity, h, e);
        EXPECT_NEAR(lower_bound::minimum(delta, hidden, experts) / capacity, 1, 1e-10);
        EXPECT_NEAR(
            lower_bound::minimum(0.9 * delta, hidden, experts) / reference::capacity_lower_bound(0.9 * delta, h, e), 1,
            1e-10);
      }
    }
  }
}

}  // namespace
