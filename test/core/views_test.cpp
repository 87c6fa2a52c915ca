// SPDX-License-Identifier: Apache-2.0
#include <resonance/core/views.hpp>

#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include <gtest/gtest.h>

namespace {

using resonance::assignment_view;
using resonance::matrix_view;
using resonance::status;
using resonance::status_code;

TEST(MatrixView, StepsByStrideIn64Bits) {
  std::vector<float> values(12);
  const matrix_view<float> dense(values.data(), 3, 4);
  EXPECT_EQ(dense.stride, 4);
  EXPECT_EQ(dense.row(2), values.data() + 8);
  const matrix_view<float> strided(values.data(), 2, 4, 7);
  EXPECT_EQ(strided.row(1), values.data() + 7);
  EXPECT_FALSE(strided.empty());
  EXPECT_TRUE((matrix_view<float>(values.data(), 0, 4).empty()));
  EXPECT_TRUE((matrix_view<float>(values.data(), 4, 0).empty()));

  const matrix_view<const float> constant = strided;
  EXPECT_EQ(constant.data, strided.data);
  EXPECT_EQ(constant.rows, 2);
  EXPECT_EQ(constant.cols, 4);
  EXPECT_EQ(constant.stride, 7);
  static_assert(!std::is_convertible<matrix_view<const float>, matrix_view<float>>::value, "const stays const");
  static_assert(!std::is_convertible<matrix_view<int>, matrix_view<const float>>::value, "types do not mix");

  const matrix_view<const char> far(reinterpret_cast<const char*>(std::uintptr_t{64}), 3, 1, std::int64_t{1} << 33);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(far.row(2)), (std::uintptr_t{1} << 34) + 64);
}

TEST(CheckMatrix, NamesWhatIsWrong) {
  float value = 0;
  const auto check = [](const matrix_view<float>& m) { return resonance::detail::check_matrix(m, "m"); };
  const auto expect = [](const status& result, status_code code) {
    EXPECT_EQ(result.code, code) << result.message();
    EXPECT_EQ(std::string(result.argument), code == status_code::ok ? "" : "m");
  };
  expect(check({&value, 1, 1}), status_code::ok);
  expect(check({nullptr, 0, 5}), status_code::ok);
  expect(check({nullptr, 5, 0}), status_code::ok);
  expect(check({nullptr, 1, 1}), status_code::null_pointer);
  expect(check({&value, -1, 1}), status_code::out_of_range);
  expect(check({&value, 1, -1}), status_code::out_of_range);
  expect(check({&value, 2, 5, 4}), status_code::out_of_range);
  expect(check({&value, 1, 5, 0}), status_code::ok);  // a single row has no stride
  expect(check({&value, std::int64_t{1} << 40, 1 << 20, std::int64_t{1} << 22}), status_code::ok);
  expect(check({&value, std::int64_t{1} << 40, 1 << 20, std::int64_t{1} << 24}), status_code::index_overflow);
}

TEST(ProductFits, UpToTheLast64BitNumber) {
  using resonance::detail::product_fits;
  EXPECT_TRUE(product_fits(0, INT64_MAX) && product_fits(INT64_MAX, 0) && product_fits(1, INT64_MAX));
  EXPECT_TRUE(product_fits(INT64_MAX / 7, 7));
  EXPECT_FALSE(product_fits(INT64_MAX / 7 + 1, 7));
  EXPECT_FALSE(product_fits(std::int64_t{1} << 32, std::int64_t{1} << 31));
}

TEST(AssignmentView, NumbersRegularSlotsTokenMajor) {
  std::vector<std::int32_t> ids = {0, 3, -1, 4, 2, 2};
  resonance::choice_buffers buffers;
  std::vector<float> weights(6), affinity(6);
  buffers.topk_ids = ids.data();
  buffers.topk_weights = weights.data();
  buffers.topk_affinity = affinity.data();
  const assignment_view a = resonance::as_assignments(buffers, 3, 4, 2);
  EXPECT_FALSE(a.ragged());
  EXPECT_EQ(a.slots(), 6);
  EXPECT_EQ(a.begin(1), 2);
  EXPECT_EQ(a.end(1), 4);
  EXPECT_EQ(a.token(3), 1);
  EXPECT_EQ(a.token(4), 2);
  EXPECT_EQ(a.weights, weights.data());
  EXPECT_EQ(a.affinity, affinity.data());
  const std::vector<bool> assigned = {true, true, false, false, true, true};
  for (std::int64_t slot = 0; slot < 6; ++slot) EXPECT_EQ(a.assigned(slot), assigned[static_cast<size_t>(slot)]);
  EXPECT_TRUE(resonance::detail::check_assignments(a).ok());
}

