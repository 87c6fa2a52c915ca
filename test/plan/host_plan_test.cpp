// SPDX-License-Identifier: Apache-2.0
#include "resonance/plan/host_plan.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "plan/fixture.hpp"
#include "reference/plan.hpp"
#include "support/assignments.hpp"
#include "support/executors.hpp"

namespace {

using namespace resonance;
using plan_test::expect_plan;
using plan_test::plan_arrays;
using support::exact_workspace;
using support::guarded_buffer;

template <class Index>
plan_arrays<Index> plan_everywhere(const assignment_view& a, const plan::options& o) {
  plan_arrays<Index> first(a, o);
  const auto plan_into = [&](const auto& executor, plan_arrays<Index>& out) {
    exact_workspace workspace(plan::host_plan_workspace_bytes(executor, a, o));
    EXPECT_TRUE(support::accepted(plan::host_plan(executor, a, o, out.view(), workspace.view())));
    EXPECT_TRUE(out.intact() && workspace.intact());
  };
  plan_into(serial_executor{}, first);
  support::with_every_executor([&](const auto& executor, const std::string& name) {
    plan_arrays<Index> again(a, o);
    plan_into(executor, again);
    EXPECT_TRUE(again.bits() == first.bits()) << name;
  });
  return first;
}

template <class Index>
class HostPlan : public ::testing::Test {};
using index_types = ::testing::Types<std::int32_t, std::int64_t>;
TYPED_TEST_SUITE(HostPlan, index_types, );

TYPED_TEST(HostPlan, AgreesWithTheReference) {
  support::random_source random(72);
  for (const support::batch_shape& s : support::batch_shapes(40000))
    plan_test::expect_every_option(
        random, s, [](const assignment_view& a, const plan::options& o) { return plan_everywhere<TypeParam>(a, o); });
}

TYPED_TEST(HostPlan, NumbersTheSlotsOfRaggedLists) {
  support::random_source random(73);
  for (const support::batch_shape& s : {support::batch_shape{0, 3, 1}, {33, 6, 2}, {4099, 13, 8}}) {
    SCOPED_TRACE(::testing::Message() << s);
    const support::random_choices c(random, s, {support::adversary::ties, 0.3, true});
    const support::ragged_copy ragged(c.view(), false);
    const reference::matrix affinity = reference::widened(ragged.affinity, 1, ragged.ids.size());
    plan::options o;
    o.tile_tokens = 16;
    reference::plan_options meaning;
    meaning.experts = c.experts();
    meaning.tile_tokens = 16;
    const reference::id_table ids(1, ragged.ids.size(), ragged.ids);  // one row: a flat slot number stays what it is
    expect_plan(plan_everywhere<TypeParam>(ragged.view(), o), reference::plan(ids, meaning));
    o.by_affinity = true;
    meaning.affinity = &affinity;
    expect_plan(plan_everywhere<TypeParam>(ragged.view(), o), reference::plan(ids, meaning));
  }
}

TYPED_TEST(HostPlan, InverseAndSortedIdsUndoEachOther) {
  support::random_source random(74);
  const support::random_choices c(random, {257, 64, 8}, {support::adversary::ties, 0.2, true});
  plan::options o;
  o.tile_tokens = 16;
  const plan_arrays<TypeParam> got = plan_everywhere<TypeParam>(c.view(), o);
  std::int64_t placed = 0;
  for (std::int64_t row = 0; row < got.num_rows[0]; ++row) {
    const TypeParam slot = got.sorted_token_ids[static_cast<std::size_t>(row)];
    if (slot < 0) continue;
    ++placed;
    EXPECT_EQ(got.inverse[static_cast<std::size_t>(slot)], row);
    EXPECT_EQ(got.expert_ids[static_cast<std::size_t>(row / 16)], c.ids[static_cast<std::size_t>(slot)]);
  }
  EXPECT_EQ(placed, got.num_rows[1]);
}

TYPED_TEST(HostPlan, MayLeaveOutCountsAndTileExperts) {
  support::random_source random(75);
  const support::random_choices c(random, {33, 6, 2});
  plan::options o;
  o.tile_tokens = 4;
  const plan_arrays<TypeParam> full = plan_everywhere<TypeParam>(c.view(), o);
  plan_arrays<TypeParam> part(c.view(), o);
  plan::outputs<TypeParam> out = part.view();
  out.tokens_per_expert = nullptr;
  out.expert_ids = nullptr;
  exact_workspace workspace(plan::host_plan_workspace_bytes(serial_executor{}, c.view(), o));
  ASSERT_TRUE(plan::host_plan(serial_executor{}, c.view(), o, out, workspace.view()).ok());
  EXPECT_TRUE(part.tokens_per_expert.untouched() && part.expert_ids.untouched());
  EXPECT_EQ(support::bits_of(part.expert_offsets, part.sorted_token_ids, part.inverse),
            support::bits_of(full.expert_offsets, full.sorted_token_ids, full.inverse));
}

template <class Index>
class RefusedPlan : public ::testing::Test {
 protected:
  RefusedPlan() : random(76), c(random, {33, 6, 2}), view(c.view()), out(view, {}), given(out.view()) {}

