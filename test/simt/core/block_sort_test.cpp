// SPDX-License-Identifier: Apache-2.0
// Sorting and ranking by a warp and by blocks of several sizes, in shared and in global memory.
#include "resonance/core/block_sort.cuh"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <simt/environment.hpp>
#include <simt/next_schedule.hpp>
#include <vector>

#include "resonance/core/launch.cuh"
#include "support/assignments.hpp"

namespace {

using namespace resonance;
using support::guarded_buffer;

template <bool ByBlock>
__global__ void sort_in_global(std::uint64_t* keys, std::int64_t count) {
  RESONANCE_SHARED_ARRAY(std::uint64_t, scratch, block_team::scratch_words);
  if constexpr (ByBlock) {
    team_sort_descending(block_team(scratch), keys, count);
  } else if (warp_id() == 0) {
    team_sort_descending(warp_team{}, keys, count);
  }
}

template <class Team>
RESONANCE_DEVICE void sort_staged(const Team& team, std::uint64_t* staged, std::uint64_t* keys, std::int64_t count) {
  for (std::int64_t i = team.rank(); i < count; i += team.size()) staged[i] = load(keys + i);
  team.sync();
  team_sort_descending(team, staged, count);
  for (std::int64_t i = team.rank(); i < count; i += team.size()) store(keys + i, staged[i]);
}

template <bool ByBlock>
__global__ void sort_in_shared(std::uint64_t* keys, std::int64_t count) {
  RESONANCE_SHARED_ARRAY(std::uint64_t, scratch, block_team::scratch_words);
  RESONANCE_DYNAMIC_SHARED(bytes);
  auto* staged = reinterpret_cast<std::uint64_t*>(bytes);
  if constexpr (ByBlock) {
    sort_staged(block_team(scratch), staged, keys, count);
  } else if (warp_id() == 0) {
    sort_staged(warp_team{}, staged, keys, count);
  }
}

template <bool ByBlock>
__global__ void rank_keys(const std::uint64_t* keys, std::int64_t count, std::int64_t* ranks) {
  RESONANCE_SHARED_ARRAY(std::uint64_t, scratch, block_team::scratch_words);
  const auto key_at = [&](std::int64_t i) { return load(keys + i); };
  const auto visit = [&](std::int64_t i, std::int64_t rank) { store(ranks + i, rank); };
  if constexpr (ByBlock) {
    team_rank_descending(block_team(scratch), count, key_at, visit);
  } else if (warp_id() == 0) {
    team_rank_descending(warp_team{}, count, key_at, visit);
  }
}

//! Distinct keys that differ in high and in low bits only, in random order.
std::vector<std::uint64_t> distinct_keys(support::random_source& random, std::int64_t count) {
  std::vector<std::uint64_t> keys;
  for (std::int64_t i = 0; i < count; ++i) keys.push_back((random.below(5) << 62) + static_cast<std::uint64_t>(i));
  for (std::size_t i = keys.size(); i > 1; --i) std::swap(keys[i - 1], keys[random.below(i)]);
  return keys;
}

std::vector<std::uint64_t> sorted(std::vector<std::uint64_t> keys) {
  std::sort(keys.begin(), keys.end(), std::greater<std::uint64_t>());
  return keys;
}

template <class Kernel>
void launch_and_expect_sorted(Kernel kernel, int threads, std::int64_t count, std::size_t shared_bytes) {
  support::random_source random(static_cast<std::uint64_t>(count));
  const std::vector<std::uint64_t> keys = distinct_keys(random, count);
  guarded_buffer<std::uint64_t> buffer(keys.size());
  std::copy(keys.begin(), keys.end(), buffer.begin());
  ASSERT_TRUE(support::accepted(detail::launch({}, {1, threads, shared_bytes}, kernel, buffer.data(), count)));
  EXPECT_EQ(support::values_of(buffer), sorted(keys)) << threads << " threads, " << count << " keys";
  EXPECT_TRUE(buffer.intact());
}

template <class Kernel>
void expect_sorted(Kernel kernel, int threads, std::int64_t count, std::size_t shared_bytes) {
  SCOPED_TRACE(simt::next_schedule());
  launch_and_expect_sorted(kernel, threads, count, shared_bytes);
}

//! Around the ends of a warp's reach (64), of what a block counts (2 keys per thread, 256), and of powers of two.
const std::vector<std::int64_t> counts = {0, 1, 2, 3, 31, 33, 63, 64, 65, 127, 128, 129, 200, 256, 257, 511, 513, 1000};

TEST(BlockSort, SortsInGlobalMemory) {
  for (const std::int64_t count : counts) {
    expect_sorted(sort_in_global<false>, 64, count, 0);
    for (const int threads : {32, 96, 256}) expect_sorted(sort_in_global<true>, threads, count, 0);
  }
}

TEST(BlockSort, SortsInSharedMemory) {
  for (const std::int64_t count : counts) {
    const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(std::uint64_t);
    expect_sorted(sort_in_shared<false>, 32, count, bytes);
    for (const int threads : {64, 128, 512}) expect_sorted(sort_in_shared<true>, threads, count, bytes);
  }
}

TEST(BlockSort, SortsUnderEverySchedule) {
  simt::under_every_schedule([] {
    launch_and_expect_sorted(sort_in_shared<true>, 96, 192, 192 * sizeof(std::uint64_t));
    launch_and_expect_sorted(sort_in_shared<true>, 96, 300, 300 * sizeof(std::uint64_t));
  });
}

TEST(BlockSort, SortsListsLongerThanSharedMemory) {
  for (const std::int64_t count : {8191, 20000}) expect_sorted(sort_in_global<true>, 512, count, 0);
}

TEST(BlockSort, RanksByCounting) {
  simt::under_every_schedule([] {
    for (const std::int64_t count : {0, 1, 2, 31, 32, 33, 100, 300}) {
      support::random_source random(static_cast<std::uint64_t>(count) + 7);
      const std::vector<std::uint64_t> keys = distinct_keys(random, count);
      for (const bool by_block : {false, true}) {
        guarded_buffer<std::int64_t> ranks(keys.size());
        ASSERT_TRUE(support::accepted(detail::launch({}, {1, 96, 0}, by_block ? rank_keys<true> : rank_keys<false>,
                                                     keys.data(), count, ranks.data())));
        std::vector<std::uint64_t> placed(keys.size());
        for (std::size_t i = 0; i < keys.size(); ++i) placed.at(static_cast<std::size_t>(ranks[i])) = keys[i];
        EXPECT_EQ(placed, sorted(keys));
        EXPECT_TRUE(ranks.intact());
      }
    }
  });
}

}  // namespace
