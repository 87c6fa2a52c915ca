// SPDX-License-Identifier: Apache-2.0
// One call of host_route with every output asked for, in vectors that own their memory.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <resonance/resonance.hpp>

#include "support/executors.hpp"

namespace properties {

using support::any_executor;

//! Everything that a route writes, filled with marks beforehand.
struct routed {
  resonance::status outcome;
  std::int64_t tokens = 0;
  std::int32_t experts = 0;
  std::int32_t top_k = 0;
  bool ragged = false;
  std::vector<std::int32_t> topk_ids;
  std::vector<float> topk_weights;
  std::vector<float> topk_affinity;
  std::vector<float> affinity;
  std::vector<std::int32_t> merged_ids;
  std::vector<float> merged_weights;
  std::vector<float> merged_affinity;
  std::vector<std::int32_t> rank_in_expert;
  std::vector<std::int64_t> token_offsets;
  std::vector<std::int32_t> token_of_slot;
  std::vector<std::int32_t> kept_ids;
  std::vector<float> kept_weights;
  std::vector<std::int64_t> capacities;
  std::vector<std::int64_t> kept;
  std::vector<std::int64_t> dropped;
  std::vector<double> assigned_mass;
  std::vector<double> kept_mass;
  float delta_max = 0;
  std::vector<std::int32_t> tokens_per_expert;
  std::vector<std::int32_t> expert_offsets;
  std::vector<std::int32_t> sorted_token_ids;
  std::vector<std::int32_t> inverse;
  std::vector<std::int32_t> expert_ids;
  std::vector<std::int64_t> num_rows;

  std::int64_t slots() const { return ragged ? token_offsets[static_cast<std::size_t>(tokens)] : tokens * top_k; }

  //! The kept assignments, with the weights for unpermute.
  resonance::assignment_view kept_assignments() const {
    resonance::assignment_view view;
    view.tokens = tokens;
    view.experts = experts;
    view.slots_per_token = ragged ? 0 : top_k;
    view.ids = kept_ids.data();
    view.weights = kept_weights.data();
    view.token_offsets = ragged ? token_offsets.data() : nullptr;
    view.token_of_slot = ragged ? token_of_slot.data() : nullptr;
    return view;
  }

  resonance::permute::row_plan<> rows() const {
    return {kept_assignments(), sorted_token_ids.data(), inverse.data(), num_rows[0]};
  }
};

template <class Input, class M, class S, class G, class C, class F, class O>
routed route_all(const any_executor& executor, const Input& input,
                 const resonance::route::options<M, S, G, C, F, O>& options) {
  using resonance::route::host_route_slots;
  const resonance::affinity::host_source<M, Input> source(options.metric, input);
  routed r;
  r.tokens = source.tokens();
  r.experts = source.experts();
  r.top_k = options.choice.top_k;
  r.ragged = G::adds_expert_choice;
  const auto tokens = static_cast<std::size_t>(r.tokens);
  const auto experts = static_cast<std::size_t>(r.experts);
  const auto chosen = tokens * static_cast<std::size_t>(r.top_k);
  const std::int64_t most_slots = host_route_slots(input, options);
  const auto slots = static_cast<std::size_t>(most_slots);
  const auto local = static_cast<std::size_t>(options.plan.local_experts(r.experts));
  const auto rows = static_cast<std::size_t>(resonance::plan::max_rows(most_slots, r.experts, options.plan));

  const std::int32_t mark = -7;
  r.topk_ids.assign(chosen, mark);
  r.topk_weights.assign(chosen, -7.0F);
  r.topk_affinity.assign(chosen, -7.0F);
  r.affinity.assign(tokens * experts, -7.0F);
  r.merged_ids.assign(slots, mark);
  r.merged_weights.assign(slots, -7.0F);
  r.merged_affinity.assign(slots, -7.0F);
  r.rank_in_expert.assign(slots, mark);
  r.token_offsets.assign(tokens + 1, mark);
  r.token_of_slot.assign(slots, mark);
  r.kept_ids.assign(slots, mark);
  r.kept_weights.assign(slots, -7.0F);
  r.capacities.assign(experts, mark);
  r.kept.assign(experts, mark);
  r.dropped.assign(experts, mark);
  r.assigned_mass.assign(experts, -7.0);
  r.kept_mass.assign(experts, -7.0);
  r.tokens_per_expert.assign(local, mark);
  r.expert_offsets.assign(local + 1, mark);
  r.sorted_token_ids.assign(rows, mark);
  r.inverse.assign(slots, mark);
  r.expert_ids.assign(rows / static_cast<std::size_t>(options.plan.tile_tokens), mark);
  r.num_rows.assign(2, mark);

  resonance::route::outputs<> out;
  out.choice = {r.topk_ids.data(), r.topk_weights.data(), r.topk_affinity.data()};
  out.affinity = {r.affinity.data(), r.tokens, r.experts};
  out.merged = {r.merged_ids.data(),
                r.merged_weights.data(),
                r.merged_affinity.data(),
                r.rank_in_expert.data(),
                r.token_offsets.data(),
                r.token_of_slot.data(),
                most_slots};
  out.prune = {r.kept_ids.data(), r.kept_weights.data(),  r.capacities.data(), r.kept.data(),
               r.dropped.data(),  r.assigned_mass.data(), r.kept_mass.data(),  &r.delta_max};
  out.plan = {r.tokens_per_expert.data(), r.expert_offsets.data(), r.sorted_token_ids.data(),
              r.inverse.data(),           r.expert_ids.data(),     r.num_rows.data()};

  std::vector<char> workspace(resonance::route::host_route_workspace_bytes(executor, input, options), char{0x5A});
  r.outcome = resonance::route::host_route(executor, input, options, out, {workspace.data(), workspace.size()});
  EXPECT_TRUE(r.outcome.ok()) << r.outcome.argument << ' ' << r.outcome.message();
  return r;
}

}  // namespace properties
