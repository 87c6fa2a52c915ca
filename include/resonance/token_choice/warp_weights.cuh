// SPDX-License-Identifier: Apache-2.0
//! \file
//! Combine weights of one token's slots, by the threads of a warp.
#ifndef RESONANCE_TOKEN_CHOICE_WARP_WEIGHTS_CUH
#define RESONANCE_TOKEN_CHOICE_WARP_WEIGHTS_CUH

#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/math.hpp>
#include <resonance/core/order_key.hpp>
#include <resonance/core/softmax.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/core/views.hpp>
#include <resonance/core/warp_softmax.cuh>
#include <resonance/token_choice/policies.hpp>
#include <resonance/token_choice/weights.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace token_choice {

//! Weighs the slots that one token holds from its row of affinity, as token choice would.
//!
//! Threads    a warp, converged
//! Inputs     row float[E] in global memory: the token's affinities; assignments (ids; regular or ragged)
//! Outputs    weights[slot] for the token's slots; 0 where unassigned, or filled by missing_choice
//! Contract   the bits of host_weights
//! Cost       E reads twice where the row's softmax terms are needed, 4 bytes per slot read twice
template <class Score>
RESONANCE_DEVICE void warp_weights(const warp_team& warp, const Score& score, const options& o, const float* row,
                                   const assignment_view& a, std::int64_t token, float* weights) {
  const float empty = math::negative_infinity();
  const auto choosable = [row](std::int64_t e) { return choosable_score(load(row + e), row_traits<float>::largest); };
  const auto delta_at = [&](std::int64_t slot) {
    const std::int32_t id = load(a.ids + slot);
    const bool filled = a.affinity != nullptr && load(a.affinity + slot) == empty;
    return a.is_expert(id) && !filled ? choosable(id) : empty;
  };
  const auto argument_of = [&](float delta) { return delta == empty ? empty : score.argument(delta); };
  softmax_terms terms;
  if (needs_row_terms<Score>(o))
    terms = tile_softmax_terms(warp, a.experts, [&](std::int64_t e) { return argument_of(choosable(e)); });

  const slot_weigher<Score> weigher(score, o);
  const std::int64_t begin = a.begin(token);
  const std::int64_t end = a.end(token);
  float shift = terms.largest;
  if (weigher.over_slots) {
    shift = empty;
    RESONANCE_NO_UNROLL
    for (std::int64_t slot = begin + warp.rank(); slot < end; slot += warp_size) {
      const float argument = argument_of(delta_at(slot));
      shift = argument > shift ? argument : shift;
    }
    shift = warp.max(shift);
  }
  const auto numerator_of = [&](float delta) { return delta == empty ? 0.0f : weigher.numerator(delta, shift); };
  float sum = 0.0f;
  RESONANCE_NO_UNROLL
  for (std::int64_t first = begin; first < end; first += warp_size) {
    const std::int64_t slot = first + warp.rank();
    const float own = numerator_of(slot < end ? delta_at(slot) : empty);
    for (int r = 0; r < warp_size; ++r) sum += warp.shuffle(own, r);  // in slot order; past the end +0
  }
  const float divisor = weigher.divisor(sum, terms);
  RESONANCE_NO_UNROLL
  for (std::int64_t slot = begin + warp.rank(); slot < end; slot += warp_size) {
    const float delta = delta_at(slot);
    store(weights + slot, delta == empty ? 0.0f : weigher.weight(numerator_of(delta), divisor));
  }
}

}  // namespace token_choice
RESONANCE_NAMESPACE_END

#endif
