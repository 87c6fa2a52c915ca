// SPDX-License-Identifier: Apache-2.0
//! \file
//! MC, mixture compressor (arXiv 2410.06270): a Mixtral whose unimportant tokens give up a weak second choice.
//!
//! Before serving: offline::usage and offline::allocate_bits (its PMQ); per layer mu, the median of weight_share over
//! calibration tokens, by balance::host_delta_quantile. While serving (its ODP), a batch or a prompt:
//!     host_token_choice with mc().choice      2 of 8, renormalized
//!     host_token_importance                   attention received; prompts only, a decoded token is not protected
//!     host_expert_choice over it [L,1]        capacity mc_protected_count(L); then host_protect_tokens
//!     host_prune_choices, mc_pruning()        prune::weight_ratio{mu}
//! and device_ the same.
#ifndef RESONANCE_CATALOGUE_MC_HPP
#define RESONANCE_CATALOGUE_MC_HPP

#include <resonance/affinity/metrics.hpp>
#include <resonance/catalogue/models.hpp>
#include <resonance/config.hpp>
#include <resonance/core/std.hpp>
#include <resonance/prune/prune_choices.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace catalogue {

//! The route before any pruning: Mixtral's.
template <class Metric = affinity::logits>
auto mc() {
  return mixtral<Metric>();
}

//! What is left of a pruned token is one expert of weight 1, as its code has it; its paper prints w_0 E_0.
inline prune::choice_options mc_pruning() { return {true}; }

//! Of a prompt of L tokens, floor(0.02 L) keep all their choices; 0 for fewer than 50.
constexpr std::int64_t mc_protected_count(std::int64_t tokens) { return tokens / 50; }

}  // namespace catalogue
RESONANCE_NAMESPACE_END

#endif
