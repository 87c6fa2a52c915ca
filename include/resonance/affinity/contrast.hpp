// SPDX-License-Identifier: Apache-2.0
//! \file
//! The contrast of two rows of logits, as both backends compute it.
#ifndef RESONANCE_AFFINITY_CONTRAST_HPP
#define RESONANCE_AFFINITY_CONTRAST_HPP

#include <resonance/config.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/order_key.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace affinity {

//! How far a strong choice of experts is pushed away from a weak one.   (SCMoE, arXiv 2405.14507)
struct contrast_options {
  float alpha = 0.1f;  //!< in (0, 1] and no subnormal: a token counts from alpha times the largest probability on
  float beta = 0.5f;   //!< >= 0, finite; 0: the strong logits alone

  constexpr status check() const {
    return detail::checks{}
        .in_range(alpha >= 1.17549435e-38f && alpha <= 1.0f, "alpha")
        .in_range(beta >= 0.0f && beta <= row_traits<float>::largest, "beta")
        .result();
  }
};

}  // namespace affinity

namespace detail {

template <class Row>
status check_contrast(const affinity::contrast_options& o, const matrix_view<const Row>& strong,
                      const matrix_view<const Row>& weak, const matrix_view<float>& out) {
  return checks{}
      .also(o.check())
      .also(check_matrix(strong, "strong"))
      .also(check_matrix(weak, "weak"))
      .also(check_matrix(out, "out"))
      .matches(weak.rows == strong.rows && weak.cols == strong.cols, "weak")
      .matches(out.rows == strong.rows && out.cols == strong.cols, "out")
      .result();
}

//! The contrast of one row, once its largest strong logit is known.
struct contrast_row {
  float beta;
  float bound;  //!< log(alpha) + the row's largest strong logit: -inf where there is none

  RESONANCE_HOST_DEVICE contrast_row(const affinity::contrast_options& o, float largest)
      : beta(o.beta), bound(math::log(o.alpha) + largest) {}

  //! strong + beta * (strong - weak): the paper's sum, written so that equal logits and beta = 0 change no bit.
  RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE float at(float strong, float weak) const {
    const float absent = math::negative_infinity();
    const float contrast = finite_score(math::fma(beta, finite_score(strong - weak), strong));
    const bool valid = strong >= bound && strong > absent && weak > absent;
    return valid ? contrast : absent;
  }
};

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
