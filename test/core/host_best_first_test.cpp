// SPDX-License-Identifier: Apache-2.0
#include "resonance/core/host_best_first.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "support/random.hpp"

namespace {

// What the keys of a batch can look like: spread over all words, over few, one tight crowd among strays, the largest of
// 9000 exactly where a sample looks, all alike.
std::uint64_t item_of(support::random_source& random, int kind, std::size_t place) {
  switch (kind) {
    case 0: return random.bits();
    case 1: return random.bits() % 700;
    case 2: return place % 50 == 0 ? random.bits() : (std::uint64_t{1} << 62) + random.bits() % 4096;
    case 3: return place % (9000 / 63) == 0 ? ~std::uint64_t{0} - place : random.bits() / 2;
    default: return 77;
  }
}

TEST(HostBestFirst, SortsAnyNumberOfAnyKeys) {
  support::random_source random(41);
  for (const std::size_t count :
       {0u, 1u, 2u, 31u, 32u, 33u, 34u, 255u, 256u, 257u, 1023u, 2047u, 2048u, 2049u, 3072u, 3073u, 6200u, 9000u}) {
    for (int kind = 0; kind < 5; ++kind) {
      std::vector<std::uint64_t> items(count);
      for (std::size_t i = 0; i < count; ++i) items[i] = item_of(random, kind, i);
      std::vector<std::uint64_t> expected = items;
      std::sort(expected.begin(), expected.end(), std::greater<std::uint64_t>());
      for (const std::size_t wanted : {count, count - count / 3, count / 4, std::size_t{0}}) {
        std::vector<std::uint64_t> sorted = items;
        resonance::detail::sort_best_first(sorted.data(), static_cast<std::int64_t>(count),
                                           static_cast<std::int64_t>(wanted));
        sorted.resize(wanted);
        ASSERT_TRUE(std::equal(sorted.begin(), sorted.end(), expected.begin()))
            << wanted << " of " << count << " items of kind " << kind;
      }
    }
  }
}

}  // namespace
