// SPDX-License-Identifier: Apache-2.0
//! \file
//! AdapMoE (arXiv 2408.10284): fewer experts where a layer can bear it, the next layer's fetched ahead, fast memory
//! shared out by layer.
//!
//! Before serving: offline::allocate_cache from the layers' figures. While serving: host_token_choice with
//! adapmoe().choice, then host_prune_choices with adapmoe_rule(S) and adapmoe_pruning(), where S is the layer's
//! sensitivity; then host_token_choice with adapmoe_ahead().choice on adapmoe_next(hidden, gate of the next layer), and
//! adapmoe_prefetch of its ids; and device_ the same.
#ifndef RESONANCE_CATALOGUE_ADAPMOE_HPP
#define RESONANCE_CATALOGUE_ADAPMOE_HPP

#include <resonance/affinity/metrics.hpp>
#include <resonance/catalogue/models.hpp>
#include <resonance/config.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>
#include <resonance/prune/choice_rules.hpp>
#include <resonance/prune/prune_choices.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace catalogue {

//! The route before any pruning: Mixtral's.
template <class Metric = affinity::logits>
auto adapmoe() {
  return mixtral<Metric>();
}

//! Drops a second expert whose share is below sqrt(T / S); T = 0.005 in its evaluation.
inline prune::sensitivity adapmoe_rule(float layer_sensitivity, float tolerated_loss = 0.005f) {
  return {tolerated_loss, layer_sensitivity};
}

//! What is left of a pruned token is one expert of weight 1.
inline prune::choice_options adapmoe_pruning() { return {true}; }

//! The prediction of the next layer's experts: its gate on this layer's input, since hidden states change little from
//! one layer to the next.
inline auto adapmoe_ahead() { return adapmoe<affinity::dot>(); }

template <class X, class W>
affinity::hidden_input<X, W> adapmoe_next(matrix_view<const X> hidden, matrix_view<const W> next_gate) {
  return {hidden, next_gate};
}

//! The one expert to fetch ahead: the first predicted one that is not in fast memory; -1 where all are.
//!
//! Inputs     predicted int32[count] expert ids, best first; ids outside [0, experts) are passed over
//!            cached uint8[experts]: not 0 where the expert is in fast memory
RESONANCE_HOST_DEVICE inline std::int32_t adapmoe_prefetch(const std::int32_t* predicted, std::int64_t count,
                                                           const std::uint8_t* cached, std::int32_t experts) {
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int32_t expert = predicted[i];
    if (expert >= 0 && expert < experts && cached[expert] == 0) return expert;
  }
  return -1;
}

}  // namespace catalogue
RESONANCE_NAMESPACE_END

#endif
