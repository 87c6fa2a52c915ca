// SPDX-License-Identifier: Apache-2.0
#include "resonance/core/host_score_columns.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include "support/random.hpp"

namespace {

using namespace resonance;

constexpr float infinity = std::numeric_limits<float>::infinity();

// Normal numbers, few values, or mostly what cannot be chosen; a sample of every eighth row of the last kind misleads.
float score_of(support::random_source& random, int kind, std::int64_t row) {
  const float special[] = {NAN, -infinity, infinity, 0.0F, -0.0F, 1e-42F, std::numeric_limits<float>::max()};
  switch (kind) {
    case 0: return static_cast<float>(random.normal());
    case 1: return static_cast<float>(random.bits() % 5) - 2.0F;
    case 2: return random.coin(0.6) ? special[random.bits() % 7] : static_cast<float>(random.normal());
    default: return row % 8 == 0 ? 10.0F + static_cast<float>(random.normal()) : static_cast<float>(random.normal());
  }
}

TEST(HostScoreColumns, ListsTheBestRowsOfEveryColumn) {
  support::random_source random(42);
  for (const std::int64_t rows : {0, 1, 15, 16, 17, 511, 513, 1023, 1040, 5003}) {
    for (const std::int64_t columns : {1, 13, 16, 37}) {
      for (int kind = 0; kind < 4; ++kind) {
        const std::int64_t stride = columns + 3;
        std::vector<float> memory(static_cast<std::size_t>(rows * stride), 99.0F);
        for (std::int64_t row = 0; row < rows; ++row)
          for (std::int64_t c = 0; c < columns; ++c)
            memory[static_cast<std::size_t>(row * stride + c)] = score_of(random, kind, row);
        const matrix_view<const float> scores(memory.data(), rows, columns, stride);
        for (const int workers : {1, 3}) {
          detail::workspace_carver counter;
          detail::column_scan scan;
          scan.carve(counter, workers, rows);
          std::vector<char> workspace(counter.bytes());
          detail::workspace_carver carver(workspace.data());
          scan.carve(carver, workers, rows);
          std::vector<int> visits(static_cast<std::size_t>(columns), 0);
          scan.run(
              serial_executor{}, scores,
              [&](const detail::score_columns& loaded, std::int64_t column, std::uint64_t* items) {
                ++visits[static_cast<std::size_t>(column)];
                std::vector<std::uint64_t> expected;
                for (std::int64_t row = 0; row < rows; ++row) {
                  const std::uint32_t key = order_key(scores.row(row)[column]);
                  if (key != never_chosen) expected.push_back(pack_key(key, static_cast<std::uint32_t>(row)));
                }
                std::sort(expected.begin(), expected.end(), std::greater<std::uint64_t>());
                for (const std::int64_t wanted : {std::int64_t{0}, std::int64_t{1}, rows / 8, rows / 2, rows + 5}) {
                  const std::int64_t count = loaded.list_best(column, wanted, items);
                  std::vector<std::uint64_t> listed(items, items + count);
                  for (const std::uint64_t item : listed) {
                    const float score = loaded.score(column, item);
                    const float stored = scores.row(packed_index(item))[column];
                    ASSERT_EQ(std::memcmp(&score, &stored, sizeof score), 0) << score << " is not " << stored;
                  }
                  ASSERT_TRUE(std::is_sorted(listed.begin(), listed.end(), [](std::uint64_t a, std::uint64_t b) {
                    return packed_index(a) < packed_index(b);
                  }));
                  std::sort(listed.begin(), listed.end(), std::greater<std::uint64_t>());
                  const auto best = std::min(static_cast<std::size_t>(wanted), expected.size());
                  ASSERT_GE(listed.size(), best);
                  ASSERT_TRUE(std::equal(expected.begin(), expected.begin() + static_cast<std::ptrdiff_t>(best),
                                         listed.begin()))
                      << rows << " rows, column " << column << " of " << columns << ", kind " << kind;
                }
              });
          EXPECT_EQ(visits, std::vector<int>(static_cast<std::size_t>(columns), 1));
        }
      }
    }
  }
}

}  // namespace
