// SPDX-License-Identifier: Apache-2.0
// cuda-smoke-token-choice T E K: the K best experts of every row of logits, plainly and with weights that are
// renormalized, and of groups by sigmoid and bias, and SparseMixer's weights, against the host backend.
#include <resonance/affinity/host_affinity.hpp>
#include <resonance/affinity/score.hpp>
#include <resonance/affinity/warp_affinity.cuh>
#include <resonance/core/executor.hpp>
#include <resonance/token_choice/device_sparse_mixer.cuh>
#include <resonance/token_choice/device_token_choice.cuh>
#include <resonance/token_choice/host_sparse_mixer.hpp>
#include <resonance/token_choice/host_token_choice.hpp>

#include "support.hpp"

namespace {

namespace affinity = resonance::affinity;
namespace token_choice = resonance::token_choice;

using input_type = affinity::logits_input<float>;

struct inputs {
  input_type logits;
  const float* bias;
};

template <class Score, class Selection>
void compare_choices(smoke::comparison& comparison, const Score& score, const Selection& selection,
                     token_choice::options o, const inputs& on_host, const inputs& on_device) {
  const auto slots = static_cast<std::size_t>(on_host.logits.logits.rows * o.top_k);
  const bool with_bias = o.correction_bias != nullptr;
  std::vector<std::int32_t> expected_ids(slots);
  std::vector<float> expected_weights(slots);
  std::vector<float> expected_affinity(slots);
  const resonance::serial_executor executor;
  const affinity::host_source<affinity::logits, input_type> host_source({}, on_host.logits);
  std::vector<unsigned char> memory(token_choice::host_token_choice_workspace_bytes(executor, host_source));
  if (with_bias) o.correction_bias = on_host.bias;
  smoke::require(
      token_choice::host_token_choice(executor, host_source, score, selection, o,
                                      {expected_ids.data(), expected_weights.data(), expected_affinity.data()}, {},
                                      {memory.data(), memory.size()}),
      "host_token_choice");

  const smoke::device_array<std::int32_t> ids(slots);
  const smoke::device_array<float> weights(slots);
  const smoke::device_array<float> of_chosen(slots);
  const affinity::warp_source<affinity::logits, input_type> source({}, on_device.logits);
  if (with_bias) o.correction_bias = on_device.bias;
  const std::size_t bytes = token_choice::device_token_choice_workspace_bytes(source, score, selection, o);
  const smoke::device_array<unsigned char> workspace(bytes);
  comparison.run("device_token_choice", [&](const resonance::device_stream& on) {
    return token_choice::device_token_choice(
        on, source, score, selection, o, {ids.data(), weights.data(), of_chosen.data()}, {}, {workspace.data(), bytes});
  });
  comparison.same("topk_ids", expected_ids, ids.to_host());
  comparison.same("topk_weights", expected_weights, weights.to_host());
  comparison.same("topk_affinity", expected_affinity, of_chosen.to_host());
}

//! Of any ids, some of them unassigned. A wide jitter, so that many experts are near.
void compare_near_weights(smoke::comparison& comparison, const smoke::shape& shape, smoke::generator& numbers,
                          const inputs& on_host, const inputs& on_device) {
  std::vector<std::int32_t> ids;
  for (std::int64_t slot = 0; slot < shape.tokens * shape.top_k; ++slot)
    ids.push_back(static_cast<std::int32_t>(numbers.below(shape.experts + 1)) - 1);
  const smoke::device_array<std::int32_t> device_ids(ids);
  resonance::assignment_view a;
  a.tokens = shape.tokens;
  a.experts = shape.experts;
  a.slots_per_token = shape.top_k;
  a.ids = ids.data();
  const token_choice::sparse_mixer mixer{0.2f};
  std::vector<float> expected(ids.size());
  smoke::require(token_choice::host_sparse_mixer_weights(resonance::serial_executor{}, on_host.logits.logits, a, mixer,
                                                         expected.data()),
                 "host_sparse_mixer_weights");

  a.ids = device_ids.data();
  const smoke::device_array<float> found(ids.size());
  comparison.run("device_sparse_mixer_weights", [&](const resonance::device_stream& on) {
    return token_choice::device_sparse_mixer_weights(on, on_device.logits.logits, a, mixer, found.data());
  });
  comparison.same("sparse_mixer_weights", expected, found.to_host());
}

}  // namespace

int main(int count, char** values) {
  const smoke::shape shape = smoke::parse(count, values, {40, 72, 4, 0});
  smoke::require(shape.top_k >= 1 && shape.experts >= shape.top_k, "K is 1 at least and E is K at least");
  smoke::generator numbers;
  const std::vector<float> logits = smoke::random_values(numbers, shape.tokens * shape.experts);
  const std::vector<float> bias = smoke::random_values(numbers, shape.experts);
  const smoke::device_array<float> device_logits(logits);
  const smoke::device_array<float> device_bias(bias);
  inputs on_host{{}, bias.data()};
  on_host.logits.logits = {logits.data(), shape.tokens, shape.experts};
  inputs on_device{{}, device_bias.data()};
  on_device.logits.logits = {device_logits.data(), shape.tokens, shape.experts};

  smoke::comparison comparison("token_choice");
  token_choice::options o;
  o.top_k = shape.top_k;
  o.renormalize = true;
  compare_choices(comparison, affinity::softmax{}, token_choice::top_k{}, o, on_host, on_device);
  token_choice::grouped_top_k groups;
  groups.n_group = shape.experts % 4 == 0 ? 4 : 1;
  groups.topk_group = groups.n_group > 1 ? 2 : 1;
  o.correction_bias = bias.data();
  o.routed_scaling_factor = 2.5f;
  compare_choices(comparison, affinity::sigmoid{}, groups, o, on_host, on_device);
  compare_near_weights(comparison, shape, numbers, on_host, on_device);
  return comparison.finish();
}
