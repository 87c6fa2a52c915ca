// SPDX-License-Identifier: Apache-2.0
//! \file
//! The assignment problem: n rows to n columns, each to one, at the least total cost.
#ifndef RESONANCE_OFFLINE_LEAST_COST_ASSIGNMENT_HPP
#define RESONANCE_OFFLINE_LEAST_COST_ASSIGNMENT_HPP

#include <cstddef>
#include <cstdint>
#include <limits>

#include <resonance/config.hpp>
#include <resonance/core/workspace.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

//! Finds assignments of n rows to n columns by shortest augmenting paths (Kuhn 1955; Jonker and Volgenant 1987), in
//! integers, ties to the lower column: same result everywhere.
class assignment_solver {
 public:
  assignment_solver(workspace_carver& carver, std::int32_t n)
      : n_(n),
        row_price_(carver.take<std::int64_t>(n)),
        column_price_(carver.take<std::int64_t>(n)),
        distance_(carver.take<std::int64_t>(n)),
        row_of_(carver.take<std::int32_t>(n)),
        before_(carver.take<std::int32_t>(n)),
        settled_(carver.take<bool>(n)) {}

  //! cost(row, column) -> int64, |cost| * n < 2^62. O(n^3). The row of every column is then in row_of.
  template <class Cost>
  void solve(const Cost& cost) {
    for (std::int32_t j = 0; j < n_; ++j) {
      column_price_[j] = 0;
      row_of_[j] = -1;
    }
    for (std::int32_t row = 0; row < n_; ++row) add(row, cost);
  }

  std::int32_t row_of(std::int32_t column) const { return row_of_[column]; }

 private:
  //! Gives `row` a column; rows that have one may change it. Reduced costs cost - row_price - column_price never fall
  //! below 0, and are 0 where assigned, so that a shortest path is the cheapest change.
  template <class Cost>
  void add(std::int32_t row, const Cost& cost) {
    row_price_[row] = std::numeric_limits<std::int64_t>::max();
    for (std::int32_t j = 0; j < n_; ++j) {
      const std::int64_t own = cost(row, j) - column_price_[j];
      distance_[j] = own;
      before_[j] = -1;
      settled_[j] = false;
      row_price_[row] = own < row_price_[row] ? own : row_price_[row];
    }
    for (std::int32_t j = 0; j < n_; ++j) distance_[j] -= row_price_[row];

    std::int32_t last = nearest();
    while (row_of_[last] >= 0) {
      settled_[last] = true;
      const std::int32_t from = row_of_[last];
      for (std::int32_t j = 0; j < n_; ++j) {
        const std::int64_t length = distance_[last] + cost(from, j) - row_price_[from] - column_price_[j];
        if (settled_[j] || length >= distance_[j]) continue;
        distance_[j] = length;
        before_[j] = last;
      }
      last = nearest();
    }

    const std::int64_t length = distance_[last];
    row_price_[row] += length;
    for (std::int32_t j = 0; j < n_; ++j) {
      if (!settled_[j]) continue;
      row_price_[row_of_[j]] += length - distance_[j];
      column_price_[j] -= length - distance_[j];
    }
    for (; before_[last] >= 0; last = before_[last]) row_of_[last] = row_of_[before_[last]];
    row_of_[last] = row;
  }

  std::int32_t nearest() const {
    std::int32_t best = -1;
    for (std::int32_t j = 0; j < n_; ++j)
      if (!settled_[j] && (best < 0 || distance_[j] < distance_[best])) best = j;
    return best;
  }

  std::int32_t n_;
  std::int64_t* row_price_;
  std::int64_t* column_price_;
  std::int64_t* distance_;  // to a column, over columns that are taken
  std::int32_t* row_of_;
  std::int32_t* before_;  // the column before on that path; -1 = the new row itself
  bool* settled_;
};

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
