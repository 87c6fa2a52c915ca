// SPDX-License-Identifier: Apache-2.0
//! \file
//! What the backends' routes share: everything that is refused, and the tables between the stages.
#ifndef RESONANCE_ROUTE_ROUTE_TABLES_HPP
#define RESONANCE_ROUTE_ROUTE_TABLES_HPP

#include <resonance/affinity/metrics.hpp>
#include <resonance/affinity/residual_logits.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>
#include <resonance/core/workspace.hpp>
#include <resonance/merge/expert_side.hpp>
#include <resonance/plan/plan.hpp>
#include <resonance/prune/capacity.hpp>
#include <resonance/prune/check.hpp>
#include <resonance/route/options.hpp>
#include <resonance/token_choice/checks.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

template <class X, class W>
std::int64_t hidden_size_of(const affinity::hidden_input<X, W>& input) {
  return input.hidden.cols;
}
template <class L>
std::int64_t hidden_size_of(const affinity::logits_input<L>&) {
  return 0;
}

template <class L, class G, class W>
std::int64_t hidden_size_of(const affinity::residual_logits_input<L, G, W>&) {
  return 0;
}

//! The memory that a route's arrays are in.
enum class memory_space { host, device };

//! The tables of one route: the caller's outputs where given, else the workspace's.
template <memory_space Space, class Source, class Metric, class Selection, class Merge, class Capacity, class Score,
          class Order>
struct route_tables {
  using options_type = route::options<Metric, Selection, Merge, Capacity, Score, Order>;
  static constexpr bool ragged = Merge::adds_expert_choice;
  static constexpr bool asks_experts = Merge::needs_expert_choice;

  Source source;
  options_type options;
  std::int64_t tokens;
  std::int32_t experts;
  choice_buffers choice;
  matrix_view<float> affinity;
  std::int64_t* expert_capacities = nullptr;
  assignment_buffers merged;
  prune::outputs pruned;

  template <class Input>
  route_tables(const Input& input, const options_type& o)
      : source(o.metric, input), options(o), tokens(source.tokens()), experts(source.experts()) {
    if (options.prune.hidden == 0) options.prune.hidden = hidden_size_of(input);
    if (options.prune.top_k == 0) options.prune.top_k = o.choice.top_k;
  }

  prune::batch_facts facts() const {
    prune::batch_facts batch;
    batch.tokens = tokens;
    batch.experts = experts;
    batch.top_k = options.prune.top_k;
    batch.hidden = options.prune.hidden;
    return batch;
  }

  //! Everything that can be refused, before anything is written.
  template <class Index>
  status check(const route::outputs<Index>& out) const {
    std::int32_t present_id = 0;  // stands for any array that the workspace will provide
    float present_value = 0.0f;
    checks c;
    choice_buffers chosen;
    chosen.topk_ids = &present_id;
    c.also(check_token_choice(source, options.score, options.selection, options.choice, chosen, out.affinity));
    if (!c.result().ok()) return c.result();
    c.in_range(options.expert_capacity >= -1, "expert_capacity");
    c.also(rule_status());
    if (!c.result().ok()) return c.result();
    c.fits(!asks_experts || tokens <= max_slots / experts / 2, "experts");
    if (!c.result().ok()) return c.result();
    const std::int64_t slots = most_slots();
    if (ragged && has_merged(out)) {
      c.present(out.merged.ids, slots > 0, "merged.ids").present(out.merged.affinity, slots > 0, "merged.affinity");
      c.present(out.merged.weights, slots > 0, "merged.weights");
      c.present(out.merged.rank_in_expert, slots > 0, "merged.rank_in_expert");
      c.present(out.merged.token_offsets, true, "merged.token_offsets");
      c.present(out.merged.token_of_slot, slots > 0, "merged.token_of_slot");
      c.fits(out.merged.capacity >= slots, "merged.capacity");
    }
    // A stand-in of the same shape and with every array present: only the caller's own arguments can fail.
    assignment_view stand_in;
    stand_in.tokens = tokens;
    stand_in.experts = experts;
    stand_in.slots_per_token = options.choice.top_k;
    stand_in.ids = &present_id;
    stand_in.weights = stand_in.affinity = &present_value;
    stand_in.rank_in_expert = &present_id;
    prune::outputs of_prune = out.prune;
    of_prune.ids = &present_id;
    of_prune.weights = &present_value;
    c.also(check_prune_arguments<Capacity, Order>(rule_status(), slots > 0, stand_in, options.prune, of_prune));
    if (out.plan.expert_offsets != nullptr && c.result().ok())
      c.also(check_plan(stand_in, slots, options.plan, out.plan));
    return c.result();
  }

