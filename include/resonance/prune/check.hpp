// SPDX-License-Identifier: Apache-2.0
//! \file
//! What both backends check before they prune.
#ifndef RESONANCE_PRUNE_CHECK_HPP
#define RESONANCE_PRUNE_CHECK_HPP

#include <resonance/config.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>
#include <resonance/prune/capacity.hpp>
#include <resonance/prune/drop_order.hpp>
#include <resonance/prune/options.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

inline prune::batch_facts facts_of(const assignment_view& a, const prune::options& o) {
  prune::batch_facts batch;
  batch.tokens = a.tokens;
  batch.experts = a.experts;
  batch.top_k = o.top_k > 0 ? o.top_k : a.slots_per_token;
  batch.hidden = o.hidden;
  return batch;
}

template <class T>
const T& some();  // std::declval, for which NVRTC has no <utility>

template <class Rule, class = void>
inline constexpr bool has_check_shape = false;
template <class Rule>
inline constexpr bool has_check_shape<Rule, std::void_t<decltype(some<Rule>().check_shape(prune::batch_facts{}))>> =
    true;

//! A rule's own check where its arrays are in device memory: check_shape if it has one, else check.
template <class Rule>
status check_device_rule(const Rule& rule, const prune::batch_facts& batch) {
  if constexpr (has_check_shape<Rule>) {
    return rule.check_shape(batch);
  } else {
    return rule.check(batch);
  }
}

//! Whether the pairs' masses, or the largest affinities, are asked for.
inline bool wants_mass(const prune::outputs& out) { return out.assigned_mass != nullptr || out.kept_mass != nullptr; }
template <class Rule, class Order>
bool wants_best(const prune::outputs& out) {
  return Rule::needs_delta_max || Order::needs_token_best || out.delta_max != nullptr;
}

//! True where the cut goes by the merge's ranks: masses are cut in affinity order whatever the drop order.
template <class Rule, class Order>
inline constexpr bool cuts_by_merge_rank = Rule::by_mass || Order::ranks == prune::ranked_by::merge_rank;

//! Does the cut sort an expert's members?
template <class Rule, class Order>
inline constexpr bool cuts_by_key = !cuts_by_merge_rank<Rule, Order> && Order::ranks != prune::ranked_by::slot;

//! All but the assignments' shape; `any`: there may be slots; `rule`: what the rule's own check said.
template <class Rule, class Order>
status check_prune_arguments(const status& rule, bool any, const assignment_view& a, const prune::options& o,
                             const prune::outputs& out) {
  return checks{}
      .in_range(o.capacity_cap >= -1, "capacity_cap")
      .in_range(o.top_k >= 0, "top_k")
      .in_range(o.hidden >= 0, "hidden")
      .also(rule)
      .present(out.ids, any, "ids")
      .present(a.affinity, any && (Rule::by_mass || wants_mass(out) || wants_best<Rule, Order>(out)),
               "assignments.affinity")
      .present(a.rank_in_expert, any && cuts_by_merge_rank<Rule, Order>, "assignments.rank_in_expert")
      .present(a.weights, any && out.weights != nullptr, "assignments.weights")
      .present(out.weights, any && o.renormalize, "weights")
      .result();
}

template <class Order, class Rule>
status check_prune(const Rule& rule, const assignment_view& a, const prune::options& o, const prune::outputs& out) {
  const status shape = check_assignments(a);
  if (!shape.ok()) return shape;
  return check_prune_arguments<Rule, Order>(rule.check(facts_of(a, o)), a.slots() > 0, a, o, out);
}

//! The same for arrays in device memory.
template <class Order, class Rule>
status check_device_prune(const Rule& rule, const assignment_view& a, const prune::options& o,
                          const prune::outputs& out) {
  const status shape = check_device_assignments(a);
  if (!shape.ok()) return shape;
  return check_prune_arguments<Rule, Order>(check_device_rule(rule, facts_of(a, o)), a.most_slots() > 0, a, o, out);
}

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
