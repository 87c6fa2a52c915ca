// SPDX-License-Identifier: Apache-2.0
// Scores, priors and hostile sequence ids, and their blend in double precision.
#pragma once

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include <resonance/affinity/blend.hpp>

#include "permute/fixture.hpp"
#include "support/random.hpp"

namespace blend_test {

using rows = permute_test::stored_rows<float>;
using resonance::affinity::blend_weights;

struct batch {
  rows scores, prior;
  std::vector<std::int32_t> sequences;

  batch(support::random_source& random, std::int64_t tokens, std::int64_t sequence_count, std::int64_t experts,
        support::adversary kind, std::int64_t extra = 0, std::size_t misalignment = 0)
      : scores(tokens, experts, extra, misalignment), prior(sequence_count, experts, extra, misalignment) {
    const auto count = static_cast<std::int32_t>(sequence_count);
    const std::vector<std::int32_t> hostile = {-1, count, INT32_MIN, INT32_MAX};
    for (rows* m : {&scores, &prior})
      for (std::int64_t r = 0; r < m->rows; ++r)
        for (std::int64_t e = 0; e < experts; ++e) m->at(r, e) = support::adversarial_value(random, kind);
    for (std::int64_t t = 0; t < tokens; ++t)
      sequences.push_back(count == 0 || random.coin(0.2)
                              ? random.pick(hostile)
                              : static_cast<std::int32_t>(random.below(static_cast<std::size_t>(count))));
  }
  resonance::affinity::sequence_prior view() const { return {prior.read(), sequences.data()}; }
};

//! got: float[T,E] beside the formula.
inline void expect_blend(const batch& b, const blend_weights& weights, const rows& got) {
  const double most = static_cast<double>(FLT_MAX);
  const double absent = -std::numeric_limits<double>::infinity();
  const auto read = [&](float value) {
    return std::isnan(value) ? absent : std::min(static_cast<double>(value), most);
  };
  for (std::int64_t t = 0; t < b.scores.rows; ++t) {
    const std::int64_t sequence = b.sequences[static_cast<std::size_t>(t)];
    const bool known = sequence >= 0 && sequence < b.prior.rows;
    for (std::int64_t e = 0; e < b.scores.cols; ++e) {
      const double score = read(b.scores.at(t, e));
      const double prior = known ? read(b.prior.at(sequence, e)) : 0.0;
      const auto value = static_cast<double>(got.at(t, e));
      if (score == absent || prior == absent) {
        ASSERT_EQ(value, absent) << "token " << t << " expert " << e;
        continue;
      }
      const double own = std::clamp(static_cast<double>(weights.token) * score, -most, most);
      const double sum = std::clamp(std::fma(static_cast<double>(weights.sequence), prior, own), -most, most);
      ASSERT_NEAR(value, sum, 1e-6 * (std::fabs(own) + std::fabs(sum)) + 0x1p-148) << "token " << t << " expert " << e;
    }
  }
}

}  // namespace blend_test
