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

//! True when the weights need the softmax sum over the whole row: renormalizing cancels it.
template <class Score>
RESONANCE_HOST_DEVICE constexpr bool needs_row_sum(const options& o) {
  return Score::normalized_over == normalizer::row && !o.renormalize;
}

//! Weighs one token's `count` slots: weight_at(k) from delta_at(k), -inf meaning an empty slot (weight 0).
//!
//! Equation   w = s, or s / sum of the slots' s where renormalize and that sum is > 0; times routed_scaling_factor.
//!            A renormalized softmax is exp(delta'_k - largest) / their sum over the slots, the same number with one
//!            rounding less and without the row's sum.
//! Inputs     terms: the row's softmax terms (row-normalized scores; the sum only where needs_row_sum)
//! Contract   sums run in slot order, in float
template <class Score, class DeltaAt, class WeightAt>
RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE void weigh_slots(const Score& score, const options& o,
                                                              const softmax_terms& terms, std::int64_t count,
                                                              const DeltaAt& delta_at, const WeightAt& weight_at) {
  const float empty = math::negative_infinity();
  float shift = terms.largest;
  if (Score::normalized_over == normalizer::chosen) {
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
      weight = Score::normalized_over == normalizer::none ? argument : math::exp(argument - shift);
    }
    weight_at(k) = weight;
    sum += weight;
  }
  float divisor = 1.0f;
  if (Score::normalized_over == normalizer::chosen || o.renormalize) {
    divisor = sum > 0.0f ? sum : 1.0f;
  } else if (Score::normalized_over == normalizer::row) {
    divisor = terms.sum;
  }
  for (std::int64_t k = 0; k < count; ++k)
    weight_at(k) = delta_at(k) == empty ? 0.0f : math::divide(weight_at(k), divisor) * o.routed_scaling_factor;
}

}  // namespace token_choice
RESONANCE_NAMESPACE_END

#endif
