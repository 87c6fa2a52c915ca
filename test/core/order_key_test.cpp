// SPDX-License-Identifier: Apache-2.0
#include <resonance/core/order_key.hpp>

#include <cfloat>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "reference/order.hpp"
#include "support/random.hpp"

namespace {

using limits = std::numeric_limits<float>;

TEST(OrderKey, GrowsWithTheScore) {
  const std::vector<float> rising = {-FLT_MAX,
                                     -1e30F,
                                     -1.5F,
                                     -1.0F,
                                     -FLT_MIN,
                                     -limits::denorm_min(),
                                     0.0F,
                                     limits::denorm_min(),
                                     FLT_MIN,
                                     1.0F,
                                     std::nextafter(1.0F, 2.0F),
                                     1e30F,
                                     FLT_MAX};
  for (std::size_t i = 1; i < rising.size(); ++i)
    EXPECT_LT(resonance::order_key(rising[i - 1]), resonance::order_key(rising[i])) << rising[i];
}

TEST(OrderKey, ZerosAreEqualAndInfinityCountsAsTheLargestFinite) {
  EXPECT_EQ(resonance::order_key(-0.0F), resonance::order_key(0.0F));
  EXPECT_EQ(resonance::order_key(limits::infinity()), resonance::order_key(FLT_MAX));
}

TEST(OrderKey, OnlyNanAndMinusInfinityAreNeverChosen) {
  for (float score : {limits::quiet_NaN(), -limits::quiet_NaN(), limits::signaling_NaN(), -limits::infinity()})
    EXPECT_EQ(resonance::order_key(score), resonance::never_chosen);
  for (float score : {-FLT_MAX, -0.0F, 0.0F, FLT_MAX, limits::infinity()})
    EXPECT_NE(resonance::order_key(score), resonance::never_chosen) << score;
}

TEST(OrderKey, PackedPairsFollowTheReferenceOrder) {
  support::random_source random(11);
  for (int trial = 0; trial < 300000; ++trial) {
    const float a = random.coin() ? resonance::detail::bits_float(static_cast<std::uint32_t>(random.bits()))
                                  : support::adversarial_value(random, support::adversary::mixed);
    const float b = random.coin(0.2) ? a : support::adversarial_value(random, support::adversary::mixed);
    const std::uint32_t key_a = resonance::order_key(a);
    const std::uint32_t key_b = resonance::order_key(b);
    ASSERT_EQ(key_a != resonance::never_chosen, reference::choosable(static_cast<double>(a))) << a;
    if (key_a == resonance::never_chosen || key_b == resonance::never_chosen) continue;
    const std::uint32_t index_a = static_cast<std::uint32_t>(random.below(4));
    const std::uint32_t index_b = index_a + 1 + static_cast<std::uint32_t>(random.below(4));
    ASSERT_EQ(resonance::pack_key(key_a, index_a) > resonance::pack_key(key_b, index_b),
              reference::precedes(reference::ranked_value(a), index_a, reference::ranked_value(b), index_b))
        << a << " at " << index_a << ", " << b << " at " << index_b;
  }
}

TEST(OrderKey, PackingKeepsKeyAndIndex) {
  for (std::uint32_t key : {0U, 1U, 0x80000000U, 0xFF7FFFFFU})
    for (std::uint32_t index : {0U, 1U, 0x7FFFFFFFU, 0x80000000U, 0xFFFFFFFEU}) {
      const std::uint64_t packed = resonance::pack_key(key, index);
      EXPECT_EQ(resonance::packed_key(packed), key);
      EXPECT_EQ(resonance::packed_index(packed), index);
    }
}

TEST(ChoosableScore, ReplacesNanAndPlusInfinityOnly) {
  const float largest = 65504.0F;
  EXPECT_EQ(resonance::choosable_score(limits::quiet_NaN(), largest), -limits::infinity());
  EXPECT_EQ(resonance::choosable_score(-limits::quiet_NaN(), largest), -limits::infinity());
  EXPECT_EQ(resonance::choosable_score(limits::infinity(), largest), largest);
  EXPECT_EQ(resonance::choosable_score(-limits::infinity(), largest), -limits::infinity());
  EXPECT_EQ(resonance::choosable_score(largest, largest), largest);
  EXPECT_EQ(resonance::choosable_score(2 * largest, largest), 2 * largest);  // finite, if not in that type
  EXPECT_EQ(resonance::choosable_score(std::nextafter(largest, 0.0F), largest), std::nextafter(largest, 0.0F));
  EXPECT_EQ(resonance::choosable_score(FLT_MAX, FLT_MAX), FLT_MAX);
  EXPECT_EQ(resonance::choosable_score(-FLT_MAX, FLT_MAX), -FLT_MAX);
  EXPECT_TRUE(std::signbit(resonance::choosable_score(-0.0F, largest)));
  EXPECT_EQ(resonance::choosable_score(limits::denorm_min(), largest), limits::denorm_min());
}

}  // namespace
