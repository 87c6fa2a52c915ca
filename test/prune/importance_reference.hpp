// SPDX-License-Identifier: Apache-2.0
// The tokens' importance in double precision, and causal attention to compute it from.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "permute/fixture.hpp"
#include "reference/table.hpp"
#include "support/random.hpp"

namespace importance_reference {

using permute_test::stored_rows;

//! Softmax rows [query, key] over the keys up to the query; what is above the diagonal is NaN, which nobody may read.
template <class Attention>
stored_rows<Attention> causal_attention(support::random_source& random, std::int64_t tokens, std::int64_t extra = 0) {
  stored_rows<Attention> attention(tokens, tokens, extra);
  for (std::int64_t query = 0; query < tokens; ++query) {
    std::vector<double> terms;
    double sum = 0;
    for (std::int64_t key = 0; key <= query; ++key) {
      terms.push_back(std::exp(2 * random.normal()));
      sum += terms.back();
    }
    for (std::int64_t key = 0; key < tokens; ++key)
      permute_test::encode(
          key <= query ? static_cast<float>(terms[static_cast<std::size_t>(key)] / sum) : std::nanf(""),
          attention.at(query, key));
  }
  return attention;
}

inline std::vector<double> importance(const reference::matrix& hidden, const reference::matrix& attention) {
  const std::size_t tokens = hidden.rows;
  std::vector<double> result;
  for (std::size_t j = 0; j < tokens; ++j) {
    double length = 0;
    for (std::size_t h = 0; h < hidden.cols; ++h) length += std::fabs(hidden(j, h));
    double received = 0;
    for (std::size_t i = j; i < tokens; ++i) received += attention(i, j);
    result.push_back(length * received / static_cast<double>(tokens - j));
  }
  return result;
}

}  // namespace importance_reference
