// SPDX-License-Identifier: Apache-2.0
// Logits with a residual from the layer before: inputs, their values in double precision and to the bit, and what is
// refused; for either backend.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "affinity/fixture.hpp"
#include "core/naive_sum.hpp"
#include "reference/affinity.hpp"
#include "resonance/affinity/residual_logits.hpp"
#include "support/assignments.hpp"

namespace affinity_test {

template <class Row>
struct residual_case {
  padded_rows<Row> logits;
  padded_rows<float> previous;
  padded_rows<Row> gate;
  std::size_t tokens, experts;

  residual_case(support::random_source& random, std::size_t token_count, std::size_t expert_count)
      : logits(random, token_count, expert_count),
        previous(random, token_count, expert_count, 1),
        gate(random, expert_count, expert_count, 2),
        tokens(token_count),
        experts(expert_count) {}

  affinity::residual_logits_input<Row, float, Row> input() const {
    return {logits.view(), previous.view(), gate.view()};
  }

  reference::matrix expected(bool magnitude = false) const {
    reference::matrix sums = magnitude ? reference::dot(previous.magnitudes(), gate.magnitudes())
                                       : reference::dot(previous.exact(), gate.exact());
    for (std::size_t i = 0; i < sums.values.size(); ++i)
      sums.values[i] += magnitude ? std::fabs(logits.values[i]) : static_cast<double>(logits.values[i]);
    return sums;
  }

  //! To the bit: fused multiply-adds in the written order, then the logit.
  std::vector<float> exact() const {
    std::vector<float> deltas;
    for (std::size_t t = 0; t < tokens; ++t)
      for (std::size_t e = 0; e < experts; ++e) {
        const float* g = previous.values.data() + t * experts;
        const float* w = gate.values.data() + e * experts;
        const float sum = naive::ordered_sum(0, static_cast<std::int64_t>(experts),
                                             [=](float acc, std::int64_t j) { return std::fma(g[j], w[j], acc); });
        deltas.push_back(logits.values[t * experts + e] + sum);
      }
    return deltas;
  }
};

//! run(input, out [T,E]) -> status; `out` is 7 x 6.
template <class Run>
void expect_residual_refusals(const Run& run) {
  using resonance::status_code;
  support::random_source random(437);
  const residual_case<float> good(random, 7, 6);
  support::guarded_buffer<float> out(7 * 6);
  affinity::residual_logits_input<float> input = good.input();
  const auto expect = [&](status_code code, const char* argument) {
    EXPECT_TRUE(support::refused(run(input, resonance::matrix_view<float>(out.data(), 7, 6)), code, argument));
    EXPECT_TRUE(out.untouched()) << argument;
    input = good.input();
  };
  input.logits.data = nullptr;
  expect(status_code::null_pointer, "logits");
  input.logits.stride = 5;
  expect(status_code::out_of_range, "logits");
  input.logits.cols = 0;
  expect(status_code::out_of_range, "logits");
  input.previous.data = nullptr;
  expect(status_code::null_pointer, "previous");
  input.previous.rows = 6;
  expect(status_code::shape_mismatch, "previous");
  input.previous.cols = 5;
  expect(status_code::shape_mismatch, "previous");
  input.residual_gate.data = nullptr;
  expect(status_code::null_pointer, "residual_gate");
  input.residual_gate.rows = 5;
  expect(status_code::shape_mismatch, "residual_gate");
  input.residual_gate.cols = 5;
  expect(status_code::shape_mismatch, "residual_gate");
}

}  // namespace affinity_test
