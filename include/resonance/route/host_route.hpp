// SPDX-License-Identifier: Apache-2.0
//! \file
//! The whole route on the host: token choice, merge, prune and plan in one call and one workspace.
#ifndef RESONANCE_ROUTE_HOST_ROUTE_HPP
#define RESONANCE_ROUTE_HOST_ROUTE_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>

#include <resonance/affinity/host_affinity.hpp>
#include <resonance/core/executor.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/views.hpp>
#include <resonance/core/workspace.hpp>
#include <resonance/merge/host_merge.hpp>
#include <resonance/plan/host_plan.hpp>
#include <resonance/prune/host_expert_capacities.hpp>
#include <resonance/prune/host_prune.hpp>
#include <resonance/route/options.hpp>
#include <resonance/token_choice/host_token_choice.hpp>
#include <resonance/token_choice/host_weights.hpp>

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

//! Everything that a route allocates from the workspace, or takes from the caller's outputs instead.
template <class Metric, class Selection, class Merge, class Capacity, class Score, class Order, class Input>
class host_router {
 public:
  using options_type = route::options<Metric, Selection, Merge, Capacity, Score, Order>;
  static constexpr bool ragged = Merge::adds_expert_choice;
  static constexpr bool asks_experts = Merge::needs_expert_choice;

  host_router(const Input& input, const options_type& o)
      : source_(o.metric, input), options_(o), tokens_(source_.tokens()), experts_(source_.experts()) {
    if (options_.prune.hidden == 0) options_.prune.hidden = hidden_size_of(input);
    if (options_.prune.top_k == 0) options_.prune.top_k = o.choice.top_k;
  }

  //! Everything that can be refused, before anything is written.
  template <class Index>
  status check(const route::outputs<Index>& out) const {
    std::int32_t present_id = 0;  // stands for any array that the workspace will provide
    float present_value = 0.0f;
    checks c;
    choice_buffers choice;
    choice.topk_ids = &present_id;
    c.also(check_token_choice(source_, options_.score, options_.selection, options_.choice, choice, out.affinity));
    if (!c.result().ok()) return c.result();
    c.in_range(options_.expert_capacity >= -1, "expert_capacity");
    c.also(options_.capacity.check(facts()));
    if (!c.result().ok()) return c.result();
    c.fits(!asks_experts || tokens_ <= max_slots / experts_ / 2, "experts");
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
    stand_in.tokens = tokens_;
    stand_in.experts = experts_;
    stand_in.slots_per_token = options_.choice.top_k;
    stand_in.ids = &present_id;
    stand_in.weights = stand_in.affinity = &present_value;
    stand_in.rank_in_expert = &present_id;
    prune::outputs pruned = out.prune;
    pruned.ids = &present_id;
    pruned.weights = &present_value;
    c.also(check_prune<Order>(options_.capacity, stand_in, options_.prune, pruned));
    if (out.plan.expert_offsets != nullptr && c.result().ok())
      c.also(check_plan(stand_in, slots, options_.plan, out.plan));
    return c.result();
  }

  //! The most slots of the merged assignments.
  std::int64_t most_slots() const {
    return merge::merged_slots<Merge>(tokens_, experts_, options_.choice.top_k, most_expert_capacity());
  }

  template <class Executor, class Index>
  std::size_t carve(const Executor& executor, const route::outputs<Index>& out, void* base) {
    workspace_carver carver(base);
    const std::int64_t chosen = tokens_ * options_.choice.top_k;
    const std::int64_t slots = most_slots();
    const auto use = [&](auto*& piece, auto* given, std::int64_t count) {
      using element = std::remove_reference_t<decltype(*piece)>;
      element* own = carver.take<element>(count);
      piece = given != nullptr ? given : own;
    };
    use(choice_.topk_ids, out.choice.topk_ids, chosen);
    use(choice_.topk_weights, out.choice.topk_weights, chosen);
    use(choice_.topk_affinity, out.choice.topk_affinity, chosen);
    affinity_ = out.affinity;
    if (asks_experts) {
      float* own = carver.take<float>(tokens_ * experts_);
      if (affinity_.data == nullptr) affinity_ = matrix_view<float>(own, tokens_, experts_);
      expert_capacities_ = carver.take<std::int64_t>(experts_);
    }
    merged_.capacity = slots;
    use(merged_.rank_in_expert, out.merged.rank_in_expert, slots);
    if (asks_experts) use(merged_.ids, out.merged.ids, slots);
    if (ragged) {
      use(merged_.weights, out.merged.weights, slots);
      use(merged_.affinity, out.merged.affinity, slots);
      use(merged_.token_of_slot, out.merged.token_of_slot, slots);
      use(merged_.token_offsets, out.merged.token_offsets, tokens_ + 1);
    }
    pruned_ = out.prune;
    use(pruned_.ids, out.prune.ids, slots);
    use(pruned_.weights, out.prune.weights, slots);
    stage_bytes_ = stage_workspace_bytes(executor, slots);
    stage_ = carver.take<char>(static_cast<std::int64_t>(stage_bytes_));
    return carver.bytes();
  }

