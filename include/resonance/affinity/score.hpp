// SPDX-License-Identifier: Apache-2.0
//! \file
//! Score functions: how an affinity becomes a combine weight (SEMANTICS 2).
#ifndef RESONANCE_AFFINITY_SCORE_HPP
#define RESONANCE_AFFINITY_SCORE_HPP

#include <resonance/config.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/policy.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/core/softmax.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>

RESONANCE_NAMESPACE_BEGIN

namespace affinity {

//! What all score functions share: s = f(delta'), delta' = cap(delta) / temperature, clamped to the finite floats;
//! cap(d) = logit_cap * tanh(d / logit_cap), off at 0. `Function::activate` is f without its softmax part.
template <class Function>
struct score_function {
  using stage = stages::score;

  float temperature = 1.0f;  //!< > 0
  float logit_cap = 0.0f;    //!< >= 0; 0 = no cap

  RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE float scaled(float delta) const {
    const float capped = logit_cap > 0.0f ? logit_cap * math::tanh(math::divide(delta, logit_cap)) : delta;
    constexpr float most = row_traits<float>::largest;
    const float quotient = math::divide(capped, temperature);
    return quotient > most ? most : (quotient < -most ? -most : quotient);
  }

  //! f(delta'), or the softmax's argument. `delta` is neither NaN nor -inf.
  RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE float argument(float delta) const {
    return Function::activate(scaled(delta));
  }

  //! What a token without a bias selects by: delta itself where f is strictly increasing, so that rounding in f makes
  //! no ties; else f's flat part applied to delta.
  RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE float unbiased_key(float delta) const {
    return Function::strictly_increasing ? delta : Function::activate(delta);
  }

  //! The terms of a softmax over delta_at(0..count), where -inf means absent; numerator_at(i) = exp(argument -
  //! largest), 0 for the absent.
  template <class DeltaAt, class NumeratorAt>
  RESONANCE_FORCE_INLINE softmax_terms numerators(std::int64_t count, const DeltaAt& delta_at,
                                                  const NumeratorAt& numerator_at) const {
    const score_function self = *this;  // a copy: no store of a numerator can change it
    return softmax_numerators(
        count,
        [self, delta_at](std::int64_t i) RESONANCE_INLINE_LAMBDA {
          const float delta = delta_at(i);
          const float argument = self.argument(delta);
          return delta == math::negative_infinity() ? delta : argument;
        },
        numerator_at);
  }

  constexpr status check() const {
    return detail::checks{}
        .in_range(temperature > 0.0f && temperature <= 3.402823466e+38f, "temperature")
        .in_range(logit_cap >= 0.0f && logit_cap <= 3.402823466e+38f, "logit_cap")
        .result();
  }
};

//! s = delta'
struct identity : score_function<identity> {
  static constexpr normalizer normalized_over = normalizer::none;
  static constexpr bool strictly_increasing = true;
  RESONANCE_HOST_DEVICE static RESONANCE_FORCE_INLINE float activate(float x) { return x; }
};

//! s = exp(delta'_i) / sum_j exp(delta'_j), over all experts of the token
struct softmax : score_function<softmax> {
  static constexpr normalizer normalized_over = normalizer::row;
  static constexpr bool strictly_increasing = true;
  RESONANCE_HOST_DEVICE static RESONANCE_FORCE_INLINE float activate(float x) { return x; }
};

//! The softmax runs over the chosen experts only (after selection, which is by delta, plus the bias if any)
struct softmax_over_chosen : score_function<softmax_over_chosen> {
  static constexpr normalizer normalized_over = normalizer::chosen;
  static constexpr bool strictly_increasing = true;
  RESONANCE_HOST_DEVICE static RESONANCE_FORCE_INLINE float activate(float x) { return x; }
};

//! s = 1 / (1 + exp(-delta'))
struct sigmoid : score_function<sigmoid> {
  static constexpr normalizer normalized_over = normalizer::none;
  static constexpr bool strictly_increasing = true;
  RESONANCE_HOST_DEVICE static RESONANCE_FORCE_INLINE float activate(float x) { return math::sigmoid(x); }
};

//! s = x > 20 ? sqrt(x) : sqrt(ln(1 + exp(x))), x = delta'
struct sqrt_softplus : score_function<sqrt_softplus> {
  static constexpr normalizer normalized_over = normalizer::none;
  static constexpr bool strictly_increasing = true;
  RESONANCE_HOST_DEVICE static RESONANCE_FORCE_INLINE float activate(float x) {
    const float small = x > 20.0f ? 20.0f : x;
    const float root = math::sqrt(x > 20.0f ? x : math::softplus(small));
    return x < -20.0f ? math::exp(0.5f * x)
                      : root;  // ln(1 + e^x) is e^x to the last bit, and may vanish before its root
  }
};

//! s = softmax of max(delta', 0) (LocMoE Eq. 2-3). Negative deltas are equal to it: such ties go to the lower expert
//! id.
struct relu_softmax : score_function<relu_softmax> {
  static constexpr normalizer normalized_over = normalizer::row;
  static constexpr bool strictly_increasing = false;
  RESONANCE_HOST_DEVICE static RESONANCE_FORCE_INLINE float activate(float x) { return x > 0.0f ? x : 0.0f; }
};

//! Over what a dense softmax runs: each token's experts, or each expert's tokens.
enum class softmax_axis { experts, tokens };

}  // namespace affinity

namespace detail {

template <class Score>
status check_scores(const Score& score, const matrix_view<const float>& affinity, const matrix_view<float>& scores) {
  static_assert(is_policy_of<Score, stages::score>, "resonance: dense scores are made by a score function");
  return checks{}
      .also(score.check())
      .also(check_matrix(affinity, "affinity"))
      .also(check_matrix(scores, "scores"))
      .matches(affinity.rows == scores.rows && affinity.cols == scores.cols, "scores")
      .result();
}

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
