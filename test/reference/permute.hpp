// SPDX-License-Identifier: Apache-2.0
// Section 8 of the contract: rows to experts and back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "reference/table.hpp"

namespace reference {

//! Xp[row] = X[token of row], padding rows zero. Any element type: the rows are copied as they are.
template <class Value>
table<Value> permute(const table<Value>& x, const std::vector<std::int32_t>& sorted_token_ids, std::size_t k) {
  table<Value> permuted(sorted_token_ids.size(), x.cols);
  for (std::size_t row = 0; row < sorted_token_ids.size(); ++row) {
    if (sorted_token_ids[row] < 0) continue;
    const std::size_t token = static_cast<std::size_t>(sorted_token_ids[row]) / k;
    for (std::size_t j = 0; j < x.cols; ++j) permuted(row, j) = x(token, j);
  }
  return permuted;
}

//! Y[t] = sum over slots, in slot order, of weight * Yp[inverse]. A token without a row gives 0, or its row of
//! `passthrough` [T,H] where that is given.
inline matrix unpermute(const matrix& permuted, const id_table& inverse, const matrix& weights,
                        const matrix* passthrough = nullptr) {
  matrix y(inverse.rows, permuted.cols);
  for (std::size_t t = 0; t < inverse.rows; ++t) {
    bool has_row = false;
    for (std::size_t slot = 0; slot < inverse.cols; ++slot) {
      if (inverse(t, slot) < 0) continue;
      has_row = true;
      const auto row = static_cast<std::size_t>(inverse(t, slot));
      for (std::size_t j = 0; j < permuted.cols; ++j) y(t, j) += weights(t, slot) * permuted(row, j);
    }
    for (std::size_t j = 0; !has_row && passthrough != nullptr && j < y.cols; ++j) y(t, j) = (*passthrough)(t, j);
  }
  return y;
}

}  // namespace reference
