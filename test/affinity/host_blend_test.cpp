// SPDX-License-Identifier: Apache-2.0
#include <resonance/affinity/host_blend.hpp>

#include <cfloat>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "affinity/blend_fixture.hpp"
#include "support/assignments.hpp"
#include "support/executors.hpp"

namespace {

using namespace resonance;
using affinity::blend_weights;
using affinity::sequence_prior;
using blend_test::batch;
using blend_test::rows;
using support::serial;

rows run(const support::any_executor& executor, const batch& b, const blend_weights& weights) {
  rows out(b.scores.rows, b.scores.cols, 2);
  EXPECT_TRUE(support::accepted(affinity::host_blend_prior(executor, b.scores.read(), b.view(), weights, out.view())));
  EXPECT_TRUE(out.gaps_untouched(b.scores.rows));
  return out;
}

TEST(HostBlend, IsTheWeightedSum) {
  support::random_source random(91);
  for (std::int64_t tokens : {0, 1, 7, 65})
    for (std::int64_t sequences : {0, 1, 5})
      for (std::int64_t experts : {1, 6, 32, 129})
        for (support::adversary kind : support::all_adversaries()) {
          SCOPED_TRACE(::testing::Message()
                       << tokens << " of " << sequences << ", E=" << experts << " " << support::name_of(kind));
          const batch b(random, tokens, sequences, experts, kind, 1, 1);
          for (const blend_weights& weights : {blend_weights{16, 2}, blend_weights{0.3F, -1.7F}, blend_weights{}})
            blend_test::expect_blend(b, weights, run(serial(), b, weights));
        }
}

TEST(HostBlend, HasTheSameBitsOnEveryExecutor) {
  support::random_source random(92);
  const batch b(random, 4000, 9, 40, support::adversary::mixed);
  const rows once = run(serial(), b, {16, 2});
  support::with_every_executor([&](const auto& executor, const char* name) {
    EXPECT_TRUE(support::bits_of(run(executor, b, {16, 2}).memory) == support::bits_of(once.memory)) << name;
  });
}

// An id of no sequence leaves the token's own part, to the bit; no prior at all leaves it to all.
TEST(HostBlend, HostileSequencesAddNothing) {
  support::random_source random(93);
  batch b(random, 8, 3, 5, support::adversary::constant);
  b.scores.fill_normal(random);
  b.sequences = {0, -1, 3, INT32_MAX, 1, INT32_MIN, 2, 4};
  const rows blend = run(serial(), b, {2, 100});
  for (std::int64_t t = 0; t < 8; ++t)
    for (std::int64_t e = 0; e < 5; ++e)
      EXPECT_EQ(blend.at(t, e), 2 * b.scores.at(t, e) + (t == 0 || t == 4 || t == 6 ? 25.0F : 0.0F)) << t;
}

TEST(HostBlend, MayWriteOverTheScores) {
  support::random_source random(94);
  batch b(random, 33, 3, 13, support::adversary::mixed);
  const rows apart = run(serial(), b, {16, 2});
  ASSERT_TRUE(
      support::accepted(affinity::host_blend_prior(serial(), b.scores.read(), b.view(), {16, 2}, b.scores.view())));
  for (std::int64_t t = 0; t < 33; ++t) EXPECT_TRUE(b.scores.same_row(t, apart, t)) << t;
}

TEST(HostBlend, NamesTheBadArgumentAndWritesNothing) {
  support::random_source random(95);
  const batch b(random, 4, 3, 5, support::adversary::constant);
  rows out(4, 5);
  const matrix_view<const float> scores = b.scores.read();
  const auto expect = [&](status_code code, const std::string& argument, matrix_view<const float> from,
                          const sequence_prior& prior, const blend_weights& weights, matrix_view<float> to) {
    EXPECT_TRUE(support::refused(affinity::host_blend_prior(serial(), from, prior, weights, to), code, argument));
    EXPECT_TRUE(out.memory.untouched());
  };
  const float infinity = std::numeric_limits<float>::infinity();
  const sequence_prior good = b.view();
  expect(status_code::null_pointer, "scores", {nullptr, 4, 5}, good, {}, out.view());
  expect(status_code::null_pointer, "prior.rows", scores, {{nullptr, 3, 5}, good.sequence_of_token}, {}, out.view());
  expect(status_code::shape_mismatch, "prior.rows", scores, {{good.rows.data, 3, 4}, good.sequence_of_token}, {},
         out.view());
  expect(status_code::null_pointer, "prior.sequence_of_token", scores, {good.rows, nullptr}, {}, out.view());
  for (float bad : {infinity, -infinity, std::nanf("")}) {
    expect(status_code::out_of_range, "weights.token", scores, good, {bad, 0}, out.view());
    expect(status_code::out_of_range, "weights.sequence", scores, good, {1, bad}, out.view());
  }
  expect(status_code::null_pointer, "out", scores, good, {}, {nullptr, 4, 5});
  expect(status_code::shape_mismatch, "out", scores, good, {}, {out.memory.data(), 3, 5});
  expect(status_code::shape_mismatch, "out", scores, good, {}, {out.memory.data(), 4, 4});
}

}  // namespace
