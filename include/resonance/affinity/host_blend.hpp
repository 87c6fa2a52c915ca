// SPDX-License-Identifier: Apache-2.0
//! \file
//! Dense scores of tokens blended with a prior of their sequence.
#ifndef RESONANCE_AFFINITY_HOST_BLEND_HPP
#define RESONANCE_AFFINITY_HOST_BLEND_HPP

#include <cstdint>

#include <resonance/affinity/blend.hpp>
#include <resonance/core/executor.hpp>
#include <resonance/core/host_simd.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/views.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace affinity {

//! Blends every token's scores with the prior of its sequence, after the score function.
//!
//! Equation   g(t,i) = weights.token * scores(t,i) + weights.sequence * prior(sequence(t),i)   Intuition-MoR1E, arXiv
//!            2404.08985, with scores = softmax(W_r x)
//! Inputs     scores float[T,E] strided (host_scores); NaN and -inf mean "absent"
//!            prior.rows float[S,E] strided, any S; prior.sequence_of_token int32[T], an id outside [0,S) adds nothing
//! Outputs    out float[T,E] strided: `scores` itself, or without overlap
//! Contract   one fused multiply-add per pair; absent in either: -inf; +inf counts as the largest finite float, and
//!            what overflows becomes it; same bits at any worker count and instruction set
//! Errors     null_pointer, shape_mismatch (prior.rows, out), out_of_range (weights.token, weights.sequence)
//! Resources  none
//! Cost       T*E reads of scores and prior, T*E writes
//! Example    examples/08_rank_one_experts.cpp
template <class Executor>
status host_blend_prior(const Executor& executor, matrix_view<const float> scores, const sequence_prior& prior,
                        const blend_weights& weights, matrix_view<float> out) {
  const status checked = detail::check_blend(scores, prior, weights, out);
  if (!checked.ok() || scores.empty()) return checked;
  constexpr std::int64_t least_steps = 32768;
  const std::int64_t experts = scores.cols;
  const std::int64_t grain = experts < least_steps ? least_steps / experts : 1;
  detail::for_ranges(executor, scores.rows, grain, [&](std::int64_t begin, std::int64_t end, int) {
    detail::run_widest([&]() RESONANCE_INLINE_LAMBDA {
      for (std::int64_t t = begin; t < end; ++t) {
        const float* own = scores.row(t);
        const float* of_sequence = prior.row_of(prior.sequence_of_token[t]);
        float* blend = out.row(t);
        if (of_sequence == nullptr) {
          for (std::int64_t e = 0; e < experts; ++e) blend[e] = detail::blended_score(weights, own[e], 0.0f);
        } else {
          for (std::int64_t e = 0; e < experts; ++e) blend[e] = detail::blended_score(weights, own[e], of_sequence[e]);
        }
      }
    });
  });
  return {};
}

}  // namespace affinity
RESONANCE_NAMESPACE_END

#endif
