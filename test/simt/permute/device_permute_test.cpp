// SPDX-License-Identifier: Apache-2.0
#include <resonance/permute/device_permute.cuh>

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include <simt/environment.hpp>

#include "permute/fixture.hpp"
#include "permute/refusals.hpp"
#include "resonance/permute/host_permute.hpp"

namespace {

using namespace resonance;
using permute_test::planned;
using permute_test::row_shape;
using permute_test::stored_rows;

// Permutes on the device into rows of their own; `spare` rows lie past the plan's P. True: the host's bytes.
template <class Row, class Index>
void expect_the_hosts_rows(const stored_rows<Row>& x, const permute::row_plan<Index>& plan, std::int64_t extra = 0,
                           std::size_t misalignment = 0, std::int64_t spare = 0) {
  stored_rows<Row> expected(plan.num_rows + spare, x.cols, extra, misalignment);
  stored_rows<Row> got(plan.num_rows + spare, x.cols, extra, misalignment);
  ASSERT_TRUE(support::accepted(permute::host_permute(serial_executor{}, x.read(), plan, expected.view())));
  ASSERT_TRUE(support::accepted(permute::device_permute({}, x.read(), plan, got.view())));
  EXPECT_TRUE(support::bits_of(got.memory) == support::bits_of(expected.memory));
  EXPECT_TRUE(got.gaps_untouched(plan.num_rows));
}

template <class Row>
class DevicePermute : public ::testing::Test {};
TYPED_TEST_SUITE(DevicePermute, permute_test::row_types, );

TYPED_TEST(DevicePermute, MovesTheHostsBytes) {
  support::random_source random(331);
  std::vector<row_shape> shapes = permute_test::row_shapes();
  shapes.push_back({{5, 64, 40}, 24, 0, 0, 1});  // more slots than a warp has lanes
  shapes.push_back({{31, 8, 2}, 4096, 0, 0, 1});
  for (const row_shape& s : shapes) {
    SCOPED_TRACE(::testing::Message() << s);
    const support::random_choices c(random, s.batch, {support::adversary::ties, 0.2, true});
    const planned<std::int32_t> plan(c, s.tile_tokens);
    stored_rows<TypeParam> x(s.batch.tokens, s.hidden, s.extra, s.misalignment);
    x.fill_bits(random);
    expect_the_hosts_rows(x, plan.view(), s.extra + 1, s.misalignment, 3);
    expect_the_hosts_rows(x, plan.view());
  }
}

TYPED_TEST(DevicePermute, AgreesWithTheReference) {
  support::random_source random(339);
  for (const row_shape& s : permute_test::reference_shapes()) {
    SCOPED_TRACE(::testing::Message() << s);
    const support::random_choices c(random, s.batch, {support::adversary::ties, 0.2, true});
    const planned<std::int32_t> plan(c, s.tile_tokens);
    stored_rows<TypeParam> x(s.batch.tokens, s.hidden, s.extra, s.misalignment);
    x.fill_bits(random);
    stored_rows<TypeParam> got(plan.rows(), s.hidden, s.extra, s.misalignment);
    ASSERT_TRUE(support::accepted(permute::device_permute({}, x.read(), plan.view(), got.view())));
    permute_test::expect_permuted(got, x, plan.plan);
  }
}

TYPED_TEST(DevicePermute, DoesNotDependOnTheSchedule) {
  support::random_source random(332);
  const support::random_choices c(random, {33, 13, 8}, {support::adversary::ties, 0.2, true});
  const planned<std::int32_t> plan(c, 16);
  stored_rows<TypeParam> x(33, 1000);
  x.fill_bits(random);
  simt::under_every_schedule([&] { expect_the_hosts_rows(x, plan.view()); });
}

TYPED_TEST(DevicePermute, ReadsRaggedPlansAndWideIndices) {
  support::random_source random(333);
  const support::random_choices c(random, {257, 13, 3}, {support::adversary::ties, 0.2, true});
  stored_rows<TypeParam> x(257, 33);
  x.fill_bits(random);
  expect_the_hosts_rows(x, planned<std::int64_t>(c, 8).view());
  const planned<std::int32_t> narrow(c, 8);
  const support::ragged_copy ragged(c.view(), true);
  permute::row_plan<std::int32_t> plan = narrow.view();
  plan.assignments = ragged.view();
  plan.assignments.slot_capacity = plan.assignments.slots();
  expect_the_hosts_rows(x, plan);
}

TYPED_TEST(DevicePermute, PassesOverRowNumbersOutsideThePlan) {
  support::random_source random(334);
  const support::random_choices c(random, {33, 6, 2}, {support::adversary::ties, 0.0, false});
  planned<std::int64_t> plan(c, 1);
  stored_rows<TypeParam> x(33, 9);
  x.fill_bits(random);
  const std::vector<std::int64_t> hostile = {-1, -2, plan.rows(), plan.rows() + 1, INT64_MIN, INT64_MAX};
  for (std::int64_t& row : plan.inverse)
    if (random.coin(0.4)) row = random.pick(hostile);
  expect_the_hosts_rows(x, plan.view(), 0, 0, 2);
}

TYPED_TEST(DevicePermute, TakesTheCountsOfTokensAndRowsFromTheDevice) {
  support::random_source random(335);
  const support::random_choices c(random, {33, 6, 2}, {support::adversary::ties, 0.1, false});
  for (const std::int64_t live : {0, 1, 20, 33}) {
    SCOPED_TRACE(live);
    support::random_choices part = c;
    part.shape.tokens = live;
    part.ids.resize(static_cast<std::size_t>(live * 2));
    const planned<std::int32_t> planned_part(part, 4);
    planned<std::int32_t> whole(c, 4);  // what stands past the live tokens and rows must not be read
    std::copy(planned_part.inverse.begin(), planned_part.inverse.end(), whole.inverse.begin());
    std::copy(planned_part.sorted_token_ids.begin(), planned_part.sorted_token_ids.end(),
              whole.sorted_token_ids.begin());
    stored_rows<TypeParam> x(33, 70);
    x.fill_bits(random);
    const std::int64_t rows = planned_part.rows();
    permute::row_plan<std::int32_t> plan = whole.view();
    plan.device_num_rows = &rows;
    device_stream on;
    on.num_tokens = &live;
    stored_rows<TypeParam> got(whole.rows(), 70);
    ASSERT_TRUE(support::accepted(permute::device_permute(on, x.read(), plan, got.view())));
    EXPECT_TRUE(got.gaps_untouched(rows));
    stored_rows<TypeParam> expected(whole.rows(), 70);
    const matrix_view<const TypeParam> live_x(x.memory.data(), live, 70, 70);
    ASSERT_TRUE(permute::host_permute(serial_executor{}, live_x, planned_part.view(), expected.view()).ok());
    EXPECT_TRUE(support::bits_of(got.memory) == support::bits_of(expected.memory));
  }
}

TEST(DevicePermuteOfAnyType, CopiesRowsOfOtherElements) {
  struct scaled_bytes {
    std::uint8_t bits[3];
  };
  support::random_source random(336);
  const support::random_choices c(random, {7, 6, 2}, {support::adversary::ties, 0.0, false});
  const planned<std::int32_t> plan(c, 4);
  for (const std::int64_t hidden : {11, 16}) {
    stored_rows<scaled_bytes> x(7, hidden);
    x.fill_bits(random);
    expect_the_hosts_rows(x, plan.view());
  }
}

TEST(DevicePermuteCost, ReadsARowOnceAndStoresItOncePerSlotInWideAccesses) {
  support::random_source random(337);
  struct shape {
    std::int64_t tokens, hidden;
    std::int32_t top_k;
  };
  for (const shape& s : {shape{64, 2880, 4}, {64, 4096, 8}, {300, 256, 2}}) {
    const support::random_choices c(random, {s.tokens, 64, s.top_k}, {support::adversary::ties, 0.0, false});
    const planned<std::int32_t> plan(c, 1);
    stored_rows<bfloat16> x(s.tokens, s.hidden);
    x.fill_bits(random);
    stored_rows<bfloat16> permuted(plan.rows(), s.hidden);
    simt::reset_traffic();
    simt::config().count_traffic = true;
    ASSERT_TRUE(permute::device_permute({}, x.read(), plan.view(), permuted.view()).ok());
    simt::config().count_traffic = false;
    const double row_bytes = 2.0 * static_cast<double>(s.hidden);
    const double fewest = static_cast<double>(s.tokens) * (row_bytes * (1 + s.top_k) + 4.0 * s.top_k);
    const auto& traffic = simt::traffic();
    EXPECT_EQ(traffic.launches.size(), 1U);
    const double moved = static_cast<double>(traffic.loads().bytes + traffic.stores().bytes);
    EXPECT_LE(moved, 1.02 * fewest) << moved / fewest;
    EXPECT_EQ(traffic.stores().bytes, 16 * traffic.stores().thread_accesses);
  }
}

TYPED_TEST(DevicePermute, RefusesBadArguments) {
  permute_test::expect_permute_refusals<TypeParam>([](const auto& x, const auto& plan, const auto& permuted) {
    return permute::device_permute({}, x, plan, permuted);
  });
}

TEST(DevicePermuteLimits, RefusesMoreBlocksThanAGridHas) {
  const permute_test::endless_rows r;
  EXPECT_TRUE(support::refused(permute::device_permute({}, r.read, r.plan, r.view), status_code::index_overflow, "x"));
}

}  // namespace
