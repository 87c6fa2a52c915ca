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

//! Weighs the slots [begin, end) of one token: slot k's weight is 1 / sum of exp(logit - its own logit) over the near
//! experts that no slot before k holds.
//!
//! Inputs     logit_at(expert), -inf meaning an absent one; expert_at(slot), -1 meaning an empty slot
//! Outputs    write(slot, weight): 0 where empty, where the logit is absent and where an earlier slot holds the expert
//! Cost       per slot E logits; per near expert the ids of the slots before
RESONANCE_NO_EXEC_CHECK
template <class OrderedSum, class LogitAt, class ExpertAt, class Write>
RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE void weigh_near_slots(const sparse_mixer& o, std::int64_t begin,
                                                                   std::int64_t end, const OrderedSum& sum_of,
                                                                   const LogitAt& logit_at, const ExpertAt& expert_at,
                                                                   const Write& write) {
  const float absent = math::negative_infinity();
  for (std::int64_t slot = begin; slot < end; ++slot) {
    const auto held_before = [&](std::int64_t expert) RESONANCE_INLINE_LAMBDA {
      bool held = false;
      for (std::int64_t s = begin; s < slot && !held; ++s) held = expert_at(s) == expert;
      return held;
    };
    const std::int32_t own = expert_at(slot);
    const float best = own < 0 ? absent : logit_at(own);
    if (best == absent || held_before(own)) {
      write(slot, 0.0f);
      continue;
    }
    const float sum = sum_of([&](float so_far, std::int64_t expert) RESONANCE_INLINE_LAMBDA {
      const float logit = logit_at(expert);
      const bool counts = logit != absent && o.is_near(logit, best) && !held_before(expert);
      return counts ? so_far + math::exp(logit - best) : so_far;
    });
    write(slot, math::divide(1.0f, sum));
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
