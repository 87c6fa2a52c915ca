// SPDX-License-Identifier: Apache-2.0
//! \file
//! SparseMixer's weights of one token's slots, by the threads of a warp.
#ifndef RESONANCE_TOKEN_CHOICE_WARP_SPARSE_MIXER_CUH
#define RESONANCE_TOKEN_CHOICE_WARP_SPARSE_MIXER_CUH

#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/math.hpp>
#include <resonance/core/order_key.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/core/views.hpp>
#include <resonance/core/warp_sum.cuh>
#include <resonance/token_choice/sparse_mixer.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace token_choice {

//! Weighs the slots that one token holds by softmaxes over the experts near each of them.
//!
//! Threads    a warp, converged
//! Inputs     row Row[E] in global memory: the token's logits; assignments (ids; regular or ragged)
//! Outputs    weights[slot] for the token's slots
//! Contract   the bits of host_sparse_mixer_weights
//! Cost       E reads per slot, from cache after the first, and K ids for every near expert
template <class Row>
RESONANCE_DEVICE void warp_sparse_mixer(const warp_team& warp, const sparse_mixer& o, const Row* row,
                                        const assignment_view& a, std::int64_t token, float* weights) {
  weigh_near_slots(
      o, a.begin(token), a.end(token), [&](const auto& step) { return tile_ordered_sum(warp, 0, a.experts, step); },
      [row](std::int64_t e) {
        return choosable_score(row_traits<Row>::widen(load(row + e)), row_traits<Row>::largest);
      },
      [&](std::int64_t slot) {
        const std::int32_t id = load(a.ids + slot);
        const bool filled = a.affinity != nullptr && load(a.affinity + slot) == math::negative_infinity();
        return a.is_expert(id) && !filled ? id : -1;
      },
      [&](std::int64_t slot, float weight) {
        if (warp.rank() == 0) store(weights + slot, weight);
      });
}

}  // namespace token_choice
RESONANCE_NAMESPACE_END

#endif
