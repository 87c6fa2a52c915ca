// SPDX-License-Identifier: Apache-2.0
#include <resonance/affinity/host_scores.hpp>

#include <cfloat>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "affinity/reference_score.hpp"
#include "affinity/typed_rows.hpp"
#include "reference/score.hpp"
#include "support/executors.hpp"
#include "support/poison.hpp"
#include "support/random.hpp"

namespace {

namespace affinity = resonance::affinity;
using affinity::softmax_axis;
using reference_score::expect_scores;
using reference_score::random_delta;
using resonance::matrix_view;
using resonance::status;
using resonance::status_code;

constexpr float infinity = std::numeric_limits<float>::infinity();

template <class Score>
std::vector<float> run(const support::any_executor& executor, const Score& score, const std::vector<float>& delta,
                       std::size_t tokens, std::size_t experts, softmax_axis axis = softmax_axis::experts) {
  const auto rows = static_cast<std::int64_t>(tokens);
  const auto cols = static_cast<std::int64_t>(experts);
  support::guarded_buffer<float> out(tokens * experts);
  const status result = affinity::host_scores(executor, score, matrix_view<const float>(delta.data(), rows, cols),
                                              matrix_view<float>(out.data(), rows, cols), axis);
  EXPECT_TRUE(result.ok()) << result.argument;
  EXPECT_TRUE(out.intact());
  return {out.begin(), out.end()};
}

template <class Score>
class HostScores : public ::testing::Test {};
TYPED_TEST_SUITE(HostScores, reference_score::all, reference_score::names);

TYPED_TEST(HostScores, AgreeWithTheReferenceOverExperts) {
  support::random_source random(41);
  for (std::size_t tokens : {0, 1, 7, 33})
    for (std::size_t experts : {1, 6, 13, 129, 512})
      for (float cap : {0.0F, 5.0F}) {
        TypeParam score;
        score.temperature = 1.5F;
        score.logit_cap = cap;
        const std::vector<float> delta = random_delta(random, tokens * experts);
        expect_scores(
            run(support::serial(), score, delta, tokens, experts), delta,
            reference::scores(reference::widened(delta, tokens, experts), reference_score::options_of(score)));
      }
}

TYPED_TEST(HostScores, RunASoftmaxOverTokensWhereAsked) {
  support::random_source random(42);
  for (std::size_t tokens : {1, 7, 257, 1025})
    for (std::size_t experts : {1, 6, 13}) {
      const TypeParam score;
      const std::vector<float> delta = random_delta(random, tokens * experts);
      const std::vector<float> scores = run(support::serial(), score, delta, tokens, experts, softmax_axis::tokens);
      reference::matrix exact = reference::widened(delta, tokens, experts);
      if (TypeParam::normalized_over != resonance::normalizer::row) {
        EXPECT_TRUE(typed_rows::same_bits(scores, run(support::serial(), score, delta, tokens, experts)));
        continue;
      }
      if (std::is_same<TypeParam, affinity::relu_softmax>::value)
        for (double& value : exact.values)
          if (reference::choosable(value)) value = std::max(value, 0.0);
      expect_scores(scores, delta, reference::softmax_over_tokens(exact));
    }
}

TYPED_TEST(HostScores, HaveTheSameBitsOnEveryExecutor) {
  support::random_source random(43);
  const std::vector<float> delta = random_delta(random, 257 * 130);
  for (softmax_axis axis : {softmax_axis::experts, softmax_axis::tokens}) {
    const std::vector<float> serial = run(support::serial(), TypeParam{}, delta, 257, 130, axis);
    support::with_every_executor([&](const auto& executor, const char* name) {
      EXPECT_TRUE(typed_rows::same_bits(run(executor, TypeParam{}, delta, 257, 130, axis), serial)) << name;
    });
  }
}

TYPED_TEST(HostScores, AreFiniteForAPresentPairAndAbsentWhereAllIsAbsent) {
  const std::vector<float> delta = {infinity, 0.0F, -FLT_MAX, -infinity, -infinity, -infinity};
  const std::vector<float> scores = run(support::serial(), TypeParam{}, delta, 2, 3);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_TRUE(std::isfinite(scores[i])) << i << ": " << scores[i];
  for (std::size_t i = 3; i < 6; ++i) EXPECT_EQ(scores[i], -infinity) << i;
  if (TypeParam::normalized_over == resonance::normalizer::row) {
    EXPECT_EQ(scores[0], 1.0F);
  }
}

TYPED_TEST(HostScores, ReadAndWriteStridedRows) {
  support::random_source random(44);
  const std::vector<float> padded = random_delta(random, 9 * 10);
  std::vector<float> dense;
  for (std::size_t t = 0; t < 9; ++t) dense.insert(dense.end(), padded.begin() + t * 10, padded.begin() + t * 10 + 6);
  for (softmax_axis axis : {softmax_axis::experts, softmax_axis::tokens}) {
    const std::vector<float> expected = run(support::serial(), TypeParam{}, dense, 9, 6, axis);
    support::guarded_buffer<float> out(9 * 8);
    ASSERT_TRUE(affinity::host_scores(support::serial(), TypeParam{}, matrix_view<const float>(padded.data(), 9, 6, 10),
                                      matrix_view<float>(out.data(), 9, 6, 8), axis)
                    .ok());
    EXPECT_TRUE(out.intact());
    for (std::size_t t = 0; t < 9; ++t) {
      for (std::size_t e = 0; e < 6; ++e) EXPECT_EQ(out[t * 8 + e], expected[t * 6 + e]);
      EXPECT_TRUE(out.untouched(t * 8 + 6, 2));
    }
  }
}

TYPED_TEST(HostScores, NameTheBadArgumentAndWriteNothing) {
  const std::vector<float> delta(12, 1.0F);
  support::guarded_buffer<float> out(12);
  const auto expect = [&](status_code code, const char* argument, const TypeParam& score, matrix_view<const float> from,
                          matrix_view<float> to) {
    const status result = affinity::host_scores(support::serial(), score, from, to);
    EXPECT_EQ(result.code, code) << argument;
    EXPECT_EQ(std::string(result.argument), argument);
    EXPECT_TRUE(out.untouched()) << argument;
  };
  const matrix_view<const float> from(delta.data(), 3, 4);
  const matrix_view<float> to(out.data(), 3, 4);
  TypeParam cold;
  cold.temperature = 0.0F;
  expect(status_code::out_of_range, "temperature", cold, from, to);
  TypeParam capped;
  capped.logit_cap = -1.0F;
  expect(status_code::out_of_range, "logit_cap", capped, from, to);
  expect(status_code::null_pointer, "affinity", {}, {nullptr, 3, 4}, to);
  expect(status_code::out_of_range, "affinity", {}, {delta.data(), 3, 4, 2}, to);
  expect(status_code::null_pointer, "scores", {}, from, {nullptr, 3, 4});
  expect(status_code::shape_mismatch, "scores", {}, from, {out.data(), 4, 3});
  expect(status_code::shape_mismatch, "scores", {}, from, {out.data(), 3, 3, 4});
}

}  // namespace