TEST(AssignmentView, NumbersRaggedSlotsByOffsets) {
  std::vector<std::int32_t> ids = {1, 0, 2}, ranks = {0, 0, 0}, token_of_slot = {0, 2, 2};
  std::vector<std::int64_t> offsets = {0, 1, 1, 3};
  std::vector<float> weights(3), affinity(3);
  resonance::assignment_buffers buffers;
  buffers.ids = ids.data();
  buffers.weights = weights.data();
  buffers.affinity = affinity.data();
  buffers.rank_in_expert = ranks.data();
  buffers.token_offsets = offsets.data();
  buffers.token_of_slot = token_of_slot.data();
  const assignment_view a = resonance::as_assignments(buffers, 3, 3);
  EXPECT_TRUE(a.ragged());
  EXPECT_EQ(a.slots(), 3);
  EXPECT_EQ(a.begin(1), a.end(1));
  EXPECT_EQ(a.begin(2), 1);
  EXPECT_EQ(a.end(2), 3);
  EXPECT_EQ(a.token(2), 2);
  EXPECT_EQ(a.rank_in_expert, ranks.data());
  EXPECT_TRUE(resonance::detail::check_assignments(a).ok());
}

TEST(AssignmentView, SlotsGoPast32Bits) {
  assignment_view a;
  a.tokens = 0x7FFFFFFF;
  a.experts = 64;
  a.slots_per_token = 8;
  EXPECT_EQ(a.slots(), std::int64_t{0x7FFFFFFF} * 8);
  EXPECT_EQ(a.token(a.slots() - 1), 0x7FFFFFFE);
}

TEST(CheckAssignments, NamesWhatIsWrong) {
  std::int32_t id = 0, token = 0;
  std::int64_t offsets[2] = {0, 1};
  assignment_view good;
  good.tokens = 1;
  good.experts = 1;
  good.slots_per_token = 1;
  good.ids = &id;
  const auto expect = [](const assignment_view& a, status_code code, const char* argument) {
    const status result = resonance::detail::check_assignments(a);
    EXPECT_EQ(result.code, code) << argument;
    EXPECT_EQ(std::string(result.argument), argument);
  };
  expect(good, status_code::ok, "");
  assignment_view bad = good;
  bad.tokens = -1;
  expect(bad, status_code::out_of_range, "assignments.tokens");
  bad.tokens = std::int64_t{1} << 31;
  expect(bad, status_code::out_of_range, "assignments.tokens");
  bad = good;
  bad.experts = 0;
  expect(bad, status_code::out_of_range, "assignments.experts");
  bad = good;
  bad.slots_per_token = 0;
  expect(bad, status_code::out_of_range, "assignments.slots_per_token");
  bad = good;
  bad.ids = nullptr;
  expect(bad, status_code::null_pointer, "assignments.ids");
  EXPECT_TRUE(resonance::detail::check_assignments(bad, false).ok());
  bad.tokens = 0;
  expect(bad, status_code::ok, "");
  bad = good;
  bad.token_offsets = offsets;
  expect(bad, status_code::null_pointer, "assignments.token_of_slot");
  std::int64_t no_slots[2] = {0, 0};
  bad.token_offsets = no_slots;  // arrays without an element may be null
  bad.ids = nullptr;
  expect(bad, status_code::ok, "");
  bad = good;
  bad.token_offsets = offsets;
  bad.token_of_slot = &token;
  bad.slots_per_token = 0;  // without meaning for a ragged list
  expect(bad, status_code::ok, "");
}

}  // namespace
