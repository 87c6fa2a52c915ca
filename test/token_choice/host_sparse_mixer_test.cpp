// SPDX-License-Identifier: Apache-2.0
#include <resonance/token_choice/host_sparse_mixer.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "affinity/typed_rows.hpp"
#include "support/executors.hpp"
#include "support/poison.hpp"
#include "support/random.hpp"
#include "token_choice/sparse_mixer_reference.hpp"

namespace {

namespace token_choice = resonance::token_choice;
using resonance::assignment_view;
using resonance::matrix_view;
using resonance::status_code;
using sparse_mixer_reference::problem;

template <class Row>
std::vector<float> run(const support::any_executor& executor, const matrix_view<const Row>& logits,
                       const assignment_view& a, const token_choice::sparse_mixer& o = {}) {
  support::guarded_buffer<float> weights(static_cast<std::size_t>(a.slots()));
  const resonance::status result = token_choice::host_sparse_mixer_weights(executor, logits, a, o, weights.data());
  EXPECT_TRUE(result.ok()) << result.argument << ' ' << result.message();
  EXPECT_TRUE(weights.intact());
  return {weights.begin(), weights.end()};
}

template <class Row>
class HostSparseMixer : public ::testing::Test {};
TYPED_TEST_SUITE(HostSparseMixer, typed_rows::all, typed_rows::names);

TYPED_TEST(HostSparseMixer, AgreesWithTheDefinition) {
  support::random_source random(91);
  for (const std::size_t tokens : {0, 1, 33, 257})
    for (const std::size_t experts : {1, 2, 16, 130, 1031})
      for (const bool ragged : {false, true})
        for (const float jitter : {0.0F, 0.01F, 0.3F}) {
          SCOPED_TRACE(::testing::Message()
                       << tokens << 'x' << experts << " ragged " << ragged << " jitter " << jitter);
          const problem<TypeParam> p(random, tokens, experts, ragged);
          sparse_mixer_reference::expect_weights(p, jitter, run(support::serial(), p.logits(), p.view, {jitter}));
        }
}

TYPED_TEST(HostSparseMixer, HasTheSameBitsOnEveryExecutor) {
  support::random_source random(92);
  const problem<TypeParam> p(random, 301, 40, true);
  const std::vector<float> serial = run(support::serial(), p.logits(), p.view);
  support::with_every_executor([&](const auto& executor, const char* name) {
    EXPECT_TRUE(typed_rows::same_bits(run(executor, p.logits(), p.view), serial)) << name;
  });
}

TYPED_TEST(HostSparseMixer, TakesInfinityForTheLargestOfTheRowsType) {
  const std::vector<TypeParam> logits =
      typed_rows::narrowed<TypeParam>({HUGE_VALF, static_cast<float>(typed_rows::largest<TypeParam>()), 1.0F});
  const std::vector<std::int32_t> ids = {0, 1};
  assignment_view a;
  a.tokens = 1;
  a.experts = 3;
  a.slots_per_token = 2;
  a.ids = ids.data();
  EXPECT_EQ(run(support::serial(), matrix_view<const TypeParam>(logits.data(), 1, 3), a),
            (std::vector<float>{0.5F, 1.0F}));
}

//! One token with the given logits and ids: exact weights, written down from the formula.
std::vector<float> weights_of(const std::vector<float>& logits, const std::vector<std::int32_t>& ids,
                              const float* affinity = nullptr) {
  assignment_view a;
  a.tokens = 1;
  a.experts = static_cast<std::int32_t>(logits.size());
  a.slots_per_token = static_cast<std::int32_t>(ids.size());
  a.ids = ids.data();
  a.affinity = affinity;
  return run(support::serial(), matrix_view<const float>(logits.data(), 1, a.experts), a);
}

TEST(HostSparseMixerOfOneToken, LeavesOutTheFarAndWhatEarlierSlotsHold) {
  using list = std::vector<float>;
  EXPECT_EQ(weights_of({4, 3, 2, 1}, {0, 1}), (list{1, 1}));  // nothing near
  EXPECT_EQ(weights_of({4, 4, 4, 1}, {0, 1, 2}), (list{1.0F / 3, 0.5F, 1}));
  EXPECT_EQ(weights_of({0, 0, -1, -1}, {0, 1, 2}), (list{0.5F, 1, 0.5F}));  // 0 / 0 is near
  EXPECT_EQ(weights_of({4, 4, 1}, {-1, 0, 7, 1}), (list{0, 0.5F, 0, 1}));   // empty slots take nothing away
  EXPECT_EQ(weights_of({4, 4, 1}, {0, 0, 1}), (list{0.5F, 0, 1}));          // an expert is held once
}

TEST(HostSparseMixerOfOneToken, PassesOverWhatIsAbsentAndOverFilledSlots) {
  using list = std::vector<float>;
  const float infinity = HUGE_VALF;
  const float nan = std::nanf("");
  EXPECT_EQ(weights_of({nan, 4, -infinity, 4}, {1, 3, 0, 2}), (list{0.5F, 1, 0, 0}));
  EXPECT_EQ(weights_of({-infinity, nan}, {0, 1}), (list{0, 0}));
  const float affinity[] = {-infinity, 4, 4};
  EXPECT_EQ(weights_of({4, 4, 4}, {0, 1, 2}, affinity), (list{0, 1.0F / 3, 0.5F}));
}

//! 1 - 0.9801 is 0.0199 of the larger of the two and 0.0203 of the smaller.
TEST(HostSparseMixerOfOneToken, DividesByTheLargerMagnitude) {
  const double together = 1 / (1 + std::exp(-0.0199));
  EXPECT_NEAR(weights_of({1, 0.9801F}, {0})[0], together, 1e-6);
  EXPECT_NEAR(weights_of({-0.9801F, -1}, {0})[0], together, 1e-6);
  EXPECT_EQ(weights_of({1, 0.9799F}, {0})[0], 1.0F);
  EXPECT_EQ(weights_of({-0.9799F, -1}, {0})[0], 1.0F);
}

//! A choice that is not best first: what scores above the slot's own logit is near, however far above.
TEST(HostSparseMixerOfOneToken, WeighsAnyOrder) {
  const std::vector<float> weights = weights_of({1, 2, 200}, {0, 1, 2});
  EXPECT_EQ(weights[0], 0.0F);
  EXPECT_EQ(weights[1], 0.0F);
  EXPECT_EQ(weights[2], 1.0F);
  EXPECT_NEAR(weights_of({1, 2}, {0})[0], 1 / (1 + std::exp(1.0)), 1e-7);
}

TEST(HostSparseMixerErrors, NameTheArgumentAndWriteNothing) {
  const std::vector<float> logits(12, 1.0F);
  const std::vector<std::int32_t> ids = {0, 1, 2};
  support::guarded_buffer<float> weights(3);
  assignment_view good;
  good.tokens = 3;
  good.experts = 4;
  good.slots_per_token = 1;
  good.ids = ids.data();
  const auto expect = [&](status_code code, const char* argument, matrix_view<const float> matrix,
                          const assignment_view& a, float jitter, float* out) {
    const resonance::status result =
        token_choice::host_sparse_mixer_weights(support::serial(), matrix, a, {jitter}, out);
    EXPECT_EQ(result.code, code) << argument << ": " << result.argument;
    EXPECT_EQ(std::string(result.argument), argument);
    EXPECT_TRUE(weights.untouched()) << argument;
  };
  const matrix_view<const float> matrix(logits.data(), 3, 4);
  expect(status_code::null_pointer, "logits", {nullptr, 3, 4}, good, 0.01F, weights.data());
  expect(status_code::out_of_range, "logits", {logits.data(), 3, 4, 3}, good, 0.01F, weights.data());
  expect(status_code::shape_mismatch, "logits", {logits.data(), 2, 4}, good, 0.01F, weights.data());
  expect(status_code::shape_mismatch, "logits", {logits.data(), 3, 3}, good, 0.01F, weights.data());
  for (const float jitter : {-0.01F, HUGE_VALF, std::numeric_limits<float>::quiet_NaN()})
    expect(status_code::out_of_range, "jitter", matrix, good, jitter, weights.data());
  expect(status_code::null_pointer, "weights", matrix, good, 0.01F, nullptr);
  assignment_view bad = good;
  bad.ids = nullptr;
  expect(status_code::null_pointer, "assignments.ids", matrix, bad, 0.01F, weights.data());
  bad = good;
  bad.experts = 0;
  expect(status_code::out_of_range, "assignments.experts", matrix, bad, 0.01F, weights.data());
}

}  // namespace
