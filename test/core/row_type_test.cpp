// SPDX-License-Identifier: Apache-2.0
#include <resonance/core/row_type.hpp>

#include <cmath>
#include <cstdint>
#include <type_traits>

#include <gtest/gtest.h>

#include "affinity/typed_rows.hpp"
#include "support/half.hpp"

namespace {

using resonance::bfloat16;
using resonance::float16;
using resonance::detail::bits_float;
using resonance::detail::float_bits;

template <class Half>
class HalfRow : public ::testing::Test {};
using halves = ::testing::Types<bfloat16, float16>;
TYPED_TEST_SUITE(HalfRow, halves, typed_rows::names);

TYPED_TEST(HalfRow, WidensEveryPatternExactlyAndNarrowsItBack) {
  using traits = resonance::row_traits<TypeParam>;
  for (std::uint32_t pattern = 0; pattern <= 0xFFFF; ++pattern) {
    const TypeParam row{static_cast<std::uint16_t>(pattern)};
    const float wide = traits::widen(row);
    const float expected = typed_rows::widened(row);
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(wide)) << pattern;
      ASSERT_TRUE(std::isnan(typed_rows::widened(traits::narrow(wide)))) << pattern;
    } else {
      ASSERT_EQ(float_bits(wide), float_bits(expected)) << pattern;
      ASSERT_EQ(traits::narrow(wide).bits, pattern);
    }
  }
}

TYPED_TEST(HalfRow, NarrowsToNearestEven) {
  using traits = resonance::row_traits<TypeParam>;
  const auto check = [](std::uint32_t bits) {
    const float value = bits_float(bits);
    const TypeParam narrow = traits::narrow(value);
    if (std::isnan(value))
      ASSERT_TRUE(std::isnan(typed_rows::widened(narrow))) << std::hex << bits;
    else
      ASSERT_EQ(narrow.bits, typed_rows::narrowed<TypeParam>(value).bits) << std::hex << bits;
  };
  for (std::uint64_t bits = 0; bits <= 0xFFFFFFFFU; bits += 4093) check(static_cast<std::uint32_t>(bits));
  // The midpoint above every value of the format, and its two neighbours, decide how ties go.
  for (std::uint32_t pattern = 0; pattern < 0xFFFF; ++pattern) {
    const double low = typed_rows::widened(TypeParam{static_cast<std::uint16_t>(pattern)});
    const double high = typed_rows::widened(TypeParam{static_cast<std::uint16_t>(pattern + 1)});
    if (!std::isfinite(low) || !std::isfinite(high)) continue;
    const std::uint32_t middle = float_bits(static_cast<float>((low + high) / 2));
    for (std::uint32_t bits : {middle - 1, middle, middle + 1}) check(bits);
  }
}

TYPED_TEST(HalfRow, LargestIsTheLastFiniteValueAndBeyondItIsInfinity) {
  using traits = resonance::row_traits<TypeParam>;
  EXPECT_EQ(static_cast<double>(traits::largest), typed_rows::largest<TypeParam>());
  const std::uint16_t last_finite = traits::narrow(traits::largest).bits;
  EXPECT_TRUE(std::isinf(traits::widen(TypeParam{static_cast<std::uint16_t>(last_finite + 1)})));
  EXPECT_TRUE(std::isinf(traits::widen(traits::narrow(3.402823466e+38F))));
}

TEST(FloatRow, IsItself) {
  using traits = resonance::row_traits<float>;
  for (float value : {0.0F, -0.0F, 1.5F, -3.25e30F}) {
    EXPECT_EQ(float_bits(traits::widen(value)), float_bits(value));
    EXPECT_EQ(float_bits(traits::narrow(value)), float_bits(value));
  }
  EXPECT_EQ(static_cast<double>(traits::largest), 0x1.FFFFFEp127);
}

TEST(RowType, IsStoredAsTheFrameworksStoreIt) {
  static_assert(sizeof(bfloat16) == 2 && sizeof(float16) == 2, "16 bits");
  static_assert(std::is_trivially_copyable<bfloat16>::value && std::is_trivially_copyable<float16>::value, "memcpy");
  EXPECT_EQ(resonance::row_traits<bfloat16>::narrow(1.0F).bits, 0x3F80);
  EXPECT_EQ(resonance::row_traits<float16>::narrow(1.0F).bits, 0x3C00);
}

}  // namespace
