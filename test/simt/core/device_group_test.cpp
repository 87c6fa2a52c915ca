// SPDX-License-Identifier: Apache-2.0
#include <resonance/core/device_group.cuh>

#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include <simt/environment.hpp>

#include "support/assignments.hpp"

namespace {

using namespace resonance;
using support::guarded_buffer;

struct naive_lists {
  std::vector<std::int64_t> offsets = {0};
  std::vector<std::uint32_t> slots;

  naive_lists(const assignment_view& a, std::int64_t live) {
    std::vector<std::vector<std::uint32_t>> members(static_cast<std::size_t>(a.experts));
    for (std::int64_t slot = 0; slot < live; ++slot)
      if (a.assigned(slot)) members[static_cast<std::size_t>(a.ids[slot])].push_back(static_cast<std::uint32_t>(slot));
    for (const auto& of_expert : members) {
      slots.insert(slots.end(), of_expert.begin(), of_expert.end());
      offsets.push_back(static_cast<std::int64_t>(slots.size()));
    }
  }
};

// Groups and compares; `tokens` of a.tokens are really there.
void expect_lists(const assignment_view& a, const std::int64_t* tokens = nullptr) {
  device_stream on;
  on.num_tokens = tokens;
  guarded_buffer<std::int64_t> offsets(static_cast<std::size_t>(a.experts) + 1);
  guarded_buffer<std::uint32_t> slots(static_cast<std::size_t>(a.most_slots()));
  support::exact_workspace workspace(detail::device_expert_lists_workspace_bytes(a));
  ASSERT_TRUE(support::accepted(detail::device_expert_lists(on, a, {offsets.data(), slots.data()}, workspace.view())));
  EXPECT_TRUE(offsets.intact() && slots.intact() && workspace.intact());
  const naive_lists expected(a, a.begin(tokens != nullptr ? *tokens : a.tokens));
  EXPECT_TRUE(support::values_of(offsets) == expected.offsets);
  const std::size_t listed = expected.slots.size();
  EXPECT_TRUE(std::equal(expected.slots.begin(), expected.slots.end(), slots.begin()));
  EXPECT_TRUE(slots.untouched(listed, slots.size() - listed));
}

std::string described(const support::batch_shape& s) {
  return "T=" + std::to_string(s.tokens) + " E=" + std::to_string(s.experts) + " K=" + std::to_string(s.top_k);
}

TEST(DeviceExpertLists, HoldEveryExpertsSlotsInSlotOrder) {
  support::random_source random(301);
  for (const std::int64_t tokens : {0, 1, 31, 32, 33, 257})
    for (const std::int32_t experts : {1, 7, 13, 64, 72, 128, 257, 512, 1024, 4096})
      for (const std::int32_t top_k : std::set<std::int32_t>{1, 8, experts < 64 ? experts : 22}) {
        if (top_k > experts || (experts > 512 && tokens != 33 && tokens != 257)) continue;
        const support::batch_shape shape{tokens, experts, top_k};
        SCOPED_TRACE(described(shape));
        expect_lists(support::random_choices(random, shape, {support::adversary::ties, 0.1, true}).view());
      }
}

TEST(DeviceExpertLists, DoNotDependOnTheSchedule) {
  support::random_source random(302);
  // In registers; several passes of experts; two tiles; three tiles with the last one short.
  for (const support::batch_shape& shape :
       {support::batch_shape{257, 72, 8}, {70, 2500, 3}, {2100, 64, 4}, {2300, 9, 9}}) {
    SCOPED_TRACE(described(shape));
    const support::random_choices c(random, shape, {support::adversary::ties, 0.1, true});
    simt::under_every_schedule([&] { expect_lists(c.view()); });
  }
}

TEST(DeviceExpertLists, HoldOneHotExpert) {
  for (const std::int64_t tokens : {1000, 9000, 25000}) {
    const std::vector<std::int32_t> ids(static_cast<std::size_t>(tokens), 5);
    assignment_view a;
    a.tokens = tokens;
    a.experts = 8;
    a.slots_per_token = 1;
    a.ids = ids.data();
    expect_lists(a);
  }
}

TEST(DeviceExpertLists, TakeManySlotsOfManyExpertsInOneTile) {
  support::random_source random(303);
  const support::random_choices c(random, {4300, 4096, 2}, {support::adversary::ties, 0.1, false});
  ASSERT_EQ(detail::group_tiling(8600, 4096).tiles, 1);
  expect_lists(c.view());
}

TEST(DeviceExpertLists, TakeMoreExpertsThanAnyCounterHolds) {
  support::random_source random(304);
  std::vector<std::int32_t> ids(20000);
  for (std::int32_t& id : ids) id = static_cast<std::int32_t>(random.below(3));
  for (std::size_t slot = 0; slot < ids.size(); slot += 7) ids[slot] = static_cast<std::int32_t>(random.below(9000));
  assignment_view a;
  a.tokens = 20000;
  a.experts = 9000;
  a.slots_per_token = 1;
  a.ids = ids.data();
  expect_lists(a);
}

TEST(DeviceExpertLists, LeaveOutTheTokensThatAreNotThere) {
  support::random_source random(305);
  for (const support::batch_shape& shape : {support::batch_shape{257, 13, 2}, {9000, 13, 3}}) {
    const support::random_choices c(random, shape, {support::adversary::ties, 0.1, true});
    support::ragged_copy copy(c.view(), false);
    assignment_view ragged = copy.view();
    ragged.slot_capacity = static_cast<std::int64_t>(copy.ids.size());
    for (const std::int64_t live : {std::int64_t{0}, std::int64_t{1}, shape.tokens / 3, shape.tokens}) {
      SCOPED_TRACE(live);
      expect_lists(c.view(), &live);
      expect_lists(ragged, &live);
    }
    expect_lists(ragged);
  }
}

TEST(DeviceExpertLists, TakeOneLaunchForFewSlotsAndTwoForMany) {
  support::random_source random(306);
  for (const auto& [tokens, launches] : {std::pair<std::int64_t, std::size_t>{1024, 1}, {1025, 2}}) {
    const support::random_choices c(random, {tokens, 64, 8}, {support::adversary::ties, 0.0, false});
    simt::reset_traffic();
    simt::config().count_traffic = true;
    expect_lists(c.view());
    EXPECT_EQ(simt::traffic().launches.size(), launches);
  }
}

TEST(DeviceExpertLists, RefuseASmallWorkspaceAndTooManySlots) {
  support::random_source random(307);
  const support::random_choices c(random, {1025, 13, 8}, {support::adversary::ties, 0.1, true});
  const std::size_t bytes = detail::device_expert_lists_workspace_bytes(c.view());
  guarded_buffer<std::int64_t> offsets(14);
  guarded_buffer<std::uint32_t> slots(c.slots());
  support::exact_workspace small(bytes - 1);
  const detail::expert_lists lists{offsets.data(), slots.data()};
  for (const workspace_view workspace : {small.view(), workspace_view{nullptr, bytes}})
    EXPECT_TRUE(support::refused(detail::device_expert_lists({}, c.view(), lists, workspace),
                                 status_code::workspace_too_small, "workspace"));
  assignment_view large = c.view();
  large.tokens = std::int64_t{1} << 29;
  EXPECT_TRUE(support::refused(detail::device_expert_lists({}, large, lists, small.view()), status_code::index_overflow,
                               "assignments"));
  EXPECT_TRUE(offsets.untouched() && slots.untouched() && small.untouched());
}

TEST(GroupTiling, WorkspaceGrowsWithTheSlots) {
  for (const std::int32_t experts : {1, 8, 64, 257, 4096}) {
    std::int64_t before = 0;
    for (std::int64_t slots = 0; slots < (1 << 23); slots += 1021) {
      const detail::group_tiling tiling(slots, experts);
      ASSERT_GE(tiling.count_words(experts), before);
      ASSERT_TRUE(tiling.tiles == 1 || tiling.tiles * experts <= tiling.count_words(experts));
      ASSERT_GE(tiling.tiles * tiling.tile_slots, slots);
      before = tiling.count_words(experts);
    }
  }
}

}  // namespace
