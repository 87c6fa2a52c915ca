// SPDX-License-Identifier: Apache-2.0
#include <resonance/token_choice/select.hpp>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "support/poison.hpp"
#include "support/random.hpp"

namespace {

//! Indices of choosable keys, best first, by a stable sort.
std::vector<std::uint32_t> sorted_indices(const std::vector<std::uint32_t>& keys) {
  std::vector<std::uint32_t> order(keys.size());
  std::iota(order.begin(), order.end(), 0U);
  std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) { return keys[a] > keys[b]; });
  while (!order.empty() && keys[order.back()] == resonance::never_chosen) order.pop_back();
  return order;
}

TEST(SelectBest, FindsTheBestOfEveryCountWithTiesToTheLowerIndex) {
  support::random_source random(51);
  for (std::size_t count : {1, 2, 6, 7, 13, 31, 32, 33, 63, 64, 65, 72, 127, 128, 129, 257, 512})
    for (std::size_t distinct : {1, 3, 1 << 30})
      for (double absent : {0.0, 0.3, 0.95, 1.0}) {
        std::vector<std::uint32_t> keys(count);
        for (std::uint32_t& key : keys)
          key = random.coin(absent) ? resonance::never_chosen : 1 + static_cast<std::uint32_t>(random.below(distinct));
        const std::vector<std::uint32_t> expected = sorted_indices(keys);
        for (std::size_t wanted : {std::size_t{1}, std::size_t{2}, std::size_t{8}, std::size_t{9}, std::size_t{22},
                                   std::size_t{32}, std::size_t{33}, std::size_t{40}, count}) {
          if (wanted > count) continue;
          support::guarded_buffer<std::uint64_t> best(wanted), candidates(count);
          const std::int32_t found =
              resonance::token_choice::select_best(keys.data(), static_cast<std::int32_t>(count),
                                                   static_cast<std::int32_t>(wanted), best.data(), candidates.data());
          ASSERT_EQ(static_cast<std::size_t>(found), std::min(wanted, expected.size())) << wanted << " of " << count;
          for (std::size_t k = 0; k < static_cast<std::size_t>(found); ++k) {
            ASSERT_EQ(resonance::packed_index(best[k]), expected[k]) << wanted << " of " << count << " at " << k;
            ASSERT_EQ(resonance::packed_key(best[k]), keys[expected[k]]);
          }
          ASSERT_TRUE(best.intact() && candidates.intact());
        }
      }
}

TEST(SelectBest, HandlesRisingAndFallingKeys) {
  for (std::int32_t wanted : {5, 32, 33, 100}) {
    std::vector<std::uint32_t> rising(100), falling(100);
    for (std::uint32_t i = 0; i < 100; ++i) {
      rising[i] = 1 + i;
      falling[i] = 100 - i;
    }
    std::vector<std::uint64_t> best(100), candidates(100);
    EXPECT_EQ(resonance::token_choice::select_best(rising.data(), 100, wanted, best.data(), candidates.data()), wanted);
    for (std::uint32_t k = 0; k < static_cast<std::uint32_t>(wanted); ++k)
      EXPECT_EQ(resonance::packed_index(best[k]), 99 - k);
    EXPECT_EQ(resonance::token_choice::select_best(falling.data(), 100, wanted, best.data(), candidates.data()),
              wanted);
    for (std::uint32_t k = 0; k < static_cast<std::uint32_t>(wanted); ++k)
      EXPECT_EQ(resonance::packed_index(best[k]), k);
  }
}

}  // namespace
