// SPDX-License-Identifier: Apache-2.0
//! \file
//! SparseMixer's weights for a choice that has been made, as Phi-3.5-MoE gives them when it is served.
#ifndef RESONANCE_TOKEN_CHOICE_HOST_SPARSE_MIXER_HPP
#define RESONANCE_TOKEN_CHOICE_HOST_SPARSE_MIXER_HPP

#include <cstdint>

#include <resonance/core/executor.hpp>
#include <resonance/core/host_simd.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/order_key.hpp>
#include <resonance/core/ordered_sum.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/views.hpp>
#include <resonance/token_choice/sparse_mixer.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace token_choice {

//! Weighs the slots that every token holds: each by a softmax over the experts near its own that no earlier slot took.
//!
//! Equation   w_k = 1 / sum of exp(x_e - m_k), m_k = x[c_k], over all e but c_0 .. c_(k-1) with NOT
//!            (m_k - x_e) / max(|x_e|, m_k) > 2 jitter   arXiv 2409.12136, without its training's noise
//! Inputs     logits Row[T,E] strided; assignments (ids; regular or ragged), meant to be top_k's: best first
//! Outputs    weights float[slots]; 0 where unassigned, where assignments.affinity is given and -inf (a slot that
//!            missing_choice filled), where the logit is absent, and where an earlier slot holds the expert
//! Contract   an empty slot takes no expert from the later ones; NaN and -inf are absent, +inf counts as the largest
//!            finite value of Row; same bits at any worker count and instruction set
//! Errors     assignments', out_of_range (logits, jitter), null_pointer (logits, weights), shape_mismatch (logits)
//! Resources  none
//! Cost       E reads per slot, one exponential per near expert, and K ids for each of those
//! Example    test/token_choice/host_sparse_mixer_test.cpp
template <class Executor, class Row>
status host_sparse_mixer_weights(const Executor& executor, matrix_view<const Row> logits,
                                 const assignment_view& assignments, const sparse_mixer& o, float* weights) {
  const status valid = detail::check_assignments(assignments);
  const std::int64_t slots = valid.ok() ? assignments.slots() : 0;
  const status checked = detail::check_sparse_mixer(logits, assignments, slots, o, weights, valid);
  if (!checked.ok()) return checked;
  const auto expert_at = [&](std::int64_t slot) RESONANCE_INLINE_LAMBDA {
    const bool filled = assignments.affinity != nullptr && assignments.affinity[slot] == math::negative_infinity();
    return assignments.assigned(slot) && !filled ? assignments.ids[slot] : -1;
  };
  detail::for_ranges(executor, assignments.tokens, 32, [&](std::int64_t begin, std::int64_t end, int) {
    detail::run_widest([&]() RESONANCE_INLINE_LAMBDA {
      for (std::int64_t t = begin; t < end; ++t) {
        const Row* row = logits.row(t);
        weigh_near_slots(
            o, assignments.begin(t), assignments.end(t),
            [&](const auto& step) RESONANCE_INLINE_LAMBDA { return ordered_sum(0, assignments.experts, step); },
            [&](std::int64_t e) RESONANCE_INLINE_LAMBDA {
              return choosable_score(row_traits<Row>::widen(row[e]), row_traits<Row>::largest);
            },
            expert_at, [&](std::int64_t slot, float weight) RESONANCE_INLINE_LAMBDA { weights[slot] = weight; });
      }
    });
  });
  return {};
}

}  // namespace token_choice
RESONANCE_NAMESPACE_END

#endif
