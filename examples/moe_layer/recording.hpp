// SPDX-License-Identifier: Apache-2.0
// The recorded router inputs of examples/data: hidden states and gates of four layers, and what layer 2 answered.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <resonance/core/row_type.hpp>
#include <resonance/core/views.hpp>

namespace demo {

struct half_matrix {
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::vector<resonance::float16> values;

  resonance::matrix_view<const resonance::float16> view() const { return {values.data(), rows, cols}; }
};

struct layer_input {
  half_matrix hidden;  // [T,H]
  half_matrix gate;    // [E,H]
};

struct recording {
  static constexpr int layers = 4;
  static constexpr int answered_layer = 2;
  static constexpr int top_k = 2;

  layer_input inputs[layers];
  std::vector<std::uint8_t> source;  // [T] kind of text that a token comes from, an index into source_names

  // What layer 2 answered, and the experts that it answered with.
  std::int64_t expert_width = 0;       // F
  std::vector<float> w1, w2;           // [E,H,F], [E,F,H]
  std::vector<std::int32_t> topk_ids;  // [T,K]
  std::vector<float> topk_weights;     // [T,K]
  std::vector<float> output;           // [T,H]

  std::int64_t tokens() const { return inputs[0].hidden.rows; }
  std::int64_t hidden() const { return inputs[0].hidden.cols; }
  std::int32_t experts() const { return static_cast<std::int32_t>(inputs[0].gate.rows); }
};

inline constexpr const char* source_names[] = {"licence text", "CUDA C++", "Python", "Markdown"};

//! Reads the files of `folder`. Returns "" or one line that names the file and the fault.
std::string load(const std::string& folder, recording& out);

}  // namespace demo
