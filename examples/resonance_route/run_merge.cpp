// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "resonance_route/run.hpp"

namespace route_cli {
namespace {

namespace merge = resonance::merge;
namespace prune = resonance::prune;
namespace token_choice = resonance::token_choice;

// C_i of the experts' own choice, which is among all tokens.
std::vector<std::int64_t> expert_side_capacities(const resonance::thread_pool& pool, const options& o, const inputs& in,
                                                 const routing& r) {
  std::vector<std::int64_t> capacities(static_cast<std::size_t>(r.experts), o.expert_capacity);
  if (o.expert_capacity >= 0) return capacities;
  prune::batch_facts batch;
  batch.tokens = r.tokens;
  batch.experts = r.experts;
  batch.top_k = o.choice.top_k;
  batch.hidden = in.hidden_size;
  const resonance::matrix_view<const float> deltas(r.affinity.data(), r.tokens, r.experts);
  std::visit(
      [&](const auto& rule) {
        using Rule = std::decay_t<decltype(rule)>;
        scratch workspace(prune::host_expert_capacities_workspace_bytes<Rule>(pool, r.tokens));
        require(prune::host_expert_capacities(pool, rule, deltas, batch, o.prune.capacity_cap, capacities.data(),
                                              workspace.view()));
      },
      effective_capacity(o, r));
  return capacities;
}

void weigh_merged(const resonance::thread_pool& pool, const options& o, routing& r) {
  const resonance::matrix_view<const float> deltas(r.affinity.data(), r.tokens, r.experts);
  scratch workspace(token_choice::host_weights_workspace_bytes(pool, r.experts));
  std::visit(
      [&](const auto& score) {
        require(token_choice::host_weights(pool, deltas, r.merged.view(r.tokens, r.experts), score, o.choice,
                                           r.merged.weights.data(), workspace.view()));
      },
      o.score);
}

template <class Policy>
void merge_by(const Policy& policy, const resonance::thread_pool& pool, const options& o, const inputs& in,
              routing& r) {
  const resonance::choice_buffers chosen{r.topk_ids.data(), r.topk_weights.data(), r.topk_affinity.data()};
  const resonance::assignment_view choices = resonance::as_assignments(chosen, r.tokens, r.experts, o.choice.top_k);
  std::vector<std::int64_t> capacities;
  merge::expert_side expert;
  std::int64_t most = 0;
  if (Policy::needs_expert_choice) {
    capacities = expert_side_capacities(pool, o, in, r);
    expert.affinity = {r.affinity.data(), r.tokens, r.experts};
    expert.capacities = capacities.data();
    most = *std::max_element(capacities.begin(), capacities.end());
  }

  assignments& m = r.merged;
  r.ragged = Policy::adds_expert_choice;
  resonance::assignment_buffers out;
  out.capacity = merge::merged_slots<Policy>(r.tokens, r.experts, o.choice.top_k, most);
  // The library asks for the arrays even where no expert has room for a token.
  const std::int64_t length = std::max<std::int64_t>(out.capacity, 1);
  resize(m.rank_in_expert, length);
  if (r.ragged) {
    resize(m.ids, length);
    resize(m.affinity, length);
    resize(m.token_of_slot, length);
    resize(m.token_offsets, r.tokens + 1);
  } else {
    m.slots_per_token = o.choice.top_k;
    m.ids = r.topk_ids;
    m.weights = r.topk_weights;
    m.affinity = r.topk_affinity;
  }
  out.ids = m.ids.data();
  out.affinity = m.affinity.data();
  out.rank_in_expert = m.rank_in_expert.data();
  out.token_offsets = m.token_offsets.data();
  out.token_of_slot = m.token_of_slot.data();
  scratch workspace(merge::host_merge_workspace_bytes<Policy>(pool, r.tokens, r.experts, o.choice.top_k, most));
  require(merge::host_merge(pool, policy, choices, expert, out, workspace.view()));
  if (!r.ragged) return;
  resize(m.weights, m.token_offsets.back());
  weigh_merged(pool, o, r);
}

}  // namespace

void merge_choices(const resonance::thread_pool& pool, const options& o, const inputs& in, routing& r) {
  std::visit([&](const auto& policy) { merge_by(policy, pool, o, in, r); }, o.merge);
}

}  // namespace route_cli
