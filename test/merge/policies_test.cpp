// SPDX-License-Identifier: Apache-2.0
// The algebra of the merge policies: which sets of pairs contain which, whatever the batch.
#include "resonance/merge/policies.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <set>
#include <utility>
#include <vector>

#include "resonance/core/executor.hpp"
#include "resonance/merge/host_merge.hpp"
#include "support/assignments.hpp"

namespace {

using namespace resonance;
using pairs = std::set<std::pair<std::int64_t, std::int32_t>>;  // (token, expert)

// What a policy lets survive; with `first_ranks` >= 0 only members of lower rank than that.
template <class Policy>
pairs survivors(const support::random_choices& c, std::int64_t capacity, std::int64_t first_ranks = -1) {
  const auto slots =
      static_cast<std::size_t>(merge::merged_slots<Policy>(c.shape.tokens, c.shape.experts, c.shape.top_k, capacity));
  std::vector<std::int32_t> ids(c.ids), rank(slots), token_of_slot(slots);
  ids.resize(std::max(slots, ids.size()));
  std::vector<float> affinity(slots);
  std::vector<std::int64_t> offsets(c.tokens() + 1);
  assignment_buffers out;
  out.ids = ids.data();
  out.affinity = affinity.data();
  out.rank_in_expert = rank.data();
  out.token_offsets = offsets.data();
  out.token_of_slot = token_of_slot.data();
  out.capacity = static_cast<std::int64_t>(slots);
  support::exact_workspace workspace(merge::host_merge_workspace_bytes<Policy>(
      serial_executor{}, c.shape.tokens, c.shape.experts, c.shape.top_k, capacity));
  EXPECT_TRUE(support::accepted(merge::host_merge(serial_executor{}, Policy{}, c.view(),
                                                  {c.deltas(), capacity, nullptr}, out, workspace.view())));
  assignment_view merged = c.view();
  merged.ids = ids.data();
  if (Policy::adds_expert_choice) merged = as_assignments(out, c.shape.tokens, c.shape.experts);
  pairs found;
  for (std::int64_t slot = 0; slot < merged.slots(); ++slot)
    if (merged.assigned(slot) && (first_ranks < 0 || rank[static_cast<std::size_t>(slot)] < first_ranks))
      found.insert({merged.token(slot), merged.ids[slot]});
  return found;
}

bool subset(const pairs& part, const pairs& whole) {
  return std::includes(whole.begin(), whole.end(), part.begin(), part.end());
}

// A pair of affinity -inf only filled a slot; no side chose it, so a union leaves it out.
pairs without_fillers(const pairs& all, const support::random_choices& c) {
  pairs chosen;
  for (const auto& pair : all)
    if (std::isfinite(c.affinity_of(pair.first, pair.second))) chosen.insert(pair);
  return chosen;
}

TEST(MergePolicies, ContainEachOther) {
  support::random_source random(21);
  for (int round = 0; round < 200; ++round) {
    SCOPED_TRACE(round);
    const auto experts = static_cast<std::int32_t>(random.between(1, 9));
    const support::batch_shape shape{static_cast<std::int64_t>(random.below(40)), experts,
                                     static_cast<std::int32_t>(random.between(1, static_cast<std::size_t>(experts)))};
    const support::random_choices c(random, shape, {random.pick(support::all_adversaries()), 0.1, true});
    const auto capacity = static_cast<std::int64_t>(random.below(45));
    const pairs token = survivors<merge::token_only>(c, capacity);
    const pairs expert = survivors<merge::expert_only>(c, capacity);
    const pairs both = survivors<merge::intersection>(c, capacity);
    const pairs either = survivors<merge::union_>(c, capacity);
    pairs common, all;
    std::set_intersection(token.begin(), token.end(), expert.begin(), expert.end(),
                          std::inserter(common, common.end()));
    std::set_union(token.begin(), token.end(), expert.begin(), expert.end(), std::inserter(all, all.end()));
    EXPECT_EQ(both, common);
    EXPECT_EQ(either, without_fillers(all, c));
    EXPECT_EQ(survivors<merge::restricted>(c, capacity), token);
  }
}

TEST(MergePolicies, RestrictedToTheFirstRanksContainsIntersection) {
  support::random_source random(22);
  for (int round = 0; round < 100; ++round) {
    SCOPED_TRACE(round);
    const support::random_choices c(random, {30, 5, 2}, {support::adversary::ties, 0.1, false});
    const auto capacity = static_cast<std::int64_t>(random.between(1, 20));
    EXPECT_TRUE(
        subset(survivors<merge::intersection>(c, capacity), survivors<merge::restricted>(c, capacity, capacity)));
  }
}

TEST(MergePolicies, RestrictedOverAllExpertsIsExpertChoice) {
  support::random_source random(23);
  for (std::int64_t capacity : {0, 1, 4, 17, 30}) {
    const support::random_choices c(random, {30, 6, 6}, {support::adversary::ties, 0.0, false});
    EXPECT_EQ(survivors<merge::restricted>(c, capacity, capacity), survivors<merge::expert_only>(c, capacity));
  }
}

}  // namespace