  template <class Executor, class Index>
  status run(const Executor& executor, const route::outputs<Index>& out) {
    const workspace_view stage{stage_, stage_bytes_};
    checks c;
    c.also(token_choice::host_token_choice(executor, source_, options_.score, options_.selection, options_.choice,
                                           choice_, affinity_, stage));
    const assignment_view choices = as_assignments(choice_, tokens_, experts_, options_.choice.top_k);
    merge::expert_side expert;
    if (asks_experts && c.result().ok()) {
      expert.affinity = affinity_;
      expert.capacities = expert_capacities_;
      c.also(expert_side_capacities(executor, choices, stage));
    }
    if (c.result().ok()) c.also(merge::host_merge(executor, options_.merge, choices, expert, merged_, stage));
    assignment_view merged = choices;
    merged.rank_in_expert = merged_.rank_in_expert;
    if (asks_experts) merged.ids = merged_.ids;
    if (ragged && c.result().ok()) {
      merged = as_assignments(merged_, tokens_, experts_);
      c.also(token_choice::host_weights(executor, affinity_, merged, options_.score, options_.choice, merged_.weights,
                                        stage));
    }
    if (c.result().ok())
      c.also(prune::host_prune(executor, options_.capacity, options_.order, merged, options_.prune, pruned_, stage));
    if (out.plan.expert_offsets != nullptr && c.result().ok()) {
      assignment_view kept = merged;
      kept.ids = pruned_.ids;
      c.also(plan::host_plan(executor, kept, options_.plan, out.plan, stage));
    }
    return c.result();
  }

 private:
  prune::batch_facts facts() const {
    prune::batch_facts batch;
    batch.tokens = tokens_;
    batch.experts = experts_;
    batch.top_k = options_.prune.top_k;
    batch.hidden = options_.prune.hidden;
    return batch;
  }

  template <class Index>
  static bool has_merged(const route::outputs<Index>& out) {
    return out.merged.ids != nullptr || out.merged.weights != nullptr || out.merged.affinity != nullptr ||
           out.merged.rank_in_expert != nullptr || out.merged.token_offsets != nullptr ||
           out.merged.token_of_slot != nullptr;
  }

  //! A bound on the experts' C_i that needs no data.
  std::int64_t most_expert_capacity() const {
    if (!asks_experts) return 0;
    if (options_.expert_capacity >= 0) return options_.expert_capacity;
    if (Capacity::by_mass || Capacity::needs_delta_max) return tokens_;
    std::int64_t most = 0;
    if constexpr (!Capacity::by_mass)
      for (std::int32_t e = 0; e < experts_; ++e)
        most = std::max(most, options_.capacity.capacity(facts(), e, tokens_));
    return std::min(most, tokens_);
  }

  template <class Executor>
  status expert_side_capacities(const Executor& executor, const assignment_view& choices, workspace_view stage) {
    if (Capacity::needs_delta_max) {
      chosen_delta_max_ = math::negative_infinity();
      for (std::int64_t slot = 0; slot < choices.slots(); ++slot)
        if (choices.assigned(slot)) chosen_delta_max_ = std::max(chosen_delta_max_, choices.affinity[slot]);
      if (options_.prune.delta_max == nullptr) options_.prune.delta_max = &chosen_delta_max_;
    }
    if (options_.expert_capacity >= 0) {
      std::fill_n(expert_capacities_, experts_, options_.expert_capacity);
      return {};
    }
    prune::batch_facts batch = facts();
    if (options_.prune.delta_max != nullptr) batch.delta_max = *options_.prune.delta_max;
    return prune::host_expert_capacities(executor, options_.capacity, affinity_, batch, options_.prune.capacity_cap,
                                         expert_capacities_, stage);
  }

