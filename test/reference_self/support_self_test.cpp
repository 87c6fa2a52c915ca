// SPDX-License-Identifier: Apache-2.0
// The test helpers themselves: a helper that cannot see a fault would make every test that uses it pass.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "support/half.hpp"
#include "support/poison.hpp"
#include "support/random.hpp"
#include "support/sparse.hpp"

namespace {

using namespace support;

TEST(poison, sees_every_write) {
  guarded_buffer<float> buffer(5, 1);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64, sizeof(float));
  EXPECT_TRUE(buffer.untouched());
  buffer[3] = 0;
  EXPECT_FALSE(buffer.untouched());
  EXPECT_TRUE(buffer.intact());
  EXPECT_TRUE(buffer.untouched(0, 3));
  EXPECT_FALSE(buffer.untouched(3, 1));
  EXPECT_TRUE(buffer.untouched(4, 1));
  for (std::ptrdiff_t outside : {-1, 5}) {
    guarded_buffer<float> written_outside(5);
    std::memset(reinterpret_cast<char*>(written_outside.data()) + outside * 4, 0, 4);
    EXPECT_FALSE(written_outside.intact());
    EXPECT_FALSE(written_outside.untouched());
    EXPECT_TRUE(written_outside.untouched(0, 5));
  }
}

TEST(half, every_pattern_survives_the_round_trip) {
  for (std::uint32_t pattern = 0; pattern <= 0xFFFF; ++pattern) {
    const auto bits = static_cast<std::uint16_t>(pattern);
    const float fp16 = fp16_to_float(bits);
    const float bf16 = bf16_to_float(bits);
    if (std::isnan(fp16)) {
      EXPECT_TRUE(std::isnan(fp16_to_float(float_to_fp16(fp16))));
    } else {
      ASSERT_EQ(float_to_fp16(fp16), bits);
    }
    if (std::isnan(bf16)) {
      EXPECT_TRUE(std::isnan(bf16_to_float(float_to_bf16(bf16))));
    } else {
      ASSERT_EQ(float_to_bf16(bf16), bits);
    }
  }
}

// Between two neighbours: the midpoint goes to the even one, anything nearer goes to the nearer.
TEST(half, rounds_to_nearest_even_between_all_neighbours) {
  for (std::uint32_t pattern = 0; pattern < 0x7BFF; ++pattern) {
    const auto low = static_cast<std::uint16_t>(pattern);
    const auto high = static_cast<std::uint16_t>(pattern + 1);
    const float middle = (fp16_to_float(low) + fp16_to_float(high)) / 2;
    ASSERT_EQ(float_to_fp16(middle), pattern % 2 == 0 ? low : high);
    ASSERT_EQ(float_to_fp16(std::nextafter(middle, 0.0F)), low);
    ASSERT_EQ(float_to_fp16(std::nextafter(middle, 1e9F)), high);
  }
  for (std::uint32_t pattern = 0; pattern < 0x7F7F; ++pattern) {
    const std::uint32_t middle_bits = (pattern << 16) | 0x8000U;
    float middle = 0;
    std::memcpy(&middle, &middle_bits, sizeof middle);
    const float infinity = std::numeric_limits<float>::infinity();
    ASSERT_EQ(float_to_bf16(middle), pattern + pattern % 2);
    ASSERT_EQ(float_to_bf16(std::nextafter(middle, -infinity)), pattern);
    ASSERT_EQ(float_to_bf16(std::nextafter(middle, infinity)), pattern + 1);
  }
}

TEST(half, known_values) {
  EXPECT_EQ(float_to_fp16(1.0F), 0x3C00);
  EXPECT_EQ(float_to_fp16(-2.0F), 0xC000);
  EXPECT_EQ(float_to_fp16(-0.0F), 0x8000);
  EXPECT_EQ(float_to_fp16(65519.0F), 0x7BFF);
  EXPECT_EQ(float_to_fp16(65520.0F), 0x7C00);
  EXPECT_EQ(float_to_fp16(1e30F), 0x7C00);
  EXPECT_EQ(float_to_fp16(0x1p-24F), 0x0001);
  EXPECT_EQ(float_to_fp16(0x1p-25F), 0x0000);
  EXPECT_EQ(float_to_bf16(1.0F), 0x3F80);
  EXPECT_EQ(float_to_bf16(std::numeric_limits<float>::max()), 0x7F80);
  EXPECT_EQ(fp16_to_float(0x7BFF), fp16_largest);
  EXPECT_EQ(bf16_to_float(0x7F7F), bf16_largest);
}

TEST(random, has_the_moments_it_claims) {
  random_source random(3);
  constexpr std::size_t count = 200000;
  double sum = 0;
  double sum_of_squares = 0;
  for (float value : normal_values(random, count)) {
    sum += value;
    sum_of_squares += static_cast<double>(value) * value;
  }
  EXPECT_NEAR(sum / count, 0, .01);
  EXPECT_NEAR(sum_of_squares / count, 1, .015);
  random_source first(9);
  random_source again(9);
  EXPECT_EQ(normal_values(first, 4), normal_values(again, 4));
}

TEST(random, adversaries_contain_their_kind) {
  for (adversary kind : all_adversaries()) {
    SCOPED_TRACE(name_of(kind));
    random_source random(11);
    std::size_t nans = 0;
    std::size_t infinities = 0;
    std::size_t negative_zeros = 0;
    std::size_t denormals = 0;
    for (float value : adversarial_values(random, 2000, kind)) {
      nans += std::isnan(value);
      infinities += std::isinf(value);
      negative_zeros += value == 0 && std::signbit(value);
      denormals += std::fpclassify(value) == FP_SUBNORMAL;
    }
    const bool mixed = kind == adversary::mixed;
    EXPECT_EQ(nans > 0, mixed || kind == adversary::nans);
    EXPECT_EQ(infinities > 0, mixed || kind == adversary::infinities);
    EXPECT_EQ(negative_zeros > 0, mixed || kind == adversary::signed_zeros);
    EXPECT_EQ(denormals > 0, mixed || kind == adversary::denormals);
  }
}

TEST(sparse, reaches_past_two_to_the_31_on_a_few_pages) {
  sparse_mapping<float> mapping((std::size_t{1} << 31) + 4096);
  ASSERT_TRUE(mapping.valid());
  mapping[0] = 1;
  mapping[mapping.size() - 1] = 2;
  EXPECT_EQ(mapping[mapping.size() - 1], 2);
  EXPECT_GT(mapping.resident_bytes(), 0U);
  EXPECT_LT(mapping.resident_bytes(), std::size_t{1} << 24);
}

}  // namespace
