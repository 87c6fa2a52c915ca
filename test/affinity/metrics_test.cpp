// SPDX-License-Identifier: Apache-2.0
#include <resonance/affinity/metrics.hpp>

#include <cmath>
#include <cstdint>
#include <limits>

#include <gtest/gtest.h>

#include "reference/affinity.hpp"

namespace {

namespace affinity = resonance::affinity;

TEST(SliceBegin, IsTheCeilingOfTheFraction) {
  for (std::int64_t hidden : {1, 2, 7, 13, 130, 1024, 2880})
    for (std::int64_t experts : {1, 2, 6, 7, 13, 64, 128, 512}) {
      if (experts > hidden) continue;
      EXPECT_EQ(affinity::slice_begin(0, experts, hidden), 0);
      EXPECT_EQ(affinity::slice_begin(experts, experts, hidden), hidden);
      for (std::int64_t i = 0; i < experts; ++i) {
        const std::int64_t begin = affinity::slice_begin(i, experts, hidden);
        EXPECT_EQ(begin, static_cast<std::int64_t>(reference::slice_begin(static_cast<std::size_t>(i),
                                                                          static_cast<std::size_t>(hidden),
                                                                          static_cast<std::size_t>(experts))));
        EXPECT_GT(affinity::slice_begin(i + 1, experts, hidden), begin) << "an expert without a column";
        // i*H/E <= j < (i+1)*H/E, in whole numbers
        EXPECT_GE(begin * experts, i * hidden);
        EXPECT_LT((begin - 1) * experts, i * hidden);
      }
    }
  EXPECT_EQ(affinity::slice_begin(1, 128, 2880), 23);
  EXPECT_EQ(affinity::slice_begin(2, 128, 2880), 45);
}

TEST(SliceBegin, MultipliesIn64Bits) { EXPECT_EQ(affinity::slice_begin(99999, 100000, 200000), 199998); }

TEST(Finish, DividesByBothNormsAndGivesZeroForAZeroNorm) {
  EXPECT_EQ(affinity::cosine::finish(6.0F, 2.0F, 4.0F), 0.75F);
  EXPECT_EQ(affinity::cosine::finish(0.0F, 0.0F, 4.0F), 0.0F);
  EXPECT_EQ(affinity::cosine::finish(0.0F, 2.0F, 0.0F), 0.0F);
  EXPECT_TRUE(std::isnan(affinity::cosine::finish(std::numeric_limits<float>::quiet_NaN(), 2.0F, 1.0F)));
  EXPECT_EQ(affinity::grouped_average_cosine::finish(6.0F, 2.0F, 4.0F), 0.75F);
  EXPECT_EQ(affinity::grouped_average_cosine::finish(0.0F, 0.0F, 4.0F), 0.0F);
  EXPECT_EQ(affinity::cosine_of_logits::finish(6.0F, 2.0F, 4.0F), 0.75F);
  EXPECT_EQ(affinity::cosine_of_logits::finish(5.0F, 0.0F, 4.0F), 0.0F);
}

TEST(Finish, LeavesUnnormedSumsAlone) {
  EXPECT_EQ(affinity::dot::finish(6.0F, 0.0F, 0.0F), 6.0F);
  EXPECT_EQ(affinity::logits::finish(-6.0F, 0.0F, 0.0F), -6.0F);
  EXPECT_EQ(affinity::grouped_average::finish(6.0F, 0.0F, 4.0F), 1.5F);
}

}  // namespace
