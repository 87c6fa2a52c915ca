// SPDX-License-Identifier: Apache-2.0
// Layers of MoE++: their parameters, a layer through the library's stages on either backend, and the same in plain
// double precision.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

#include "resonance/affinity/residual_logits.hpp"
#include "resonance/catalogue/moe_plus_plus.hpp"
#include "resonance/permute/row_plan.hpp"
#include "support/assignments.hpp"
#include "support/random.hpp"

namespace catalogue_test {

using namespace resonance;

struct layer_shape {
  catalogue::moe_plus_plus_experts experts;
  std::int64_t tokens, hidden;
};

//! What a layer is given; `previous` is empty in the first.
struct layer_input {
  layer_shape shape;
  std::vector<float> x, gate, residual_gate, mixing_gate, constants, previous;
  std::vector<std::int32_t> expert_map;

  layer_input(support::random_source& random, const layer_shape& s)
      : shape(s),
        x(values(random, s.tokens, s.hidden, 1.0)),
        gate(values(random, s.experts.all(), s.hidden, 0.3)),
        residual_gate(values(random, s.experts.all(), s.experts.all(), 0.2)),
        mixing_gate(values(random, 2 * s.experts.constants, s.hidden, 0.3)),
        constants(values(random, s.experts.constants, s.hidden, 1.0)),
        expert_map(static_cast<std::size_t>(s.experts.all())) {
    s.experts.fill_expert_map(expert_map.data());
  }
  static std::vector<float> values(support::random_source& random, std::int64_t rows, std::int64_t cols, double scale) {
    std::vector<float> drawn = support::normal_values(random, static_cast<std::size_t>(rows * cols));
    for (float& value : drawn) value *= static_cast<float>(scale);
    return drawn;
  }
  matrix_view<const float> inputs() const { return {x.data(), shape.tokens, shape.hidden}; }
};

struct layer_result {
  std::vector<std::int32_t> chosen, kept;
  std::vector<float> weights, logits, y;  // of what is kept; the full logits; the layer's output
  std::int64_t dispatched = 0;            // rows of FFN experts
};

//! FFN expert e stands in as y_j = (e + 1) / 8 x_j - x_{j+1} / 2.
template <class Real, class Input, class Output>
void stand_in(std::int32_t expert, std::int64_t hidden, const Input& x, const Output& y) {
  for (std::int64_t j = 0; j < hidden; ++j)
    y(j, static_cast<Real>(expert + 1) / static_cast<Real>(8) * x(j) - x((j + 1) % hidden) / static_cast<Real>(2));
}

//! The layer by the stages of `backend`: affinity, route, permute, unpermute.
template <class Backend, class Options>
layer_result run_layer(const Backend& backend, const layer_input& in, const Options& options) {
  const catalogue::moe_plus_plus_experts& experts = in.shape.experts;
  const std::int64_t tokens = in.shape.tokens;
  const std::int64_t hidden = in.shape.hidden;
  const std::int32_t all = experts.all();
  const auto slots = static_cast<std::size_t>(2 * tokens);
  const auto rows_of = [](const std::vector<float>& values, std::int64_t rows, std::int64_t cols) {
    return matrix_view<const float>(values.data(), rows, cols);
  };
  const auto products = [&](const std::vector<float>& gate, std::int64_t rows) {
    std::vector<float> result(static_cast<std::size_t>(tokens * rows));
    affinity::hidden_input<float> input;
    input.hidden = in.inputs();
    input.gate = rows_of(gate, rows, hidden);
    backend.affinity(affinity::dot{}, input, matrix_view<float>(result.data(), tokens, rows));
    return result;
  };
  const std::vector<float> own_logits = products(in.gate, all);
  const std::vector<float> mixing = products(in.mixing_gate, 2 * experts.constants);

  layer_result r{std::vector<std::int32_t>(slots), std::vector<std::int32_t>(slots), std::vector<float>(slots),
                 std::vector<float>(static_cast<std::size_t>(tokens * all)), std::vector<float>(in.x.size())};
  std::vector<float> chosen_weights(slots);
  std::vector<std::int32_t> offsets(static_cast<std::size_t>(experts.ffn) + 1), sorted(slots), inverse(slots);
  std::int64_t num_rows[2] = {-1, -1};
  route::outputs<> out;
  out.choice = {r.chosen.data(), chosen_weights.data(), nullptr};
  out.affinity = {r.logits.data(), tokens, all};
  out.prune.ids = r.kept.data();
  out.prune.weights = r.weights.data();
  out.plan = {nullptr, offsets.data(), sorted.data(), inverse.data(), nullptr, num_rows};
  if (in.previous.empty()) {
    affinity::logits_input<float> input;
    input.logits = rows_of(own_logits, tokens, all);
    backend.route(input, options, out);
  } else {
    affinity::residual_logits_input<float> input;
    input.logits = rows_of(own_logits, tokens, all);
    input.previous = rows_of(in.previous, tokens, all);
    input.residual_gate = rows_of(in.residual_gate, all, all);
    backend.route(input, options, out);
  }
  r.dispatched = num_rows[0];

  assignment_view kept;
  kept.tokens = tokens;
  kept.experts = all;
  kept.slots_per_token = 2;
  kept.ids = r.kept.data();
  kept.weights = r.weights.data();
  const permute::row_plan<> plan{kept, sorted.data(), inverse.data(), r.dispatched};
  std::vector<float> inputs(static_cast<std::size_t>(r.dispatched * hidden)), outputs(inputs.size());
  backend.permute(in.inputs(), plan, matrix_view<float>(inputs.data(), r.dispatched, hidden));
  for (std::int32_t e = 0; e < experts.ffn; ++e)
    for (std::int64_t row = offsets[static_cast<std::size_t>(e)]; row < offsets[static_cast<std::size_t>(e) + 1]; ++row)
      stand_in<float>(
          e, hidden, [&](std::int64_t j) { return inputs[static_cast<std::size_t>(row * hidden + j)]; },
          [&](std::int64_t j, float value) { outputs[static_cast<std::size_t>(row * hidden + j)] = value; });
  const permute::in_place_experts<float> in_place{in.expert_map.data(), in.inputs(),
                                                  rows_of(in.constants, experts.constants, hidden),
                                                  rows_of(mixing, tokens, 2 * experts.constants)};
  backend.unpermute(rows_of(outputs, r.dispatched, hidden), plan, in_place,
                    matrix_view<float>(r.y.data(), tokens, hidden));
  return r;
}

struct expected_layer {
  std::vector<std::int32_t> kept;
  std::vector<double> weights, logits, y;
};

//! The paper's layer, or the released code's, from its formulas. capacity_of(expert) is C.
template <class CapacityOf>
expected_layer expected_of(const layer_input& in, bool released, const CapacityOf& capacity_of) {
  const auto tokens = static_cast<std::size_t>(in.shape.tokens), hidden = static_cast<std::size_t>(in.shape.hidden);
  const auto all = static_cast<std::size_t>(in.shape.experts.all());
  const auto ffn = static_cast<std::size_t>(in.shape.experts.ffn);
  const auto constants = static_cast<std::size_t>(in.shape.experts.constants);
  const std::size_t first_zero = all - static_cast<std::size_t>(in.shape.experts.zeros);
  const auto product = [](const std::vector<float>& a, std::size_t row_a, const std::vector<float>& b,
                          std::size_t row_b, std::size_t length) {
    double sum = 0;
    for (std::size_t j = 0; j < length; ++j)
      sum += static_cast<double>(a[row_a * length + j]) * static_cast<double>(b[row_b * length + j]);
    return sum;
  };
  expected_layer r{std::vector<std::int32_t>(2 * tokens, -1), std::vector<double>(2 * tokens, 0.0),
                   std::vector<double>(tokens * all, 0.0), std::vector<double>(tokens * hidden, 0.0)};
  std::vector<std::int64_t> held(all, 0);
  for (std::size_t t = 0; t < tokens; ++t) {
    double* g = &r.logits[t * all];
    for (std::size_t e = 0; e < all; ++e) {
      g[e] = product(in.gate, e, in.x, t, hidden);
      if (!in.previous.empty()) g[e] += product(in.residual_gate, e, in.previous, t, all);
    }
    std::vector<std::size_t> order(all);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return g[a] > g[b]; });
    double denominator = 0;
    for (std::size_t e = 0; e < all; ++e) denominator += std::exp(g[e] - g[order[0]]);
    double w[2] = {0, 0};
    for (std::size_t k = 0; k < 2; ++k) {
      const std::size_t e = order[k];
      if (released ? e >= first_zero : held[e]++ >= capacity_of(e)) continue;
      r.kept[2 * t + k] = static_cast<std::int32_t>(e);
      w[k] = std::exp(g[e] - g[order[0]]) / denominator;
    }
    const double all_kept = released ? w[0] + w[1] : 1.0;
    for (std::size_t k = 0; k < 2; ++k) {
      if (r.kept[2 * t + k] < 0) continue;
      const std::size_t e = order[k];
      const double weight = r.weights[2 * t + k] = w[k] / all_kept;
      const auto x = [&](std::size_t j) { return static_cast<double>(in.x[t * hidden + j]); };
      const auto add = [&](std::size_t j, double value) { r.y[t * hidden + j] += weight * value; };
      if (e < ffn) {
        stand_in<double>(
            static_cast<std::int32_t>(e), in.shape.hidden,
            [&](std::int64_t j) { return x(static_cast<std::size_t>(j)); },
            [&](std::int64_t j, double value) { add(static_cast<std::size_t>(j), value); });
      } else if (e < ffn + constants) {
        const std::size_t n = e - ffn;
        const double of_input = product(in.mixing_gate, 2 * n, in.x, t, hidden);
        const double of_constant = product(in.mixing_gate, 2 * n + 1, in.x, t, hidden);
        const double a = 1.0 / (1.0 + std::exp(of_constant - of_input));
        for (std::size_t j = 0; j < hidden; ++j)
          add(j, a * x(j) + (1.0 - a) * static_cast<double>(in.constants[n * hidden + j]));
      } else if (e < first_zero) {
        for (std::size_t j = 0; j < hidden; ++j) add(j, x(j));
      }
    }
  }
  return r;
}

inline void expect_layer(const layer_result& got, const expected_layer& expected) {
  EXPECT_EQ(got.kept, expected.kept);
  const auto expect_near = [](const std::vector<float>& values, const std::vector<double>& exact, const char* what) {
    ASSERT_EQ(values.size(), exact.size()) << what;
    for (std::size_t i = 0; i < exact.size(); ++i)
      ASSERT_NEAR(values[i], exact[i], 1e-5 * (1.0 + std::fabs(exact[i]))) << what << " " << i;
  };
  expect_near(got.weights, expected.weights, "weight");
  expect_near(got.logits, expected.logits, "logit");
  expect_near(got.y, expected.y, "output");
}

}  // namespace catalogue_test
