// SPDX-License-Identifier: Apache-2.0
// Merging on the device against the host: every output the same bits; and against the reference.
#include "resonance/merge/device_merge.cuh"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <simt/environment.hpp>
#include <string>
#include <utility>
#include <vector>

#include "host_thresholds.hpp"
#include "merge/fixture.hpp"
#include "resonance/merge/host_merge.hpp"
#include "support/assignments.hpp"

namespace {

using namespace resonance;
using merge_test::largest_capacity;
using merge_test::merged_arrays;
using support::batch_shape;
using support::exact_workspace;
using support::guarded_buffer;
using support::random_choices;

template <class Policy>
void merge_on_device(const assignment_view& choices, merge::expert_side expert, std::int64_t most_capacity,
                     const assignment_buffers& out, const std::int64_t* num_tokens = nullptr) {
  device_stream on;
  on.num_tokens = num_tokens;
  if (expert.capacities != nullptr) expert.capacity = most_capacity;
  exact_workspace workspace(merge::device_merge_workspace_bytes<Policy>(choices.tokens, choices.experts,
                                                                        choices.slots_per_token, most_capacity));
  ASSERT_TRUE(support::accepted(merge::device_merge(on, Policy{}, choices, expert, out, workspace.view())));
  EXPECT_TRUE(workspace.intact());
}

template <class Policy>
merged_arrays merge_on_host(const assignment_view& choices, const merge::expert_side& expert, std::int64_t slots) {
  const std::int64_t most = Policy::needs_expert_choice ? largest_capacity(expert, choices.experts) : 0;
  merged_arrays out(slots, choices.tokens);
  exact_workspace workspace(merge::host_merge_workspace_bytes<Policy>(serial_executor{}, choices.tokens,
                                                                      choices.experts, choices.slots_per_token, most));
  EXPECT_TRUE(
      support::accepted(merge::host_merge(serial_executor{}, Policy{}, choices, expert, out.view(), workspace.view())));
  return out;
}

template <class Policy>
merged_arrays merge_on_device(const assignment_view& choices, const merge::expert_side& expert) {
  const std::int64_t most = Policy::needs_expert_choice ? largest_capacity(expert, choices.experts) : 0;
  merged_arrays out(merge::merged_slots<Policy>(choices.tokens, choices.experts, choices.slots_per_token, most),
                    choices.tokens);
  merge_on_device<Policy>(choices, expert, most, out.view());
  EXPECT_TRUE(out.intact());
  return out;
}

template <class Policy>
void expect_same(const assignment_view& choices, const merge::expert_side& expert) {
  const merged_arrays got = merge_on_device<Policy>(choices, expert);
  const auto slots = static_cast<std::int64_t>(got.ids.size());
  EXPECT_TRUE(got.bits() == merge_on_host<Policy>(choices, expert, slots).bits());
}

void expect_same(const random_choices& c, const merge::expert_side& expert) {
  expect_same<merge::restricted>(c.view(), {});
  expect_same<merge::token_only>(c.view(), {});
  expect_same<merge::intersection>(c.view(), expert);
  expect_same<merge::union_>(c.view(), expert);
  assignment_view shape_only = c.view();
  shape_only.ids = nullptr;
  shape_only.affinity = shape_only.weights = nullptr;
  expect_same<merge::expert_only>(shape_only, expert);
}

TEST(DeviceMerge, AgreesWithTheHostOnManyShapes) {
  support::random_source random(81);
  for (const batch_shape& shape : std::vector<batch_shape>{{0, 1, 1},
                                                           {0, 64, 8},
                                                           {1, 1, 1},
                                                           {1, 128, 22},
                                                           {31, 72, 10},
                                                           {32, 7, 2},
                                                           {33, 13, 13},
                                                           {33, 257, 40},
                                                           {257, 1, 1},
                                                           {257, 13, 13},
                                                           {257, 64, 8}}) {
    SCOPED_TRACE(::testing::Message() << shape);
    const random_choices c(random, shape, {random.pick(support::all_adversaries()), 0.1, true});
    expect_same(c, {c.deltas(), shape.tokens / 4 + 1, nullptr});
  }
}

TEST(DeviceMerge, AgreesWithTheReference) {
  support::random_source random(90);
  const auto run = [](auto policy, const assignment_view& choices, const merge::expert_side& expert) {
    return merge_on_device<decltype(policy)>(choices, expert);
  };
  for (const batch_shape& shape : {batch_shape{0, 13, 2}, {1, 1, 1}, {33, 13, 1}, {33, 257, 8}, {257, 72, 2}}) {
    SCOPED_TRACE(::testing::Message() << shape);
    const random_choices c(random, shape);
    const merge::expert_side expert{c.deltas(), shape.tokens / 4 + 1, nullptr};
    merge_test::expect_reference(c, expert,
                                 std::vector<std::size_t>(c.experts(), static_cast<std::size_t>(expert.capacity)), run);
  }
  const random_choices c(random, {33, 7, 3});
  const std::vector<std::int64_t> capacities = {0, 1, 2, 16, 32, 33, 40};
  merge_test::expect_reference(c, {c.deltas(), -1, capacities.data()}, {0, 1, 2, 16, 32, 33, 40}, run);
}

TEST(DeviceMerge, AgreesWithTheHostOnManyExperts) {
  support::random_source random(82);
  for (const batch_shape& shape : {batch_shape{33, 576, 22}, {31, 1024, 8}, {3, 4096, 10}}) {
    SCOPED_TRACE(::testing::Message() << shape);
    const random_choices c(random, shape);
    expect_same<merge::union_>(c.view(), {c.deltas(), 2, nullptr});
  }
}

TEST(DeviceMerge, DoesNotDependOnTheSchedule) {
  support::random_source random(83);
  const random_choices c(random, {70, 7, 3});
  simt::under_every_schedule([&] { expect_same(c, {c.deltas(), 20, nullptr}); });
}

// Lists for counting, for the network in shared memory and for the radix sort; ties and few distinct bytes included.
TEST(DeviceMerge, RanksListsOfAnyLength) {
  support::random_source random(84);
  for (support::adversary kind :
       {support::adversary::mixed, support::adversary::ties, support::adversary::constant, support::adversary::nans}) {
    for (std::int64_t tokens : {33, 256, 257, 600, 2048, 2049, 5003}) {
      SCOPED_TRACE(::testing::Message() << tokens << " " << support::name_of(kind));
      const random_choices c(random, {tokens, 1, 1}, {kind, 0.0, false});
      expect_same<merge::restricted>(c.view(), {});
    }
  }
}

// Two lists side by side in the workspace: the executor would tell of blocks that share a part of it.
TEST(DeviceMerge, RanksSeveralLongLists) {
  support::random_source random(94);
  const random_choices c(random, {5003, 2, 1}, {support::adversary::ties, 0.0, false});
  expect_same<merge::restricted>(c.view(), {});
}

TEST(DeviceMerge, TakesACapacityPerExpertFromNoneToAll) {
  support::random_source random(85);
  for (support::adversary kind : support::all_adversaries()) {
    SCOPED_TRACE(support::name_of(kind));
    const random_choices c(random, {33, 7, 3}, {kind, 0.1, true});
    const std::vector<std::int64_t> capacities = {0, 1, 2, 16, 32, 33, 40};
    expect_same(c, {c.deltas(), -1, capacities.data()});
  }
}

// The host can't read capacities in device memory: unknown, they count as T, and less than none as none.
TEST(DeviceMerge, CapacitiesMayBeUnknownToTheHost) {
  support::random_source random(86);
  const random_choices c(random, {40, 6, 2});
  const std::vector<std::int64_t> with_negative = {3, -1, INT64_MIN, 7, 0, 40};
  const std::vector<std::int64_t> without = {3, 0, 0, 7, 0, 40};
  const std::int64_t slots = merge::merged_slots<merge::union_>(40, 6, 2, 40);
  merged_arrays got(slots, 40);
  exact_workspace workspace(merge::device_merge_workspace_bytes<merge::union_>(40, 6, 2, 40));
  ASSERT_TRUE(support::accepted(merge::device_merge(
      {}, merge::union_{}, c.view(), {c.deltas(), 0, with_negative.data()}, got.view(), workspace.view())));
  EXPECT_TRUE(got.bits() == merge_on_host<merge::union_>(c.view(), {c.deltas(), 0, without.data()}, slots).bits());
}

// A bound that the capacities exceed: the list ends where the room ends, and what it holds is ranked.
TEST(DeviceMerge, AListThatExceedsItsRoomEndsThere) {
  support::random_source random(87);
  const random_choices c(random, {40, 6, 2}, {support::adversary::ties, 0.0, false});
  const std::vector<std::int64_t> capacities(6, 40);
  const std::int64_t slots = merge::merged_slots<merge::union_>(40, 6, 2, 1);
  merged_arrays got(slots, 40);
  merge_on_device<merge::union_>(c.view(), {c.deltas(), 0, capacities.data()}, 1, got.view());
  EXPECT_TRUE(got.intact());
  EXPECT_EQ(got.offsets[40], slots);
  for (std::size_t t = 0; t < 40; ++t) EXPECT_LE(got.offsets[t], got.offsets[t + 1]);
  const merged_arrays all = merge_on_host<merge::union_>(c.view(), {c.deltas(), 0, capacities.data()}, 80 + 240);
  std::vector<std::int64_t> members(6, 0);
  for (std::size_t slot = 0; slot < got.ids.size(); ++slot) {
    EXPECT_EQ(got.ids[slot], all.ids[slot]);
    ++members[static_cast<std::size_t>(got.ids[slot])];
  }
  for (std::size_t slot = 0; slot < got.ids.size(); ++slot) {
    EXPECT_GE(got.rank[slot], 0);
    EXPECT_LT(got.rank[slot], members[static_cast<std::size_t>(got.ids[slot])]);
  }
}

TEST(DeviceMerge, ReadsStridedAffinity) {
  support::random_source random(88);
  const random_choices c(random, {33, 6, 2});
  std::vector<float> strided(33 * 11, std::numeric_limits<float>::infinity());
  for (std::size_t t = 0; t < 33; ++t) std::copy_n(&c.delta[t * 6], 6, &strided[t * 11]);
  const merge::expert_side expert{matrix_view<const float>(strided.data(), 33, 6, 11), 5, nullptr};
  expect_same<merge::union_>(c.view(), expert);
  expect_same<merge::intersection>(c.view(), expert);
}

TEST(DeviceMerge, IntersectionMayWriteOverItsInput) {
  support::random_source random(89);
  const random_choices c(random, {257, 13, 4});
  const merge::expert_side expert{c.deltas(), 20, nullptr};
  const merged_arrays apart = merge_on_host<merge::intersection>(c.view(), expert, 257 * 4);
  guarded_buffer<std::int32_t> ids(c.slots());
  guarded_buffer<std::int32_t> rank(c.slots());
  std::copy(c.ids.begin(), c.ids.end(), ids.begin());
  assignment_view choices = c.view();
  choices.ids = ids.data();
  assignment_buffers out;
  out.ids = ids.data();
  out.rank_in_expert = rank.data();
  merge_on_device<merge::intersection>(choices, expert, 20, out);
  EXPECT_EQ(support::bits_of(ids, rank), support::bits_of(apart.ids, apart.rank));
}

// A graph captured for 200 tokens that serves fewer: the rest is neither read nor written.
template <class Policy>
void expect_fewer_tokens(const random_choices& c, std::int64_t live) {
  const merge::expert_side expert{c.deltas(), 9, nullptr};
  const std::int64_t slots = merge::merged_slots<Policy>(c.shape.tokens, c.shape.experts, c.shape.top_k, 9);
  merged_arrays got(slots, c.shape.tokens);
  merge_on_device<Policy>(c.view(), expert, 9, got.view(), &live);
  assignment_view fewer = c.view();
  fewer.tokens = std::clamp<std::int64_t>(live, 0, c.shape.tokens);
  const matrix_view<const float> rows(c.delta.data(), fewer.tokens, c.shape.experts);
  const merged_arrays expected = merge_on_host<Policy>(fewer, {rows, 9, nullptr}, slots);
  EXPECT_TRUE(support::bits_of(got.ids, got.rank, got.affinity, got.token_of_slot) ==
              support::bits_of(expected.ids, expected.rank, expected.affinity, expected.token_of_slot));
  EXPECT_TRUE(std::equal(expected.offsets.begin(), expected.offsets.end(), got.offsets.begin()));
  const std::size_t written = expected.offsets.untouched() ? 0 : expected.offsets.size();
  EXPECT_TRUE(got.offsets.untouched(written, got.offsets.size() - written));
}

TEST(DeviceMerge, ServesFewerTokensThanTheShapes) {
  support::random_source random(90);
  const random_choices c(random, {200, 13, 4});
  for (std::int64_t live : {std::int64_t{-5}, std::int64_t{0}, std::int64_t{1}, std::int64_t{128}, std::int64_t{999}}) {
    SCOPED_TRACE(live);
    expect_fewer_tokens<merge::restricted>(c, live);
    expect_fewer_tokens<merge::intersection>(c, live);
    expect_fewer_tokens<merge::union_>(c, live);
  }
}

TEST(DeviceMerge, LaunchesAsFewKernelsAsItSays) {
  support::random_source random(91);
  const random_choices c(random, {257, 13, 4});
  const auto launches = [&](auto policy) {
    using policy_type = decltype(policy);
    simt::config().count_traffic = true;
    simt::reset_traffic();
    merged_arrays got(merge::merged_slots<policy_type>(257, 13, 4, 20), 257);
    merge_on_device<policy_type>(c.view(), {c.deltas(), 20, nullptr}, 20, got.view());
    return simt::traffic().launches.size();
  };
  EXPECT_EQ(launches(merge::restricted{}), 2U);
  EXPECT_EQ(launches(merge::intersection{}), 4U);
  EXPECT_EQ(launches(merge::union_{}), 5U);
}

// What a fused kernel does: one block does every step for every tile and expert, by blocks of any size; ranks by warps.
__global__ void merge_in_one_block(assignment_view choices, merge::expert_side expert, const std::uint64_t* thresholds,
                                   merge::ragged_scratch scratch, assignment_buffers out) {
  RESONANCE_SHARED_ARRAY(std::uint64_t, team_scratch, block_team::scratch_words);
  const block_team team(team_scratch);
  const std::int64_t tiles = merge::merge_tiles(choices.tokens);
  for (std::int64_t tile = 0; tile < tiles; ++tile)
    merge::block_count_merged<merge::union_>(team, choices, expert.affinity, thresholds, tile, choices.tokens, scratch,
                                             out.token_offsets);
  for (std::int64_t tile = 0; tile < tiles; ++tile)
    merge::block_place_merged<merge::union_>(team, choices, expert.affinity, tile, choices.tokens, scratch, out);
}

__global__ void rank_in_one_block(detail::member_lists lists, std::int32_t experts, const float* affinity,
                                  std::int32_t* rank_in_expert, std::uint64_t* spill) {
  RESONANCE_SHARED_ARRAY(std::uint64_t, keys, rank_scratch::least_words * 4);
  for (std::int32_t e = warp_id(); e < experts; e += block_threads() / warp_size) {
    const detail::expert_members members = lists.of(e);
    merge::rank_members(
        warp_team{}, members, affinity, rank_in_expert,
        {keys + warp_id() * rank_scratch::least_words, rank_scratch::least_words, spill + 2 * members.first});
  }
}

TEST(MergeBodies, ServeWarpsAndBlocksOfAnySizeInALoop) {
  support::random_source random(92);
  const random_choices c(random, {130, 7, 3}, {support::adversary::ties, 0.1, true});
  const merge::expert_side expert{c.deltas(), 100, nullptr};
  const std::int64_t slots = merge::merged_slots<merge::union_>(130, 7, 3, 100);
  const merged_arrays expected = merge_on_host<merge::union_>(c.view(), expert, slots);
  std::vector<std::uint64_t> thresholds = host_thresholds(expert);
  std::vector<std::int64_t> offsets = {0};
  std::vector<std::uint32_t> members;
  for (std::int32_t e = 0; e < 7; ++e) {
    for (std::int64_t slot = 0; slot < expected.offsets[130]; ++slot)
      if (expected.ids[static_cast<std::size_t>(slot)] == e) members.push_back(static_cast<std::uint32_t>(slot));
    offsets.push_back(static_cast<std::int64_t>(members.size()));
  }
  simt::under_every_schedule([&] {
    for (unsigned threads : {32U, 96U, 128U}) {
      merged_arrays got(slots, 130);
      std::vector<std::uint32_t> gained(130);
      std::vector<std::int64_t> tile_slots(static_cast<std::size_t>(merge::merge_tiles(130)));
      std::vector<std::uint64_t> spill(2 * members.size());
      ASSERT_EQ(simt::launch(merge_in_one_block, dim3(1), dim3(threads), 0, nullptr, c.view(), expert,
                             thresholds.data(), merge::ragged_scratch{gained.data(), tile_slots.data()}, got.view()),
                cudaSuccess);
      ASSERT_EQ(simt::launch(rank_in_one_block, dim3(1), dim3(threads), 0, nullptr,
                             detail::member_lists{offsets.data(), members.data()}, 7, got.affinity.data(),
                             got.rank.data(), spill.data()),
                cudaSuccess);
      EXPECT_TRUE(got.bits() == expected.bits()) << threads;
    }
  });
}

}  // namespace
