// SPDX-License-Identifier: Apache-2.0
//! \file
//! The composition of the stages: compile-time policies, runtime shapes.
#ifndef RESONANCE_ROUTE_ROUTER_HPP
#define RESONANCE_ROUTE_ROUTER_HPP

#include <cstddef>
#include <cstdint>

#include <resonance/affinity/metrics.hpp>
#include <resonance/affinity/score.hpp>
#include <resonance/core/policy.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/views.hpp>
#include <resonance/core/workspace.hpp>
#include <resonance/merge/policies.hpp>
#include <resonance/plan/plan.hpp>
#include <resonance/prune/capacity.hpp>
#include <resonance/prune/drop_order.hpp>
#include <resonance/route/options.hpp>
#include <resonance/token_choice/policies.hpp>

RESONANCE_NAMESPACE_BEGIN

//! A whole router, from hidden states or logits to the plan.
//!
//! Metric     affinity::dot, cosine, grouped_average_cosine, grouped_average, logits, cosine_of_logits
//! Selection  token_choice::top_k, grouped_top_k, top_p, rank_set, threshold
//! Merge      merge::restricted, intersection, union_, token_only, expert_only
//! Capacity   prune::unlimited, fixed, factor, heterogeneous_factor, lower_bound, affinity_mass, per_expert
//! Score      affinity::softmax, softmax_over_chosen, sigmoid, sqrt_softplus, relu_softmax, identity
//! Order      prune::affinity_order, position, slot_major, batch_prioritized, slot_major_prioritized
template <class Metric, class Selection, class Merge, class Capacity, class Score = affinity::softmax,
          class Order = prune::affinity_order>
struct router {
  static_assert(detail::is_policy_of<Metric, stages::affinity>, "resonance: router's 1st argument must be a metric");
  static_assert(detail::is_policy_of<Selection, stages::token_choice>,
                "resonance: router's 2nd argument must be a token choice policy");
  static_assert(detail::is_policy_of<Merge, stages::merge>, "resonance: router's 3rd argument must be a merge policy");
  static_assert(detail::is_policy_of<Capacity, stages::capacity>,
                "resonance: router's 4th argument must be a capacity rule");
  static_assert(detail::is_policy_of<Score, stages::score>,
                "resonance: router's 5th argument must be a score function");
  static_assert(detail::is_policy_of<Order, stages::drop_order>,
                "resonance: router's 6th argument must be a drop order");

  using options = route::options<Metric, Selection, Merge, Capacity, Score, Order>;

  //! Bytes of workspace that run needs; 0 when the input or the options are refused (run then says why).
  //! `backend` is on_host(executor) (route/host_route.hpp).
  template <class Backend, class Input>
  static std::size_t workspace_bytes(const Backend& backend, const Input& input, const options& o) {
    return backend.route_workspace_bytes(input, o);
  }

  //! Routes a batch; the contract is the backend's route function's, route::host_route on the host.
  template <class Backend, class Input, class Index>
  static status run(const Backend& backend, const Input& input, const options& o, const route::outputs<Index>& out,
                    workspace_view workspace) {
    return backend.route(input, o, out, workspace);
  }
};

RESONANCE_NAMESPACE_END

#endif