  //! The most slots of the merged assignments.
  std::int64_t most_slots() const {
    return merge::merged_slots<Merge>(tokens, experts, options.choice.top_k, most_expert_capacity());
  }

  //! A bound on the experts' C_i that needs no data.
  std::int64_t most_expert_capacity() const {
    if (!asks_experts) return 0;
    if (options.expert_capacity >= 0) return options.expert_capacity;
    constexpr bool unknown = Space == memory_space::device && has_check_shape<Capacity>;
    if (Capacity::by_mass || Capacity::needs_delta_max || unknown) return tokens;
    std::int64_t most = 0;
    if constexpr (!Capacity::by_mass && !unknown) {
      for (std::int32_t e = 0; e < experts; ++e) {
        const std::int64_t own = options.capacity.capacity(facts(), e, tokens);
        most = own > most ? own : most;
      }
    }
    return most < tokens ? most : tokens;
  }

  template <class Index>
  void carve(workspace_carver& carver, const route::outputs<Index>& out) {
    const std::int64_t chosen = tokens * options.choice.top_k;
    const std::int64_t slots = most_slots();
    const auto use = [&](auto*& piece, auto* given, std::int64_t count) {
      using element = std::remove_reference_t<decltype(*piece)>;
      element* own = carver.take<element>(count);
      piece = given != nullptr ? given : own;
    };
    use(choice.topk_ids, out.choice.topk_ids, chosen);
    use(choice.topk_weights, out.choice.topk_weights, chosen);
    use(choice.topk_affinity, out.choice.topk_affinity, chosen);
    affinity = out.affinity;
    if (asks_experts) {
      float* own = carver.take<float>(tokens * experts);
      if (affinity.data == nullptr) affinity = matrix_view<float>(own, tokens, experts);
      expert_capacities = carver.take<std::int64_t>(experts);
    }
    merged.capacity = slots;
    use(merged.rank_in_expert, out.merged.rank_in_expert, slots);
    if (asks_experts) use(merged.ids, out.merged.ids, slots);
    if (ragged) {
      use(merged.weights, out.merged.weights, slots);
      use(merged.affinity, out.merged.affinity, slots);
      use(merged.token_of_slot, out.merged.token_of_slot, slots);
      use(merged.token_offsets, out.merged.token_offsets, tokens + 1);
    }
    pruned = out.prune;
    use(pruned.ids, out.prune.ids, slots);
    use(pruned.weights, out.prune.weights, slots);
  }

  assignment_view choices() const { return as_assignments(choice, tokens, experts, options.choice.top_k); }

  //! What the merge leaves, once it has run.
  assignment_view merged_assignments() const {
    if (ragged) return as_assignments(merged, tokens, experts);
    assignment_view view = choices();
    view.rank_in_expert = merged.rank_in_expert;
    if (asks_experts) view.ids = merged.ids;
    return view;
  }

 private:
  status rule_status() const {
    if constexpr (Space == memory_space::device) return check_device_rule(options.capacity, facts());
    return options.capacity.check(facts());
  }

  template <class Index>
  static bool has_merged(const route::outputs<Index>& out) {
    return out.merged.ids != nullptr || out.merged.weights != nullptr || out.merged.affinity != nullptr ||
           out.merged.rank_in_expert != nullptr || out.merged.token_offsets != nullptr ||
           out.merged.token_of_slot != nullptr;
  }
};

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
