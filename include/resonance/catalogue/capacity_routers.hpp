// SPDX-License-Identifier: Apache-2.0
//! \file
//! Routers with a capacity or a balance, as options of a composition: Switch, GShard, V-MoE, expert choice,
//! Sinkhorn, LocMoE, ETR.
//!
//! Routers that compare tokens by probability take the probabilities as their input: affinity::host_scores with
//! affinity::softmax, then a logits_input of its output. Logits of different tokens are not comparable; softmaxes are.
#ifndef RESONANCE_CATALOGUE_CAPACITY_ROUTERS_HPP
#define RESONANCE_CATALOGUE_CAPACITY_ROUTERS_HPP

#include <resonance/affinity/metrics.hpp>
#include <resonance/affinity/score.hpp>
#include <resonance/core/std.hpp>
#include <resonance/merge/policies.hpp>
#include <resonance/prune/capacity.hpp>
#include <resonance/prune/drop_order.hpp>
#include <resonance/route/options.hpp>
#include <resonance/route/router.hpp>
#include <resonance/token_choice/policies.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace catalogue {

//! Switch Transformer (arXiv 2101.03961): the best expert, weight its probability, C = cf T / E, first come first
//! served.
template <class Metric = affinity::logits>
auto switch_transformer(double capacity_factor = 1.25) {
  typename router<Metric, token_choice::top_k, merge::token_only, prune::factor, affinity::softmax,
                  prune::position>::options o;
  o.capacity.capacity_factor = capacity_factor;
  return o;
}

//! GShard (arXiv 2006.16668): the best two, weights normalized over both before any is dropped, C = cf 2 T / E, all
//! first choices before any second. The second choice is always taken; the paper may skip a weak one at random.
template <class Metric = affinity::logits>
auto gshard(double capacity_factor = 1.0) {
  typename router<Metric, token_choice::top_k, merge::token_only, prune::factor, affinity::softmax,
                  prune::slot_major>::options o;
  o.capacity.capacity_factor = capacity_factor;
  o.choice.top_k = 2;
  o.choice.renormalize = true;
  return o;
}

//! V-MoE's batch prioritized routing (arXiv 2106.05974): on probabilities; all first choices before any second, among
//! equals the tokens with the largest probability first; C = cf K T / E.
inline auto v_moe(std::int32_t top_k = 2, double capacity_factor = 1.05) {
  router<affinity::logits, token_choice::top_k, merge::token_only, prune::factor, affinity::identity,
         prune::slot_major_prioritized>::options o;
  o.capacity.capacity_factor = capacity_factor;
  o.choice.top_k = top_k;
  return o;
}

//! Expert choice (arXiv 2202.09368): on probabilities; every expert takes its C = cf T / E best tokens.
inline auto expert_choice(double capacity_factor = 2.0) {
  router<affinity::logits, token_choice::top_k, merge::expert_only, prune::factor, affinity::identity>::options o;
  o.capacity.capacity_factor = capacity_factor;
  return o;
}

//! BASE layers' balanced assignment (arXiv 2103.16716) by Sinkhorn's iteration with a fixed count, as Megatron-LM does
//! it: choice by logit + the bias that balance::host_sinkhorn made of the batch. The weights are not the balanced
//! plan's: token_choice::host_weights with affinity::sigmoid (K = 1) or affinity::softmax gives them from the same
//! logits.
template <class Metric = affinity::logits>
auto sinkhorn(const float* correction_bias, std::int32_t top_k = 1) {
  typename router<Metric, token_choice::top_k, merge::token_only, prune::unlimited, affinity::identity>::options o;
  o.choice.top_k = top_k;
  o.choice.correction_bias = correction_bias;
  return o;
}

//! LocMoE (arXiv 2401.13920): grouped averages of the hidden state, softmax of their ReLU, the best expert, first come
//! first served. `capacity_factor` 1.1 is its baseline; its own capacity is prune::lower_bound with the delta measured
//! on the first batch, see locmoe_bound.
inline auto locmoe(double capacity_factor = 1.1) {
  router<affinity::grouped_average, token_choice::top_k, merge::token_only, prune::factor, affinity::relu_softmax,
         prune::position>::options o;
  o.capacity.capacity_factor = capacity_factor;
  return o;
}

//! LocMoE with its capacity bound frozen at a measured delta_max.
inline auto locmoe_bound(double delta_max) {
  router<affinity::grouped_average, token_choice::top_k, merge::token_only, prune::lower_bound, affinity::relu_softmax,
         prune::position>::options o;
  o.capacity.delta_given = true;
  o.capacity.delta = delta_max;
  return o;
}

//! Expert-Token Resonance (arXiv 2406.00023), reading R1 of its capacity: GrAP, the best expert of every token, then
//! every expert keeps the best of its tokens until they hold the share rho of its affinity mass. 0.76 keeps 60 % of
//! isotropic tokens (E = 8, H = 4096).
inline auto etr(double rho = 0.76) {
  router<affinity::grouped_average_cosine, token_choice::top_k, merge::restricted, prune::affinity_mass>::options o;
  o.capacity.rho = rho;
  return o;
}

//! ETR with the capacity of its Remark 7: the lower bound at the batch's delta_max (reading D1), between 1 and
//! 1.1 T / E. For D3 set o.capacity.delta, or prune.delta_max, from balance::host_delta_quantile or a moving average.
inline auto etr_bound() {
  return router<affinity::grouped_average_cosine, token_choice::top_k, merge::restricted,
                prune::lower_bound>::options{};
}

//! ETR, reading R2: a token takes experts until they hold the share theta of its softmax, `most` at most.
inline auto etr_top_p(double theta, std::int32_t most) {
  router<affinity::grouped_average_cosine, token_choice::top_p, merge::restricted, prune::unlimited>::options o;
  o.selection.p = theta;
  o.choice.top_k = most;
  return o;
}

//! The token-choice baseline of ETR and LocMoE: as etr, but C = 1.1 T / E, first come first served.
inline auto etr_baseline(double capacity_factor = 1.1) {
  router<affinity::grouped_average_cosine, token_choice::top_k, merge::restricted, prune::factor, affinity::softmax,
         prune::position>::options o;
  o.capacity.capacity_factor = capacity_factor;
  return o;
}

}  // namespace catalogue
RESONANCE_NAMESPACE_END

#endif
