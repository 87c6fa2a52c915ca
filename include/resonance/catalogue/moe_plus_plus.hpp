// SPDX-License-Identifier: Apache-2.0
//! \file
//! MoE++ (arXiv 2410.07348): FFN experts beside zero-computation ones (zero, copy, constant) that are never dispatched.
//!
//! A layer is: logits W x, the first layer's as affinity::logits_input, the others' as affinity::residual_logits_input
//! with the full logits of the layer before (outputs::affinity); one of the routers below, whose plan has rows for FFN
//! experts alone; permute, the FFNs; unpermute with permute::in_place_experts on the same expert map. Its loss is
//! balance::heterogeneous_balance_loss.
#ifndef RESONANCE_CATALOGUE_MOE_PLUS_PLUS_HPP
#define RESONANCE_CATALOGUE_MOE_PLUS_PLUS_HPP

#include <resonance/affinity/metrics.hpp>
#include <resonance/affinity/score.hpp>
#include <resonance/core/std.hpp>
#include <resonance/merge/policies.hpp>
#include <resonance/permute/in_place_experts.hpp>
#include <resonance/prune/capacity.hpp>
#include <resonance/prune/drop_order.hpp>
#include <resonance/route/options.hpp>
#include <resonance/route/router.hpp>
#include <resonance/token_choice/policies.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace catalogue {

//! How many experts of each kind a layer has, numbered in this order, which is the released code's. The paper's layers:
//! 8 or 16 FFN + 2 constants, 1 copy, 1 zero; 32 + 6, 1, 1.
struct moe_plus_plus_experts {
  std::int32_t ffn = 8;
  std::int32_t constants = 2;
  std::int32_t copies = 1;
  std::int32_t zeros = 1;

  constexpr std::int32_t all() const { return ffn + constants + copies + zeros; }

  //! The entry of an expert in the map of plan and unpermute.
  constexpr std::int32_t entry(std::int32_t expert) const {
    if (expert < ffn) return expert;
    if (expert < ffn + constants) return permute::in_place::constant(expert - ffn);
    return expert < ffn + constants + copies ? permute::in_place::copy : permute::in_place::zero;
  }
  //! Writes expert_map [all()].
  void fill_expert_map(std::int32_t* expert_map) const {
    for (std::int32_t e = 0; e < all(); ++e) expert_map[e] = entry(e);
  }
  //! Writes capacities [all()] that keep everything but the picks of zero experts.
  void fill_released_capacities(std::int64_t* capacities) const {
    for (std::int32_t e = 0; e < all(); ++e) capacities[e] = entry(e) == permute::in_place::zero ? 0 : INT64_MAX;
  }
};

//! The paper's router: top-2 of all experts, weights their softmax over all, not renormalized; an FFN expert holds tau
//! of what a zero-computation one does, first come first served (reading: the paper names no order). The capacities are
//! the paper's, gamma T in all, which is gamma / 2 of the choices; capacity.counts_k doubles them. expert_map as
//! fill_expert_map writes it, in the backend's memory.
template <class Metric = affinity::logits>
auto moe_plus_plus(const moe_plus_plus_experts& experts, const std::int32_t* expert_map, double tau = 0.75,
                   double capacity_factor = 1.1) {
  typename router<Metric, token_choice::top_k, merge::token_only, prune::heterogeneous_factor, affinity::softmax,
                  prune::position>::options o;
  o.choice.top_k = 2;
  o.capacity.capacity_factor = capacity_factor;
  o.capacity.tau = tau;
  o.capacity.full_experts = experts.ffn;
  o.plan.expert_map = expert_map;
  o.plan.num_local = experts.ffn;
  return o;
}

//! The released code's router: no capacity; the weights of zero experts are set to 0 and what is left is renormalized,
//! so that beside a zero expert the other has weight 1. Here a zero expert has room for nobody, and pruning
//! renormalizes over what is kept. expert_map, and capacities as fill_released_capacities writes them, in the backend's
//! memory. That code also multiplies the layer's input by K, unless told not to: done by the caller, on x before it is
//! permuted and in in_place_experts::x.
template <class Metric = affinity::logits>
auto moe_plus_plus_released(const moe_plus_plus_experts& experts, const std::int32_t* expert_map,
                            const std::int64_t* capacities) {
  typename router<Metric, token_choice::top_k, merge::token_only, prune::per_expert, affinity::softmax,
                  prune::position>::options o;
  o.choice.top_k = 2;
  o.capacity.capacities = capacities;
  o.prune.renormalize = true;
  o.plan.expert_map = expert_map;
  o.plan.num_local = experts.ffn;
  return o;
}

}  // namespace catalogue
RESONANCE_NAMESPACE_END

#endif
