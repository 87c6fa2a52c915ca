// SPDX-License-Identifier: Apache-2.0
#include <resonance/permute/device_unpermute.cuh>

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include <simt/environment.hpp>

#include "permute/fixture.hpp"
#include "permute/refusals.hpp"
#include "resonance/permute/host_unpermute.hpp"

namespace {

using namespace resonance;
using permute::no_slot;
using permute_test::planned;
using permute_test::row_shape;
using permute_test::stored_rows;

// Sums on the device into rows of their own. The host's bits, in the rows and between them.
template <class Row, class Index>
void expect_the_hosts_sums(const stored_rows<Row>& permuted, const permute::row_plan<Index>& plan,
                           std::int64_t extra = 0, std::size_t misalignment = 0, no_slot without = no_slot::zero,
                           matrix_view<const Row> x = {}) {
  stored_rows<Row> expected(plan.assignments.tokens, permuted.cols, extra, misalignment);
  stored_rows<Row> got(plan.assignments.tokens, permuted.cols, extra, misalignment);
  ASSERT_TRUE(support::accepted(
      permute::host_unpermute(serial_executor{}, permuted.read(), plan, expected.view(), without, x)));
  ASSERT_TRUE(support::accepted(permute::device_unpermute({}, permuted.read(), plan, got.view(), without, x)));
  EXPECT_TRUE(support::bits_of(got.memory) == support::bits_of(expected.memory));
  EXPECT_TRUE(got.gaps_untouched(got.rows));
}

template <class Row>
class DeviceUnpermute : public ::testing::Test {};
TYPED_TEST_SUITE(DeviceUnpermute, permute_test::row_types, );

TYPED_TEST(DeviceUnpermute, HasTheHostsBits) {
  support::random_source random(341);
  std::vector<row_shape> shapes = permute_test::row_shapes();
  shapes.push_back({{5, 64, 40}, 24, 0, 0, 1});  // more slots than a warp has lanes
  for (const row_shape& s : shapes) {
    SCOPED_TRACE(::testing::Message() << s);
    const support::random_choices c(random, s.batch, {support::adversary::ties, 0.3, true});
    const planned<std::int32_t> plan(c, s.tile_tokens);
    stored_rows<TypeParam> permuted(plan.rows(), s.hidden, s.extra, s.misalignment);
    permuted.fill_normal(random);
    stored_rows<TypeParam> x(s.batch.tokens, s.hidden, s.extra);
    x.fill_normal(random);
    expect_the_hosts_sums(permuted, plan.view(), s.extra + 1, s.misalignment);
    expect_the_hosts_sums(permuted, plan.view(), s.extra, s.misalignment, no_slot::passthrough, x.read());
    permute::row_plan<std::int32_t> unweighted = plan.view();
    unweighted.assignments.weights = nullptr;
    expect_the_hosts_sums(permuted, unweighted);
  }
}

TYPED_TEST(DeviceUnpermute, AgreesWithTheReference) {
  support::random_source random(349);
  for (const row_shape& s : permute_test::reference_shapes()) {
    SCOPED_TRACE(::testing::Message() << s);
    const support::random_choices c(random, s.batch, {support::adversary::ties, 0.3, true});
    const planned<std::int32_t> plan(c, s.tile_tokens);
    stored_rows<TypeParam> permuted(plan.rows(), s.hidden, s.extra, s.misalignment);
    permuted.fill_normal(random);
    stored_rows<TypeParam> x(s.batch.tokens, s.hidden);
    x.fill_normal(random);
    const reference::matrix inputs = x.widened();
    for (const auto without : {no_slot::zero, no_slot::passthrough}) {
      stored_rows<TypeParam> got(s.batch.tokens, s.hidden, s.extra, s.misalignment);
      ASSERT_TRUE(support::accepted(
          permute::device_unpermute({}, permuted.read(), plan.view(), got.view(), without, x.read())));
      permute_test::expect_combined(got,
                                    reference::unpermute(permuted.widened(), plan.plan.inverse, c.reference_weights(),
                                                         without == no_slot::passthrough ? &inputs : nullptr),
                                    c.top_k());
    }
  }
}

TYPED_TEST(DeviceUnpermute, DoesNotDependOnTheSchedule) {
  support::random_source random(342);
  const support::random_choices c(random, {33, 13, 8}, {support::adversary::ties, 0.3, true});
  const planned<std::int32_t> plan(c, 16);
  stored_rows<TypeParam> permuted(plan.rows(), 1000);
  permuted.fill_normal(random);
  simt::under_every_schedule([&] { expect_the_hosts_sums(permuted, plan.view()); });
}

TYPED_TEST(DeviceUnpermute, KeepsSignsOfZeroAndExtremes) {
  support::random_source random(343);
  support::random_choices c(random, {257, 6, 2}, {support::adversary::ties, 0.3, true});
  const planned<std::int32_t> plan(c, 1);
  stored_rows<TypeParam> permuted(plan.rows(), 40);
  const std::vector<float> values = {0.0F, -0.0F, 1e-30F, -3e38F, 6e-8F, 1.0F};
  for (std::int64_t row = 0; row < plan.rows(); ++row)
    for (std::int64_t j = 0; j < 40; ++j) permute_test::encode(random.pick(values), permuted.at(row, j));
  for (float& weight : c.weights) weight = random.pick(std::vector<float>{0.0F, -0.0F, -1.0F, 1e-20F, 0.5F});
  permute::row_plan<std::int32_t> weighted = plan.view();
  weighted.assignments.weights = c.weights.data();
  expect_the_hosts_sums(permuted, weighted);
}

TYPED_TEST(DeviceUnpermute, ReadsRaggedPlansAndWideIndices) {
  support::random_source random(344);
  const support::random_choices c(random, {257, 13, 3}, {support::adversary::ties, 0.2, true});
  const planned<std::int32_t> narrow(c, 8);
  stored_rows<TypeParam> permuted(narrow.rows(), 33);
  permuted.fill_normal(random);
  expect_the_hosts_sums(permuted, planned<std::int64_t>(c, 8).view());
  const support::ragged_copy ragged(c.view(), true);
  permute::row_plan<std::int32_t> plan = narrow.view();
  plan.assignments = ragged.view();
  plan.assignments.slot_capacity = plan.assignments.slots();
  expect_the_hosts_sums(permuted, plan);
}

TYPED_TEST(DeviceUnpermute, PassesOverRowNumbersOutsideThePlan) {
  support::random_source random(345);
  const support::random_choices c(random, {33, 6, 2}, {support::adversary::ties, 0.0, false});
  planned<std::int64_t> plan(c, 1);
  stored_rows<TypeParam> permuted(plan.rows(), 9);
  permuted.fill_normal(random);
  const std::vector<std::int64_t> hostile = {-2, plan.rows(), INT64_MIN, INT64_MAX};
  for (std::int64_t& row : plan.inverse)
    if (random.coin(0.4)) row = random.pick(hostile);
  expect_the_hosts_sums(permuted, plan.view());
  // Rows past a P in device memory are outside too.
  const std::int64_t rows = plan.rows() / 2;
  permute::row_plan<std::int64_t> less = plan.view();
  less.num_rows = rows;
  permute::row_plan<std::int64_t> counted = plan.view();
  counted.device_num_rows = &rows;
  stored_rows<TypeParam> expected(33, 9);
  stored_rows<TypeParam> got(33, 9);
  ASSERT_TRUE(permute::host_unpermute(serial_executor{}, permuted.read(), less, expected.view()).ok());
  ASSERT_TRUE(permute::device_unpermute({}, permuted.read(), counted, got.view()).ok());
  EXPECT_TRUE(support::bits_of(got.memory) == support::bits_of(expected.memory));
}

TYPED_TEST(DeviceUnpermute, LeavesTokensAloneThatAreNotThere) {
  support::random_source random(346);
  const support::random_choices c(random, {33, 6, 2}, {support::adversary::ties, 0.0, false});
  const planned<std::int32_t> plan(c, 1);
  stored_rows<TypeParam> permuted(plan.rows(), 24);
  permuted.fill_normal(random);
  stored_rows<TypeParam> expected(33, 24);
  ASSERT_TRUE(permute::host_unpermute(serial_executor{}, permuted.read(), plan.view(), expected.view()).ok());
  for (const std::int64_t live : {0, 20, 33}) {
    device_stream on;
    on.num_tokens = &live;
    stored_rows<TypeParam> got(33, 24);
    ASSERT_TRUE(permute::device_unpermute(on, permuted.read(), plan.view(), got.view()).ok());
    EXPECT_TRUE(got.gaps_untouched(live));
    for (std::int64_t t = 0; t < live; ++t) EXPECT_TRUE(got.same_row(t, expected, t));
  }
}

TYPED_TEST(DeviceUnpermute, MayWriteOverTheInputItPassesThrough) {
  support::random_source random(347);
  const support::random_choices c(random, {33, 6, 2}, {support::adversary::ties, 0.6, false});
  const planned<std::int32_t> plan(c, 4);
  stored_rows<TypeParam> permuted(plan.rows(), 1100);
  permuted.fill_normal(random);
  stored_rows<TypeParam> x(33, 1100);
  x.fill_normal(random);
  stored_rows<TypeParam> apart(33, 1100);
  ASSERT_TRUE(permute::host_unpermute(serial_executor{}, permuted.read(), plan.view(), apart.view(),
                                      no_slot::passthrough, x.read())
                  .ok());
  ASSERT_TRUE(
      permute::device_unpermute({}, permuted.read(), plan.view(), x.view(), no_slot::passthrough, x.read()).ok());
  EXPECT_EQ(support::bits_of(x.memory), support::bits_of(apart.memory));
}

TEST(DeviceUnpermuteCost, ReadsEveryRowOnceInWideAccesses) {
  support::random_source random(348);
  struct shape {
    std::int64_t tokens, hidden;
    std::int32_t top_k;
  };
  for (const shape& s : {shape{64, 2880, 4}, {64, 4096, 8}, {300, 256, 2}}) {
    const support::random_choices c(random, {s.tokens, 64, s.top_k}, {support::adversary::ties, 0.0, false});
    const planned<std::int32_t> plan(c, 1);
    stored_rows<bfloat16> permuted(plan.rows(), s.hidden);
    permuted.fill_normal(random);
    stored_rows<bfloat16> y(s.tokens, s.hidden);
    simt::reset_traffic();
    simt::config().count_traffic = true;
    ASSERT_TRUE(permute::device_unpermute({}, permuted.read(), plan.view(), y.view()).ok());
    simt::config().count_traffic = false;
    const double row_bytes = 2.0 * static_cast<double>(s.hidden);
    const double fewest = static_cast<double>(s.tokens) * (row_bytes * (1 + s.top_k) + 8.0 * s.top_k);
    const auto& traffic = simt::traffic();
    EXPECT_EQ(traffic.launches.size(), 1U);
    const double moved = static_cast<double>(traffic.loads().bytes + traffic.stores().bytes);
    EXPECT_LE(moved, 1.02 * fewest) << moved / fewest;
    EXPECT_EQ(traffic.stores().bytes, 16 * traffic.stores().thread_accesses);
  }
}

TYPED_TEST(DeviceUnpermute, RefusesBadArguments) {
  permute_test::expect_unpermute_refusals<TypeParam>(
      [](const auto& permuted, const auto& plan, const auto& y, const auto& x) {
        return permute::device_unpermute({}, permuted, plan, y, no_slot::passthrough, x);
      });
}

TEST(DeviceUnpermuteLimits, RefusesMoreBlocksThanAGridHas) {
  const permute_test::endless_rows r;
  EXPECT_TRUE(
      support::refused(permute::device_unpermute({}, r.read, r.plan, r.view), status_code::index_overflow, "y"));
}

}  // namespace
