// SPDX-License-Identifier: Apache-2.0
//! \file
//! Weights for assignments that token choice did not weigh: what a union or an expert's own choice added.
#ifndef RESONANCE_TOKEN_CHOICE_HOST_WEIGHTS_HPP
#define RESONANCE_TOKEN_CHOICE_HOST_WEIGHTS_HPP

#include <cstddef>
#include <cstdint>

#include <resonance/core/executor.hpp>
#include <resonance/core/host_simd.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/order_key.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/views.hpp>
#include <resonance/core/workspace.hpp>
#include <resonance/token_choice/checks.hpp>
#include <resonance/token_choice/weights.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace token_choice {

//! Bytes of workspace that host_weights needs: 4 E per worker.
template <class Executor>
std::size_t host_weights_workspace_bytes(const Executor& executor, std::int32_t experts) {
  detail::workspace_carver counter;
  counter.take<float>(static_cast<std::int64_t>(detail::worker_count(executor)) * experts);
  return counter.bytes();
}

//! Weighs the slots that every token holds, from the rows of affinity, as token choice would.
//!
//! Equation   weigh_slots over the token's assigned slots; renormalize divides by their sum
//! Inputs     affinity float[T,E] strided; assignments (ids; regular or ragged); options: renormalize and
//!            routed_scaling_factor are read
//! Outputs    weights float[slots]; 0 where unassigned, and where assignments.affinity is given and -inf (a slot that
//!            missing_choice filled)
//! Contract   for the slots that token choice chose, the same bits as token choice wrote
//! Errors     null_pointer (affinity, weights, assignments), shape_mismatch (affinity), out_of_range,
//!            workspace_too_small
//! Resources  host_weights_workspace_bytes; no allocation
//! Cost       T*E reads, one exponential per pair for row-normalized scores
//! Example    test/token_choice/host_weights_test.cpp
template <class Executor, class Score>
status host_weights(const Executor& executor, matrix_view<const float> affinity, const assignment_view& assignments,
                    const Score& score, const options& o, float* weights, workspace_view workspace) {
  const status valid = detail::check_assignments(assignments);
  detail::checks c;
  c.also(detail::check_weights(affinity, assignments, valid.ok() ? assignments.slots() : 0, score, o, weights, valid));
  if (!c.result().ok()) return c.result();
  c.also(detail::check_workspace(workspace, host_weights_workspace_bytes(executor, assignments.experts)));
  if (!c.result().ok()) return c.result();

  detail::workspace_carver carver(workspace.data);
  const std::int64_t experts = assignments.experts;
  float* numerators = carver.take<float>(detail::worker_count(executor) * experts);
  const auto is_choice = [&](std::int64_t slot) {
    const bool filled = assignments.affinity != nullptr && assignments.affinity[slot] == math::negative_infinity();
    return assignments.assigned(slot) && !filled;
  };
  detail::for_ranges(executor, assignments.tokens, 32, [&](std::int64_t begin, std::int64_t end, int piece) {
    float* numerator = numerators + piece * experts;
    detail::run_widest([&]() RESONANCE_INLINE_LAMBDA {
      for (std::int64_t t = begin; t < end; ++t) {
        const float* row = affinity.row(t);
        const auto delta = [=](std::int64_t e)
                               RESONANCE_INLINE_LAMBDA { return choosable_score(row[e], row_traits<float>::largest); };
        softmax_terms terms;
        if (needs_row_terms<Score>(o))
          terms = score.numerators(experts, delta,
                                   [=](std::int64_t e) RESONANCE_INLINE_LAMBDA -> float& { return numerator[e]; });
        const std::int64_t first = assignments.begin(t);
        weigh_slots(
            score, o, terms, assignments.end(t) - first,
            [&](std::int64_t k) RESONANCE_INLINE_LAMBDA {
              return is_choice(first + k) ? delta(assignments.ids[first + k]) : math::negative_infinity();
            },
            [&](std::int64_t k) RESONANCE_INLINE_LAMBDA -> float& { return weights[first + k]; });
      }
    });
  });
  return {};
}

}  // namespace token_choice
RESONANCE_NAMESPACE_END

#endif
