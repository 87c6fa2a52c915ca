// SPDX-License-Identifier: Apache-2.0
#include "resonance/permute/row_plan.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "permute/fixture.hpp"

namespace {

using namespace resonance;

template <class Index>
class RowPlan : public ::testing::Test {};
using index_types = ::testing::Types<std::int32_t, std::int64_t>;
TYPED_TEST_SUITE(RowPlan, index_types, );

TYPED_TEST(RowPlan, NamesWhatIsMissing) {
  support::random_source random(81);
  const support::random_choices c(random, {7, 6, 2});
  const permute_test::planned<TypeParam> plan(c, 4);
  const auto expect = [](const permute::row_plan<TypeParam>& bad, status_code code, const char* argument) {
    EXPECT_TRUE(support::refused(bad.check(), code, argument));
  };
  permute::row_plan<TypeParam> bad = plan.view();
  EXPECT_TRUE(support::accepted(bad.check()));
  bad.inverse = nullptr;
  expect(bad, status_code::null_pointer, "inverse");
  bad = plan.view();
  bad.sorted_token_ids = nullptr;
  expect(bad, status_code::null_pointer, "sorted_token_ids");
  bad = plan.view();
  bad.num_rows = -1;
  expect(bad, status_code::out_of_range, "num_rows");
  bad = plan.view();
  bad.assignments.tokens = -1;
  expect(bad, status_code::out_of_range, "assignments.tokens");
  bad = plan.view();
  bad.assignments.slots_per_token = 0;
  expect(bad, status_code::out_of_range, "assignments.slots_per_token");
}

TYPED_TEST(RowPlan, NeedsNoIdsAndNoWeights) {
  support::random_source random(82);
  const support::random_choices c(random, {7, 6, 2});
  const permute_test::planned<TypeParam> plan(c, 4);
  permute::row_plan<TypeParam> shape_only = plan.view();
  shape_only.assignments.ids = nullptr;
  shape_only.assignments.weights = nullptr;
  EXPECT_TRUE(support::accepted(shape_only.check()));
  shape_only.num_rows = 0;
  shape_only.sorted_token_ids = nullptr;
  EXPECT_TRUE(support::accepted(shape_only.check()));
}

}  // namespace
