// SPDX-License-Identifier: Apache-2.0
//! \file
//! One token's scores blended with the prior of its sequence, by the threads of a warp.
#ifndef RESONANCE_AFFINITY_WARP_BLEND_CUH
#define RESONANCE_AFFINITY_WARP_BLEND_CUH

#include <resonance/affinity/blend.hpp>
#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>

RESONANCE_NAMESPACE_BEGIN
namespace affinity {

//! Blends one row of scores with one row of a prior.
//!
//! Threads    a warp; no barrier
//! Inputs     scores float[count]; prior float[count], or null: none; aligned: four elements at a multiple of four may
//!            be moved at once, in all of them
//! Outputs    out float[count]: `scores` itself, or without overlap
//! Contract   the bits of host_blend_prior
//! Cost       every element is read and written once
//! Example    test/simt/affinity/device_blend_test.cpp
RESONANCE_DEVICE void warp_blend(const warp_team& warp, const blend_weights& weights, const float* scores,
                                 const float* prior, std::int64_t count, bool aligned, float* out) {
  for (std::int64_t j = std::int64_t{4} * warp.rank(); j < count; j += std::int64_t{4} * warp_size) {
    float blend[4];
    float of_sequence[4] = {};
    load_four(scores, j, count, aligned, blend);
    if (prior != nullptr) load_four(prior, j, count, aligned, of_sequence);
    RESONANCE_UNROLL
    for (int i = 0; i < 4; ++i) blend[i] = detail::blended_score(weights, blend[i], of_sequence[i]);
    store_four(out, j, count, aligned, blend);
  }
}

}  // namespace affinity
RESONANCE_NAMESPACE_END

#endif
