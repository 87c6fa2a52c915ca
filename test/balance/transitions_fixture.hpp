// SPDX-License-Identifier: Apache-2.0
// Choices of two layers for the same tokens, and their transitions counted one by one.
#pragma once

#include <cstdint>
#include <vector>

#include "support/assignments.hpp"

namespace transitions_test {

using resonance::assignment_view;

struct two_layers {
  support::random_choices from, to;
  two_layers(support::random_source& random, std::int64_t tokens, std::int32_t experts, std::int32_t next_experts,
             std::int32_t top_k, std::int32_t next_top_k)
      : from(random, {tokens, experts, top_k}), to(random, {tokens, next_experts, next_top_k}) {}
};

inline std::vector<std::int64_t> counted(const assignment_view& from, const assignment_view& to, std::int64_t tokens) {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(from.experts) * static_cast<std::size_t>(to.experts), 0);
  for (std::int64_t t = 0; t < tokens; ++t)
    for (std::int64_t i = 0; i < from.slots_per_token; ++i)
      for (std::int64_t j = 0; j < to.slots_per_token; ++j) {
        const std::int64_t a = from.ids[t * from.slots_per_token + i];
        const std::int64_t b = to.ids[t * to.slots_per_token + j];
        if (a >= 0 && a < from.experts && b >= 0 && b < to.experts)
          ++counts[static_cast<std::size_t>(a * to.experts + b)];
      }
  return counts;
}

//! A table [E,E'] with three columns between its rows.
struct count_table {
  static constexpr std::int64_t gap = 3;
  support::guarded_buffer<std::int64_t> memory;
  std::int64_t rows, cols;
  count_table(std::int64_t r, std::int64_t c) : memory(static_cast<std::size_t>(r * (c + gap))), rows(r), cols(c) {}
  resonance::matrix_view<std::int64_t> view() { return {memory.data(), rows, cols, cols + gap}; }

  //! The values; fails where something was written between the rows.
  std::vector<std::int64_t> values() const {
    std::vector<std::int64_t> all;
    EXPECT_TRUE(memory.intact());
    for (std::int64_t r = 0; r < rows; ++r) {
      const auto first = static_cast<std::size_t>(r * (cols + gap));
      all.insert(all.end(), memory.begin() + first, memory.begin() + first + cols);
      EXPECT_TRUE(memory.untouched(first + static_cast<std::size_t>(cols), gap));
    }
    return all;
  }
};

//! What both backends refuse; count(from, to, counts) runs one.
template <class Count>
void expect_refusals(const Count& count) {
  support::random_source random(5);
  const two_layers l(random, 9, 4, 6, 2, 1);
  count_table table(4, 6);
  assignment_view from = l.from.view();
  assignment_view to = l.to.view();
  resonance::matrix_view<std::int64_t> counts = table.view();
  const auto expect = [&](resonance::status_code code, const char* argument) {
    EXPECT_TRUE(support::refused(count(from, to, counts), code, argument));
    EXPECT_TRUE(table.memory.untouched());
    from = l.from.view();
    to = l.to.view();
    counts = table.view();
  };
  from.ids = nullptr;
  expect(resonance::status_code::null_pointer, "from");
  to.experts = 0;
  expect(resonance::status_code::out_of_range, "to");
  to.tokens = 8;
  expect(resonance::status_code::shape_mismatch, "to");
  counts.data = nullptr;
  expect(resonance::status_code::null_pointer, "counts");
  counts.rows = 6;
  expect(resonance::status_code::shape_mismatch, "counts");
  counts.cols = 4;
  expect(resonance::status_code::shape_mismatch, "counts");
}

}  // namespace transitions_test
