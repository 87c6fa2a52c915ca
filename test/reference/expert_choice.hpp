// SPDX-License-Identifier: Apache-2.0
// Section 4 of the contract: each expert chooses tokens.
#pragma once

#include <cfloat>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "reference/order.hpp"
#include "reference/table.hpp"

namespace reference {

//! For each expert its tokens, best first, -1 in the slots that found none.
using token_lists = std::vector<std::vector<std::int32_t>>;

//! The capacities[i] best tokens of expert i by `keys` [T,E], over all tokens or, where `candidates` [T,K] is given,
//! over the tokens that chose the expert. A token that chose an expert twice is still one candidate.
inline token_lists expert_choice(const matrix& keys, const std::vector<std::size_t>& capacities,
                                 const id_table* candidates = nullptr, double largest_finite = FLT_MAX) {
  token_lists chosen(keys.cols);
  for (std::size_t e = 0; e < keys.cols; ++e) {
    std::vector<double> column(keys.rows);
    for (std::size_t t = 0; t < keys.rows; ++t) {
      bool is_candidate = candidates == nullptr;
      for (std::size_t slot = 0; candidates != nullptr && slot < candidates->cols; ++slot)
        is_candidate = is_candidate || (*candidates)(t, slot) == static_cast<std::int32_t>(e);
      column[t] = is_candidate ? keys(t, e) : absent;
    }
    const std::vector<std::size_t> order = choosable_in_order(column, largest_finite);
    chosen[e].assign(capacities[e], -1);
    for (std::size_t c = 0; c < capacities[e] && c < order.size(); ++c)
      chosen[e][c] = static_cast<std::int32_t>(order[c]);
  }
  return chosen;
}

inline token_lists expert_choice(const matrix& keys, std::size_t capacity, const id_table* candidates = nullptr,
                                 double largest_finite = FLT_MAX) {
  return expert_choice(keys, std::vector<std::size_t>(keys.cols, capacity), candidates, largest_finite);
}

}  // namespace reference