  //! The stages run one after the other and share one piece, as large as the largest of them needs.
  template <class Executor>
  std::size_t stage_workspace_bytes(const Executor& executor, std::int64_t slots) const {
    const int workers = worker_count(executor);
    std::size_t bytes = token_choice::host_token_choice_workspace_bytes(executor, source_);
    bytes = std::max(bytes, merge::host_merge_workspace_bytes<Merge>(executor, tokens_, experts_, options_.choice.top_k,
                                                                     most_expert_capacity()));
    if (asks_experts)
      bytes = std::max(bytes, prune::host_expert_capacities_workspace_bytes<Capacity>(executor, tokens_));
    if (ragged) bytes = std::max(bytes, token_choice::host_weights_workspace_bytes(executor, experts_));
    workspace_carver for_prune;
    prune_scratch pruning;
    pruning.carve(for_prune, workers, experts_, tokens_, slots);
    workspace_carver for_plan;
    plan_scratch planning;
    planning.carve(for_plan, workers, slots, options_.plan, experts_);
    return std::max({bytes, for_prune.bytes(), for_plan.bytes()});
  }

  affinity::host_source<Metric, Input> source_;
  options_type options_;
  std::int64_t tokens_;
  std::int32_t experts_;
  choice_buffers choice_;
  matrix_view<float> affinity_;
  std::int64_t* expert_capacities_ = nullptr;
  float chosen_delta_max_ = 0.0f;  // over the tokens' own choices, which a merge may lose
  assignment_buffers merged_;
  prune::outputs pruned_;
  char* stage_ = nullptr;
  std::size_t stage_bytes_ = 0;
};

}  // namespace detail

namespace route {

//! The most slots of a route's merged assignments: T*K, more for union_ and expert_only. 0 when input or options are
//! refused.
template <class M, class S, class G, class C, class F, class O, class Input>
std::int64_t host_route_slots(const Input& input, const options<M, S, G, C, F, O>& o) {
  const detail::host_router<M, S, G, C, F, O, Input> router(input, o);
  return router.check(outputs<>{}).ok() ? router.most_slots() : 0;
}

//! Bytes of workspace that host_route needs, whatever outputs are asked for: the formula is the sum of the tables that
//! the caller may leave out and the largest of the stages' own; 0 when the input or the options are refused.
template <class Executor, class M, class S, class G, class C, class F, class O, class Input>
std::size_t host_route_workspace_bytes(const Executor& executor, const Input& input,
                                       const options<M, S, G, C, F, O>& o) {
  detail::host_router<M, S, G, C, F, O, Input> router(input, o);
  return router.check(outputs<>{}).ok() ? router.carve(executor, outputs<>{}, nullptr) : 0;
}

//! Routes a batch: affinity, token choice, merge, prune, plan.
//!
//! Equation   SEMANTICS 2-7; each stage as its own function says, to the bit
//! Inputs     input: affinity::hidden_input or logits_input, as the metric reads; options: see route::options
//! Outputs    see route::outputs; what is null is not written. Deltas go to memory only if out.affinity is given or the
//!            merge asks the experts
//! Contract   same bits at any worker count and instruction set
//! Errors     every stage's, before anything is written; the status names the argument
//! Resources  host_route_workspace_bytes; no allocation
//! Cost       the stages'
//! Example    examples/01_route.cpp
template <class Executor, class M, class S, class G, class C, class F, class O, class Input, class Index>
status host_route(const Executor& executor, const Input& input, const options<M, S, G, C, F, O>& o,
                  const outputs<Index>& out, workspace_view workspace) {
  detail::host_router<M, S, G, C, F, O, Input> router(input, o);
  detail::checks c;
  c.also(router.check(out));
  if (!c.result().ok()) return c.result();
  c.also(detail::check_workspace(workspace, router.carve(executor, out, nullptr)));
  if (!c.result().ok()) return c.result();
  router.carve(executor, out, workspace.data);
  return router.run(executor, out);
}

}  // namespace route

//! The host as a router's backend, on an executor's threads. Keeps a reference to the executor.
template <class Executor>
class host_backend {
 public:
  explicit host_backend(const Executor& executor) : executor_(&executor) {}

  template <class Input, class Options>
  std::size_t route_workspace_bytes(const Input& input, const Options& o) const {
    return route::host_route_workspace_bytes(*executor_, input, o);
  }

  template <class Input, class Options, class Index>
  status route(const Input& input, const Options& o, const route::outputs<Index>& out, workspace_view workspace) const {
    return route::host_route(*executor_, input, o, out, workspace);
  }

 private:
  const Executor* executor_;
};

template <class Executor>
host_backend<Executor> on_host(const Executor& executor) {
  return host_backend<Executor>(executor);
}

RESONANCE_NAMESPACE_END

#endif
