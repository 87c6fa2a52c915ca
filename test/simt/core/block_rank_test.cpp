// SPDX-License-Identifier: Apache-2.0
// Ranks of lists of every length, by a warp and by blocks of several sizes, with little and with ample shared memory.
#include "resonance/core/block_rank.cuh"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <simt/environment.hpp>
#include <vector>

#include "resonance/core/launch.cuh"
#include "support/assignments.hpp"

namespace {

using namespace resonance;
using support::guarded_buffer;

// Ranks the list twice, so that the second call finds the scratch as the first left it.
template <bool ByBlock>
__global__ void rank_list(const std::uint32_t* keys, std::uint32_t count, int shared_words, std::uint64_t* spill,
                          std::uint32_t* ranks, std::uint32_t* visits) {
  RESONANCE_SHARED_ARRAY(std::uint64_t, team_scratch, block_team::scratch_words);
  RESONANCE_DYNAMIC_SHARED(bytes);
  const rank_scratch scratch{reinterpret_cast<std::uint64_t*>(bytes), shared_words, spill};
  const auto key_at = [&](std::uint32_t i) { return load(keys + i); };
  const auto visit = [&](std::uint32_t i, std::uint32_t rank) {
    store(ranks + i, rank);
    atomic_add(visits + i, 1u);
  };
  for (int time = 0; time < 2; ++time) {
    if constexpr (ByBlock) {
      team_rank_list(block_team(team_scratch), count, key_at, scratch, visit);
    } else if (warp_id() == 0) {
      team_rank_list(warp_team{}, count, key_at, scratch, visit);
    }
  }
}

std::vector<std::uint32_t> expected_ranks(const std::vector<std::uint32_t>& keys) {
  std::vector<std::uint32_t> order(keys.size());
  std::iota(order.begin(), order.end(), 0U);
  std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) { return keys[a] > keys[b]; });
  std::vector<std::uint32_t> ranks(keys.size());
  for (std::uint32_t rank = 0; rank < order.size(); ++rank) ranks[order[rank]] = rank;
  return ranks;
}

void expect_ranks(const std::vector<std::uint32_t>& keys, int shared_words) {
  SCOPED_TRACE(::testing::Message() << keys.size() << " keys, " << shared_words << " words");
  const auto count = static_cast<std::uint32_t>(keys.size());
  const auto expect = [&](auto kernel, unsigned threads) {
    guarded_buffer<std::uint32_t> ranks(keys.size());
    guarded_buffer<std::uint64_t> spill(keys.size() > static_cast<std::size_t>(shared_words) ? 2 * keys.size() : 0);
    std::vector<std::uint32_t> visits(keys.size(), 0);
    ASSERT_EQ(simt::launch(kernel, dim3(1), dim3(threads), static_cast<std::size_t>(shared_words) * 8, nullptr,
                           keys.data(), count, shared_words, spill.data(), ranks.data(), visits.data()),
              cudaSuccess);
    EXPECT_TRUE(ranks.intact() && spill.intact());
    EXPECT_TRUE(support::values_of(ranks) == expected_ranks(keys)) << threads << " threads";
    EXPECT_TRUE(std::all_of(visits.begin(), visits.end(), [](std::uint32_t n) { return n == 2; }));
  };
  expect(rank_list<false>, 32);
  expect(rank_list<true>, 32);
  expect(rank_list<true>, 96);
  expect(rank_list<true>, 512);
}

// Keys that differ in every byte, in one byte alone, in one byte of few keys, not at all.
std::vector<std::uint32_t> some_keys(support::random_source& random, std::size_t count, int kind) {
  std::vector<std::uint32_t> keys(count, never_chosen);
  for (std::uint32_t& key : keys) {
    if (kind == 0) key = static_cast<std::uint32_t>(random.below(std::size_t{1} << 32));
    if (kind > 0 && kind <= 4) key = static_cast<std::uint32_t>(random.below(5)) << (8 * (kind - 1));
    if (kind == 5) key = random.coin(0.1) ? 0x00070000U : 0x00030000U;
  }
  return keys;
}

TEST(BlockRank, RanksListsOfEveryLength) {
  support::random_source random(21);
  for (std::size_t count : {0, 1, 2, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 1000, 2049})
    for (int words : {128, 300, 2048}) expect_ranks(some_keys(random, count, static_cast<int>(count) % 2), words);
}

TEST(BlockRank, RanksKeysThatDifferInOneByteOrNone) {
  support::random_source random(22);
  for (int kind = 1; kind <= 6; ++kind)
    for (int words : {128, 640}) expect_ranks(some_keys(random, 700, kind), words);
}

TEST(BlockRank, DoesNotDependOnTheSchedule) {
  support::random_source random(23);
  simt::under_every_schedule([&] {
    for (std::size_t count : {20, 200, 400}) expect_ranks(some_keys(random, count, 1), 256);
  });
}

}  // namespace
