// SPDX-License-Identifier: Apache-2.0
// Routes as the tests run them: inputs for every metric, every output, and the same composition stage by stage.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "permute/fixture.hpp"
#include "plan/fixture.hpp"
#include "prune/fixture.hpp"
#include "resonance/route/host_route.hpp"
#include "resonance/route/router.hpp"
#include "support/assignments.hpp"

namespace route_test {

using permute_test::stored_rows;
using support::guarded_buffer;

struct route_shape {
  support::batch_shape batch;
  std::int64_t hidden;
};

//! One batch in every form that a metric may read, with a few values that no expert may be chosen by.
template <class Row>
struct batch_input {
  route_shape shape;
  stored_rows<Row> hidden, gate, logits;
  std::vector<float> token_norms, gate_norms, slice_weights;

  batch_input(support::random_source& random, const route_shape& s)
      : shape(s),
        hidden(s.batch.tokens, s.hidden, 3),
        gate(s.batch.experts, s.hidden, 1),
        logits(s.batch.tokens, s.batch.experts, 2) {
    hidden.fill_normal(random);
    gate.fill_normal(random);
    for (std::int64_t t = 0; t < s.batch.tokens; ++t)
      for (std::int64_t e = 0; e < s.batch.experts; ++e)
        permute_test::encode(support::adversarial_value(
                                 random, random.coin(0.2) ? support::adversary::infinities : support::adversary::nans),
                             logits.at(t, e));
    for (std::int64_t t = 0; t < s.batch.tokens; ++t) token_norms.push_back(static_cast<float>(1 + random.uniform()));
    for (std::int64_t e = 0; e < s.batch.experts; ++e) gate_norms.push_back(static_cast<float>(1 + random.uniform()));
    slice_weights = support::normal_values(random, static_cast<std::size_t>(s.hidden));
  }

  template <class Metric>
  auto of() const {
    if constexpr (Metric::reads == resonance::affinity::operand::logits) {
      return resonance::affinity::logits_input<Row>{logits.read(), token_norms.data(), gate_norms.data()};
    } else {
      resonance::affinity::hidden_input<Row> input;
      input.hidden = hidden.read();
      if (Metric::reads == resonance::affinity::operand::gate) input.gate = gate.read();
      input.experts = shape.batch.experts;
      input.slice_weights = slice_weights.data();
      return input;
    }
  }
};

//! Every array that a route may write; `slots` is host_route_slots.
template <class Index>
struct route_arrays {
  guarded_buffer<std::int32_t> topk_ids;
  guarded_buffer<float> topk_weights, topk_affinity, affinity;
  guarded_buffer<std::int32_t> merged_ids, rank_in_expert, token_of_slot;
  guarded_buffer<float> merged_weights, merged_affinity;
  guarded_buffer<std::int64_t> token_offsets;
  prune_test::pruned_arrays pruned;
  plan_test::plan_arrays<Index> plan;
  support::batch_shape shape;

  route_arrays(const support::batch_shape& s, std::int64_t slots, const resonance::plan::options& o)
      : topk_ids(count(s.tokens * s.top_k)),
        topk_weights(topk_ids.size()),
        topk_affinity(topk_ids.size()),
        affinity(count(s.tokens * (s.experts + 1))),
        merged_ids(count(slots)),
        rank_in_expert(count(slots)),
        token_of_slot(count(slots)),
        merged_weights(count(slots)),
        merged_affinity(count(slots)),
        token_offsets(count(s.tokens) + 1),
        pruned(count(slots), count(s.experts)),
        plan(slots, o.local_experts(s.experts), resonance::plan::max_rows(slots, s.experts, o), o.tile_tokens),
        shape(s) {}

  static std::size_t count(std::int64_t n) { return static_cast<std::size_t>(n); }

