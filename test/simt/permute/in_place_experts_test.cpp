// SPDX-License-Identifier: Apache-2.0
// Experts without rows, added in place by unpermute on the device: the host's bits.
#include <resonance/permute/device_unpermute.cuh>

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include <simt/environment.hpp>

#include "permute/in_place_fixture.hpp"
#include "resonance/permute/host_unpermute.hpp"

namespace {

using namespace resonance;
using permute_test::in_place_batch;
using permute_test::row_shape;
using permute_test::stored_rows;

template <class Row, class Index>
void expect_the_hosts_sums(const in_place_batch<Row>& batch, const permute::row_plan<Index>& plan,
                           std::int64_t extra = 0, std::size_t misalignment = 0) {
  stored_rows<Row> expected(batch.x.rows, batch.x.cols, extra, misalignment);
  stored_rows<Row> got(batch.x.rows, batch.x.cols, extra, misalignment);
  const permute::in_place_experts<Row> experts = batch.experts();
  ASSERT_TRUE(support::accepted(
      permute::host_unpermute(serial_executor{}, batch.permuted.read(), plan, experts, expected.view())));
  ASSERT_TRUE(support::accepted(permute::device_unpermute({}, batch.permuted.read(), plan, experts, got.view())));
  EXPECT_TRUE(support::bits_of(got.memory) == support::bits_of(expected.memory));
  EXPECT_TRUE(got.gaps_untouched(got.rows));
}

template <class Row>
class DeviceInPlaceExperts : public ::testing::Test {};
TYPED_TEST_SUITE(DeviceInPlaceExperts, permute_test::row_types, );

TYPED_TEST(DeviceInPlaceExperts, HaveTheHostsBits) {
  support::random_source random(421);
  std::vector<row_shape> shapes = permute_test::row_shapes();
  shapes.push_back({{5, 64, 40}, 24, 0, 0, 1});  // more slots than a warp has lanes, or pairs of lanes
  for (const row_shape& s : shapes) {
    for (const std::int32_t constant_count : {0, 5}) {
      SCOPED_TRACE(::testing::Message() << s << " constants " << constant_count);
      const in_place_batch<TypeParam> batch(random, s, constant_count);
      expect_the_hosts_sums(batch, batch.plan.view(), s.extra, s.misalignment);
      permute::row_plan<std::int32_t> unweighted = batch.plan.view();
      unweighted.assignments.weights = nullptr;
      expect_the_hosts_sums(batch, unweighted);
    }
  }
}

TYPED_TEST(DeviceInPlaceExperts, AgreeWithTheReference) {
  support::random_source random(422);
  for (const row_shape& s : permute_test::reference_shapes()) {
    SCOPED_TRACE(::testing::Message() << s);
    const in_place_batch<TypeParam> batch(random, s, 4);
    stored_rows<TypeParam> got(s.batch.tokens, s.hidden, s.extra, s.misalignment);
    ASSERT_TRUE(support::accepted(
        permute::device_unpermute({}, batch.permuted.read(), batch.plan.view(), batch.experts(), got.view())));
    permute_test::expect_combined(got, batch.expected(), 2 * batch.choices.top_k());
  }
}

TYPED_TEST(DeviceInPlaceExperts, DoNotDependOnTheSchedule) {
  support::random_source random(423);
  const in_place_batch<TypeParam> batch(random, {{33, 13, 8}, 1000, 0, 0, 16}, 3);
  simt::under_every_schedule([&] { expect_the_hosts_sums(batch, batch.plan.view()); });
}

TYPED_TEST(DeviceInPlaceExperts, ReadRaggedPlansAndWideIndices) {
  support::random_source random(424);
  const in_place_batch<TypeParam> batch(random, {{257, 13, 3}, 33, 0, 0, 8}, 2);
  expect_the_hosts_sums(
      batch, permute_test::planned<std::int64_t>(batch.choices, 8, batch.expert_map, batch.num_local).view());
  const support::ragged_copy ragged(batch.choices.view(), true);
  permute::row_plan<> plan = batch.plan.view();
  plan.assignments = ragged.view();
  plan.assignments.slot_capacity = plan.assignments.slots();
  expect_the_hosts_sums(batch, plan);
}

// Ids, row numbers and entries of the map that name nothing add nothing.
TYPED_TEST(DeviceInPlaceExperts, PassOverWhatIsNotThere) {
  support::random_source random(425);
  in_place_batch<TypeParam> batch(random, {{65, 12, 3}, 40, 0, 0, 1}, 2, {support::adversary::ties, 0.0, false});
  const std::vector<std::int32_t> outside = {-1, 12, INT32_MIN, INT32_MAX};
  for (std::int32_t& id : batch.choices.ids)
    if (random.coin(0.2)) id = random.pick(outside);
  const std::vector<std::int32_t> hostile = {-2, static_cast<std::int32_t>(batch.plan.rows()), INT32_MIN, INT32_MAX};
  for (std::int32_t& row : batch.plan.inverse)
    if (random.coin(0.2)) row = random.pick(hostile);
  expect_the_hosts_sums(batch, batch.plan.view());

  // The host refuses such entries; it is asked what comes of zero experts in their place.
  stored_rows<TypeParam> expected(65, 40);
  stored_rows<TypeParam> got(65, 40);
  std::vector<std::int32_t> map = batch.expert_map;
  for (const std::size_t e : {3, 7, 11}) batch.expert_map[e] = permute::in_place::zero;
  ASSERT_TRUE(permute::host_unpermute(serial_executor{}, batch.permuted.read(), batch.plan.view(), batch.experts(),
                                      expected.view())
                  .ok());
  map[3] = permute::in_place::constant(2);
  map[7] = INT32_MIN;
  map[11] = -1000;
  permute::in_place_experts<TypeParam> experts = batch.experts();
  experts.expert_map = map.data();
  ASSERT_TRUE(permute::device_unpermute({}, batch.permuted.read(), batch.plan.view(), experts, got.view()).ok());
  EXPECT_TRUE(support::bits_of(got.memory) == support::bits_of(expected.memory));
}

TYPED_TEST(DeviceInPlaceExperts, LeaveTokensAloneThatAreNotThere) {
  support::random_source random(426);
  const in_place_batch<TypeParam> batch(random, {{33, 6, 2}, 24, 0, 0, 1}, 2);
  stored_rows<TypeParam> expected(33, 24);
  ASSERT_TRUE(permute::host_unpermute(serial_executor{}, batch.permuted.read(), batch.plan.view(), batch.experts(),
                                      expected.view())
                  .ok());
  for (const std::int64_t live : {0, 20, 33}) {
    device_stream on;
    on.num_tokens = &live;
    stored_rows<TypeParam> got(33, 24);
    ASSERT_TRUE(
        permute::device_unpermute(on, batch.permuted.read(), batch.plan.view(), batch.experts(), got.view()).ok());
    EXPECT_TRUE(got.gaps_untouched(live));
    for (std::int64_t t = 0; t < live; ++t) EXPECT_TRUE(got.same_row(t, expected, t));
  }
}

TYPED_TEST(DeviceInPlaceExperts, MayBeWrittenOverTheInput) {
  support::random_source random(427);
  in_place_batch<TypeParam> batch(random, {{33, 48, 40}, 1100, 0, 0, 4}, 3);
  stored_rows<TypeParam> apart(33, 1100);
  const permute::in_place_experts<TypeParam> experts = batch.experts();
  ASSERT_TRUE(
      permute::host_unpermute(serial_executor{}, batch.permuted.read(), batch.plan.view(), experts, apart.view()).ok());
  ASSERT_TRUE(permute::device_unpermute({}, batch.permuted.read(), batch.plan.view(), experts, batch.x.view()).ok());
  EXPECT_EQ(support::bits_of(batch.x.memory), support::bits_of(apart.memory));
}

TEST(DeviceInPlaceExpertsCost, IsARowOfTheTokenOrOfAConstant) {
  namespace in_place = permute::in_place;
  support::random_source random(428);
  // Every token takes all four experts; the zero expert costs nothing.
  const in_place_batch<bfloat16> batch(random, {{64, 4, 4}, 4096, 0, 0, 1}, 1, {support::adversary::ties, 0.0, false},
                                       {0, in_place::zero, in_place::copy, in_place::constant(0)});
  stored_rows<bfloat16> y(64, 4096);
  simt::reset_traffic();
  simt::config().count_traffic = true;
  ASSERT_TRUE(permute::device_unpermute({}, batch.permuted.read(), batch.plan.view(), batch.experts(), y.view()).ok());
  simt::config().count_traffic = false;
  const auto& traffic = simt::traffic();
  EXPECT_EQ(traffic.launches.size(), 1U);
  const double row_bytes = 2.0 * 4096;
  const double reads = 64.0 * 4 * row_bytes;  // its row, x for the copy, x and v for the constant
  const double moved = static_cast<double>(traffic.loads().bytes + traffic.stores().bytes);
  EXPECT_LE(moved, 1.06 * (reads + 64.0 * row_bytes)) << moved / reads;
  EXPECT_EQ(traffic.stores().bytes, 16 * traffic.stores().thread_accesses);
}

TYPED_TEST(DeviceInPlaceExperts, RefuseBadArguments) {
  permute_test::expect_in_place_refusals<TypeParam>(
      [](const auto& permuted, const auto& plan, const auto& experts, const auto& y) {
        return permute::device_unpermute({}, permuted, plan, experts, y);
      },
      false);
}

}  // namespace
