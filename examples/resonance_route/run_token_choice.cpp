// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "resonance_route/run.hpp"

namespace route_cli {

void choose_experts(const resonance::thread_pool& pool, const options& o, routing& r) {
  namespace token_choice = resonance::token_choice;
  using source =
      resonance::affinity::host_source<resonance::affinity::logits, resonance::affinity::logits_input<float>>;
  const resonance::matrix_view<const float> deltas(r.affinity.data(), r.tokens, r.experts);
  const source rows({}, {deltas, nullptr, nullptr});

  const std::int64_t slots = r.tokens * o.choice.top_k;
  resize(r.topk_ids, slots);
  resize(r.topk_weights, slots);
  resize(r.topk_affinity, slots);
  const resonance::choice_buffers out{r.topk_ids.data(), r.topk_weights.data(), r.topk_affinity.data()};
  scratch workspace(token_choice::host_token_choice_workspace_bytes(pool, rows));
  std::visit(
      [&](const auto& score, const auto& selection) {
        require(token_choice::host_token_choice(pool, rows, score, selection, o.choice, out, {}, workspace.view()));
      },
      o.score, o.selection);

  r.delta_max = -HUGE_VALF;
  for (const float delta : r.topk_affinity) r.delta_max = std::max(r.delta_max, delta);
}

}  // namespace route_cli
