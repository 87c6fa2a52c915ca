// SPDX-License-Identifier: Apache-2.0
//! \file
//! Combine weights of the slots that a token holds (SEMANTICS 2): from raw scores, never from biased ones.
#ifndef RESONANCE_TOKEN_CHOICE_WEIGHTS_HPP
#define RESONANCE_TOKEN_CHOICE_WEIGHTS_HPP

#include <resonance/config.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/policy.hpp>
#include <resonance/core/softmax.hpp>
#include <resonance/core/std.hpp>
#include <resonance/token_choice/policies.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace token_choice {

//! True when the weights need the softmax terms of the whole row: renormalizing cancels them.
template <class Score>
RESONANCE_HOST_DEVICE constexpr bool needs_row_terms(const options& o) {
  return Score::normalized_over == normalizer::row && !o.renormalize;
}

//! The steps from delta to weight, for a slot that is not empty; both backends take them one by one.
//!
//! Equation   w = s, or s / sum of the slots' s where renormalize and that sum is > 0; times routed_scaling_factor.
//!            A renormalized softmax is a softmax over the slots: the same number without the row's terms, and without
//!            their underflow where a bias chose experts far below the row's best.
template <class Score>
struct slot_weigher {
  static constexpr bool exponential = Score::normalized_over != normalizer::none;

  Score score;
  bool over_slots;  //!< the softmax runs over the token's slots
  bool renormalize;
  float routed_scaling_factor;

  RESONANCE_HOST_DEVICE slot_weigher(const Score& s, const options& o)
      : score(s),
        over_slots(exponential && !needs_row_terms<Score>(o)),
        renormalize(o.renormalize),
        routed_scaling_factor(o.routed_scaling_factor) {}

  //! s before it is divided; `shift`: the largest argument, of the slots or of the row.
  RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE float numerator(float delta, float shift) const {
    return numerator_of(score.argument(delta), shift);
  }
  RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE float numerator_of(float argument, float shift) const {
    return exponential ? math::exp(argument - shift) : argument;
  }
  //! `sum`: of the slots' numerators, in slot order, in float.
  RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE float divisor(float sum, const softmax_terms& terms) const {
    if (over_slots || renormalize) return sum > 0.0f ? sum : 1.0f;
    return exponential ? terms.sum : 1.0f;
  }
  RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE float weight(float numerator, float divisor) const {
    return math::divide(numerator, divisor) * routed_scaling_factor;
  }
};

//! Weighs the `count` slots of `Lanes` tokens side by side on one thread: weight_at(k, lane) from delta_at(k, lane),
//! -inf meaning an empty slot (weight 0). Loops over lanes become vectors.
//!
//! Inputs     terms: the rows' softmax terms, read only where needs_row_terms
RESONANCE_NO_EXEC_CHECK
template <int Lanes, class Score, class DeltaAt, class WeightAt>
RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE void weigh_lanes(const Score& score, const options& o,
                                                              const softmax_terms* terms, std::int64_t count,
                                                              const DeltaAt& delta_at, const WeightAt& weight_at) {
  const slot_weigher<Score> weigher(score, o);
  const float empty = math::negative_infinity();
  float shift[Lanes];
  float sum[Lanes];
  for (int lane = 0; lane < Lanes; ++lane) {
    shift[lane] = weigher.over_slots ? empty : terms[lane].largest;
    sum[lane] = 0.0f;
  }
  for (std::int64_t k = 0; k < count; ++k) {
    for (int lane = 0; lane < Lanes; ++lane) {
      const float delta = delta_at(k, lane);
      const float of_delta = score.argument(delta);
      const float argument = delta == empty ? empty : of_delta;
      weight_at(k, lane) = argument;
      shift[lane] = weigher.over_slots && argument > shift[lane] ? argument : shift[lane];
    }
  }
  for (std::int64_t k = 0; k < count; ++k) {
    for (int lane = 0; lane < Lanes; ++lane) {
      const float of_argument = weigher.numerator_of(weight_at(k, lane), shift[lane]);
      const float numerator = delta_at(k, lane) == empty ? 0.0f : of_argument;
      weight_at(k, lane) = numerator;
      sum[lane] += numerator;
    }
  }
  for (int lane = 0; lane < Lanes; ++lane) sum[lane] = weigher.divisor(sum[lane], terms[lane]);
  for (std::int64_t k = 0; k < count; ++k) {
    for (int lane = 0; lane < Lanes; ++lane) {
      const float weight = weigher.weight(weight_at(k, lane), sum[lane]);
      weight_at(k, lane) = delta_at(k, lane) == empty ? 0.0f : weight;
    }
  }
}

//! What belongs to slot k of one token, as weigh_lanes asks for it.
template <class AtSlot>
struct of_one_lane {
  const AtSlot& at_slot;

  RESONANCE_NO_EXEC_CHECK
  RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE decltype(auto) operator()(std::int64_t k, int) const {
    return at_slot(k);
  }
};

//! The same for one token: weight_at(k) from delta_at(k).
RESONANCE_NO_EXEC_CHECK
template <class Score, class DeltaAt, class WeightAt>
RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE void weigh_slots(const Score& score, const options& o,
                                                              const softmax_terms& terms, std::int64_t count,
                                                              const DeltaAt& delta_at, const WeightAt& weight_at) {
  weigh_lanes<1>(score, o, &terms, count, of_one_lane<DeltaAt>{delta_at}, of_one_lane<WeightAt>{weight_at});
}

}  // namespace token_choice
RESONANCE_NAMESPACE_END

#endif
