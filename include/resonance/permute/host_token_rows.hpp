// SPDX-License-Identifier: Apache-2.0
//! \file
//! The rows that one token's slots have.
#ifndef RESONANCE_PERMUTE_HOST_TOKEN_ROWS_HPP
#define RESONANCE_PERMUTE_HOST_TOKEN_ROWS_HPP

#include <cstddef>
#include <cstdint>

#include <resonance/core/host_stream.hpp>
#include <resonance/core/views.hpp>
#include <resonance/permute/in_place_experts.hpp>
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

  void add(const Row* its_row, float its_weight) {
    row[count] = its_row;
    weight[count] = its_weight;
    ++count;
  }

  //! Lists the rows that `slots` gives the token's slots [slot, end), `most` at most; returns the slot to go on from.
  template <class Slots>
  std::int64_t list(const Slots& slots, std::int64_t token, std::int64_t slot, std::int64_t end) {
    count = 0;
    for (; slot < end && count + Slots::most_rows <= most; ++slot) slots.add_rows(token, slot, *this);
    return slot;
  }

  RESONANCE_FORCE_INLINE void prefetch(std::int64_t column, int columns) const {
    for (int i = 0; i < count; ++i) {
      const char* line = reinterpret_cast<const char*>(row[i] + column);
      for (std::size_t at = 0; at < static_cast<std::size_t>(columns) * sizeof(Row); at += 64) prefetch_line(line + at);
    }
  }
};

//! Slots whose rows are those of a plan.
template <class Row, class Index>
struct planned_slots {
  static constexpr int most_rows = 1;  // of a slot
  matrix_view<const Row> permuted;
  permute::row_plan<Index> plan;

  const assignment_view& assignments() const { return plan.assignments; }
  //! Rows that there are to be read.
  std::int64_t rows() const { return plan.num_rows; }
  float weight(std::int64_t slot) const {
    return plan.assignments.weights != nullptr ? plan.assignments.weights[slot] : 1.0f;
  }
  void add_rows(std::int64_t, std::int64_t slot, token_rows<Row>& list) const {
    const std::int64_t found = plan.inverse[slot];
    if (found >= 0 && found < plan.num_rows) list.add(permuted.row(found), weight(slot));
  }
};

//! Slots whose experts have rows in a plan, or none and are computed in place.
template <class Row, class Index>
struct slots_in_place {
  static constexpr int most_rows = 2;
  planned_slots<Row, Index> planned;
  permute::in_place_experts<Row> experts;

  const assignment_view& assignments() const { return planned.assignments(); }
  std::int64_t rows() const { return planned.rows() + experts.x.rows; }
  void add_rows(std::int64_t token, std::int64_t slot, token_rows<Row>& list) const {
    namespace in_place = permute::in_place;
    const std::int32_t id = assignments().ids[slot];
    if (!assignments().is_expert(id)) return;
    const std::int32_t entry = experts.expert_map[id];
    if (entry >= 0) return planned.add_rows(token, slot, list);
    if (entry == in_place::zero) return;
    const Row* input = experts.x.row(token);
    if (entry == in_place::copy) return list.add(input, planned.weight(slot));
    const std::int64_t n = in_place::constant_number(entry);
    const float* logits = experts.mixing.row(token) + 2 * n;
    const in_place::shares shares = in_place::mix(logits[0], logits[1]);
    list.add(input, planned.weight(slot) * shares.of_input);
    list.add(experts.constants.row(n), planned.weight(slot) * shares.of_constant);
  }
};

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
