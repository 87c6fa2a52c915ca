// SPDX-License-Identifier: Apache-2.0
#include <resonance/core/host_group.hpp>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "support/executors.hpp"
#include "support/poison.hpp"
#include "support/random.hpp"

namespace {

namespace detail = resonance::detail;

std::vector<std::int32_t> random_ids(std::size_t count, std::int32_t experts, std::uint64_t seed) {
  support::random_source random(seed);
  std::vector<std::int32_t> ids(count);
  for (std::int32_t& id : ids) {
    id = static_cast<std::int32_t>(random.below(static_cast<std::size_t>(experts)));
    if (random.coin(0.1)) id = random.pick(std::vector<std::int32_t>{-1, -7, experts, INT32_MAX, INT32_MIN});
  }
  return ids;
}

TEST(ExpertGrouping, RanksItemsByTheirPositionAmongTheirExpertsItems) {
  // 5 workers at 4096 items each share the longest list; the short ones go to one worker.
  for (std::size_t count : {0, 1, 33, 8191, 30000})
    for (std::int32_t experts : {1, 6, 257}) {
      const std::vector<std::int32_t> ids = random_ids(count, experts, count + static_cast<std::size_t>(experts));
      const auto group_of = [&](std::size_t item) {
        return ids[item] >= 0 && ids[item] < experts ? ids[item] : experts;  // the last one: has no expert
      };
      std::vector<std::int64_t> expected_totals(static_cast<std::size_t>(experts) + 1, 0), expected_rank(count, -1);
      for (std::size_t i = 0; i < count; ++i)
        expected_rank[i] = expected_totals[static_cast<std::size_t>(group_of(i))]++;

      support::with_every_executor([&](const auto& executor, const char* name) {
        detail::workspace_carver counter;
        detail::expert_grouping().carve(counter, executor.workers(), experts);
        support::guarded_buffer<char> workspace(counter.bytes(), 1);
        detail::workspace_carver carver(workspace.data());
        detail::expert_grouping grouping;
        grouping.carve(carver, executor.workers(), experts);
        EXPECT_EQ(grouping.experts(), experts);

        const auto expert_of = [&](std::int64_t item) { return ids[static_cast<std::size_t>(item)]; };
        support::guarded_buffer<std::int64_t> totals(static_cast<std::size_t>(experts));
        grouping.count(executor, static_cast<std::int64_t>(count), expert_of, totals.data());
        std::vector<std::int64_t> rank(count, -2);
        grouping.rank(executor, static_cast<std::int64_t>(count), expert_of,
                      [&](std::int64_t item, std::int32_t group, std::int64_t place) {
                        EXPECT_EQ(group, group_of(static_cast<std::size_t>(item)));
                        rank[static_cast<std::size_t>(item)] = place;
                      });
        EXPECT_EQ(rank, expected_rank) << name;
        EXPECT_TRUE(std::equal(totals.begin(), totals.end(), expected_totals.begin())) << name;
        EXPECT_TRUE(workspace.intact() && totals.intact()) << name;
      });
    }
}

TEST(ExclusiveScan, AddsFromTheLeft) {
  const std::vector<std::int64_t> values = {3, 0, 5};
  std::vector<std::int64_t> offsets(4, -1);
  detail::exclusive_scan(values.data(), 3, offsets.data());
  EXPECT_EQ(offsets, (std::vector<std::int64_t>{0, 3, 3, 8}));
  detail::exclusive_scan(nullptr, 0, offsets.data());
  EXPECT_EQ(offsets[0], 0);
}

TEST(MembersByExpert, SortsEveryGroupByFallingKeyAndTiesBySlot) {
  const std::int32_t experts = 13;
  const std::int64_t tokens = 5003;
  const std::int32_t top_k = 4;
  const std::vector<std::int32_t> ids = random_ids(static_cast<std::size_t>(tokens * top_k), experts, 9);
  support::random_source random(10);
  std::vector<std::uint32_t> keys(ids.size());
  for (std::uint32_t& key : keys) key = static_cast<std::uint32_t>(random.below(50));

  resonance::assignment_view assignments;
  assignments.tokens = tokens;
  assignments.experts = experts;
  assignments.slots_per_token = top_k;
  assignments.ids = ids.data();

  std::vector<std::int64_t> expected_rank(ids.size(), -1);
  for (std::int32_t e = 0; e < experts; ++e) {
    std::vector<std::size_t> slots;
    for (std::size_t s = 0; s < ids.size(); ++s)
      if (ids[s] == e) slots.push_back(s);
    std::stable_sort(slots.begin(), slots.end(), [&](std::size_t a, std::size_t b) { return keys[a] > keys[b]; });
    for (std::size_t r = 0; r < slots.size(); ++r) expected_rank[slots[r]] = static_cast<std::int64_t>(r);
  }

  support::with_every_executor([&](const auto& executor, const char* name) {
    detail::members_by_expert members;
    detail::workspace_carver counter;
    members.carve(counter, executor.workers(), assignments);
    support::guarded_buffer<char> workspace(counter.bytes(), 3);
    detail::workspace_carver carver(workspace.data());
    members.carve(carver, executor.workers(), assignments);
    members.gather(executor, assignments, [&](std::int64_t slot) { return keys[static_cast<std::size_t>(slot)]; });
    std::vector<std::int64_t> rank(ids.size(), -1);
    members.rank_by_key(executor, experts, [&](std::int64_t slot, std::int32_t expert, std::int64_t place) {
      EXPECT_EQ(ids[static_cast<std::size_t>(slot)], expert);
      rank[static_cast<std::size_t>(slot)] = place;
    });
    EXPECT_EQ(rank, expected_rank) << name;
    EXPECT_EQ(members.offsets[experts], std::accumulate(members.counts, members.counts + experts, std::int64_t{0}));
    EXPECT_TRUE(workspace.intact()) << name;
  });
}

}  // namespace
