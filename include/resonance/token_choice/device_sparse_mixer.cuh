// SPDX-License-Identifier: Apache-2.0
//! \file
//! SparseMixer's weights on the device, for a choice that has been made.
#ifndef RESONANCE_TOKEN_CHOICE_DEVICE_SPARSE_MIXER_CUH
#define RESONANCE_TOKEN_CHOICE_DEVICE_SPARSE_MIXER_CUH

#include <resonance/config.hpp>
#include <resonance/core/launch.cuh>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>
#include <resonance/token_choice/kernel_sparse_mixer.cuh>
#include <resonance/token_choice/sparse_mixer.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace token_choice {
RESONANCE_ARCH_NAMESPACE_BEGIN

//! Weighs the slots that every token holds: each by a softmax over the experts near its own that no earlier slot took.
//!
//! Equation   w_k = 1 / sum of exp(x_e - m_k), m_k = x[c_k], over all e but c_0 .. c_(k-1) with NOT
//!            (m_k - x_e) / max(|x_e|, m_k) > 2 jitter   arXiv 2409.12136, without its training's noise
//! Inputs     as host_sparse_mixer_weights, in device memory
//! Outputs    weights float[slots]; 0 where the host writes 0
//! Contract   the host's bits
//! Errors     as host_sparse_mixer_weights; launch_failed
//! Resources  1 launch, a warp per token; no workspace, no synchronization, capturable
//! Cost       E reads per slot, from cache after the first, and K ids for every near expert
//! Example    test/simt/token_choice/device_sparse_mixer_test.cpp
template <class Row>
status device_sparse_mixer_weights(const device_stream& on, matrix_view<const Row> logits,
                                   const assignment_view& assignments, const sparse_mixer& o, float* weights) {
  const status checked = detail::check_sparse_mixer(logits, assignments, assignments.most_slots(), o, weights,
                                                    detail::check_device_assignments(assignments));
  if (!checked.ok()) return checked;
  constexpr int threads = detail::sparse_mixer_threads;
  const std::int64_t blocks = detail::divide_up(assignments.tokens, threads / warp_size);
  return detail::launch(on, {blocks < detail::most_blocks ? blocks : detail::most_blocks, threads, 0},
                        detail::kernel_sparse_mixer<Row>, logits, assignments, o, weights, on.num_tokens);
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace token_choice
RESONANCE_NAMESPACE_END

#endif
