// SPDX-License-Identifier: Apache-2.0
//! \file
//! Choice rules: which of its choices a token gives up before any expert is asked. A rule of your own is a struct like
//! these.
//!
//! A token's leader is its first assigned slot, which is never given up. Every other assigned slot goes by its share:
//! it is dropped iff share < bound. `bound` is asked once a call, `check` says what is wrong with the rule's
//! parameters.
#ifndef RESONANCE_PRUNE_CHOICE_RULES_HPP
#define RESONANCE_PRUNE_CHOICE_RULES_HPP

#include <resonance/config.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/policy.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace prune {

//! What a slot's weight is measured by.
enum class share_of {
  leader,  //!< the weight of the token's leader
  token,   //!< the sum of the token's weights, in slot order, in float
};

//! weight / whole, correctly rounded; NaN where `whole` is not positive, which no bound is above: weights that are all
//! 0 say nothing about each other.
RESONANCE_HOST_DEVICE inline float weight_share(float weight, float whole) {
  return whole > 0.0f ? math::divide(weight, whole) : detail::bits_float(0x7fc00000u);
}

//! Drops slot k iff w_k / w_0 < mu.   (MC, arXiv 2410.06270, online pruning; there for top-2, here for every slot after
//! the leader.) mu = 0 drops nothing, mu > 1 all that weigh no more than the leader.
//! weight_share gives the ratios that mu is a quantile of.
struct weight_ratio {
  using stage = stages::choice_rule;
  static constexpr share_of measured_by = share_of::leader;
  float mu = 0.0f;  //!< >= 0; +inf drops whatever has a finite ratio

  constexpr status check() const { return detail::checks{}.in_range(mu >= 0.0f, "mu").result(); }
  float bound() const { return mu; }
};

//! Drops slot k iff its share of the token's weights is below theta = sqrt(T / S): giving it up then costs at most T of
//! loss, to second order.   (AdapMoE, arXiv 2408.10284, adaptive gating; there for top-2)
struct sensitivity {
  using stage = stages::choice_rule;
  static constexpr share_of measured_by = share_of::token;
  float tolerated_loss = 0.0f;     //!< T >= 0, finite; 0 drops nothing
  float layer_sensitivity = 1.0f;  //!< S > 0, finite: the layer's curvature

  constexpr status check() const {
    constexpr float largest = row_traits<float>::largest;
    return detail::checks{}
        .in_range(tolerated_loss >= 0.0f && tolerated_loss <= largest, "tolerated_loss")
        .in_range(layer_sensitivity > 0.0f && layer_sensitivity <= largest, "layer_sensitivity")
        .result();
  }
  //! theta.
  float bound() const { return math::sqrt(math::divide(tolerated_loss, layer_sensitivity)); }

  //! The same decision on two choices, as a ratio: a = r / (1 + r) < theta iff r < theta / (1 - theta). Equal but for
  //! rounding at the bound.
  weight_ratio equivalent_ratio() const {
    const float theta = bound();
    return {theta < 1.0f ? math::divide(theta, 1.0f - theta) : detail::bits_float(0x7f800000u)};
  }
};

}  // namespace prune
RESONANCE_NAMESPACE_END

#endif
