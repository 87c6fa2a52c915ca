// SPDX-License-Identifier: Apache-2.0
#include "resonance/permute/host_permute.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "permute/fixture.hpp"
#include "permute/refusals.hpp"
#include "resonance/core/executor_threads.hpp"
#include "support/executors.hpp"

namespace {

using namespace resonance;
using permute_test::planned;
using permute_test::row_shape;
using permute_test::stored_rows;

// Permutes on every executor into rows of their own; `spare` rows lie past the plan's P.
template <class Row, class Index>
stored_rows<Row> permute_everywhere(const stored_rows<Row>& x, const permute::row_plan<Index>& plan, std::int64_t extra,
                                    std::size_t misalignment, std::int64_t spare) {
  const auto run = [&](const auto& executor) {
    stored_rows<Row> out(plan.num_rows + spare, x.cols, extra, misalignment);
    EXPECT_TRUE(support::accepted(permute::host_permute(executor, x.read(), plan, out.view())));
    EXPECT_TRUE(out.gaps_untouched(plan.num_rows));
    return out;
  };
  stored_rows<Row> first = run(serial_executor{});
  support::with_every_executor([&](const auto& executor, const std::string& name) {
    EXPECT_TRUE(support::bits_of(run(executor).memory) == support::bits_of(first.memory)) << name;
  });
  return first;
}

template <class Row>
class HostPermute : public ::testing::Test {};
TYPED_TEST_SUITE(HostPermute, permute_test::row_types, );

TYPED_TEST(HostPermute, CopiesTheBitsOfEveryRowAndZeroesThePadding) {
  support::random_source random(83);
  for (const row_shape& s : permute_test::row_shapes()) {
    SCOPED_TRACE(::testing::Message() << s);
    const support::random_choices c(random, s.batch, {support::adversary::ties, 0.2, true});
    const planned<std::int32_t> plan(c, s.tile_tokens);
    stored_rows<TypeParam> x(s.batch.tokens, s.hidden, s.extra, s.misalignment);
    x.fill_bits(random);
    const stored_rows<TypeParam> got = permute_everywhere(x, plan.view(), s.extra + 1, s.misalignment, 3);
    permute_test::expect_permuted(got, x, plan.plan);
  }
}

TYPED_TEST(HostPermute, CopiesPastTheCachesWhatTheyDoNotHold) {
  support::random_source random(88);
  const support::random_choices c(random, {1024, 13, 3}, {support::adversary::ties, 0.0, false});
  const planned<std::int32_t> plan(c, 8);
  const std::size_t hidden = detail::streamed_bytes / sizeof(TypeParam) / static_cast<std::size_t>(plan.rows()) + 5;
  stored_rows<TypeParam> x(1024, static_cast<std::int64_t>(hidden));
  x.fill_bits(random);
  for (const int workers : {1, 2}) {
    stored_rows<TypeParam> out(plan.rows(), x.cols, 3, 1);
    const thread_pool pool(workers);
    ASSERT_TRUE(support::accepted(permute::host_permute(pool, x.read(), plan.view(), out.view())));
    permute_test::expect_permuted(out, x, plan.plan);
    EXPECT_TRUE(out.gaps_untouched(plan.rows()));
  }
}

TYPED_TEST(HostPermute, ReadsRaggedPlansAndWideIndices) {
  support::random_source random(84);
  const support::random_choices c(random, {257, 13, 3}, {support::adversary::ties, 0.2, true});
  stored_rows<TypeParam> x(257, 33);
  x.fill_bits(random);
  const planned<std::int32_t> narrow(c, 8);
  const planned<std::int64_t> wide(c, 8);
  const stored_rows<TypeParam> expected = permute_everywhere(x, narrow.view(), 0, 0, 0);
  EXPECT_EQ(support::bits_of(permute_everywhere(x, wide.view(), 0, 0, 0).memory), support::bits_of(expected.memory));
  const support::ragged_copy ragged(c.view(), true);
  permute::row_plan<std::int32_t> plan = narrow.view();
  plan.assignments = ragged.view();
  EXPECT_EQ(support::bits_of(permute_everywhere(x, plan, 0, 0, 0).memory), support::bits_of(expected.memory));
}

TYPED_TEST(HostPermute, PassesOverRowNumbersOutsideThePlan) {
  support::random_source random(85);
  const support::random_choices c(random, {33, 6, 2}, {support::adversary::ties, 0.0, false});
  planned<std::int64_t> plan(c, 1);
  stored_rows<TypeParam> x(33, 9);
  x.fill_bits(random);
  const std::vector<std::int64_t> hostile = {-1, -2, plan.rows(), plan.rows() + 1, INT64_MIN, INT64_MAX};
  std::vector<bool> written(static_cast<std::size_t>(plan.rows()), false);
  for (std::int64_t& row : plan.inverse) {
    if (random.coin(0.4))
      row = random.pick(hostile);
    else
      written[static_cast<std::size_t>(row)] = true;
  }
  stored_rows<TypeParam> out(plan.rows() + 2, 9);
  ASSERT_TRUE(permute::host_permute(serial_executor{}, x.read(), plan.view(), out.view()).ok());
  EXPECT_TRUE(out.gaps_untouched(plan.rows()));
  for (std::int64_t row = 0; row < plan.rows(); ++row) {
    if (written[static_cast<std::size_t>(row)])
      EXPECT_TRUE(out.same_row(row, x, plan.sorted_token_ids[static_cast<std::size_t>(row)] / 2));
    else
      EXPECT_TRUE(out.memory.untouched(static_cast<std::size_t>(row * 9), 9));
  }
}

TEST(HostPermuteOfAnyType, CopiesRowsOfOtherElements) {
  struct scaled_byte {
    std::uint8_t bits;
  };
  support::random_source random(86);
  const support::random_choices c(random, {7, 6, 2}, {support::adversary::ties, 0.0, false});
  const planned<std::int32_t> plan(c, 4);
  stored_rows<scaled_byte> x(7, 11);
  x.fill_bits(random);
  const stored_rows<scaled_byte> got = permute_everywhere(x, plan.view(), 0, 0, 0);
  for (std::int64_t slot = 0; slot < 14; ++slot)
    EXPECT_TRUE(got.same_row(plan.inverse[static_cast<std::size_t>(slot)], x, slot / 2));
}

TYPED_TEST(HostPermute, RefusesBadArguments) {
  permute_test::expect_permute_refusals<TypeParam>([](const auto& x, const auto& plan, const auto& permuted) {
    return permute::host_permute(serial_executor{}, x, plan, permuted);
  });
}

}  // namespace
