// SPDX-License-Identifier: Apache-2.0
// What grouped_average_cosine is by its definition, whatever the tokens.
#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <resonance/affinity/host_affinity.hpp>

#include "reference/affinity.hpp"
#include "support/random.hpp"

namespace {

struct shape {
  std::int64_t hidden;
  std::int32_t experts;
};

const shape shapes[] = {{4096, 8}, {2880, 128}, {1536, 72}, {13, 13}, {100, 7}, {64, 1}, {1031, 6}};

std::vector<float> grap(const std::vector<float>& rows, const shape& s) {
  const auto tokens = static_cast<std::int64_t>(rows.size()) / s.hidden;
  resonance::affinity::hidden_input<float> input;
  input.hidden = {rows.data(), tokens, s.hidden};
  input.experts = s.experts;
  const resonance::serial_executor serial;
  const resonance::affinity::grouped_average_cosine metric;
  std::vector<char> workspace(resonance::affinity::host_affinity_workspace_bytes(serial, metric, input));
  std::vector<float> delta(static_cast<std::size_t>(tokens * s.experts));
  EXPECT_TRUE(resonance::affinity::host_affinity(serial, metric, input,
                                                 resonance::matrix_view<float>(delta.data(), tokens, s.experts),
                                                 {workspace.data(), workspace.size()})
                  .ok());
  return delta;
}

TEST(GrAP, SquaresOfATokenAddUpToOneAtMost) {
  support::random_source random(11);
  for (const shape& s : shapes) {
    const std::size_t tokens = 40;
    const auto hidden = static_cast<std::size_t>(s.hidden);
    std::vector<float> rows = support::normal_values(random, tokens * hidden, 3.0);
    // A token that is constant on every slice lies in the span of the indicators: its squares add up to 1.
    for (std::size_t e = 0; e < static_cast<std::size_t>(s.experts); ++e) {
      const auto height = static_cast<float>(1 + e % 5);
      const std::size_t end = reference::slice_begin(e + 1, hidden, static_cast<std::size_t>(s.experts));
      for (std::size_t j = reference::slice_begin(e, hidden, static_cast<std::size_t>(s.experts)); j < end; ++j)
        rows[j] = height;
    }
    const std::vector<float> delta = grap(rows, s);
    for (std::size_t t = 0; t < tokens; ++t) {
      double sum = 0;
      for (std::int32_t e = 0; e < s.experts; ++e) {
        const double value = delta[t * static_cast<std::size_t>(s.experts) + static_cast<std::size_t>(e)];
        sum += value * value;
      }
      EXPECT_LE(sum, 1 + 1e-6) << "token " << t << " of H=" << s.hidden << " E=" << s.experts;
      if (t == 0) {
        EXPECT_NEAR(sum, 1, 1e-6) << "H=" << s.hidden << " E=" << s.experts;
      }
    }
  }
}

TEST(GrAP, ScaleOfTheTokenDoesNotMatter) {
  support::random_source random(12);
  for (const shape& s : shapes) {
    const std::vector<float> rows = support::normal_values(random, 20 * static_cast<std::size_t>(s.hidden));
    const std::vector<float> delta = grap(rows, s);
    for (const float scale : {0.25F, 1024.0F, 3.7F, 1e-6F}) {
      std::vector<float> scaled = rows;
      for (float& value : scaled) value *= scale;
      const std::vector<float> again = grap(scaled, s);
      // A power of two changes exponents alone, so the bits stay; other scales round every element anew.
      const bool exact = scale == 0.25F || scale == 1024.0F;
      for (std::size_t i = 0; i < delta.size(); ++i) ASSERT_NEAR(again[i], delta[i], exact ? 0.0 : 1e-6) << scale;
    }
  }
}

TEST(GrAP, IndicatorOfASliceIsOneHot) {
  for (const shape& s : shapes) {
    const auto hidden = static_cast<std::size_t>(s.hidden);
    const auto experts = static_cast<std::size_t>(s.experts);
    std::vector<float> rows(experts * hidden, 0.0F);
    for (std::size_t e = 0; e < experts; ++e)
      for (std::size_t j = reference::slice_begin(e, hidden, experts);
           j < reference::slice_begin(e + 1, hidden, experts); ++j)
        rows[e * hidden + j] = 1.0F;
    const std::vector<float> delta = grap(rows, s);
    for (std::size_t t = 0; t < experts; ++t)
      for (std::size_t e = 0; e < experts; ++e)
        ASSERT_NEAR(delta[t * experts + e], t == e ? 1.0 : 0.0, t == e ? 2e-7 : 0.0) << t << ',' << e;
  }
}

TEST(GrAP, TokenOfZerosIsZeroEverywhere) {
  for (const float value : grap(std::vector<float>(3 * 2880, 0.0F), {2880, 128})) EXPECT_EQ(value, 0.0F);
}

}  // namespace
