// SPDX-License-Identifier: Apache-2.0
// What each drop order says of a hand-made batch in which all four disagree.
#include "resonance/prune/drop_order.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <vector>

#include "resonance/core/executor.hpp"
#include "resonance/prune/host_prune.hpp"
#include "support/assignments.hpp"

namespace {

using namespace resonance;

// Four tokens with two choices each. Expert 0 is token 0's, 1's and 3's second choice and token 2's first; it holds
// slots 1, 3, 4 and 7 with affinities .1, .4, .2, .3. Expert 1 takes the other slots.
template <class Order>
std::vector<std::int32_t> kept_by_expert_0(std::int64_t capacity) {
  const std::vector<std::int32_t> ids = {1, 0, 1, 0, 0, 1, 1, 0};
  const std::vector<float> affinity = {0.9F, 0.1F, 0.5F, 0.4F, 0.2F, 0.15F, 0.6F, 0.3F};
  const std::vector<std::int32_t> rank = {0, 3, 2, 0, 2, 3, 1, 1};
  assignment_view a;
  a.tokens = 4;
  a.experts = 2;
  a.slots_per_token = 2;
  a.ids = ids.data();
  a.affinity = affinity.data();
  a.rank_in_expert = rank.data();
  const std::vector<std::int64_t> capacities = {capacity, 4};
  std::vector<std::int32_t> kept(8);
  prune::outputs out;
  out.ids = kept.data();
  support::exact_workspace workspace(prune::host_prune_workspace_bytes(serial_executor{}, a));
  EXPECT_TRUE(support::accepted(prune::host_prune(serial_executor{}, prune::per_expert{capacities.data()}, Order{}, a,
                                                  {}, out, workspace.view())));
  std::vector<std::int32_t> slots;
  for (std::int32_t slot = 0; slot < 8; ++slot)
    if (kept[static_cast<std::size_t>(slot)] == 0) slots.push_back(slot);
  return slots;
}

using slot_list = std::vector<std::int32_t>;

TEST(DropOrder, AffinityKeepsTheExpertsBest) {
  EXPECT_EQ(kept_by_expert_0<prune::affinity_order>(1), (slot_list{3}));
  EXPECT_EQ(kept_by_expert_0<prune::affinity_order>(2), (slot_list{3, 7}));
  EXPECT_EQ(kept_by_expert_0<prune::affinity_order>(3), (slot_list{3, 4, 7}));
}

TEST(DropOrder, PositionKeepsTheFirstTokens) {
  EXPECT_EQ(kept_by_expert_0<prune::position>(1), (slot_list{1}));
  EXPECT_EQ(kept_by_expert_0<prune::position>(2), (slot_list{1, 3}));
  EXPECT_EQ(kept_by_expert_0<prune::position>(3), (slot_list{1, 3, 4}));
}

TEST(DropOrder, SlotMajorKeepsFirstChoicesBeforeSecondOnes) {
  EXPECT_EQ(kept_by_expert_0<prune::slot_major>(1), (slot_list{4}));
  EXPECT_EQ(kept_by_expert_0<prune::slot_major>(2), (slot_list{1, 4}));
  EXPECT_EQ(kept_by_expert_0<prune::slot_major>(3), (slot_list{1, 3, 4}));
}

TEST(DropOrder, BatchPrioritizedKeepsTheTokensWithTheLargestAffinity) {
  EXPECT_EQ(kept_by_expert_0<prune::batch_prioritized>(1), (slot_list{1}));
  EXPECT_EQ(kept_by_expert_0<prune::batch_prioritized>(2), (slot_list{1, 7}));
  EXPECT_EQ(kept_by_expert_0<prune::batch_prioritized>(3), (slot_list{1, 3, 7}));
}

TEST(DropOrder, SlotMajorPrioritizedRanksFirstChoicesThenSecondOnesByTheirTokens) {
  EXPECT_EQ(kept_by_expert_0<prune::slot_major_prioritized>(1), (slot_list{4}));
  EXPECT_EQ(kept_by_expert_0<prune::slot_major_prioritized>(2), (slot_list{1, 4}));
  EXPECT_EQ(kept_by_expert_0<prune::slot_major_prioritized>(3), (slot_list{1, 4, 7}));
}

TEST(DropOrder, KeysFollowTheOrder) {
  EXPECT_GT(prune::slot_major::key(0, 0.0F), prune::slot_major::key(1, 0.0F));
  EXPECT_GT(prune::slot_major::key(510, 0.0F), prune::slot_major::key(511, 0.0F));
  EXPECT_GT(prune::batch_prioritized::key(0, 0.5F), prune::batch_prioritized::key(0, -0.5F));
  EXPECT_EQ(prune::batch_prioritized::key(0, 0.0F), prune::batch_prioritized::key(9, -0.0F));
  EXPECT_GT(prune::batch_prioritized::key(0, -1e30F),
            prune::batch_prioritized::key(0, -std::numeric_limits<float>::infinity()));
}

}  // namespace
