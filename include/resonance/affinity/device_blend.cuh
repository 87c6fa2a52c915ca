// SPDX-License-Identifier: Apache-2.0
//! \file
//! Dense scores of tokens blended with a prior of their sequence, on the device.
#ifndef RESONANCE_AFFINITY_DEVICE_BLEND_CUH
#define RESONANCE_AFFINITY_DEVICE_BLEND_CUH

#include <resonance/affinity/blend.hpp>
#include <resonance/affinity/kernel_blend.cuh>
#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/launch.cuh>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/core/views.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace affinity {
RESONANCE_ARCH_NAMESPACE_BEGIN

//! Blends every token's scores with the prior of its sequence, after the score function.
//!
//! Equation   g(t,i) = weights.token * scores(t,i) + weights.sequence * prior(sequence(t),i)   Intuition-MoR1E, arXiv
//!            2404.08985
//! Inputs     as host_blend_prior, in device memory
//! Outputs    out float[T,E] strided: `scores` itself, or without overlap
//! Contract   the bits of host_blend_prior
//! Errors     null_pointer, shape_mismatch (prior.rows, out), out_of_range (weights.token, weights.sequence),
//!            launch_failed
//! Resources  1 launch, a warp per token; no workspace, no synchronization, capturable
//! Cost       T*E reads of scores and prior, T*E writes
//! Example    test/simt/affinity/device_blend_test.cpp
inline status device_blend_prior(const device_stream& on, matrix_view<const float> scores, const sequence_prior& prior,
                                 const blend_weights& weights, matrix_view<float> out) {
  const status checked = detail::check_blend(scores, prior, weights, out);
  if (!checked.ok() || scores.empty()) return checked;
  const bool aligned = moves_fours(scores) && moves_fours(prior.rows) && moves_fours(out);
  constexpr int threads = 128;
  const std::int64_t blocks = detail::divide_up(scores.rows, threads / warp_size);
  return detail::launch(on, {blocks < detail::most_blocks ? blocks : detail::most_blocks, threads, 0},
                        kernel_blend<threads>, scores, prior, weights, aligned, out, on.num_tokens);
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace affinity
RESONANCE_NAMESPACE_END

#endif
