// SPDX-License-Identifier: Apache-2.0
// Section 2 of the contract, second half: the score functions, from delta to what becomes the weight.
#pragma once

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstddef>
#include <vector>

#include "reference/order.hpp"
#include "reference/table.hpp"

namespace reference {

enum class score_function { identity, softmax, softmax_over_chosen, sigmoid, sqrt_softplus, relu_softmax };

struct score_options {
  score_function function = score_function::softmax;
  double logit_cap = 0;  // 0: no soft-cap
  double temperature = 1;
  double largest_finite = FLT_MAX;
};

//! Soft-cap, then temperature. NaN and -inf stay absent; finite values stay within the finite values of the type.
inline double transformed(double delta, const score_options& options) {
  if (!choosable(delta)) return absent;
  double value = ranked_value(delta, options.largest_finite);
  if (options.logit_cap > 0) value = options.logit_cap * std::tanh(value / options.logit_cap);
  return std::clamp(value / options.temperature, -options.largest_finite, options.largest_finite);
}

//! Softmax over the present values; an absent one has probability 0, and so have all when none is present.
inline std::vector<double> softmax(const std::vector<double>& values, double largest_finite = FLT_MAX) {
  double largest = absent;
  for (double value : values) largest = std::max(largest, ranked_value(value, largest_finite));
  std::vector<double> result(values.size(), 0.0);
  if (largest == absent) return result;
  double sum = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (choosable(values[i])) result[i] = std::exp(ranked_value(values[i], largest_finite) - largest);
    sum += result[i];
  }
  for (double& value : result) value /= sum;
  return result;
}

inline double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

inline double sqrt_softplus(double x) { return x > 20 ? std::sqrt(x) : std::sqrt(std::log1p(std::exp(x))); }

//! Raw scores of one token. An absent pair scores 0. `softmax_over_chosen` has no score before the choice: what it
//! gives here is the transformed delta, and the softmax follows once the choice is known.
inline std::vector<double> score_row(std::vector<double> values, const score_options& options) {
  for (double& value : values) value = transformed(value, options);
  if (options.function == score_function::softmax) return softmax(values, options.largest_finite);
  if (options.function == score_function::relu_softmax) {
    for (double& value : values)
      if (choosable(value)) value = std::max(value, 0.0);
    return softmax(values, options.largest_finite);
  }
  for (double& value : values) {
    if (!choosable(value))
      value = 0;
    else if (options.function == score_function::sigmoid)
      value = sigmoid(value);
    else if (options.function == score_function::sqrt_softplus)
      value = sqrt_softplus(value);
  }
  return values;
}

inline matrix scores(const matrix& delta, const score_options& options) {
  matrix result(delta.rows, delta.cols);
  for (std::size_t t = 0; t < delta.rows; ++t) {
    const std::vector<double> row = score_row(delta.row(t), options);
    std::copy(row.begin(), row.end(), result.values.begin() + static_cast<std::ptrdiff_t>(t * delta.cols));
  }
  return result;
}

//! Softmax down each column: the probability of each token as one expert sees it.
inline matrix softmax_over_tokens(const matrix& delta, double largest_finite = FLT_MAX) {
  matrix result(delta.rows, delta.cols);
  for (std::size_t e = 0; e < delta.cols; ++e) {
    std::vector<double> column(delta.rows);
    for (std::size_t t = 0; t < delta.rows; ++t) column[t] = delta(t, e);
    column = softmax(column, largest_finite);
    for (std::size_t t = 0; t < delta.rows; ++t) result(t, e) = column[t];
  }
  return result;
}

//! Selection keys from scores: a pair whose affinity is NaN or -inf stays unchoosable, whatever it scores.
inline matrix without_absent(const matrix& scores, const matrix& delta) {
  matrix result = scores;
  for (std::size_t i = 0; i < result.values.size(); ++i)
    if (!choosable(delta.values[i])) result.values[i] = absent;
  return result;
}

}  // namespace reference