  resonance::matrix_view<float> affinity_view() {
    return {affinity.data(), shape.tokens, shape.experts, shape.experts + 1};
  }
  resonance::choice_buffers choice_view() { return {topk_ids.data(), topk_weights.data(), topk_affinity.data()}; }
  resonance::assignment_buffers merged_view() {
    return {merged_ids.data(),
            merged_weights.data(),
            merged_affinity.data(),
            rank_in_expert.data(),
            token_offsets.data(),
            token_of_slot.data(),
            static_cast<std::int64_t>(merged_ids.size())};
  }
  resonance::route::outputs<Index> view() {
    resonance::route::outputs<Index> out;
    out.choice = choice_view();
    out.affinity = affinity_view();
    out.merged = merged_view();
    out.prune = pruned.view();
    out.plan = plan.view();
    return out;
  }

  //! Every array in turn: visit(name, array).
  template <class Visit>
  void each(const Visit& visit) const {
    visit("topk_ids", topk_ids);
    visit("topk_weights", topk_weights);
    visit("topk_affinity", topk_affinity);
    visit("affinity", affinity);
    visit("merged.ids", merged_ids);
    visit("merged.rank_in_expert", rank_in_expert);
    visit("merged.token_of_slot", token_of_slot);
    visit("merged.weights", merged_weights);
    visit("merged.affinity", merged_affinity);
    visit("merged.token_offsets", token_offsets);
    visit("prune.ids", pruned.ids);
    visit("prune.weights", pruned.weights);
    visit("prune.delta_max", pruned.delta_max);
    visit("prune.capacities", pruned.capacities);
    visit("prune.kept", pruned.kept);
    visit("prune.dropped", pruned.dropped);
    visit("prune.assigned_mass", pruned.assigned_mass);
    visit("prune.kept_mass", pruned.kept_mass);
    visit("plan.tokens_per_expert", plan.tokens_per_expert);
    visit("plan.expert_offsets", plan.expert_offsets);
    visit("plan.sorted_token_ids", plan.sorted_token_ids);
    visit("plan.inverse", plan.inverse);
    visit("plan.expert_ids", plan.expert_ids);
    visit("plan.num_rows", plan.num_rows);
  }
  bool intact() const {
    bool all = true;
    each([&](const char*, const auto& array) { all = all && array.intact(); });
    return all;
  }
  bool untouched() const {
    bool all = true;
    each([&](const char*, const auto& array) { all = all && array.untouched(); });
    return all;
  }
  //! The arrays' names and bits, for comparison array by array.
  std::vector<std::pair<std::string, std::string>> bits() const {
    std::vector<std::pair<std::string, std::string>> all;
    each([&](const char* name, const auto& array) { all.emplace_back(name, support::bits_of(array)); });
    return all;
  }
};

template <class Index>
void expect_same(const route_arrays<Index>& got, const route_arrays<Index>& expected) {
  const auto got_bits = got.bits();
  const auto expected_bits = expected.bits();
  for (std::size_t i = 0; i < got_bits.size(); ++i)
    EXPECT_TRUE(got_bits[i].second == expected_bits[i].second) << got_bits[i].first;
}

//! Routes with every output and a workspace of exactly the size that the query answers.
template <class Index, class Executor, class Options, class Input>
route_arrays<Index> route_all(const Executor& executor, const Input& input, const Options& o,
                              const support::batch_shape& shape) {
  route_arrays<Index> out(shape, resonance::route::host_route_slots(input, o), o.plan);
  support::exact_workspace workspace(resonance::route::host_route_workspace_bytes(executor, input, o));
  EXPECT_TRUE(support::accepted(resonance::route::host_route(executor, input, o, out.view(), workspace.view())));
  EXPECT_TRUE(out.intact() && workspace.intact());
  return out;
}

//! The same composition by the public stages, one after the other, each with a workspace of its own.
template <class Index, class Executor, class M, class S, class G, class C, class F, class O, class Input>
route_arrays<Index> route_by_stages(const Executor& executor, const Input& input,
                                    const resonance::route::options<M, S, G, C, F, O>& o,
                                    const support::batch_shape& shape) {
  using namespace resonance;
  constexpr bool asks_experts = G::needs_expert_choice;
  constexpr bool ragged = G::adds_expert_choice;
  route_arrays<Index> out(shape, route::host_route_slots(input, o), o.plan);
  const auto run = [](const char* stage, std::size_t bytes, const auto& call) {
    support::exact_workspace workspace(bytes);
    EXPECT_TRUE(support::accepted(call(workspace.view()))) << stage;
  };

  const affinity::host_source<M, Input> source(o.metric, input);
  run("token_choice", token_choice::host_token_choice_workspace_bytes(executor, source), [&](workspace_view w) {
    return token_choice::host_token_choice(executor, source, o.score, o.selection, o.choice, out.choice_view(),
                                           out.affinity_view(), w);
  });
  const assignment_view choices = as_assignments(out.choice_view(), shape.tokens, shape.experts, shape.top_k);

  prune::options pruning = o.prune;
  pruning.top_k = shape.top_k;
  if constexpr (M::reads != affinity::operand::logits) pruning.hidden = input.hidden.cols;
  std::vector<std::int64_t> capacities(static_cast<std::size_t>(shape.experts), o.expert_capacity);
  std::int64_t most_capacity = 0;
  float chosen_delta_max = -std::numeric_limits<float>::infinity();  // of the tokens' choice, which a merge may lose
  for (std::size_t slot = 0; slot < out.topk_ids.size(); ++slot)
    if (out.topk_ids[slot] >= 0) chosen_delta_max = std::max(chosen_delta_max, out.topk_affinity[slot]);
  if (asks_experts) {
    if (o.prune.delta_max == nullptr) pruning.delta_max = &chosen_delta_max;
    if (o.expert_capacity < 0) {
      prune::batch_facts batch;
      batch.tokens = shape.tokens;
      batch.experts = shape.experts;
      batch.top_k = shape.top_k;
      batch.hidden = pruning.hidden;
      batch.delta_max = *pruning.delta_max;
      run("expert_capacities", prune::host_expert_capacities_workspace_bytes<C>(executor, shape.tokens),
          [&](workspace_view w) {
            return prune::host_expert_capacities(executor, o.capacity, matrix_view<const float>(out.affinity_view()),
                                                 batch, o.prune.capacity_cap, capacities.data(), w);
          });
    }
    most_capacity = *std::max_element(capacities.begin(), capacities.end());
  }
  const merge::expert_side expert{out.affinity_view(), 0, capacities.data()};
  run("merge", merge::host_merge_workspace_bytes<G>(executor, shape.tokens, shape.experts, shape.top_k, most_capacity),
      [&](workspace_view w) { return merge::host_merge(executor, o.merge, choices, expert, out.merged_view(), w); });
  assignment_view merged = choices;
  merged.rank_in_expert = out.rank_in_expert.data();
  if (asks_experts) merged.ids = out.merged_ids.data();
  if (ragged) {
    merged = as_assignments(out.merged_view(), shape.tokens, shape.experts);
    run("weights", token_choice::host_weights_workspace_bytes(executor, shape.experts), [&](workspace_view w) {
      return token_choice::host_weights(executor, matrix_view<const float>(out.affinity_view()), merged, o.score,
                                        o.choice, out.merged_weights.data(), w);
    });
  }
  run("prune", prune::host_prune_workspace_bytes(executor, merged), [&](workspace_view w) {
    return prune::host_prune(executor, o.capacity, o.order, merged, pruning, out.pruned.view(), w);
  });
  assignment_view kept = merged;
  kept.ids = out.pruned.ids.data();
  run("plan", plan::host_plan_workspace_bytes(executor, kept, o.plan),
      [&](workspace_view w) { return plan::host_plan(executor, kept, o.plan, out.plan.view(), w); });
  return out;
}

}  // namespace route_test
