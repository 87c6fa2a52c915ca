// SPDX-License-Identifier: Apache-2.0
//! \file
//! Dense scores of one line of affinities, by the threads of a warp.
#ifndef RESONANCE_AFFINITY_WARP_SCORES_CUH
#define RESONANCE_AFFINITY_WARP_SCORES_CUH

#include <resonance/affinity/score.hpp>
#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/math.hpp>
#include <resonance/core/softmax.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/warp_softmax.cuh>

RESONANCE_NAMESPACE_BEGIN
namespace affinity {

//! Applies a score function to the `count` pairs of one line: a token's experts, or an expert's tokens.
//!
//! Threads    a warp, converged
//! Inputs     delta_at(i) -> float, choosable (-inf = absent)
//! Outputs    write(i, score), by any thread of the warp, once for every i; an absent pair gets -inf
//! Contract   the bits of host_scores
//! Cost       elementwise functions read once; softmaxes three times
template <class Score, class DeltaAt, class Write>
RESONANCE_DEVICE void warp_scores(const warp_team& warp, const Score& score, std::int64_t count,
                                  const DeltaAt& delta_at, const Write& write) {
  const auto argument_at = [&](std::int64_t i) {
    const float delta = delta_at(i);
    return delta == math::negative_infinity() ? delta : score.argument(delta);
  };
  softmax_terms terms;
  if (Score::normalized_over == normalizer::row) terms = tile_softmax_terms(warp, count, argument_at);
  RESONANCE_NO_UNROLL
  for (std::int64_t i = warp.rank(); i < count; i += warp_size) {
    float value = argument_at(i);
    if (Score::normalized_over == normalizer::row && value != math::negative_infinity())
      value = math::divide(math::exp(value - terms.largest), terms.sum);
    write(i, value);
  }
}

}  // namespace affinity
RESONANCE_NAMESPACE_END

#endif
