// SPDX-License-Identifier: Apache-2.0
// Experts without rows, added in place by unpermute on the host.
#include "resonance/permute/in_place_experts.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "permute/in_place_fixture.hpp"
#include "resonance/permute/host_unpermute.hpp"
#include "resonance/plan/host_plan.hpp"
#include "support/executors.hpp"

namespace {

using namespace resonance;
using permute_test::in_place_batch;
using permute_test::row_shape;
using permute_test::stored_rows;

template <class Row, class Index>
stored_rows<Row> unpermute_everywhere(const in_place_batch<Row>& batch, const permute::row_plan<Index>& plan,
                                      const permute::in_place_experts<Row>& experts, std::int64_t extra = 0,
                                      std::size_t misalignment = 0) {
  const auto run = [&](const auto& executor) {
    stored_rows<Row> y(batch.x.rows, batch.x.cols, extra, misalignment);
    EXPECT_TRUE(support::accepted(permute::host_unpermute(executor, batch.permuted.read(), plan, experts, y.view())));
    EXPECT_TRUE(y.gaps_untouched(y.rows));
    return y;
  };
  stored_rows<Row> first = run(serial_executor{});
  support::with_every_executor([&](const auto& executor, const std::string& name) {
    EXPECT_TRUE(support::bits_of(run(executor).memory) == support::bits_of(first.memory)) << name;
  });
  return first;
}

template <class Row>
stored_rows<Row> unpermute_everywhere(const in_place_batch<Row>& batch) {
  return unpermute_everywhere(batch, batch.plan.view(), batch.experts());
}

template <class Row>
void expect_exact(const stored_rows<Row>& y, const in_place_batch<Row>& batch) {
  for (std::int64_t t = 0; t < y.rows; ++t)
    for (std::int64_t j = 0; j < y.cols; ++j) {
      const Row exact = batch.exact(t, j);
      ASSERT_EQ(std::memcmp(&y.at(t, j), &exact, sizeof exact), 0) << "token " << t << " column " << j;
    }
}

template <class Row>
class InPlaceExperts : public ::testing::Test {};
TYPED_TEST_SUITE(InPlaceExperts, permute_test::row_types, );

TYPED_TEST(InPlaceExperts, AreAddedInSlotOrder) {
  support::random_source random(401);
  for (const row_shape& s : permute_test::row_shapes()) {
    for (const std::int32_t constant_count : {0, 1, 6}) {
      SCOPED_TRACE(::testing::Message() << s << " constants " << constant_count);
      const in_place_batch<TypeParam> batch(random, s, constant_count);
      const stored_rows<TypeParam> y =
          unpermute_everywhere(batch, batch.plan.view(), batch.experts(), s.extra + 1, s.misalignment);
      permute_test::expect_combined(y, batch.expected(), 2 * batch.choices.top_k());
      expect_exact(y, batch);
    }
  }
}

TYPED_TEST(InPlaceExperts, MayBeMoreThanAreListedAtOnce) {
  support::random_source random(402);
  for (const std::int32_t top_k : {15, 16, 17, 31, 32, 33, 70}) {
    SCOPED_TRACE(top_k);
    in_place_batch<TypeParam> batch(random, {{17, 72, top_k}, 131, 0, 0, 1}, 4);
    expect_exact(unpermute_everywhere(batch), batch);
    // Every slot adds two rows.
    for (std::int32_t& entry : batch.expert_map) entry = permute::in_place::constant(2);
    expect_exact(unpermute_everywhere(batch), batch);
  }
}

// The plan takes the same map, and gives experts in place no rows.
TYPED_TEST(InPlaceExperts, HaveNoRowsInThePlan) {
  support::random_source random(403);
  const in_place_batch<TypeParam> batch(random, {{257, 40, 4}, 33, 0, 0, 1}, 6);
  plan::options options;
  options.expert_map = batch.expert_map.data();
  options.num_local = static_cast<std::int32_t>(batch.num_local);
  std::vector<std::int32_t> offsets(batch.num_local + 1), sorted(batch.choices.slots()), inverse(sorted.size());
  std::int64_t num_rows[2];
  const plan::outputs<> out{nullptr, offsets.data(), sorted.data(), inverse.data(), nullptr, num_rows};
  const assignment_view assignments = batch.choices.view();
  support::exact_workspace workspace(plan::host_plan_workspace_bytes(serial_executor{}, assignments, options));
  ASSERT_TRUE(support::accepted(plan::host_plan(serial_executor{}, assignments, options, out, workspace.view())));
  std::int64_t with_rows = 0;
  for (std::size_t slot = 0; slot < inverse.size(); ++slot) {
    const std::int32_t id = batch.choices.ids[slot];
    const bool has_row = id >= 0 && id < assignments.experts && batch.expert_map[static_cast<std::size_t>(id)] >= 0;
    EXPECT_EQ(inverse[slot] >= 0, has_row) << slot;
    with_rows += has_row ? 1 : 0;
  }
  EXPECT_EQ(num_rows[0], with_rows);
  EXPECT_LT(with_rows, static_cast<std::int64_t>(inverse.size()) / 2);
  const permute::row_plan<> plan{assignments, sorted.data(), inverse.data(), num_rows[0]};
  expect_exact(unpermute_everywhere(batch, plan, batch.experts()), batch);
}

// A constant expert whose logits lie far apart is a copy, or the constant itself.
TYPED_TEST(InPlaceExperts, MixTheirInputAndTheirConstant) {
  support::random_source random(404);
  in_place_batch<TypeParam> batch(random, {{9, 2, 1}, 70, 0, 0, 1}, 1, {support::adversary::ties, 0.0, false});
  for (std::int32_t& entry : batch.expert_map) entry = permute::in_place::constant(0);
  for (float& weight : batch.choices.weights) weight = 1.0F;
  const auto mixed = [&](float of_input, float of_constant) {
    for (std::int64_t t = 0; t < 9; ++t) {
      batch.mixing[static_cast<std::size_t>(2 * t)] = of_input;
      batch.mixing[static_cast<std::size_t>(2 * t + 1)] = of_constant;
    }
    return unpermute_everywhere(batch);
  };
  const stored_rows<TypeParam> input = mixed(200.0F, -200.0F);
  const stored_rows<TypeParam> constant = mixed(-std::numeric_limits<float>::infinity(), 3.0F);
  const stored_rows<TypeParam> half = mixed(-7.0F, -7.0F);
  for (std::int64_t t = 0; t < 9; ++t)
    for (std::int64_t j = 0; j < 70; ++j) {
      EXPECT_EQ(permute_test::value_of(input.at(t, j)), permute_test::value_of(batch.x.at(t, j)));
      EXPECT_EQ(permute_test::value_of(constant.at(t, j)), permute_test::value_of(batch.constants.at(0, j)));
      const double mean =
          (permute_test::value_of(batch.x.at(t, j)) + permute_test::value_of(batch.constants.at(0, j))) / 2;
      EXPECT_NEAR(permute_test::value_of(half.at(t, j)), mean, 0x1p-8 * std::fabs(mean) + 1e-6);
    }
}

// MoE++: a zero expert leaves the other expert's weighted output alone; a token that chose nothing else gets zeros.
TYPED_TEST(InPlaceExperts, OfZeroLeaveTheOthersAlone) {
  namespace in_place = permute::in_place;
  support::random_source random(405);
  in_place_batch<TypeParam> batch(random, {{64, 4, 2}, 40, 0, 0, 1}, 0, {support::adversary::ties, 0.0, false},
                                  {0, in_place::zero, in_place::zero, in_place::copy});
  const std::vector<std::int32_t> ids = batch.choices.ids;
  const stored_rows<TypeParam> y = unpermute_everywhere(batch);
  for (std::int32_t& id : batch.choices.ids) id = id == 1 || id == 2 ? -1 : id;
  EXPECT_EQ(support::bits_of(unpermute_everywhere(batch).memory), support::bits_of(y.memory));
  int nothing_else = 0;
  for (std::size_t t = 0; t < 64; ++t) {
    if (ids[2 * t] % 3 == 0 || ids[2 * t + 1] % 3 == 0) continue;
    EXPECT_TRUE(y.zero_row(static_cast<std::int64_t>(t)));
    ++nothing_else;
  }
  EXPECT_GT(nothing_else, 0);
}

TYPED_TEST(InPlaceExperts, ThatAreNoneChangeNothing) {
  support::random_source random(406);
  const in_place_batch<TypeParam> batch(random, {{257, 6, 3}, 131, 0, 0, 8}, 2, {support::adversary::ties, 0.2, true},
                                        {0, 1, 2, 3, 4, 5});
  stored_rows<TypeParam> plain(257, 131);
  ASSERT_TRUE(permute::host_unpermute(serial_executor{}, batch.permuted.read(), batch.plan.view(), plain.view()).ok());
  EXPECT_EQ(support::bits_of(unpermute_everywhere(batch).memory), support::bits_of(plain.memory));
}

TYPED_TEST(InPlaceExperts, ReadRaggedPlansAndWideIndicesAndUnitWeights) {
  support::random_source random(407);
  in_place_batch<TypeParam> batch(random, {{257, 13, 3}, 33, 0, 0, 8}, 2);
  const stored_rows<TypeParam> expected = unpermute_everywhere(batch);
  const permute_test::planned<std::int64_t> wide(batch.choices, 8, batch.expert_map, batch.num_local);
  EXPECT_EQ(support::bits_of(unpermute_everywhere(batch, wide.view(), batch.experts()).memory),
            support::bits_of(expected.memory));
  const support::ragged_copy ragged(batch.choices.view(), true);
  permute::row_plan<> plan = batch.plan.view();
  plan.assignments = ragged.view();
  EXPECT_EQ(support::bits_of(unpermute_everywhere(batch, plan, batch.experts()).memory),
            support::bits_of(expected.memory));
  permute::row_plan<> unweighted = batch.plan.view();
  unweighted.assignments.weights = nullptr;
  const stored_rows<TypeParam> units = unpermute_everywhere(batch, unweighted, batch.experts());
  for (float& weight : batch.choices.weights) weight = 1.0F;
  expect_exact(units, batch);
}

TYPED_TEST(InPlaceExperts, AreNotReachedFromDroppedSlotsOrHostileRows) {
  support::random_source random(408);
  in_place_batch<TypeParam> batch(random, {{33, 6, 2}, 9, 0, 0, 1}, 2, {support::adversary::ties, 0.0, false});
  const std::vector<std::int32_t> outside = {-1, 6, INT32_MIN, INT32_MAX};
  const std::vector<std::int32_t> hostile = {-2, static_cast<std::int32_t>(batch.plan.rows()), INT32_MIN, INT32_MAX};
  std::vector<std::int32_t> ids = batch.choices.ids;
  for (std::size_t slot = 0; slot < ids.size(); ++slot) {
    const bool has_row = batch.expert_map[static_cast<std::size_t>(ids[slot])] >= 0;
    if (random.coin(0.3)) {
      ids[slot] = random.pick(outside);  // its row number stays
    } else if (has_row && random.coin(0.3)) {
      batch.plan.inverse[slot] = random.pick(hostile);
    } else {
      continue;
    }
    batch.choices.ids[slot] = -1;  // what is expected
  }
  permute::row_plan<> plan = batch.plan.view();
  plan.assignments.ids = ids.data();
  expect_exact(unpermute_everywhere(batch, plan, batch.experts()), batch);
}

TYPED_TEST(InPlaceExperts, MayBeWrittenOverTheInput) {
  support::random_source random(409);
  in_place_batch<TypeParam> batch(random, {{33, 48, 40}, 1100, 0, 0, 4}, 3);
  const stored_rows<TypeParam> apart = unpermute_everywhere(batch);
  const permute::in_place_experts<TypeParam> experts = batch.experts();
  ASSERT_TRUE(
      permute::host_unpermute(serial_executor{}, batch.permuted.read(), batch.plan.view(), experts, batch.x.view())
          .ok());
  EXPECT_EQ(support::bits_of(batch.x.memory), support::bits_of(apart.memory));
}

TYPED_TEST(InPlaceExperts, RefuseBadArguments) {
  permute_test::expect_in_place_refusals<TypeParam>(
      [](const auto& permuted, const auto& plan, const auto& experts, const auto& y) {
        return permute::host_unpermute(serial_executor{}, permuted, plan, experts, y);
      },
      true);
}

TEST(InPlaceMixing, IsASoftmaxOfTwo) {
  support::random_source random(410);
  for (int round = 0; round < 5000; ++round) {
    const auto a = static_cast<float>(20.0 * random.normal());
    const auto b = static_cast<float>(20.0 * random.normal());
    const permute::in_place::shares shares = permute::in_place::mix(a, b);
    const double exact = 1.0 / (1.0 + std::exp(static_cast<double>(b) - static_cast<double>(a)));
    EXPECT_NEAR(shares.of_input, exact, 3e-7) << a << " " << b;
    EXPECT_NEAR(shares.of_input + shares.of_constant, 1.0F, 1.3e-7F);
  }
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  for (const auto& [a, b] : {std::pair<float, float>{nan, 1.0F}, {1.0F, nan}, {infinity, 1.0F}, {1.0F, infinity}}) {
    const permute::in_place::shares shares = permute::in_place::mix(a, b);
    EXPECT_TRUE(std::isnan(shares.of_input) && std::isnan(shares.of_constant));
  }
}

}  // namespace
