// SPDX-License-Identifier: Apache-2.0
//! \file
//! Combine weights of any assignments on the device.
#ifndef RESONANCE_TOKEN_CHOICE_DEVICE_WEIGHTS_CUH
#define RESONANCE_TOKEN_CHOICE_DEVICE_WEIGHTS_CUH

#include <resonance/config.hpp>
#include <resonance/core/launch.cuh>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>
#include <resonance/token_choice/checks.hpp>
#include <resonance/token_choice/kernel_weights.cuh>
#include <resonance/token_choice/policies.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace token_choice {
RESONANCE_ARCH_NAMESPACE_BEGIN

//! Weighs the slots that every token holds, from the rows of affinity, as token choice would.
//!
//! Equation   weigh_slots over the token's assigned slots; renormalize divides by their sum
//! Inputs     as host_weights, in device memory
//! Outputs    weights float[slots]; 0 where unassigned, and where assignments.affinity is given and -inf
//! Contract   the host's bits
//! Errors     as host_weights; launch_failed
//! Resources  1 launch; no workspace, no synchronization, capturable
//! Cost       T*E reads for row-normalized scores, 8 bytes per slot
//! Example    test/simt/token_choice/device_weights_test.cpp
template <class Score>
status device_weights(const device_stream& on, matrix_view<const float> affinity, const assignment_view& assignments,
                      const Score& score, const options& o, float* weights) {
  const status checked = detail::check_weights(affinity, assignments, assignments.most_slots(), score, o, weights,
                                               detail::check_device_assignments(assignments));
  if (!checked.ok()) return checked;
  const std::int64_t blocks = detail::divide_up(assignments.tokens, detail::weights_threads / warp_size);
  return detail::launch(on, {blocks < detail::most_blocks ? blocks : detail::most_blocks, detail::weights_threads, 0},
                        detail::kernel_weights<Score>, affinity, assignments, score, o, weights, on.num_tokens);
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace token_choice
RESONANCE_NAMESPACE_END

#endif
