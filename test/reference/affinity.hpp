// SPDX-License-Identifier: Apache-2.0
// Section 2 of the contract, first half: the metrics delta [T,E]. NaN in a row spreads to what it touches.
#pragma once

#include <cmath>
#include <cstddef>
#include <vector>

#include "reference/table.hpp"

namespace reference {

inline std::vector<double> row_norms(const matrix& rows) {
  std::vector<double> norms(rows.rows);
  for (std::size_t r = 0; r < rows.rows; ++r) {
    double sum_of_squares = 0;
    for (std::size_t j = 0; j < rows.cols; ++j) sum_of_squares += rows(r, j) * rows(r, j);
    norms[r] = std::sqrt(sum_of_squares);
  }
  return norms;
}

//! X W^T with x [T,H] and w [E,H].
inline matrix dot(const matrix& x, const matrix& w) {
  matrix delta(x.rows, w.rows);
  for (std::size_t t = 0; t < x.rows; ++t)
    for (std::size_t e = 0; e < w.rows; ++e)
      for (std::size_t j = 0; j < x.cols; ++j) delta(t, e) += x(t, j) * w(e, j);
  return delta;
}

//! Logits over the product of the norms; a zero norm on either side gives 0.
inline matrix cosine_from_logits(const matrix& logits, const std::vector<double>& token_norms,
                                 const std::vector<double>& expert_norms) {
  matrix delta(logits.rows, logits.cols);
  for (std::size_t t = 0; t < logits.rows; ++t)
    for (std::size_t e = 0; e < logits.cols; ++e)
      if (token_norms[t] != 0 && expert_norms[e] != 0) delta(t, e) = logits(t, e) / (token_norms[t] * expert_norms[e]);
  return delta;
}

inline matrix cosine(const matrix& x, const matrix& w) {
  return cosine_from_logits(dot(x, w), row_norms(x), row_norms(w));
}

//! Slice i of H positions cut for E experts is [slice_begin(i), slice_begin(i + 1)), slice_begin(i) = ceil(i*H/E).
inline std::size_t slice_begin(std::size_t i, std::size_t hidden, std::size_t experts) {
  return (i * hidden + experts - 1) / experts;
}

//! The sum of v_j * x_tj over each expert's slice; without weights every v_j is 1.
inline matrix slice_sums(const matrix& x, std::size_t experts, const std::vector<double>& weights) {
  matrix sums(x.rows, experts);
  for (std::size_t t = 0; t < x.rows; ++t)
    for (std::size_t i = 0; i < experts; ++i)
      for (std::size_t j = slice_begin(i, x.cols, experts); j < slice_begin(i + 1, x.cols, experts); ++j)
        sums(t, i) += (weights.empty() ? 1.0 : weights[j]) * x(t, j);
  return sums;
}

//! The cosine between a token and the indicator (or the weights) of each expert's slice.
inline matrix grouped_average_cosine(const matrix& x, std::size_t experts, const std::vector<double>& weights = {}) {
  std::vector<double> slice_norms(experts);
  for (std::size_t i = 0; i < experts; ++i) {
    double sum_of_squares = 0;
    for (std::size_t j = slice_begin(i, x.cols, experts); j < slice_begin(i + 1, x.cols, experts); ++j)
      sum_of_squares += weights.empty() ? 1.0 : weights[j] * weights[j];
    slice_norms[i] = std::sqrt(sum_of_squares);
  }
  return cosine_from_logits(slice_sums(x, experts, weights), row_norms(x), slice_norms);
}

//! The (weighted) mean of each slice, without any norm.
inline matrix grouped_average(const matrix& x, std::size_t experts, const std::vector<double>& weights = {}) {
  matrix delta = slice_sums(x, experts, weights);
  for (std::size_t t = 0; t < x.rows; ++t)
    for (std::size_t i = 0; i < experts; ++i)
      delta(t, i) /= static_cast<double>(slice_begin(i + 1, x.cols, experts) - slice_begin(i, x.cols, experts));
  return delta;
}

}  // namespace reference
