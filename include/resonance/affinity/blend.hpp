// SPDX-License-Identifier: Apache-2.0
//! \file
//! A token's scores blended with a prior of its sequence, as both backends compute it.
#ifndef RESONANCE_AFFINITY_BLEND_HPP
#define RESONANCE_AFFINITY_BLEND_HPP

#include <resonance/config.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/order_key.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace affinity {

//! How much the token's own scores count, and how much its sequence's; finite.
struct blend_weights {
  float token = 1.0f;
  float sequence = 0.0f;

  constexpr status check() const {
    constexpr float largest = row_traits<float>::largest;
    return detail::checks{}
        .in_range(token >= -largest && token <= largest, "weights.token")
        .in_range(sequence >= -largest && sequence <= largest, "weights.sequence")
        .result();
  }
};

//! A prior per sequence, and whose sequence a token is.
struct sequence_prior {
  matrix_view<const float> rows;                    //!< [S,E] strided; NaN and -inf mean "absent"
  const std::int32_t* sequence_of_token = nullptr;  //!< [T]; outside [0,S): the token has no prior

  //! The prior of a sequence id; null where there is none.
  RESONANCE_HOST_DEVICE const float* row_of(std::int32_t sequence) const {
    return sequence >= 0 && sequence < rows.rows ? rows.row(sequence) : nullptr;
  }
};

}  // namespace affinity

namespace detail {

inline status check_blend(const matrix_view<const float>& scores, const affinity::sequence_prior& prior,
                          const affinity::blend_weights& weights, const matrix_view<float>& out) {
  return checks{}
      .also(check_matrix(scores, "scores"))
      .also(check_matrix(prior.rows, "prior.rows"))
      .matches(prior.rows.rows == 0 || prior.rows.cols == scores.cols, "prior.rows")
      .present(prior.sequence_of_token, scores.rows > 0, "prior.sequence_of_token")
      .also(weights.check())
      .also(check_matrix(out, "out"))
      .matches(out.rows == scores.rows && out.cols == scores.cols, "out")
      .result();
}

//! One pair's blend; `prior` is +0 where the token has none.
RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE float blended_score(const affinity::blend_weights& weights, float score,
                                                                 float prior) {
  const float absent = math::negative_infinity();
  const float own = choosable_score(score, row_traits<float>::largest);
  const float of_sequence = choosable_score(prior, row_traits<float>::largest);
  const float sum = finite_score(math::fma(weights.sequence, of_sequence, finite_score(weights.token * own)));
  return own > absent && of_sequence > absent ? sum : absent;
}

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
