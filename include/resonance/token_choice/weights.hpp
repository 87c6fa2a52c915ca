// SPDX-License-Identifier: Apache-2.0
//! \file
//! Combine weights of the slots that a token holds (SEMANTICS 2): from raw scores, never from biased ones.
#ifndef RESONANCE_TOKEN_CHOICE_WEIGHTS_HPP
#define RESONANCE_TOKEN_CHOICE_WEIGHTS_HPP

#include <cstdint>

#include <resonance/config.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/policy.hpp>
#include <resonance/core/softmax.hpp>
#include <resonance/token_choice/policies.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace token_choice {

//! True when the weights need the softmax terms of the whole row: renormalizing cancels them.
template <class Score>
RESONANCE_HOST_DEVICE constexpr bool needs_row_terms(const options& o) {
  return Score::normalized_over == normalizer::row && !o.renormalize;
}

//! Weighs one token's `count` slots: weight_at(k) from delta_at(k), -inf meaning an empty slot (weight 0).
//!
//! Equation   w = s, or s / sum of the slots' s where renormalize and that sum is > 0; times routed_scaling_factor.
//!            A renormalized softmax is a softmax over the slots: the same number without the row's terms, and without
//!            their underflow where a bias chose experts far below the row's best.
//! Inputs     terms: the row's softmax terms, read only where needs_row_terms
//! Contract   sums run in slot order, in float
RESONANCE_NO_EXEC_CHECK
template <class Score, class DeltaAt, class WeightAt>
RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE void weigh_slots(const Score& score, const options& o,
                                                              const softmax_terms& terms, std::int64_t count,
                                                              const DeltaAt& delta_at, const WeightAt& weight_at) {
  constexpr bool exponential = Score::normalized_over != normalizer::none;
  const bool over_slots = exponential && !needs_row_terms<Score>(o);
  const float empty = math::negative_infinity();
  float shift = terms.largest;
  if (over_slots) {
    shift = empty;
    for (std::int64_t k = 0; k < count; ++k) {
      const float argument = delta_at(k) == empty ? empty : score.argument(delta_at(k));
      shift = argument > shift ? argument : shift;
    }
  }
  float sum = 0.0f;
  for (std::int64_t k = 0; k < count; ++k) {
    float weight = 0.0f;
    if (delta_at(k) != empty) {
      const float argument = score.argument(delta_at(k));
      weight = exponential ? math::exp(argument - shift) : argument;
    }
    weight_at(k) = weight;
    sum += weight;
  }
  float divisor = 1.0f;
  if (over_slots || o.renormalize) {
    divisor = sum > 0.0f ? sum : 1.0f;
  } else if (exponential) {
    divisor = terms.sum;
  }
  for (std::int64_t k = 0; k < count; ++k)
    weight_at(k) = delta_at(k) == empty ? 0.0f : math::divide(weight_at(k), divisor) * o.routed_scaling_factor;
}

}  // namespace token_choice
RESONANCE_NAMESPACE_END

#endif
