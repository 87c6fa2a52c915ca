// SPDX-License-Identifier: Apache-2.0
//! \file
//! The rows that one token's slots have.
#ifndef RESONANCE_PERMUTE_HOST_TOKEN_ROWS_HPP
#define RESONANCE_PERMUTE_HOST_TOKEN_ROWS_HPP

#include <cstddef>
#include <cstdint>

#include <resonance/core/host_stream.hpp>
#include <resonance/core/views.hpp>
#include <resonance/permute/row_plan.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

//! Columns summed at once: a line or more of each row, and sums that stay in registers.
inline constexpr int summed_columns = 64;

//! Rows of a token with their weights, in slot order.
template <class Row>
struct token_rows {
  static constexpr int most = 32;
  const Row* row[most];
  float weight[most];
  int count = 0;

  //! Lists the rows of slots [slot, end), `most` at most; returns the slot to go on from.
  template <class Index>
  std::int64_t list(const permute::row_plan<Index>& plan, const matrix_view<const Row>& permuted, std::int64_t slot,
                    std::int64_t end) {
    count = 0;
    for (; slot < end && count < most; ++slot) {
      const std::int64_t found = plan.inverse[slot];
      if (found < 0 || found >= plan.num_rows) continue;
      row[count] = permuted.row(found);
      weight[count] = plan.assignments.weights != nullptr ? plan.assignments.weights[slot] : 1.0f;
      ++count;
    }
    return slot;
  }

  RESONANCE_FORCE_INLINE void prefetch(std::int64_t column, int columns) const {
    for (int i = 0; i < count; ++i) {
      const char* line = reinterpret_cast<const char*>(row[i] + column);
      for (std::size_t at = 0; at < static_cast<std::size_t>(columns) * sizeof(Row); at += 64) prefetch_line(line + at);
    }
  }
};

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
