// SPDX-License-Identifier: Apache-2.0
//! \file
//! Self-contrast on the device: the logits of a strong choice of experts, pushed away from those of a weak one.
#ifndef RESONANCE_AFFINITY_DEVICE_CONTRAST_CUH
#define RESONANCE_AFFINITY_DEVICE_CONTRAST_CUH

#include <resonance/affinity/contrast.hpp>
#include <resonance/affinity/kernel_contrast.cuh>
#include <resonance/config.hpp>
#include <resonance/core/launch.cuh>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/core/views.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {
RESONANCE_ARCH_NAMESPACE_BEGIN

inline constexpr int contrast_threads = 256;

RESONANCE_ARCH_NAMESPACE_END
}  // namespace detail

namespace affinity {
RESONANCE_ARCH_NAMESPACE_BEGIN

//! Contrasts two rows of logits per token: those of a strong choice of experts and those of a weak one.
//!
//! Equation   z(i) = (1 + beta) z_strong(i) - beta z_weak(i) where z_strong(i) >= log(alpha) + max_j z_strong(j), else
//!            -inf   SCMoE, arXiv 2405.14507; computed as z_strong + beta (z_strong - z_weak)
//! Inputs     strong, weak Row[T,V] strided, in device memory
//! Outputs    out float[T,V] strided, must not overlap the inputs
//! Contract   the bits of host_contrast_logits
//! Errors     out_of_range (alpha, beta), null_pointer, shape_mismatch (weak, out), launch_failed
//! Resources  1 launch, a block per row; no workspace, no synchronization, capturable
//! Cost       strong read twice (from cache), weak once, out written once
//! Example    test/simt/affinity/device_contrast_test.cpp
template <class Row>
status device_contrast_logits(const device_stream& on, matrix_view<const Row> strong, matrix_view<const Row> weak,
                              const contrast_options& o, matrix_view<float> out) {
  const status checked = detail::check_contrast(o, strong, weak, out);
  if (!checked.ok() || strong.empty()) return checked;
  const bool aligned = moves_fours(strong) && moves_fours(weak) && moves_fours(out);
  constexpr int threads = detail::contrast_threads;
  return detail::launch(on, {strong.rows < detail::most_blocks ? strong.rows : detail::most_blocks, threads, 0},
                        kernel_contrast<threads, Row>, strong, weak, o, aligned, out, on.num_tokens);
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace affinity
RESONANCE_NAMESPACE_END

#endif
