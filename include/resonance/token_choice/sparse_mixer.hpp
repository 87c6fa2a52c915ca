// SPDX-License-Identifier: Apache-2.0
//! \file
//! SparseMixer's weights: a softmax over the experts near the chosen one, as both backends compute it.
#ifndef RESONANCE_TOKEN_CHOICE_SPARSE_MIXER_HPP
#define RESONANCE_TOKEN_CHOICE_SPARSE_MIXER_HPP

#include <resonance/config.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace token_choice {

//! How far below the chosen expert's logit another may be to share its softmax.   (arXiv 2409.12136)
struct sparse_mixer {
  float jitter = 0.01f;  //!< >= 0, finite

  constexpr status check() const {
    return detail::checks{}.in_range(jitter >= 0.0f && jitter <= row_traits<float>::largest, "jitter").result();
  }

  //! NOT (best - logit) / max(|logit|, best) > 2 jitter; 0/0 counts as near. Neither is -inf.
  RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE bool is_near(float logit, float best) const {
    const float magnitude = math::abs(logit);
    return !(math::divide(best - logit, magnitude > best ? magnitude : best) > 2.0f * jitter);
  }
};

//! One slot of a token, and what its sum adds: a function object, since nvcc checks lambdas for both sides.
template <class LogitAt, class ExpertAt>
struct near_slot {
  const sparse_mixer& mixer;
  const LogitAt& logit_at;
  const ExpertAt& expert_at;
  std::int64_t begin;  //!< the token's first slot
  std::int64_t slot;
  float best;  //!< the logit of the slot's own expert

  RESONANCE_NO_EXEC_CHECK
  RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE bool held_before(std::int64_t expert) const {
    bool held = false;
    for (std::int64_t s = begin; s < slot && !held; ++s) held = expert_at(s) == expert;
    return held;
  }

  RESONANCE_NO_EXEC_CHECK
  RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE float operator()(float sum, std::int64_t expert) const {
    const float logit = logit_at(expert);
    const bool counts = logit != math::negative_infinity() && mixer.is_near(logit, best) && !held_before(expert);
    return counts ? sum + math::exp(logit - best) : sum;
  }
};

//! Weighs the slots [begin, end) of one token: a slot's weight is 1 / sum of exp(logit - its own logit) over the near
//! experts that no slot before it holds.
//!
//! Inputs     sum_of(step): the ordered sum over the experts; logit_at(expert), -inf meaning an absent one;
//!            expert_at(slot), -1 meaning an empty slot
//! Outputs    write(slot, weight): 0 where empty, where the logit is absent and where an earlier slot holds the expert
//! Cost       per slot E logits; per near expert the ids of the slots before
RESONANCE_NO_EXEC_CHECK
template <class OrderedSum, class LogitAt, class ExpertAt, class Write>
RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE void weigh_near_slots(const sparse_mixer& mixer, std::int64_t begin,
                                                                   std::int64_t end, const OrderedSum& sum_of,
                                                                   const LogitAt& logit_at, const ExpertAt& expert_at,
                                                                   const Write& write) {
  const float absent = math::negative_infinity();
  for (std::int64_t slot = begin; slot < end; ++slot) {
    const std::int32_t own = expert_at(slot);
    const float best = own < 0 ? absent : logit_at(own);
    const near_slot<LogitAt, ExpertAt> of_slot{mixer, logit_at, expert_at, begin, slot, best};
    write(slot, best == absent || of_slot.held_before(own) ? 0.0f : math::divide(1.0f, sum_of(of_slot)));
  }
}

}  // namespace token_choice

namespace detail {

//! `assignments_status`: what checking the assignments gave; `slots`: how many there are, or can be.
template <class Row>
status check_sparse_mixer(const matrix_view<const Row>& logits, const assignment_view& assignments, std::int64_t slots,
                          const token_choice::sparse_mixer& o, const float* weights, const status& assignments_status) {
  return checks{}
      .also(assignments_status)
      .also(check_matrix(logits, "logits"))
      .also(o.check())
      .matches(logits.rows == assignments.tokens && logits.cols == assignments.experts, "logits")
      .present(weights, slots > 0, "weights")
      .result();
}

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
