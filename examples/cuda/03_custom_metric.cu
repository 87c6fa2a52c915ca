// SPDX-License-Identifier: Apache-2.0
// A metric of your own on the device: the struct of examples/05_custom_metric.cpp, marked for both sides.
#include <cstdint>
#include <random>
#include <vector>

#include <resonance/affinity/device_affinity.cuh>
#include <resonance/resonance.hpp>
#include <resonance/token_choice/device_token_choice.cuh>

#include "support.hpp"

namespace rs = resonance;

//! delta = x_t . w_i / |x_t|: the length of a token does not matter, the length of an expert's gate row does.
struct token_normalized_dot {
  using stage = rs::stages::affinity;
  static constexpr rs::affinity::operand reads = rs::affinity::operand::gate;  // the sum is x_t . w_i
  static constexpr bool needs_norms = true;
  // math::divide rounds as on the host whatever nvcc is told, so both sides have the same bits.
  RESONANCE_HOST_DEVICE static float finish(float sum, float token_norm, float) {
    return token_norm > 0.0f ? rs::math::divide(sum, token_norm) : 0.0f;
  }
};

int main() {
  constexpr std::int64_t tokens = 30;
  constexpr std::int64_t hidden = 100;
  constexpr std::int32_t experts = 6;
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<float> x(tokens * hidden), gate(experts * hidden);
  for (float& value : x) value = normal(random);
  for (float& value : gate) value = normal(random);
  const example::device_array<float> device_x(x), device_gate(gate);

  using input_type = rs::affinity::hidden_input<float>;
  input_type input, device_input;
  input.hidden = {x.data(), tokens, hidden};
  input.gate = {gate.data(), experts, hidden};
  device_input.hidden = {device_x.data(), tokens, hidden};
  device_input.gate = {device_gate.data(), experts, hidden};
  const token_normalized_dot metric;

  // Dense affinities, with the host's bits.
  std::vector<float> expected(tokens * experts);
  const rs::matrix_view<float> expected_view(expected.data(), tokens, experts);
  const rs::serial_executor executor;
  std::vector<char> memory(rs::affinity::host_affinity_workspace_bytes(executor, metric, input));
  example::must(rs::affinity::host_affinity(executor, metric, input, expected_view, {memory.data(), memory.size()}));

  const example::device_array<float> deltas(tokens * experts);
  const rs::device_stream on;
  const example::device_array<char> workspace(rs::affinity::device_affinity_workspace_bytes(metric, device_input));
  example::must(rs::affinity::device_affinity(on, metric, device_input, {deltas.data(), tokens, experts},
                                              {workspace.data(), workspace.size()}));

  // And the choice straight from the hidden states: rows of delta never leave shared memory.
  const rs::affinity::warp_source<token_normalized_dot, input_type> source(metric, device_input);
  const rs::token_choice::options options;  // the best one
  const example::device_array<std::int32_t> best(tokens);
  example::must(rs::token_choice::device_token_choice(on, source, rs::affinity::identity{}, rs::token_choice::top_k{},
                                                      options, {best.data(), nullptr, nullptr}, {}, {}));
  example::wait();

  bool right = deltas.to_host() == expected;
  const std::vector<std::int32_t> chosen = best.to_host();
  for (std::int64_t t = 0; t < tokens; ++t) {
    std::int32_t first_best = 0;  // equal affinities: the lower expert
    for (std::int32_t e = 1; e < experts; ++e)
      first_best = expected_view.row(t)[e] > expected_view.row(t)[first_best] ? e : first_best;
    right = right && chosen[static_cast<std::size_t>(t)] == first_best;
  }
  return example::finish(right);
}
