// SPDX-License-Identifier: Apache-2.0
// Affinities beside the reference's: rows with gaps, and every metric on them, run by whichever backend is under test.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include <resonance/affinity/metrics.hpp>
#include <resonance/core/views.hpp>

#include "affinity/typed_rows.hpp"
#include "reference/affinity.hpp"
#include "support/random.hpp"

namespace affinity_test {

namespace affinity = resonance::affinity;

struct shape {
  std::size_t tokens, experts, hidden;
};

inline std::vector<float> absolute(std::vector<float> values) {
  for (float& value : values) value = std::fabs(value);
  return values;
}

//! fp32 sums are off by a few roundings of the sum of magnitudes, which the metric of absolute values gives.
inline void expect_near(const std::vector<float>& delta, const reference::matrix& expected,
                        const reference::matrix& magnitude) {
  ASSERT_EQ(delta.size(), expected.values.size());
  for (std::size_t i = 0; i < delta.size(); ++i)
    ASSERT_NEAR(delta[i], expected.values[i], 2e-6 * magnitude.values[i]) << "pair " << i;
}

//! Values [rows, cols] as the row type holds them, with gaps between the rows that no result may depend on.
template <class Row>
struct padded_rows {
  std::vector<float> values;
  std::vector<Row> stored;
  std::int64_t stride;
  std::size_t rows, cols;

  padded_rows(support::random_source& random, std::size_t row_count, std::size_t column_count, std::size_t gap = 3)
      : stride(static_cast<std::int64_t>(column_count + gap)), rows(row_count), cols(column_count) {
    stored.assign(row_count * (column_count + gap) + 1,
                  typed_rows::narrowed<Row>(std::numeric_limits<float>::quiet_NaN()));
    for (float value : support::normal_values(random, row_count * column_count))
      values.push_back(typed_rows::widened(typed_rows::narrowed<Row>(value)));
    for (std::size_t r = 0; r < rows; ++r)
      for (std::size_t c = 0; c < cols; ++c)
        stored[r * (column_count + gap) + c] = typed_rows::narrowed<Row>(values[r * cols + c]);
  }
  resonance::matrix_view<const Row> view() const {
    return {stored.data(), static_cast<std::int64_t>(rows), static_cast<std::int64_t>(cols), stride};
  }
  reference::matrix exact() const { return reference::widened(values, rows, cols); }
  reference::matrix magnitudes() const { return reference::widened(absolute(values), rows, cols); }
};

//! The metrics of a gate. Here and below run(metric, input, tokens, experts) gives the deltas [T,E].
template <class Row, class Run>
void expect_gate_like_the_reference(support::random_source& random, const shape& s, const Run& run) {
  const padded_rows<Row> x(random, s.tokens, s.hidden), w(random, s.experts, s.hidden, 1);
  affinity::hidden_input<Row> input;
  input.hidden = x.view();
  input.gate = w.view();
  expect_near(run(affinity::dot{}, input, s.tokens, s.experts), reference::dot(x.exact(), w.exact()),
              reference::dot(x.magnitudes(), w.magnitudes()));
  expect_near(run(affinity::cosine{}, input, s.tokens, s.experts), reference::cosine(x.exact(), w.exact()),
              reference::cosine(x.magnitudes(), w.magnitudes()));
}

//! The metrics of slices, with and without weights.
template <class Row, class Run>
void expect_slices_like_the_reference(support::random_source& random, const shape& s, const Run& run) {
  const padded_rows<Row> x(random, s.tokens, s.hidden);
  const std::vector<float> v = support::normal_values(random, s.hidden);
  affinity::hidden_input<Row> input;
  input.hidden = x.view();
  input.experts = static_cast<std::int32_t>(s.experts);
  for (bool weighted : {false, true}) {
    input.slice_weights = weighted ? v.data() : nullptr;
    const std::vector<double> weights(v.begin(), weighted ? v.end() : v.begin());
    const std::vector<float> magnitude = absolute(v);
    const std::vector<double> magnitudes(magnitude.begin(), weighted ? magnitude.end() : magnitude.begin());
    expect_near(run(affinity::grouped_average_cosine{}, input, s.tokens, s.experts),
                reference::grouped_average_cosine(x.exact(), s.experts, weights),
                reference::grouped_average_cosine(x.magnitudes(), s.experts, magnitudes));
    expect_near(run(affinity::grouped_average{}, input, s.tokens, s.experts),
                reference::grouped_average(x.exact(), s.experts, weights),
                reference::grouped_average(x.magnitudes(), s.experts, magnitudes));
  }
}

//! Logits as they are, which keep their bits, and over the product of their norms.
template <class Row, class Run>
void expect_logits_like_the_reference(support::random_source& random, const shape& s, const Run& run) {
  const padded_rows<Row> logits(random, s.tokens, s.experts, 2);
  std::vector<float> token_norms = absolute(support::normal_values(random, s.tokens));
  std::vector<float> gate_norms = absolute(support::normal_values(random, s.experts));
  gate_norms[0] = 0;
  affinity::logits_input<Row> input;
  input.logits = logits.view();
  EXPECT_TRUE(typed_rows::same_bits(run(affinity::logits{}, input, s.tokens, s.experts), logits.values));
  input.token_norms = token_norms.data();
  input.gate_norms = gate_norms.data();
  const reference::matrix expected = reference::cosine_from_logits(
      logits.exact(), {token_norms.begin(), token_norms.end()}, {gate_norms.begin(), gate_norms.end()});
  reference::matrix magnitude = expected;
  for (double& value : magnitude.values) value = std::fabs(value);
  expect_near(run(affinity::cosine_of_logits{}, input, s.tokens, s.experts), expected, magnitude);
}

}  // namespace affinity_test
