// SPDX-License-Identifier: Apache-2.0
#include "resonance/merge/host_merge.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "merge/fixture.hpp"
#include "support/assignments.hpp"
#include "support/executors.hpp"

namespace {

using namespace resonance;
using merge_test::largest_capacity;
using merge_test::merged_arrays;
using support::exact_workspace;
using support::guarded_buffer;

template <class Policy>
merged_arrays merge_everywhere(const assignment_view& choices, const merge::expert_side& expert) {
  const std::int64_t most = Policy::needs_expert_choice ? largest_capacity(expert, choices.experts) : 0;
  const std::int64_t slots =
      merge::merged_slots<Policy>(choices.tokens, choices.experts, choices.slots_per_token, most);
  merged_arrays first(slots, choices.tokens);
  const auto merge_into = [&](const auto& executor, merged_arrays& out) {
    exact_workspace workspace(merge::host_merge_workspace_bytes<Policy>(executor, choices.tokens, choices.experts,
                                                                        choices.slots_per_token, most));
    EXPECT_TRUE(
        support::accepted(merge::host_merge(executor, Policy{}, choices, expert, out.view(), workspace.view())));
    EXPECT_TRUE(out.intact() && workspace.intact());
  };
  merge_into(serial_executor{}, first);
  support::with_every_executor([&](const auto& executor, const std::string& name) {
    merged_arrays again(slots, choices.tokens);
    merge_into(executor, again);
    EXPECT_TRUE(again.bits() == first.bits()) << name;
  });
  return first;
}

// All five policies on one batch against the reference.
void expect_reference(const support::random_choices& c, const merge::expert_side& expert,
                      const std::vector<std::size_t>& capacities) {
  merge_test::expect_reference(c, expert, capacities,
                               [](auto policy, const assignment_view& choices, const merge::expert_side& side) {
                                 return merge_everywhere<decltype(policy)>(choices, side);
                               });
}

TEST(HostMerge, AgreesWithTheReferenceOnManyShapes) {
  support::random_source random(11);
  for (const support::batch_shape& s : support::batch_shapes(6000)) {
    SCOPED_TRACE(::testing::Message() << s);
    const support::random_choices c(random, s);
    merge::expert_side expert;
    expert.affinity = c.deltas();
    expert.capacity = s.tokens / 4 + 1;
    expect_reference(c, expert, std::vector<std::size_t>(c.experts(), static_cast<std::size_t>(expert.capacity)));
  }
}

TEST(HostMerge, AgreesWithTheReferenceOnLargeBatches) {
  support::random_source random(12);
  for (const support::batch_shape& s : {support::batch_shape{257, 512, 22}, {257, 288, 288}, {4099, 64, 9}}) {
    SCOPED_TRACE(::testing::Message() << s);
    const support::random_choices c(random, s, {support::adversary::ties, 0.1, true});
    merge::expert_side expert;
    expert.affinity = c.deltas();
    expert.capacity = s.tokens / 8;
    expect_reference(c, expert, std::vector<std::size_t>(c.experts(), static_cast<std::size_t>(expert.capacity)));
  }
}

TEST(HostMerge, TakesACapacityPerExpertFromNoneToAll) {
  support::random_source random(13);
  for (support::adversary kind : support::all_adversaries()) {
    SCOPED_TRACE(support::name_of(kind));
    const support::random_choices c(random, {33, 7, 3}, {kind, 0.1, true});
    const std::vector<std::int64_t> capacities = {0, 1, 2, 16, 32, 33, 40};
    merge::expert_side expert;
    expert.affinity = c.deltas();
    expert.capacity = -1;  // not read where there is one per expert
    expert.capacities = capacities.data();
    expect_reference(c, expert, {0, 1, 2, 16, 32, 33, 40});
  }
}

TEST(HostMerge, ReadsStridedAffinity) {
  support::random_source random(14);
  const support::random_choices c(random, {33, 6, 2});
  std::vector<float> strided(33 * 11, std::numeric_limits<float>::infinity());
  for (std::size_t t = 0; t < 33; ++t) std::copy_n(&c.delta[t * 6], 6, &strided[t * 11]);
  merge::expert_side dense{c.deltas(), 5, nullptr};
  merge::expert_side with_stride{matrix_view<const float>(strided.data(), 33, 6, 11), 5, nullptr};
  EXPECT_TRUE(merge_everywhere<merge::union_>(c.view(), dense).bits() ==
              merge_everywhere<merge::union_>(c.view(), with_stride).bits());
  EXPECT_TRUE(merge_everywhere<merge::intersection>(c.view(), dense).bits() ==
              merge_everywhere<merge::intersection>(c.view(), with_stride).bits());
}

TEST(HostMerge, IntersectionMayWriteOverItsInput) {
  support::random_source random(15);
  const support::random_choices c(random, {257, 13, 4});
  const merge::expert_side expert{c.deltas(), 20, nullptr};
  const merged_arrays apart = merge_everywhere<merge::intersection>(c.view(), expert);
  guarded_buffer<std::int32_t> ids(c.slots());
  guarded_buffer<std::int32_t> rank(c.slots());
  std::copy(c.ids.begin(), c.ids.end(), ids.begin());
  assignment_view choices = c.view();
  choices.ids = ids.data();
  assignment_buffers out;
  out.ids = ids.data();
  out.rank_in_expert = rank.data();
  exact_workspace workspace(merge::host_merge_workspace_bytes<merge::intersection>(serial_executor{}, 257, 13, 4, 20));
  ASSERT_TRUE(merge::host_merge(serial_executor{}, merge::intersection{}, choices, expert, out, workspace.view()).ok());
  EXPECT_EQ(support::bits_of(ids, rank), support::bits_of(apart.ids, apart.rank));
}

class RefusedMerge : public ::testing::Test {
 protected:
  RefusedMerge() : random(16), c(random, {33, 6, 2}), choices(c.view()), out(33 * 6, 33) {
    expert.affinity = c.deltas();
    expert.capacity = 4;
    buffers = out.view();
  }

