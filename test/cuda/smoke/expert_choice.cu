// SPDX-License-Identifier: Apache-2.0
// cuda-smoke-expert-choice T E K: expert choice over all tokens and over candidates, against the host backend.
#include <resonance/core/executor.hpp>
#include <resonance/expert_choice/device_expert_choice.cuh>
#include <resonance/expert_choice/host_expert_choice.hpp>

#include "support.hpp"

namespace {

namespace expert_choice = resonance::expert_choice;

template <class Source>
void compare_choices(smoke::comparison& comparison, const Source& on_host, std::size_t host_bytes,
                     const Source& on_device, std::size_t device_bytes, std::size_t experts,
                     const expert_choice::options& o) {
  const std::size_t slots = experts * static_cast<std::size_t>(o.capacity);
  std::vector<std::int32_t> expected_ids(slots);
  std::vector<float> expected_scores(slots);
  std::vector<unsigned char> memory(host_bytes);
  smoke::require(expert_choice::host_expert_choice(resonance::serial_executor{}, on_host, o,
                                                   {expected_ids.data(), expected_scores.data()},
                                                   resonance::workspace_view{memory.data(), host_bytes}),
                 "host_expert_choice");

  const smoke::device_array<std::int32_t> ids(slots);
  const smoke::device_array<float> scores(slots);
  const smoke::device_array<unsigned char> workspace(device_bytes);
  comparison.run("device_expert_choice", [&](const resonance::device_stream& on) {
    return expert_choice::device_expert_choice(on, on_device, o, {ids.data(), scores.data()},
                                               {workspace.data(), device_bytes});
  });
  comparison.same("token_ids", expected_ids, ids.to_host());
  comparison.same("token_scores", expected_scores, scores.to_host());
}

}  // namespace

int main(int count, char** values) {
  const smoke::shape shape = smoke::parse(count, values, {150, 72, 4, 0});
  smoke::require(shape.experts >= 1 && shape.top_k >= 1, "E and K are 1 at least");
  smoke::generator numbers;
  const std::vector<float> scores = smoke::random_values(numbers, shape.tokens * shape.experts);
  std::vector<std::int32_t> ids;
  std::vector<float> affinity;
  for (std::int64_t slot = 0; slot < shape.tokens * shape.top_k; ++slot) {
    ids.push_back(static_cast<std::int32_t>(numbers.below(shape.experts + 1)) - 1);
    affinity.push_back(numbers.value());
  }
  const smoke::device_array<float> device_scores(scores);
  const smoke::device_array<std::int32_t> device_ids(ids);
  const smoke::device_array<float> device_affinity(affinity);

  smoke::comparison comparison("expert_choice");
  expert_choice::options o;
  o.capacity = shape.tokens / 4 + 1;
  const resonance::matrix_view<const float> host_matrix(scores.data(), shape.tokens, shape.experts);
  const resonance::matrix_view<const float> device_matrix(device_scores.data(), shape.tokens, shape.experts);
  compare_choices(comparison, host_matrix,
                  expert_choice::host_expert_choice_workspace_bytes(resonance::serial_executor{}, shape.tokens),
                  device_matrix, expert_choice::device_expert_choice_workspace_bytes(shape.tokens, shape.experts, o),
                  static_cast<std::size_t>(shape.experts), o);

  resonance::assignment_view host_candidates;
  host_candidates.tokens = shape.tokens;
  host_candidates.experts = shape.experts;
  host_candidates.slots_per_token = shape.top_k;
  resonance::assignment_view device_candidates = host_candidates;
  host_candidates.ids = ids.data();
  host_candidates.affinity = affinity.data();
  device_candidates.ids = device_ids.data();
  device_candidates.affinity = device_affinity.data();
  o.capacity = shape.tokens * shape.top_k / (2 * std::int64_t{shape.experts}) + 1;
  compare_choices(comparison, host_candidates,
                  expert_choice::host_expert_choice_workspace_bytes(resonance::serial_executor{}, host_candidates),
                  device_candidates, expert_choice::device_expert_choice_workspace_bytes(device_candidates),
                  static_cast<std::size_t>(shape.experts), o);
  return comparison.finish();
}
