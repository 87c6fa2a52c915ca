// SPDX-License-Identifier: Apache-2.0
// cuda-smoke-affinity T E K H: affinities on slices and on a gate, then scores, their blend with a prior of three
// sequences and the contrast of two affinities, against the host backend. K is not read.
#include <resonance/affinity/device_affinity.cuh>
#include <resonance/affinity/device_blend.cuh>
#include <resonance/affinity/device_contrast.cuh>
#include <resonance/affinity/host_affinity.hpp>
#include <resonance/affinity/host_blend.hpp>
#include <resonance/affinity/host_contrast.hpp>
#include <resonance/affinity/host_scores.hpp>
#include <resonance/core/executor.hpp>

#include "support.hpp"

namespace {

namespace affinity = resonance::affinity;

//! Returns the host's affinities.
template <class Metric, class Input>
std::vector<float> compare_affinities(smoke::comparison& comparison, const Metric& metric, const Input& on_host,
                                      const Input& on_device, const smoke::shape& shape) {
  const resonance::serial_executor executor;
  const auto matrix = [&](float* data) { return resonance::matrix_view<float>(data, shape.tokens, shape.experts); };
  std::vector<float> expected(static_cast<std::size_t>(shape.tokens * shape.experts));
  std::vector<unsigned char> memory(affinity::host_affinity_workspace_bytes(executor, metric, on_host));
  smoke::require(
      affinity::host_affinity(executor, metric, on_host, matrix(expected.data()), {memory.data(), memory.size()}),
      "host_affinity");

  const smoke::device_array<float> found(expected.size());
  const std::size_t bytes = affinity::device_affinity_workspace_bytes(metric, on_device);
  const smoke::device_array<unsigned char> workspace(bytes);
  comparison.run("device_affinity", [&](const resonance::device_stream& on) {
    return affinity::device_affinity(on, metric, on_device, matrix(found.data()), {workspace.data(), bytes});
  });
  comparison.same("affinity", expected, found.to_host());
  return expected;
}

template <class Score>
void compare_scores(smoke::comparison& comparison, const Score& score, const std::vector<float>& deltas,
                    const smoke::shape& shape, affinity::softmax_axis axis) {
  const smoke::device_array<float> device_deltas(deltas);
  const auto in = [&](const float* data) {
    return resonance::matrix_view<const float>(data, shape.tokens, shape.experts);
  };
  const auto out = [&](float* data) { return resonance::matrix_view<float>(data, shape.tokens, shape.experts); };
  std::vector<float> expected(deltas.size());
  smoke::require(
      affinity::host_scores(resonance::serial_executor{}, score, in(deltas.data()), out(expected.data()), axis),
      "host_scores");
  const smoke::device_array<float> found(deltas.size());
  comparison.run("device_scores", [&](const resonance::device_stream& on) {
    return affinity::device_scores(on, score, in(device_deltas.data()), out(found.data()), axis);
  });
  comparison.same("scores", expected, found.to_host());
}

void compare_blend(smoke::comparison& comparison, const std::vector<float>& scores, const smoke::shape& shape,
                   smoke::generator& numbers) {
  constexpr std::int64_t sequences = 3;
  const std::vector<float> prior = smoke::random_values(numbers, sequences * shape.experts);
  std::vector<std::int32_t> sequence_of_token;
  for (std::int64_t t = 0; t < shape.tokens; ++t)
    sequence_of_token.push_back(static_cast<std::int32_t>(numbers.below(sequences + 2)) - 1);
  const smoke::device_array<float> device_scores(scores);
  const smoke::device_array<float> device_prior(prior);
  const smoke::device_array<std::int32_t> device_sequences(sequence_of_token);
  const auto matrix = [&](const float* data, std::int64_t rows) {
    return resonance::matrix_view<const float>(data, rows, shape.experts);
  };
  const affinity::blend_weights weights{16.0f, 2.0f};
  std::vector<float> expected(scores.size());
  smoke::require(
      affinity::host_blend_prior(resonance::serial_executor{}, matrix(scores.data(), shape.tokens),
                                 {matrix(prior.data(), sequences), sequence_of_token.data()}, weights,
                                 resonance::matrix_view<float>(expected.data(), shape.tokens, shape.experts)),
      "host_blend_prior");
  const smoke::device_array<float> found(scores.size());
  comparison.run("device_blend_prior", [&](const resonance::device_stream& on) {
    return affinity::device_blend_prior(on, matrix(device_scores.data(), shape.tokens),
                                        {matrix(device_prior.data(), sequences), device_sequences.data()}, weights,
                                        resonance::matrix_view<float>(found.data(), shape.tokens, shape.experts));
  });
  comparison.same("blend", expected, found.to_host());
}

void compare_contrast(smoke::comparison& comparison, const std::vector<float>& strong, const std::vector<float>& weak,
                      const smoke::shape& shape) {
  const smoke::device_array<float> device_strong(strong);
  const smoke::device_array<float> device_weak(weak);
  const auto in = [&](const float* data) {
    return resonance::matrix_view<const float>(data, shape.tokens, shape.experts);
  };
  const auto out = [&](float* data) { return resonance::matrix_view<float>(data, shape.tokens, shape.experts); };
  std::vector<float> expected(strong.size());
  smoke::require(affinity::host_contrast_logits(resonance::serial_executor{}, in(strong.data()), in(weak.data()), {},
                                                out(expected.data())),
                 "host_contrast_logits");
  const smoke::device_array<float> found(strong.size());
  comparison.run("device_contrast_logits", [&](const resonance::device_stream& on) {
    return affinity::device_contrast_logits(on, in(device_strong.data()), in(device_weak.data()), {},
                                            out(found.data()));
  });
  comparison.same("contrast", expected, found.to_host());
}

}  // namespace

int main(int count, char** values) {
  const smoke::shape shape = smoke::parse(count, values, {20, 72, 0, 160});
  smoke::require(shape.experts >= 1 && shape.hidden >= shape.experts, "E is 1 at least and H is E at least");
  smoke::generator numbers;
  const std::vector<float> x = smoke::random_values(numbers, shape.tokens * shape.hidden);
  const std::vector<float> gate = smoke::random_values(numbers, shape.experts * shape.hidden);
  const smoke::device_array<float> device_x(x);
  const smoke::device_array<float> device_gate(gate);
  affinity::hidden_input<float> on_host;
  on_host.hidden = {x.data(), shape.tokens, shape.hidden};
  on_host.gate = {gate.data(), shape.experts, shape.hidden};
  on_host.experts = shape.experts;
  affinity::hidden_input<float> on_device = on_host;
  on_device.hidden.data = device_x.data();
  on_device.gate.data = device_gate.data();

  smoke::comparison comparison("affinity");
  const std::vector<float> slices =
      compare_affinities(comparison, affinity::grouped_average_cosine{}, on_host, on_device, shape);
  const std::vector<float> deltas = compare_affinities(comparison, affinity::cosine{}, on_host, on_device, shape);
  compare_scores(comparison, affinity::softmax{}, deltas, shape, affinity::softmax_axis::experts);
  compare_scores(comparison, affinity::sigmoid{}, deltas, shape, affinity::softmax_axis::experts);
  compare_blend(comparison, deltas, shape, numbers);
  compare_contrast(comparison, slices, deltas, shape);
  return comparison.finish();
}
