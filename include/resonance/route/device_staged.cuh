// SPDX-License-Identifier: Apache-2.0
//! \file
//! A route on the device stage by stage: for the compositions that no fused kernel covers.
#ifndef RESONANCE_ROUTE_DEVICE_STAGED_CUH
#define RESONANCE_ROUTE_DEVICE_STAGED_CUH

#include <resonance/affinity/warp_affinity.cuh>
#include <resonance/config.hpp>
#include <resonance/core/launch.cuh>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>
#include <resonance/core/workspace.hpp>
#include <resonance/merge/device_merge.cuh>
#include <resonance/plan/device_plan.cuh>
#include <resonance/prune/device_expert_capacities.cuh>
#include <resonance/prune/device_prune.cuh>
#include <resonance/route/kernel_delta_max.cuh>
#include <resonance/route/route_tables.hpp>
#include <resonance/token_choice/device_token_choice.cuh>
#include <resonance/token_choice/device_weights.cuh>

RESONANCE_NAMESPACE_BEGIN
namespace detail {
RESONANCE_ARCH_NAMESPACE_BEGIN

template <class Metric, class Selection, class Merge, class Capacity, class Score, class Order, class Input>
using device_tables = route_tables<memory_space::device, affinity::warp_source<Metric, Input>, Metric, Selection, Merge,
                                   Capacity, Score, Order>;

template <class Metric, class Selection, class Merge, class Capacity, class Score, class Order, class Input>
class staged_route {
 public:
  using tables_type = device_tables<Metric, Selection, Merge, Capacity, Score, Order, Input>;

  explicit staged_route(const tables_type& tables) : t_(tables) {}

  //! The stages run one after the other and share one piece, as large as the largest of them needs.
  void carve(workspace_carver& carver) {
    const typename tables_type::options_type& o = t_.options;
    if (tables_type::asks_experts) delta_max_ = carver.take<float>(1);
    assignment_view merged = t_.merged_assignments();
    std::int32_t present = 0;  // stands for the tables of a size query
    float present_value = 0.0f;
    if (merged.ids == nullptr) merged.ids = &present;
    if (merged.affinity == nullptr) merged.affinity = &present_value;
    std::int64_t present_offset = 0;
    if (tables_type::ragged) {
      merged.slot_capacity = t_.most_slots();
      if (merged.token_offsets == nullptr) merged.token_offsets = &present_offset;
      if (merged.token_of_slot == nullptr) merged.token_of_slot = &present;
    }
    const auto most = [this](std::size_t bytes) { stage_bytes_ = bytes > stage_bytes_ ? bytes : stage_bytes_; };
    stage_bytes_ = 0;
    most(token_choice::device_token_choice_workspace_bytes(t_.source, o.score, o.selection, o.choice));
    most(merge::device_merge_workspace_bytes<Merge>(t_.tokens, t_.experts, o.choice.top_k, t_.most_expert_capacity()));
    if (tables_type::asks_experts) most(prune::device_expert_capacities_workspace_bytes<Capacity>(t_.tokens));
    most(prune::device_prune_workspace_bytes<Capacity, Order>(merged));
    most(plan::device_plan_workspace_bytes<std::int64_t>(merged, o.plan));
    stage_ = carver.take<char>(static_cast<std::int64_t>(stage_bytes_));
  }

  template <class Index>
  status run(const device_stream& on, const route::outputs<Index>& out) {
    typename tables_type::options_type& o = t_.options;
    const workspace_view stage{stage_, stage_bytes_};
    checks c;
    c.also(token_choice::device_token_choice(on, t_.source, o.score, o.selection, o.choice, t_.choice, t_.affinity,
                                             stage));
    const assignment_view choices = t_.choices();
    merge::expert_side expert;
    if (tables_type::asks_experts && c.result().ok()) c.also(ask_experts(on, choices, expert, stage));
    if (c.result().ok()) c.also(merge::device_merge(on, o.merge, choices, expert, t_.merged, stage));
    if (!c.result().ok()) return c.result();
    const assignment_view merged = t_.merged_assignments();
    if (tables_type::ragged)
      c.also(token_choice::device_weights(on, t_.affinity, merged, o.score, o.choice, t_.merged.weights));
    if (c.result().ok()) c.also(prune::device_prune(on, o.capacity, o.order, merged, o.prune, t_.pruned, stage));
    if (out.plan.expert_offsets != nullptr && c.result().ok()) {
      assignment_view kept = merged;
      kept.ids = t_.pruned.ids;
      c.also(plan::device_plan(on, kept, o.plan, out.plan, stage));
    }
    return c.result();
  }

 private:
  status ask_experts(const device_stream& on, const assignment_view& choices, merge::expert_side& expert,
                     workspace_view stage) {
    typename tables_type::options_type& o = t_.options;
    checks c;
    if (Capacity::needs_delta_max && o.prune.delta_max == nullptr) {
      c.also(launch(on, {1, delta_max_threads, 0}, kernel_delta_max<delta_max_threads>, choices, on.num_tokens,
                    delta_max_));
      o.prune.delta_max = delta_max_;
    }
    expert.affinity = t_.affinity;
    expert.capacity = t_.most_expert_capacity();
    if (o.expert_capacity >= 0 || expert.capacity == 0 || !c.result().ok()) return c.result();
    expert.capacities = t_.expert_capacities;
    return c
        .also(prune::device_expert_capacities(on, o.capacity, t_.affinity, t_.facts(), o.prune.delta_max,
                                              o.prune.capacity_cap, t_.expert_capacities, stage))
        .result();
  }

  tables_type t_;
  float* delta_max_ = nullptr;
  char* stage_ = nullptr;
  std::size_t stage_bytes_ = 0;
};

RESONANCE_ARCH_NAMESPACE_END
}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
