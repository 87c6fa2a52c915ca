// SPDX-License-Identifier: Apache-2.0
#include "resonance/permute/host_unpermute.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "permute/fixture.hpp"
#include "permute/refusals.hpp"
#include "reference/permute.hpp"
#include "resonance/permute/host_permute.hpp"
#include "support/executors.hpp"

namespace {

using namespace resonance;
using permute::no_slot;
using permute_test::planned;
using permute_test::row_shape;
using permute_test::stored_rows;

template <class Row, class Index>
stored_rows<Row> unpermute_everywhere(const stored_rows<Row>& permuted, const permute::row_plan<Index>& plan,
                                      std::int64_t extra, std::size_t misalignment, no_slot without = no_slot::zero,
                                      matrix_view<const Row> x = {}) {
  const auto run = [&](const auto& executor) {
    stored_rows<Row> y(plan.assignments.tokens, permuted.cols, extra, misalignment);
    EXPECT_TRUE(support::accepted(permute::host_unpermute(executor, permuted.read(), plan, y.view(), without, x)));
    EXPECT_TRUE(y.gaps_untouched(y.rows));
    return y;
  };
  stored_rows<Row> first = run(serial_executor{});
  support::with_every_executor([&](const auto& executor, const std::string& name) {
    EXPECT_TRUE(support::bits_of(run(executor).memory) == support::bits_of(first.memory)) << name;
  });
  return first;
}

// The contract's own sum, bit for bit: float, slot order, first a product, then fused multiply-adds, one rounding.
template <class Row>
Row combined(const stored_rows<Row>& permuted, const planned<std::int32_t>& plan, std::int64_t token, std::int64_t j) {
  const assignment_view& a = plan.assignments;
  bool first = true;
  float sum = 0.0F;
  for (std::int64_t slot = a.begin(token); slot < a.end(token); ++slot) {
    const std::int32_t row = plan.inverse[static_cast<std::size_t>(slot)];
    if (row < 0) continue;
    const auto value = static_cast<float>(permute_test::value_of(permuted.at(row, j)));
    sum = first ? a.weights[slot] * value : std::fma(a.weights[slot], value, sum);
    first = false;
  }
  Row stored;
  permute_test::encode(sum, stored);
  return stored;
}

template <class Row>
class HostUnpermute : public ::testing::Test {};
TYPED_TEST_SUITE(HostUnpermute, permute_test::row_types, );

TYPED_TEST(HostUnpermute, SumsWeightedRowsInSlotOrder) {
  support::random_source random(91);
  for (const row_shape& s : permute_test::row_shapes()) {
    SCOPED_TRACE(::testing::Message() << s);
    const support::random_choices c(random, s.batch, {support::adversary::ties, 0.3, true});
    const planned<std::int32_t> plan(c, s.tile_tokens);
    stored_rows<TypeParam> permuted(plan.rows(), s.hidden, s.extra, s.misalignment);
    permuted.fill_normal(random);
    stored_rows<TypeParam> x(s.batch.tokens, s.hidden, s.extra);
    x.fill_normal(random);
    const stored_rows<TypeParam> y = unpermute_everywhere(permuted, plan.view(), s.extra + 1, s.misalignment);
    const stored_rows<TypeParam> through =
        unpermute_everywhere(permuted, plan.view(), s.extra, s.misalignment, no_slot::passthrough, x.read());
    const reference::matrix inputs = x.widened();
    permute_test::expect_combined(y, reference::unpermute(permuted.widened(), plan.plan.inverse, c.reference_weights()),
                                  c.top_k());
    permute_test::expect_combined(
        through, reference::unpermute(permuted.widened(), plan.plan.inverse, c.reference_weights(), &inputs),
        c.top_k());
    for (std::int64_t t = 0; t < s.batch.tokens; ++t) {
      bool has_row = false;
      for (std::int64_t slot = plan.assignments.begin(t); slot < plan.assignments.end(t); ++slot)
        has_row = has_row || plan.inverse[static_cast<std::size_t>(slot)] >= 0;
      for (std::int64_t j = 0; has_row && j < s.hidden; ++j) {
        const TypeParam exact = combined(permuted, plan, t, j);
        ASSERT_EQ(std::memcmp(&y.at(t, j), &exact, sizeof exact), 0) << "token " << t << " column " << j;
      }
      if (!has_row) {
        ASSERT_TRUE(y.zero_row(t));
        ASSERT_TRUE(through.same_row(t, x, t));
      }
    }
  }
}

TYPED_TEST(HostUnpermute, SumsMoreRowsThanItListsAtOnce) {
  support::random_source random(96);
  for (const std::int32_t top_k : {31, 32, 33, 70}) {
    const support::random_choices c(random, {17, 72, top_k}, {support::adversary::ties, 0.1, false});
    const planned<std::int32_t> plan(c, 1);
    stored_rows<TypeParam> permuted(plan.rows(), 131);
    permuted.fill_normal(random);
    const stored_rows<TypeParam> y = unpermute_everywhere(permuted, plan.view(), 0, 0);
    for (std::int64_t t = 0; t < y.rows; ++t)
      for (std::int64_t j = 0; j < y.cols; ++j) {
        const TypeParam exact = combined(permuted, plan, t, j);
        ASSERT_EQ(std::memcmp(&y.at(t, j), &exact, sizeof exact), 0) << top_k << " token " << t << " column " << j;
      }
  }
}

// Aligned to a line and not, rows of more and of less than a page.
TYPED_TEST(HostUnpermute, WritesPastTheCachesWhatTheyDoNotHold) {
  support::random_source random(97);
  for (const std::int64_t hidden : {std::int64_t{832}, std::int64_t{4096} + 70}) {
    const std::int64_t tokens =
        (static_cast<std::int64_t>(detail::streamed_bytes / sizeof(TypeParam)) / hidden + 3) / 3;
    const support::random_choices c(random, {tokens + 8, 13, 3}, {support::adversary::ties, 0.0, false});
    const planned<std::int32_t> plan(c, 1);
    ASSERT_TRUE(detail::past_the_caches(plan.rows(), hidden, sizeof(TypeParam)));
    stored_rows<TypeParam> permuted(plan.rows(), hidden);
    for (std::int64_t r = 0; r < permuted.rows; ++r)  // few random numbers, for speed; each row differs
      for (std::int64_t j = 0; j < hidden; ++j)
        permute_test::encode(static_cast<float>((r * 31 + j * 7) % 1009) * 0.01F - 5.0F, permuted.at(r, j));
    for (const std::size_t misalignment : {std::size_t{0}, std::size_t{1}}) {
      stored_rows<TypeParam> y(plan.assignments.tokens, hidden, 0, misalignment);
      const thread_pool pool(2);
      ASSERT_TRUE(support::accepted(permute::host_unpermute(pool, permuted.read(), plan.view(), y.view())));
      EXPECT_TRUE(y.gaps_untouched(y.rows));
      for (std::int64_t t = 0; t < y.rows; t += 7)
        for (std::int64_t j = 0; j < hidden; ++j) {
          const TypeParam exact = combined(permuted, plan, t, j);
          ASSERT_EQ(std::memcmp(&y.at(t, j), &exact, sizeof exact), 0) << "token " << t << " column " << j;
        }
    }
  }
}

// What the rounding at the end makes of any float: subnormal, too large, infinite, NaN, the sign of zero.
TYPED_TEST(HostUnpermute, RoundsWhateverComesOut) {
  support::random_source random(98);
  const support::random_choices c(random, {257, 6, 1}, {support::adversary::ties, 0.0, false});
  const planned<std::int32_t> plan(c, 1);
  stored_rows<TypeParam> permuted(plan.rows(), 200);
  permuted.fill_bits(random);
  std::vector<float> weights(257);
  const std::vector<float> scales = {1.0F,     -1.0F,    0.0F,     -0.0F, 1.0009765F,
                                     0x1p-14F, 0x1p-20F, 0x1p+12F, 3.0F,  -0x1p-140F};
  for (std::size_t t = 0; t < weights.size(); ++t) weights[t] = scales[t % scales.size()];
  permute::row_plan<std::int32_t> view = plan.view();
  view.assignments.weights = weights.data();
  const stored_rows<TypeParam> y = unpermute_everywhere(permuted, view, 0, 0);
  for (std::int64_t t = 0; t < y.rows; ++t)
    for (std::int64_t j = 0; j < y.cols; ++j) {
      const auto row = plan.inverse[static_cast<std::size_t>(t)];
      const float value = row_traits<TypeParam>::widen(permuted.at(row, j));
      const TypeParam exact = row_traits<TypeParam>::narrow(weights[static_cast<std::size_t>(t)] * value);
      ASSERT_EQ(std::memcmp(&y.at(t, j), &exact, sizeof exact), 0) << "token " << t << " column " << j;
    }
}

TYPED_TEST(HostUnpermute, GivesBackWhatPermuteMovedAtUnitWeight) {
  support::random_source random(92);
  for (std::int64_t hidden : {1, 3, 64, 513, 2880}) {
    SCOPED_TRACE(hidden);
    support::random_choices c(random, {33, 13, 4}, {support::adversary::ties, 0.0, false});
    for (std::size_t slot = 0; slot < c.slots(); ++slot)
      if (slot % 4 != slot / 4 % 4) c.ids[slot] = -1;  // each token keeps one slot, not always the first
    const planned<std::int32_t> plan(c, 16);
    stored_rows<TypeParam> x(33, hidden);
    x.fill_normal(random);
    stored_rows<TypeParam> permuted(plan.rows(), hidden);
    ASSERT_TRUE(permute::host_permute(serial_executor{}, x.read(), plan.view(), permuted.view()).ok());
    permute::row_plan<std::int32_t> unweighted = plan.view();
    unweighted.assignments.weights = nullptr;  // all ones
    EXPECT_EQ(support::bits_of(unpermute_everywhere(permuted, unweighted, 0, 0).memory), support::bits_of(x.memory));
    std::fill(c.weights.begin(), c.weights.end(), 1.0F);
    EXPECT_EQ(support::bits_of(unpermute_everywhere(permuted, plan.view(), 0, 0).memory), support::bits_of(x.memory));
  }
}

TYPED_TEST(HostUnpermute, ReadsRaggedPlansAndWideIndices) {
  support::random_source random(93);
  const support::random_choices c(random, {257, 13, 3}, {support::adversary::ties, 0.2, true});
  const planned<std::int32_t> narrow(c, 8);
  const planned<std::int64_t> wide(c, 8);
  stored_rows<TypeParam> permuted(narrow.rows(), 33);
  permuted.fill_normal(random);
  const stored_rows<TypeParam> expected = unpermute_everywhere(permuted, narrow.view(), 0, 0);
  EXPECT_EQ(support::bits_of(unpermute_everywhere(permuted, wide.view(), 0, 0).memory),
            support::bits_of(expected.memory));
  const support::ragged_copy ragged(c.view(), true);
  permute::row_plan<std::int32_t> plan = narrow.view();
  plan.assignments = ragged.view();
  EXPECT_EQ(support::bits_of(unpermute_everywhere(permuted, plan, 0, 0).memory), support::bits_of(expected.memory));
}

TYPED_TEST(HostUnpermute, PassesOverRowNumbersOutsideThePlan) {
  support::random_source random(94);
  support::random_choices c(random, {33, 6, 2}, {support::adversary::ties, 0.0, false});
  planned<std::int64_t> plan(c, 1);
  const std::vector<std::int64_t> hostile = {-2, plan.rows(), INT64_MIN, INT64_MAX};
  planned<std::int64_t> cleaned = plan;
  for (std::size_t slot = 0; slot < plan.inverse.size(); ++slot) {
    if (!random.coin(0.4)) continue;
    plan.inverse[slot] = random.pick(hostile);
    cleaned.inverse[slot] = -1;
  }
  stored_rows<TypeParam> permuted(plan.rows(), 9);
  permuted.fill_normal(random);
  EXPECT_EQ(support::bits_of(unpermute_everywhere(permuted, plan.view(), 0, 0).memory),
            support::bits_of(unpermute_everywhere(permuted, cleaned.view(), 0, 0).memory));
}

TYPED_TEST(HostUnpermute, MayWriteOverTheInputItPassesThrough) {
  support::random_source random(95);
  const support::random_choices c(random, {33, 6, 2}, {support::adversary::ties, 0.6, false});
  const planned<std::int32_t> plan(c, 4);
  stored_rows<TypeParam> permuted(plan.rows(), 1100);
  permuted.fill_normal(random);
  stored_rows<TypeParam> x(33, 1100);
  x.fill_normal(random);
  const matrix_view<const TypeParam> input = x.read();
  const stored_rows<TypeParam> apart = unpermute_everywhere(permuted, plan.view(), 0, 0, no_slot::passthrough, input);
  ASSERT_TRUE(
      permute::host_unpermute(serial_executor{}, permuted.read(), plan.view(), x.view(), no_slot::passthrough, input)
          .ok());
  EXPECT_EQ(support::bits_of(x.memory), support::bits_of(apart.memory));
}

TYPED_TEST(HostUnpermute, RefusesBadArguments) {
  permute_test::expect_unpermute_refusals<TypeParam>(
      [](const auto& permuted, const auto& plan, const auto& y, const auto& x) {
        return permute::host_unpermute(serial_executor{}, permuted, plan, y, no_slot::passthrough, x);
      });
}

}  // namespace
