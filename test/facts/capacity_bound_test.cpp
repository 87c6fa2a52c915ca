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
  EXPECT_NEAR(lower_bound::minimum(.10, 4096, 8), 1.1e8, .05e8);
  EXPECT_NEAR(lower_bound::minimum(.05, 2560, 16), 1.5, .05);
  EXPECT_NEAR(lower_bound::minimum(.10, 2560, 16), 2.4e4, .05e4);
}

// The baseline's 1.1 T / E at T = 32768, and 40 and 60 % less: .003 of delta are 60 % of the capacity.
TEST(CapacityBound, KnownInverses) {
  EXPECT_NEAR(reference::delta_of_capacity(4506, 4096, 8), .07149, 5e-6);
  EXPECT_NEAR(reference::delta_of_capacity(2704, 4096, 8), .06973, 5e-6);
  EXPECT_NEAR(reference::delta_of_capacity(1802, 4096, 8), .06830, 5e-6);
  EXPECT_NEAR(lower_bound::minimum(.07149, 4096, 8), 4506, 15);
  EXPECT_NEAR(lower_bound::minimum(.06830, 4096, 8), 1802, 5);
}

// LocMoE, Lemma 3 and Theorem 1: of the sphere about erfc(sqrt(delta^2 d / (2 - delta^2))) is within delta of a gate,
// and one token in as many per expert is what the bound stays below.
TEST(CapacityBound, StaysBelowTheShareOfTheSphere) {
  const auto share = [](double delta, double hidden) {
    return std::erfc(std::sqrt(delta * delta * hidden / (2 - delta * delta)));
  };
  EXPECT_NEAR(share(1 / std::sqrt(1024.), 1024), .31719, 5e-6);
  EXPECT_NEAR(share(1 / std::sqrt(4096.), 4096), .31728, 5e-6);
  for (const std::int64_t hidden : {256, 1024, 4096})
    for (const double delta : {.005, .01, .03, .05, .07})
      EXPECT_LT(lower_bound::minimum(delta, hidden, 8), 1 / (8 * share(delta, static_cast<double>(hidden))));
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
