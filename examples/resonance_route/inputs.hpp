// SPDX-License-Identifier: Apache-2.0
// The arrays that the command line names, read and checked against each other.
#pragma once

#include <cstdint>
#include <resonance/resonance.hpp>
#include <string>
#include <variant>
#include <vector>

#include "resonance_route/options.hpp"

namespace route_cli {

//! A matrix in the type of its file: +inf counts as the largest finite value of that type, so widening would lose it.
struct matrix {
  std::variant<std::vector<float>, std::vector<resonance::float16>> values;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
};

template <class T>
resonance::matrix_view<const T> view(const std::vector<T>& values, const matrix& m) {
  return {values.data(), m.rows, m.cols};
}

struct inputs {
  std::int64_t tokens = 0;
  std::int32_t experts = 0;
  std::int64_t hidden_size = 0;  // 0 = unknown
  matrix hidden, gate, logits;   // those that were not given are empty
  std::vector<float> token_norms, gate_norms, slice_weights, bias;
  std::vector<std::int64_t> capacities;
  std::vector<std::int32_t> expert_map, modalities, expert_modalities, sequences;
  std::vector<std::uint8_t> protected_tokens;
  matrix prior;
};

//! Reads what `o` names, and points o's policies to the arrays of the result. Throws failure.
inputs read_inputs(options& o);

}  // namespace route_cli
