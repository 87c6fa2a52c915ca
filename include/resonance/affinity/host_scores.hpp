// SPDX-License-Identifier: Apache-2.0
//! \file
//! Dense scores from affinities, for expert choice and for losses.
#ifndef RESONANCE_AFFINITY_HOST_SCORES_HPP
#define RESONANCE_AFFINITY_HOST_SCORES_HPP

#include <cstdint>

#include <resonance/affinity/score.hpp>
#include <resonance/core/executor.hpp>
#include <resonance/core/host_simd.hpp>
#include <resonance/core/order_key.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/views.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace affinity {

//! Applies a score function to every pair.
//!
//! Equation   see the score function; softmax_over_chosen gives delta' here, as nothing is chosen yet
//! Inputs     affinity float[T,E] strided; NaN and -inf mean "absent"
//!            axis: what a softmax runs over; without meaning for the other functions
//! Outputs    scores float[T,E] strided, must not overlap `affinity`; an absent pair gets -inf
//! Contract   same bits at any worker count and instruction set
//! Errors     null_pointer, shape_mismatch (scores), out_of_range (temperature, logit_cap)
//! Resources  none
//! Cost       T*E reads and writes, one exponential each where the function has one
//! Example    test/affinity/host_scores_test.cpp
template <class Executor, class Score>
status host_scores(const Executor& executor, const Score& score, matrix_view<const float> affinity,
                   matrix_view<float> scores, softmax_axis axis = softmax_axis::experts) {
  const status checked = detail::check_scores(score, affinity, scores);
  if (!checked.ok()) return checked;

  const bool by_column = Score::normalized_over == normalizer::row && axis == softmax_axis::tokens;
  const std::int64_t lines = by_column ? affinity.cols : affinity.rows;
  const std::int64_t length = by_column ? affinity.rows : affinity.cols;
  const std::int64_t line_step = by_column ? 1 : affinity.stride;
  const std::int64_t step = by_column ? affinity.stride : 1;
  const std::int64_t out_line_step = by_column ? 1 : scores.stride;
  const std::int64_t out_step = by_column ? scores.stride : 1;
  detail::for_ranges(executor, lines, 16, [&](std::int64_t begin, std::int64_t end, int) {
    detail::run_widest([&]() RESONANCE_INLINE_LAMBDA {
      const float absent = math::negative_infinity();
      for (std::int64_t line = begin; line < end; ++line) {
        const auto delta = [&](std::int64_t i) RESONANCE_INLINE_LAMBDA {
          return choosable_score(affinity.data[line * line_step + i * step], row_traits<float>::largest);
        };
        const auto out = [&](std::int64_t i) RESONANCE_INLINE_LAMBDA -> float& {
          return scores.data[line * out_line_step + i * out_step];
        };
        if (Score::normalized_over == normalizer::row) {
          const softmax_terms terms = score.numerators(length, delta, out);
          for (std::int64_t i = 0; i < length; ++i)
            out(i) = delta(i) == absent ? absent : math::divide(out(i), terms.sum);
        } else {
          for (std::int64_t i = 0; i < length; ++i) out(i) = delta(i) == absent ? absent : score.argument(delta(i));
        }
      }
    });
  });
  return {};
}

}  // namespace affinity
RESONANCE_NAMESPACE_END

#endif
