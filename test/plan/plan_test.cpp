// SPDX-License-Identifier: Apache-2.0
#include "resonance/plan/plan.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "support/assignments.hpp"

namespace {

using namespace resonance;

plan::options tiles_of(std::int32_t tile_tokens) {
  plan::options o;
  o.tile_tokens = tile_tokens;
  return o;
}

TEST(PlanOptions, AlignToWholeTiles) {
  EXPECT_EQ(tiles_of(1).aligned(7), 7);
  EXPECT_EQ(tiles_of(4).aligned(0), 0);
  EXPECT_EQ(tiles_of(4).aligned(1), 4);
  EXPECT_EQ(tiles_of(4).aligned(4), 4);
  EXPECT_EQ(tiles_of(128).aligned(129), 256);
  plan::options o = tiles_of(8);
  o.pad_to_capacity = 9;
  EXPECT_EQ(o.padded_capacity(), 16);
}

TEST(PlanOptions, MapSlotsToLocalExperts) {
  const std::vector<std::int32_t> ids = {0, 1, 2, 3, -1, 4};
  const std::vector<std::int32_t> map = {1, -1, 2, 0};
  assignment_view a;
  a.tokens = 6;
  a.experts = 4;
  a.slots_per_token = 1;
  a.ids = ids.data();
  plan::options o;
  const auto locals = [&] {
    std::vector<std::int32_t> result;
    for (std::int64_t slot = 0; slot < 6; ++slot) result.push_back(o.local_expert(a, slot));
    return result;
  };
  EXPECT_EQ(o.local_experts(4), 4);
  EXPECT_EQ(locals(), (std::vector<std::int32_t>{0, 1, 2, 3, -1, -1}));
  o.expert_map = map.data();
  o.num_local = 2;
  EXPECT_EQ(o.local_experts(4), 2);
  EXPECT_EQ(locals(), (std::vector<std::int32_t>{1, -1, -1, 0, -1, -1}));
}

// The bound is the number of rows in the worst case, found by trying every way to spread the slots over the experts.
std::int64_t worst_rows(std::int64_t slots, std::int32_t experts, const plan::options& o) {
  if (experts == 1) return o.aligned(slots);
  std::int64_t most = 0;
  for (std::int64_t here = 0; here <= slots; ++here)
    most = std::max(most, o.aligned(here) + worst_rows(slots - here, experts - 1, o));
  return most;
}

TEST(PlanOptions, MaxRowsIsReachedAndNeverPassed) {
  for (std::int64_t slots : {0, 1, 2, 3, 5, 8, 13})
    for (std::int32_t experts : {1, 2, 3, 4})
      for (std::int32_t tile : {1, 2, 3, 4, 7})
        EXPECT_EQ(plan::max_rows(slots, experts, tiles_of(tile)), worst_rows(slots, experts, tiles_of(tile)))
            << slots << " slots, " << experts << " experts, tile " << tile;
}

TEST(PlanOptions, MaxRowsCountsLocalExpertsAndCapacities) {
  plan::options o = tiles_of(4);
  const std::vector<std::int32_t> map(64, -1);
  o.expert_map = map.data();
  o.num_local = 2;
  EXPECT_EQ(plan::max_rows(100, 64, o), 104);  // 100 + 2 * 3, in whole tiles
  o.pad_to_capacity = 5;
  EXPECT_EQ(plan::max_rows(100, 64, o), 16);
  o.expert_map = nullptr;
  EXPECT_EQ(plan::max_rows(100, 64, o), 512);
  o.pad_to_capacity = 0;
  EXPECT_EQ(plan::max_rows(100, 64, o), 0);
}

TEST(PlanOptions, RefuseNumbersOutsideTheirDomain) {
  support::random_source random(71);
  const support::random_choices c(random, {7, 6, 2});
  const std::vector<std::int32_t> map(6, 0);
  const auto expect = [&](const plan::options& o, const char* argument) {
    EXPECT_TRUE(support::refused(o.check(c.view()), status_code::out_of_range, argument));
  };
  for (std::int32_t tile : {0, -1, INT32_MIN}) expect(tiles_of(tile), "tile_tokens");
  plan::options o;
  for (std::int64_t capacity : {std::int64_t{-2}, INT64_MIN, INT64_MAX}) {
    o.pad_to_capacity = capacity;
    expect(o, "pad_to_capacity");
  }
  o = {};
  o.expert_map = map.data();
  expect(o, "num_local");
  o = {};
  o.by_affinity = true;
  assignment_view without_affinity = c.view();
  without_affinity.affinity = nullptr;
  EXPECT_TRUE(support::refused(o.check(without_affinity), status_code::null_pointer, "assignments.affinity"));
  EXPECT_TRUE(support::accepted(o.check(c.view())));
}

}  // namespace
