// SPDX-License-Identifier: Apache-2.0
//! \file
//! The terms of a softmax, by the threads of a tile.
#ifndef RESONANCE_CORE_WARP_SOFTMAX_CUH
#define RESONANCE_CORE_WARP_SOFTMAX_CUH

#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/math.hpp>
#include <resonance/core/softmax.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/warp_sum.cuh>

RESONANCE_NAMESPACE_BEGIN

//! The largest of argument_at(0..count) and the sum of exp(argument - largest); -inf is absent.
//!
//! Threads    all of `tile`, converged; fewer than 32 only where count <= 4 * size
//! Contract   the bits of softmax_numerators
//! Cost       two passes over the arguments
template <class Tile, class ArgumentAt>
RESONANCE_DEVICE softmax_terms tile_softmax_terms(const Tile& tile, std::int64_t count, const ArgumentAt& argument_at) {
  float largest = math::negative_infinity();
  for (std::int64_t i = tile.rank(); i < count; i += Tile::size()) {
    const float argument = argument_at(i);
    largest = argument > largest ? argument : largest;
  }
  largest = tile.max(largest);
  softmax_terms terms;
  terms.largest = largest == math::negative_infinity() ? 0.0f : largest;
  terms.sum = tile_ordered_sum(
      tile, 0, count, [&](float sum, std::int64_t i) { return sum + math::exp(argument_at(i) - terms.largest); });
  return terms;
}

RESONANCE_NAMESPACE_END

#endif
