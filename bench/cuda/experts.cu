// SPDX-License-Identifier: Apache-2.0
// Restricted merge, then pruning to a share of every expert's affinity mass.
#include <resonance/merge/device_merge.cuh>
#include <resonance/prune/device_prune.cuh>

#include "assignments.cuh"
#include "harness.cuh"

namespace bench {

namespace rs = resonance;

void time_experts(const card& of, const stage_timer& timer, const shape& s) {
  const random_assignments choices(s);
  const device_array<std::int32_t> ranks(s.slots());
  const std::size_t merge_bytes =
      rs::merge::device_merge_workspace_bytes<rs::merge::restricted>(s.tokens, s.experts, s.top_k, 0);
  const device_array<char> merge_memory(static_cast<std::int64_t>(merge_bytes));
  rs::assignment_buffers merged;
  merged.rank_in_expert = ranks.data();
  print_timing(of, "restricted merge", s, 12.0 * static_cast<double>(s.slots()), timer.time([&](cudaStream_t stream) {
    rs::device_stream on;
    on.stream = stream;
    return rs::merge::device_merge(on, rs::merge::restricted{}, choices.view(), {}, merged,
                                   {merge_memory.data(), merge_bytes});
  }));

  rs::assignment_view ranked = choices.view();
  ranked.rank_in_expert = ranks.data();
  const rs::prune::affinity_mass rule{0.76};
  using order = rs::prune::affinity_order;
  const device_array<std::int32_t> ids(s.slots());
  const device_array<float> weights(s.slots());
  const device_array<std::int64_t> kept(s.experts);
  rs::prune::outputs out;
  out.ids = ids.data();
  out.weights = weights.data();
  out.kept = kept.data();
  const std::size_t prune_bytes = rs::prune::device_prune_workspace_bytes<rs::prune::affinity_mass, order>(ranked);
  const device_array<char> prune_memory(static_cast<std::int64_t>(prune_bytes));
  print_timing(of, "prune by affinity mass", s, 16.0 * static_cast<double>(s.slots()) + 4.0 * s.experts,
               timer.time([&](cudaStream_t stream) {
                 rs::device_stream on;
                 on.stream = stream;
                 return rs::prune::device_prune(on, rule, order{}, ranked, {}, out, {prune_memory.data(), prune_bytes});
               }));
}

}  // namespace bench
