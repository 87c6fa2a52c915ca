// SPDX-License-Identifier: Apache-2.0
//! \file
//! What both backends refuse before a token choice.
#ifndef RESONANCE_TOKEN_CHOICE_CHECKS_HPP
#define RESONANCE_TOKEN_CHOICE_CHECKS_HPP

#include <resonance/core/status.hpp>
#include <resonance/core/views.hpp>
#include <resonance/token_choice/policies.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

template <class Source, class Score, class Selection>
status check_token_choice(const Source& source, const Score& score, const Selection& selection,
                          const token_choice::options& o, const choice_buffers& out,
                          const matrix_view<float>& affinity) {
  checks c;
  c.also(source.check());
  if (!c.result().ok()) return c.result();
  c.also(o.check(source.experts()));
  if (!c.result().ok()) return c.result();
  c.also(selection.check(source.experts(), o)).also(score.check());
  c.fits(source.tokens() <= max_slots / o.top_k, "top_k");
  c.present(out.topk_ids, source.tokens() > 0, "topk_ids");
  if (affinity.data != nullptr) {
    c.also(check_matrix(affinity, "affinity"));
    c.matches(affinity.rows == source.tokens() && affinity.cols == source.experts(), "affinity");
  }
  return c.result();
}

//! `assignments_status`: what checking the assignments gave; `slots`: how many there are, or can be.
template <class Score>
status check_weights(const matrix_view<const float>& affinity, const assignment_view& assignments, std::int64_t slots,
                     const Score& score, const token_choice::options& o, const float* weights,
                     const status& assignments_status) {
  checks c;
  c.also(assignments_status).also(check_matrix(affinity, "affinity"));
  if (!c.result().ok()) return c.result();
  token_choice::options of_weights;
  of_weights.routed_scaling_factor = o.routed_scaling_factor;
  c.also(score.check()).also(of_weights.check(assignments.experts));
  c.matches(affinity.rows == assignments.tokens && affinity.cols == assignments.experts, "affinity");
  return c.present(weights, slots > 0, "weights").result();
}

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
