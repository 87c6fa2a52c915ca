// SPDX-License-Identifier: Apache-2.0
#include <resonance/core/ordered_sum.hpp>

#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <resonance/core/host_simd.hpp>
#include <resonance/core/row_type.hpp>

#include "core/naive_sum.hpp"
#include "support/random.hpp"

namespace {

using resonance::detail::float_bits;

//! Ranges that begin and end on, before and after every boundary of the order, and random ones.
std::vector<std::pair<std::int64_t, std::int64_t>> ranges() {
  std::vector<std::pair<std::int64_t, std::int64_t>> result;
  const std::vector<std::int64_t> edges = {0,   1,    2,    3,    7,    63,   64,   65,   127,  128,  129, 255,
                                           256, 1000, 1023, 1024, 1025, 1151, 1152, 2047, 2048, 2880, 4096};
  for (std::int64_t begin : edges)
    for (std::int64_t end : edges)
      if (begin <= end) result.emplace_back(begin, end);
  support::random_source random(3);
  for (int i = 0; i < 300; ++i) {
    const auto begin = static_cast<std::int64_t>(random.below(4096));
    result.emplace_back(begin, begin + static_cast<std::int64_t>(random.below(static_cast<std::size_t>(4097 - begin))));
  }
  return result;
}

TEST(OrderedSum, HasTheBitsOfTheWrittenOrder) {
  support::random_source random(1);
  const std::vector<float> a = support::normal_values(random, 4096, 100);
  const std::vector<float> b = support::normal_values(random, 4096);
  for (const auto& range : ranges()) {
    const float sum = resonance::ordered_sum(
        range.first, range.second, [&](float acc, std::int64_t j) { return acc + a[static_cast<size_t>(j)]; });
    const float expected = naive::ordered_sum(
        range.first, range.second, [&](float acc, std::int64_t j) { return acc + a[static_cast<size_t>(j)]; });
    ASSERT_EQ(float_bits(sum), float_bits(expected)) << range.first << " to " << range.second;

    const auto product = [&](float acc, std::int64_t j) {
      return std::fma(a[static_cast<size_t>(j)], b[static_cast<size_t>(j)], acc);
    };
    ASSERT_EQ(float_bits(resonance::ordered_sum(range.first, range.second, product)),
              float_bits(naive::ordered_sum(range.first, range.second, product)))
        << range.first << " to " << range.second;
  }
}

TEST(OrderedSum, HasTheSameBitsInWiderInstructionSets) {
  support::random_source random(2);
  const std::vector<float> a = support::normal_values(random, 4096, 100);
  const float* values = a.data();
  for (const auto& range : ranges()) {
    float sum = -1;
    resonance::detail::run_widest([&, values]() RESONANCE_INLINE_LAMBDA {
      sum = resonance::ordered_sum(range.first, range.second,
                                   [values](float acc, std::int64_t j)
                                       RESONANCE_INLINE_LAMBDA { return __builtin_fmaf(values[j], values[j], acc); });
    });
    const float expected = naive::ordered_sum(
        range.first, range.second, [values](float acc, std::int64_t j) { return std::fma(values[j], values[j], acc); });
    ASSERT_EQ(float_bits(sum), float_bits(expected)) << range.first << " to " << range.second;
  }
}

TEST(OrderedSum, IsPlusZeroForNothingAndForZeros) {
  const auto minus_zero = [](float acc, std::int64_t) { return acc + -0.0F; };
  EXPECT_EQ(float_bits(resonance::ordered_sum(5, 5, minus_zero)), 0U);
  EXPECT_EQ(float_bits(resonance::ordered_sum(7, 3, minus_zero)), 0U);
  EXPECT_EQ(float_bits(resonance::ordered_sum(3, 7, minus_zero)), 0U);
}

TEST(OrderedSum, VisitsEveryPositionOnce) {
  for (const auto& range : ranges()) {
    std::vector<int> visits(4096, 0);
    resonance::ordered_sum(range.first, range.second, [&](float acc, std::int64_t j) {
      ++visits[static_cast<size_t>(j)];
      return acc;
    });
    for (std::int64_t j = 0; j < 4096; ++j)
      ASSERT_EQ(visits[static_cast<size_t>(j)], range.first <= j && j < range.second ? 1 : 0) << j;
  }
}

TEST(OrderedSum, CountsPositionsIn64Bits) {
  const std::int64_t far = (std::int64_t{1} << 40) + 1000;
  const auto index = [=](float acc, std::int64_t j) { return acc + static_cast<float>(j - far); };
  EXPECT_EQ(resonance::ordered_sum(far, far + 100, index), 4950.0F);
}

}  // namespace
