// SPDX-License-Identifier: Apache-2.0
//! \file
//! MoMa, mixture of modality-aware experts (arXiv 2407.21770), as options of its steps:
//!
//! 1. plan::host_plan over modality ids [T,1], its experts being the modalities, partitions the tokens (stable) and
//!    gives the inverse; permute::host_permute then puts every modality's rows together.
//! 2. In each group of rows, with the logits of that group's gate [b_M, E_M]: moma_experts.
//! 3. Causal inference: moma_causal on the auxiliary router's logits; token_choice::host_weights with affinity::sigmoid
//!    weighs its choice by the main router's logits.
//!
//! Gumbel noise on the logits (training after upcycling) is added by whoever makes them.
#ifndef RESONANCE_CATALOGUE_MOMA_HPP
#define RESONANCE_CATALOGUE_MOMA_HPP

#include <resonance/affinity/metrics.hpp>
#include <resonance/affinity/score.hpp>
#include <resonance/core/std.hpp>
#include <resonance/merge/policies.hpp>
#include <resonance/prune/capacity.hpp>
#include <resonance/route/router.hpp>
#include <resonance/token_choice/policies.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace catalogue {

//! Expert choice inside a group: every expert takes its ceil(c_e b_M) best tokens, c_e = capacity_factor / E_M; weights
//! are sigmoids, not normalized. A token may get none or all experts of its group.
inline auto moma_experts(double capacity_factor = 1.0) {
  router<affinity::logits, token_choice::top_k, merge::expert_only, prune::factor, affinity::sigmoid>::options o;
  o.capacity.capacity_factor = capacity_factor;
  return o;
}

//! The mixture-of-depths gate before the experts: one expert, the block, takes the ceil(share T) best of all tokens.
inline auto mixture_of_depths(double share = 0.25) { return moma_experts(share); }

//! Every expert whose auxiliary logit has a sigmoid above 1/2. Neither future nor other tokens are looked at.
inline auto moma_causal(std::int32_t experts_of_group) {
  router<affinity::logits, token_choice::threshold, merge::token_only, prune::unlimited, affinity::sigmoid>::options o;
  o.choice.top_k = experts_of_group;
  return o;
}

}  // namespace catalogue
RESONANCE_NAMESPACE_END

#endif
