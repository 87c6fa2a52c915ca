// SPDX-License-Identifier: Apache-2.0
// cuda-smoke-merge T E K: every merge policy on random choices, against the host backend.
#include <resonance/core/executor.hpp>
#include <resonance/merge/device_merge.cuh>
#include <resonance/merge/host_merge.hpp>

#include "support.hpp"

namespace {

namespace merge = resonance::merge;

//! A merge's outputs, in the arrays of the host or of the device.
template <template <class...> class Array>
struct merged_arrays {
  Array<std::int32_t> ids, ranks, tokens;
  Array<float> affinity;
  Array<std::int64_t> offsets;

  merged_arrays(std::int64_t slots, std::int64_t num_tokens)
      : ids(static_cast<std::size_t>(slots)),
        ranks(static_cast<std::size_t>(slots)),
        tokens(static_cast<std::size_t>(slots)),
        affinity(static_cast<std::size_t>(slots)),
        offsets(static_cast<std::size_t>(num_tokens) + 1) {}

  resonance::assignment_buffers buffers(std::int64_t slots) {
    resonance::assignment_buffers out;
    out.ids = ids.data();
    out.rank_in_expert = ranks.data();
    out.token_of_slot = tokens.data();
    out.affinity = affinity.data();
    out.token_offsets = offsets.data();
    out.capacity = slots;
    return out;
  }
};

struct merge_inputs {
  resonance::assignment_view choices;
  merge::expert_side expert;
};

template <class Policy>
void compare_merges(smoke::comparison& comparison, const merge_inputs& on_host, const merge_inputs& on_device) {
  const resonance::serial_executor executor;
  const std::int64_t tokens = on_host.choices.tokens;
  const std::int32_t experts = on_host.choices.experts;
  const std::int32_t top_k = on_host.choices.slots_per_token;
  const std::int64_t most = Policy::needs_expert_choice ? on_host.expert.capacity : 0;
  const std::int64_t slots = merge::merged_slots<Policy>(tokens, experts, top_k, most);
  merged_arrays<std::vector> expected(slots, tokens);
  std::vector<unsigned char> memory(merge::host_merge_workspace_bytes<Policy>(executor, tokens, experts, top_k, most));
  smoke::require(merge::host_merge(executor, Policy{}, on_host.choices, on_host.expert, expected.buffers(slots),
                                   resonance::workspace_view{memory.data(), memory.size()}),
                 "host_merge");

  merged_arrays<smoke::device_array> found(slots, tokens);
  const std::size_t bytes = merge::device_merge_workspace_bytes<Policy>(tokens, experts, top_k, most);
  const smoke::device_array<unsigned char> workspace(bytes);
  comparison.run("device_merge", [&](const resonance::device_stream& on) {
    return merge::device_merge(on, Policy{}, on_device.choices, on_device.expert, found.buffers(slots),
                               {workspace.data(), bytes});
  });
  auto written = static_cast<std::size_t>(slots);
  if (Policy::adds_expert_choice) {
    written = static_cast<std::size_t>(expected.offsets.back());
    comparison.same("token_offsets", expected.offsets, found.offsets.to_host());
    comparison.same("token_of_slot", expected.tokens, found.tokens.to_host(), written);
    comparison.same("affinity", expected.affinity, found.affinity.to_host(), written);
  }
  if (Policy::needs_expert_choice) comparison.same("ids", expected.ids, found.ids.to_host(), written);
  comparison.same("rank_in_expert", expected.ranks, found.ranks.to_host(), written);
}

}  // namespace

int main(int count, char** values) {
  const smoke::shape shape = smoke::parse(count, values, {40, 72, 4, 0});
  smoke::require(shape.experts >= 1 && shape.top_k >= 1, "E and K are 1 at least");
  smoke::generator numbers;
  const std::vector<float> deltas = smoke::random_values(numbers, shape.tokens * shape.experts);
  std::vector<std::int32_t> ids;
  std::vector<float> affinity;
  for (std::int64_t t = 0; t < shape.tokens; ++t) {
    for (std::int32_t k = 0; k < shape.top_k; ++k) {
      ids.push_back(static_cast<std::int32_t>(numbers.below(shape.experts + 1)) - 1);
      affinity.push_back(ids.back() >= 0 ? deltas[static_cast<std::size_t>(t * shape.experts + ids.back())] : 0.0f);
    }
  }
  const smoke::device_array<float> device_deltas(deltas);
  const smoke::device_array<std::int32_t> device_ids(ids);
  const smoke::device_array<float> device_affinity(affinity);

  merge_inputs on_host;
  on_host.choices.tokens = shape.tokens;
  on_host.choices.experts = shape.experts;
  on_host.choices.slots_per_token = shape.top_k;
  on_host.expert.capacity = shape.tokens / 4 + 1;
  merge_inputs on_device = on_host;
  on_host.choices.ids = ids.data();
  on_host.choices.affinity = affinity.data();
  on_host.expert.affinity = {deltas.data(), shape.tokens, shape.experts};
  on_device.choices.ids = device_ids.data();
  on_device.choices.affinity = device_affinity.data();
  on_device.expert.affinity = {device_deltas.data(), shape.tokens, shape.experts};

  smoke::comparison comparison("merge");
  compare_merges<merge::restricted>(comparison, on_host, on_device);
  compare_merges<merge::intersection>(comparison, on_host, on_device);
  compare_merges<merge::union_>(comparison, on_host, on_device);
  compare_merges<merge::expert_only>(comparison, on_host, on_device);
  return comparison.finish();
}
