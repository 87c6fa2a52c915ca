// SPDX-License-Identifier: Apache-2.0
// Rows of the three storage types as the tests build and read them, and plans made by the reference.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <ostream>
#include <type_traits>
#include <vector>

#include "reference/permute.hpp"
#include "reference/plan.hpp"
#include "resonance/core/row_type.hpp"
#include "resonance/permute/row_plan.hpp"
#include "support/assignments.hpp"
#include "support/half.hpp"

namespace permute_test {

using row_types = ::testing::Types<float, resonance::bfloat16, resonance::float16>;

inline double value_of(float x) { return static_cast<double>(x); }
inline double value_of(resonance::bfloat16 x) { return static_cast<double>(support::bf16_to_float(x.bits)); }
inline double value_of(resonance::float16 x) { return static_cast<double>(support::fp16_to_float(x.bits)); }

inline void encode(float value, float& stored) { stored = value; }
inline void encode(float value, resonance::bfloat16& stored) { stored.bits = support::float_to_bf16(value); }
inline void encode(float value, resonance::float16& stored) { stored.bits = support::float_to_fp16(value); }

//! A matrix between red zones: `stride` elements from row to row, the first `misalignment` elements off a 64-byte
//! address. The columns past `cols` are poison like the rest.
template <class Row>
struct stored_rows {
  support::guarded_buffer<Row> memory;
  std::int64_t rows, cols, stride;

  stored_rows(std::int64_t row_count, std::int64_t col_count, std::int64_t extra = 0, std::size_t misalignment = 0)
      : memory(static_cast<std::size_t>(row_count * (col_count + extra)), misalignment),
        rows(row_count),
        cols(col_count),
        stride(col_count + extra) {}

  void fill_normal(support::random_source& random) {
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t j = 0; j < cols; ++j) encode(static_cast<float>(random.normal()), at(r, j));
  }
  //! Any bits at all: NaN payloads, infinities and subnormal numbers among them.
  void fill_bits(support::random_source& random) {
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t j = 0; j < cols; ++j) {
        const std::uint64_t bits = random.bits();
        std::memcpy(&at(r, j), &bits, sizeof(Row));
      }
  }
  Row& at(std::int64_t r, std::int64_t j) { return memory[static_cast<std::size_t>(r * stride + j)]; }
  const Row& at(std::int64_t r, std::int64_t j) const { return memory[static_cast<std::size_t>(r * stride + j)]; }

  resonance::matrix_view<Row> view() { return {memory.data(), rows, cols, stride}; }
  resonance::matrix_view<const Row> read() const { return {memory.data(), rows, cols, stride}; }
  bool same_row(std::int64_t r, const stored_rows& other, std::int64_t other_row) const {
    return cols == 0 ||
           std::memcmp(&at(r, 0), &other.at(other_row, 0), static_cast<std::size_t>(cols) * sizeof(Row)) == 0;
  }
  bool zero_row(std::int64_t r) const {
    stored_rows zeros(1, cols);
    std::memset(static_cast<void*>(zeros.memory.data()), 0, zeros.memory.size_bytes());
    return same_row(r, zeros, 0);
  }
  //! Nothing was written between the rows, nor to the rows from `first` on.
  bool gaps_untouched(std::int64_t first) const {
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::int64_t written = r < first ? cols : 0;
      if (!memory.untouched(static_cast<std::size_t>(r * stride + written), static_cast<std::size_t>(stride - written)))
        return false;
    }
    return memory.intact();
  }
  reference::matrix widened() const {
    reference::matrix result(static_cast<std::size_t>(rows), static_cast<std::size_t>(cols));
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t j = 0; j < cols; ++j)
        result(static_cast<std::size_t>(r), static_cast<std::size_t>(j)) = value_of(at(r, j));
    return result;
  }
};

//! The reference's plan of a batch, in the library's index type.
template <class Index>
struct planned {
  reference::plan_result plan;
  std::vector<Index> sorted_token_ids, inverse;
  resonance::assignment_view assignments;

