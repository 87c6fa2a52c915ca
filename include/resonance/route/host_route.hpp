// SPDX-License-Identifier: Apache-2.0
//! \file
//! The whole route on the host: token choice, merge, prune and plan in one call and one workspace.
#ifndef RESONANCE_ROUTE_HOST_ROUTE_HPP
#define RESONANCE_ROUTE_HOST_ROUTE_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <resonance/affinity/host_affinity.hpp>
#include <resonance/affinity/host_residual_logits.hpp>
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
#include <resonance/route/route_tables.hpp>
#include <resonance/token_choice/host_token_choice.hpp>
#include <resonance/token_choice/host_weights.hpp>

RESONANCE_NAMESPACE_BEGIN

namespace detail {

//! The stages one after the other, in one workspace.
template <class Metric, class Selection, class Merge, class Capacity, class Score, class Order, class Input>
class host_router {
  using tables_type = route_tables<memory_space::host, affinity::host_source<Metric, Input>, Metric, Selection, Merge,
                                   Capacity, Score, Order>;

 public:
  using options_type = typename tables_type::options_type;

  host_router(const Input& input, const options_type& o) : t_(input, o) {}

  template <class Index>
  status check(const route::outputs<Index>& out) const {
    return t_.check(out);
  }
  std::int64_t most_slots() const { return t_.most_slots(); }

  template <class Executor, class Index>
  std::size_t carve(const Executor& executor, const route::outputs<Index>& out, void* base) {
    workspace_carver carver(base);
    t_.carve(carver, out);
    stage_bytes_ = stage_workspace_bytes(executor, most_slots());
    stage_ = carver.take<char>(static_cast<std::int64_t>(stage_bytes_));
    return carver.bytes();
  }

  template <class Executor, class Index>
  status run(const Executor& executor, const route::outputs<Index>& out) {
    const workspace_view stage{stage_, stage_bytes_};
    const options_type& o = t_.options;
    checks c;
    c.also(token_choice::host_token_choice(executor, t_.source, o.score, o.selection, o.choice, t_.choice, t_.affinity,
                                           stage));
    const assignment_view choices = t_.choices();
    merge::expert_side expert;
    if (tables_type::asks_experts && c.result().ok()) {
      expert.affinity = t_.affinity;
      expert.capacities = t_.expert_capacities;
      c.also(expert_side_capacities(executor, choices, stage));
    }
    if (c.result().ok()) c.also(merge::host_merge(executor, o.merge, choices, expert, t_.merged, stage));
    if (!c.result().ok()) return c.result();
    const assignment_view merged = t_.merged_assignments();
    if (tables_type::ragged)
      c.also(token_choice::host_weights(executor, t_.affinity, merged, o.score, o.choice, t_.merged.weights, stage));
    if (c.result().ok()) c.also(prune::host_prune(executor, o.capacity, o.order, merged, o.prune, t_.pruned, stage));
    if (out.plan.expert_offsets != nullptr && c.result().ok()) {
      assignment_view kept = merged;
      kept.ids = t_.pruned.ids;
      c.also(plan::host_plan(executor, kept, o.plan, out.plan, stage));
    }
    return c.result();
  }

 private:
  template <class Executor>
  status expert_side_capacities(const Executor& executor, const assignment_view& choices, workspace_view stage) {
    options_type& o = t_.options;
    if (Capacity::needs_delta_max) {
      chosen_delta_max_ = math::negative_infinity();
      for (std::int64_t slot = 0; slot < choices.slots(); ++slot)
        if (choices.assigned(slot)) chosen_delta_max_ = std::max(chosen_delta_max_, choices.affinity[slot]);
      if (o.prune.delta_max == nullptr) o.prune.delta_max = &chosen_delta_max_;
    }
    if (o.expert_capacity >= 0) {
      std::fill_n(t_.expert_capacities, t_.experts, o.expert_capacity);
      return {};
    }
    prune::batch_facts batch = t_.facts();
    if (o.prune.delta_max != nullptr) batch.delta_max = *o.prune.delta_max;
    return prune::host_expert_capacities(executor, o.capacity, t_.affinity, batch, o.prune.capacity_cap,
                                         t_.expert_capacities, stage);
  }

  //! The stages run one after the other and share one piece, as large as the largest of them needs.
  template <class Executor>
  std::size_t stage_workspace_bytes(const Executor& executor, std::int64_t slots) const {
    const int workers = worker_count(executor);
    std::size_t bytes = token_choice::host_token_choice_workspace_bytes(executor, t_.source);
    bytes = std::max(bytes, merge::host_merge_workspace_bytes<Merge>(
                                executor, t_.tokens, t_.experts, t_.options.choice.top_k, t_.most_expert_capacity()));
    if (tables_type::asks_experts)
      bytes = std::max(bytes, prune::host_expert_capacities_workspace_bytes<Capacity>(executor, t_.tokens));
    if (tables_type::ragged) bytes = std::max(bytes, token_choice::host_weights_workspace_bytes(executor, t_.experts));
    workspace_carver for_prune;
    prune_scratch pruning;
    pruning.carve(for_prune, workers, t_.experts, t_.tokens, slots);
    workspace_carver for_plan;
    plan_scratch planning;
    planning.carve(for_plan, workers, slots, t_.options.plan, t_.experts);
    return std::max({bytes, for_prune.bytes(), for_plan.bytes()});
  }

  tables_type t_;
  float chosen_delta_max_ = 0.0f;  // over the tokens' own choices, which a merge may lose
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
//! Inputs     input: affinity::hidden_input, logits_input or residual_logits_input, as the metric reads; options: see
//!            route::options
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
