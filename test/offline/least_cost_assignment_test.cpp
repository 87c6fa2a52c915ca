// SPDX-License-Identifier: Apache-2.0
#include <resonance/offline/least_cost_assignment.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "support/assignments.hpp"
#include "support/random.hpp"

namespace {

using namespace resonance;

std::int64_t least_cost(const std::vector<std::int64_t>& costs, std::size_t n) {
  std::vector<std::size_t> column(n);
  std::iota(column.begin(), column.end(), std::size_t{0});
  std::int64_t least = 0;
  bool first = true;
  do {
    std::int64_t sum = 0;
    for (std::size_t row = 0; row < n; ++row) sum += costs[row * n + column[row]];
    if (first || sum < least) least = sum;
    first = false;
  } while (std::next_permutation(column.begin(), column.end()));
  return least;
}

std::vector<std::int32_t> solve(const std::vector<std::int64_t>& costs, std::size_t n) {
  detail::workspace_carver counter;
  detail::assignment_solver sized(counter, static_cast<std::int32_t>(n));
  support::exact_workspace space(counter.bytes());
  detail::workspace_carver carver(space.view().data);
  detail::assignment_solver solver(carver, static_cast<std::int32_t>(n));
  solver.solve([&](std::int32_t row, std::int32_t column) {
    return costs[static_cast<std::size_t>(row) * n + static_cast<std::size_t>(column)];
  });
  EXPECT_TRUE(space.intact());
  std::vector<std::int32_t> rows;
  for (std::size_t column = 0; column < n; ++column) rows.push_back(solver.row_of(static_cast<std::int32_t>(column)));
  return rows;
}

//! An assignment's cost; -1 for the rows that are not all there.
std::int64_t cost_of(const std::vector<std::int64_t>& costs, const std::vector<std::int32_t>& rows) {
  std::int64_t sum = 0;
  for (std::size_t column = 0; column < rows.size(); ++column)
    sum += costs[static_cast<std::size_t>(rows[column]) * rows.size() + column];
  std::vector<std::int32_t> sorted = rows;
  std::sort(sorted.begin(), sorted.end());
  for (std::size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(sorted[i], static_cast<std::int32_t>(i));
  return sum;
}

TEST(LeastCostAssignment, IsTheBestOfAllPermutations) {
  support::random_source random(1);
  for (std::size_t n = 1; n <= 7; ++n)
    for (int turn = 0; turn < 60; ++turn) {
      const std::size_t range = turn % 3 == 0 ? 3 : 1000;  // many ties, and few
      std::vector<std::int64_t> costs;
      for (std::size_t i = 0; i < n * n; ++i)
        costs.push_back(static_cast<std::int64_t>(random.below(range)) - static_cast<std::int64_t>(range / 2));
      EXPECT_EQ(cost_of(costs, solve(costs, n)), least_cost(costs, n)) << "n = " << n;
    }
}

// A hidden permutation costs 0, all else more: it has to be found at any size.
TEST(LeastCostAssignment, FindsAHiddenPermutation) {
  support::random_source random(2);
  constexpr std::size_t n = 150;
  std::vector<std::int32_t> hidden(n);
  std::iota(hidden.begin(), hidden.end(), 0);
  for (std::size_t i = n; i > 1; --i) std::swap(hidden[i - 1], hidden[random.below(i)]);
  std::vector<std::int64_t> row_price(n), column_price(n), costs(n * n);
  for (std::int64_t& price : row_price) price = static_cast<std::int64_t>(random.below(1000000));
  for (std::int64_t& price : column_price) price = static_cast<std::int64_t>(random.below(1000000));
  for (std::size_t row = 0; row < n; ++row)
    for (std::size_t column = 0; column < n; ++column)
      costs[row * n + column] = row_price[row] + column_price[column] +
                                (hidden[column] == static_cast<std::int32_t>(row) ? 0 : 1 + random.below(50));
  EXPECT_EQ(solve(costs, n), hidden);
}

TEST(LeastCostAssignment, LeavesEqualRowsInOrder) {
  EXPECT_EQ(solve(std::vector<std::int64_t>(25, 7), 5), (std::vector<std::int32_t>{0, 1, 2, 3, 4}));
}

}  // namespace