  //! expert_map: as plan::options has it, entries from 0 to num_local - 1 being local; empty: every expert is.
  planned(const support::random_choices& c, std::size_t tile_tokens, const std::vector<std::int32_t>& expert_map = {},
          std::size_t num_local = 0)
      : assignments(c.view()) {
    reference::plan_options o;
    o.experts = c.experts();
    o.tile_tokens = tile_tokens;
    o.expert_map = expert_map;
    o.num_local = num_local;
    plan = reference::plan(c.reference_ids(), o);
    sorted_token_ids.assign(plan.sorted_token_ids.begin(), plan.sorted_token_ids.end());
    inverse.assign(plan.inverse.values.begin(), plan.inverse.values.end());
  }
  std::int64_t rows() const { return static_cast<std::int64_t>(sorted_token_ids.size()); }
  resonance::permute::row_plan<Index> view() const {
    return {assignments, sorted_token_ids.data(), inverse.data(), rows()};
  }
};

//! Permuted rows have the bits that the reference gives them; what lies past the plan's rows is not looked at.
template <class Row>
void expect_permuted(const stored_rows<Row>& got, const stored_rows<Row>& x, const reference::plan_result& plan) {
  reference::table<Row> rows(static_cast<std::size_t>(x.rows), static_cast<std::size_t>(x.cols));
  for (std::size_t t = 0; t < rows.rows; ++t)
    for (std::size_t j = 0; j < rows.cols; ++j)
      rows(t, j) = x.at(static_cast<std::int64_t>(t), static_cast<std::int64_t>(j));
  const reference::table<Row> expected = reference::permute(rows, plan.sorted_token_ids, plan.inverse.cols);
  for (std::size_t row = 0; row < expected.rows && x.cols > 0; ++row)
    ASSERT_EQ(std::memcmp(&got.at(static_cast<std::int64_t>(row), 0), &expected(row, 0),
                          static_cast<std::size_t>(x.cols) * sizeof(Row)),
              0)
        << "row " << row;
}

//! Combined rows: one rounding to the row type, and K float roundings of terms that may cancel.
template <class Row>
void expect_combined(const stored_rows<Row>& got, const reference::matrix& expected, std::size_t top_k) {
  const double unit = std::is_same<Row, float>::value                ? 0.0
                      : std::is_same<Row, resonance::float16>::value ? 0x1p-11
                                                                     : 0x1p-8;
  for (std::size_t t = 0; t < expected.rows; ++t)
    for (std::size_t j = 0; j < expected.cols; ++j)
      ASSERT_NEAR(value_of(got.at(static_cast<std::int64_t>(t), static_cast<std::int64_t>(j))), expected(t, j),
                  unit * std::fabs(expected(t, j)) + 1e-5 * static_cast<double>(top_k))
          << "token " << t << " column " << j;
}

struct row_shape {
  support::batch_shape batch;
  std::int64_t hidden, extra;
  std::size_t misalignment, tile_tokens;
};

inline std::ostream& operator<<(std::ostream& out, const row_shape& s) {
  return out << s.batch << " H=" << s.hidden << " extra=" << s.extra << " misalignment=" << s.misalignment
             << " tile=" << s.tile_tokens;
}

//! Odd and even H, dense and strided, aligned and not; the last ones occupy eight workers.
inline std::vector<row_shape> row_shapes() {
  return {{{0, 6, 2}, 8, 0, 0, 1},      {{1, 1, 1}, 1, 0, 0, 1},       {{7, 7, 7}, 3, 2, 1, 4},
          {{33, 6, 2}, 0, 3, 0, 1},     {{33, 13, 8}, 17, 0, 3, 16},   {{33, 64, 8}, 512, 0, 0, 1},
          {{33, 64, 22}, 513, 5, 1, 7}, {{33, 128, 8}, 2880, 0, 0, 1}, {{257, 72, 2}, 63, 1, 0, 128},
          {{257, 6, 6}, 1031, 0, 5, 4}, {{4099, 13, 2}, 5, 0, 0, 16}};
}

//! A few of them, for device code on the CPU.
inline std::vector<row_shape> reference_shapes() {
  return {{{0, 13, 2}, 8, 0, 0, 1},    {{1, 1, 1}, 1, 0, 0, 1},     {{33, 13, 8}, 17, 0, 3, 16},
          {{33, 72, 8}, 512, 0, 0, 1}, {{257, 72, 2}, 63, 1, 0, 7}, {{33, 257, 8}, 24, 0, 0, 4}};
}

}  // namespace permute_test