  template <class Policy>
  void expect(status_code code, const std::string& argument) {
    exact_workspace workspace(1 << 16);
    EXPECT_TRUE(support::refused(
        merge::host_merge(serial_executor{}, Policy{}, choices, expert, buffers, workspace.view()), code, argument));
    EXPECT_TRUE(out.untouched() && workspace.untouched()) << argument;
  }

  support::random_source random;
  support::random_choices c;
  assignment_view choices;
  merge::expert_side expert;
  merged_arrays out;
  assignment_buffers buffers;
};

TEST_F(RefusedMerge, BadChoices) {
  choices.ids = nullptr;
  expect<merge::restricted>(status_code::null_pointer, "assignments.ids");
  expect<merge::union_>(status_code::null_pointer, "assignments.ids");
  choices = c.view();
  choices.affinity = nullptr;
  expect<merge::restricted>(status_code::null_pointer, "choices.affinity");
  expect<merge::intersection>(status_code::null_pointer, "choices.affinity");
  choices = c.view();
  choices.tokens = std::int64_t{1} << 32;
  expect<merge::expert_only>(status_code::out_of_range, "assignments.tokens");
  choices = c.view();
  choices.experts = 0;
  expect<merge::restricted>(status_code::out_of_range, "assignments.experts");
  choices = c.view();
  choices.slots_per_token = 0;
  expect<merge::restricted>(status_code::out_of_range, "assignments.slots_per_token");
  const support::ragged_copy ragged(c.view(), true);
  choices = ragged.view();
  expect<merge::restricted>(status_code::out_of_range, "choices");
}

TEST_F(RefusedMerge, BadExpertSide) {
  expert.affinity.data = nullptr;
  expect<merge::intersection>(status_code::null_pointer, "expert.affinity");
  expert.affinity = c.deltas();
  expert.affinity.rows = 32;
  expect<merge::union_>(status_code::shape_mismatch, "expert.affinity");
  expert.affinity = c.deltas();
  expert.affinity.cols = 5;
  expect<merge::expert_only>(status_code::shape_mismatch, "expert.affinity");
  expert.affinity = c.deltas();
  expert.capacity = -1;
  expect<merge::intersection>(status_code::out_of_range, "expert.capacity");
  const std::vector<std::int64_t> capacities = {1, 2, 3, 4, 5, -1};
  expert.capacities = capacities.data();
  expect<merge::union_>(status_code::out_of_range, "expert.capacity");
}

TEST_F(RefusedMerge, MissingOrSmallOutputs) {
  buffers.rank_in_expert = nullptr;
  expect<merge::restricted>(status_code::null_pointer, "rank_in_expert");
  expect<merge::union_>(status_code::null_pointer, "rank_in_expert");
  buffers = out.view();
  buffers.ids = nullptr;
  expect<merge::intersection>(status_code::null_pointer, "ids");
  expect<merge::union_>(status_code::null_pointer, "ids");
  buffers = out.view();
  buffers.token_offsets = nullptr;
  expect<merge::union_>(status_code::null_pointer, "token_offsets");
  buffers = out.view();
  buffers.token_of_slot = nullptr;
  expect<merge::expert_only>(status_code::null_pointer, "token_of_slot");
  buffers = out.view();
  buffers.affinity = nullptr;
  expect<merge::union_>(status_code::null_pointer, "affinity");
  buffers = out.view();
  buffers.capacity = 33 * 2 + 6 * 4 - 1;
  expect<merge::union_>(status_code::index_overflow, "capacity");
  buffers.capacity = 6 * 4 - 1;
  expect<merge::expert_only>(status_code::index_overflow, "capacity");
}

TEST_F(RefusedMerge, SmallWorkspace) {
  const auto refuse = [&](auto policy, std::int64_t most_capacity) {
    const std::size_t bytes = merge::host_merge_workspace_bytes<decltype(policy)>(
        serial_executor{}, choices.tokens, choices.experts, choices.slots_per_token, most_capacity);
    exact_workspace small(bytes - 1);
    for (workspace_view workspace : {small.view(), workspace_view{nullptr, bytes}}) {
      EXPECT_TRUE(support::refused(merge::host_merge(serial_executor{}, policy, choices, expert, buffers, workspace),
                                   status_code::workspace_too_small, "workspace"));
    }
    EXPECT_TRUE(out.untouched() && small.untouched());
  };
  refuse(merge::restricted{}, 0);
  refuse(merge::intersection{}, 4);
  refuse(merge::union_{}, 4);
  refuse(merge::expert_only{}, 4);
}

}  // namespace