  void expect(status_code code, const std::string& argument) {
    exact_workspace workspace(1 << 14);
    EXPECT_TRUE(support::refused(plan::host_plan(serial_executor{}, view, o, given, workspace.view()), code, argument));
    EXPECT_TRUE(out.untouched() && workspace.untouched()) << argument;
  }

  support::random_source random;
  support::random_choices c;
  assignment_view view;
  plan::options o;
  plan_arrays<Index> out;
  plan::outputs<Index> given;
};
TYPED_TEST_SUITE(RefusedPlan, index_types, );

TYPED_TEST(RefusedPlan, BadAssignmentsAndOptions) {
  this->view.ids = nullptr;
  this->expect(status_code::null_pointer, "assignments.ids");
  this->view = this->c.view();
  this->view.tokens = -3;
  this->expect(status_code::out_of_range, "assignments.tokens");
  this->view = this->c.view();
  this->view.affinity = nullptr;
  this->o.by_affinity = true;
  this->expect(status_code::null_pointer, "assignments.affinity");
  this->view = this->c.view();
  this->o = {};
  this->o.tile_tokens = 0;
  this->expect(status_code::out_of_range, "tile_tokens");
  this->o = {};
  this->o.pad_to_capacity = -2;
  this->expect(status_code::out_of_range, "pad_to_capacity");
  this->o = {};
  this->o.expert_map = this->c.ids.data();
  this->expect(status_code::out_of_range, "num_local");
}

TYPED_TEST(RefusedPlan, MissingOutputs) {
  this->given.expert_offsets = nullptr;
  this->expect(status_code::null_pointer, "expert_offsets");
  this->given = this->out.view();
  this->given.num_rows = nullptr;
  this->expect(status_code::null_pointer, "num_rows");
  this->given = this->out.view();
  this->given.inverse = nullptr;
  this->expect(status_code::null_pointer, "inverse");
  this->given = this->out.view();
  this->given.sorted_token_ids = nullptr;
  this->expect(status_code::null_pointer, "sorted_token_ids");
}

TYPED_TEST(RefusedPlan, CountsThatTheIndexCannotHold) {
  constexpr bool narrow = sizeof(TypeParam) == 4;
  if (narrow) {
    this->view.tokens = std::int64_t{1} << 30;  // 2^31 slots
    this->expect(status_code::index_overflow, "inverse");
    this->view = this->c.view();
    this->o.pad_to_capacity = std::int64_t{1} << 29;  // 6 * 2^29 rows
    this->expect(status_code::index_overflow, "sorted_token_ids");
    this->o = {};
    this->o.tile_tokens = 1 << 30;  // padding alone
    this->expect(status_code::index_overflow, "sorted_token_ids");
  } else {
    this->view.experts = 64;
    this->o.pad_to_capacity = std::int64_t{1} << 58;
    this->expect(status_code::index_overflow, "pad_to_capacity");
  }
}

TYPED_TEST(RefusedPlan, SmallWorkspace) {
  for (bool by_affinity : {false, true}) {
    this->o.by_affinity = by_affinity;
    const std::size_t bytes = plan::host_plan_workspace_bytes(serial_executor{}, this->view, this->o);
    exact_workspace small(bytes - 1);
    for (workspace_view workspace : {small.view(), workspace_view{nullptr, bytes}}) {
      EXPECT_TRUE(support::refused(plan::host_plan(serial_executor{}, this->view, this->o, this->given, workspace),
                                   status_code::workspace_too_small, "workspace"));
    }
    EXPECT_TRUE(this->out.untouched() && small.untouched());
  }
}

}  // namespace
