// SPDX-License-Identifier: Apache-2.0
//! \file
//! How often tokens go from an expert of one layer to an expert of the next, on the device.
#ifndef RESONANCE_BALANCE_DEVICE_TRANSITIONS_CUH
#define RESONANCE_BALANCE_DEVICE_TRANSITIONS_CUH

#include <resonance/balance/kernel_transitions.cuh>
#include <resonance/balance/transitions.hpp>
#include <resonance/config.hpp>
#include <resonance/core/launch.cuh>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace balance {
RESONANCE_ARCH_NAMESPACE_BEGIN

//! Counts the transitions between the experts of two layers, from what the layers chose for the same tokens.
//!
//! Equation   counts(a,b) = number of tokens with from = a and to = b   ExFlow, arXiv 2401.08383
//!            with K > 1: number of pairs of slots, one of each layer, of the same token
//! Inputs     as host_transition_counts, in device memory
//! Outputs    counts int64[E,E'] strided: all of it
//! Contract   the host's counts
//! Errors     what check_device_assignments refuses, as from or to; null_pointer (counts), shape_mismatch (to, counts),
//!            launch_failed
//! Resources  1 launch; no workspace, no synchronization, capturable
//! Cost       the ids of `from` once per expert, from cache: for a batch, or a trace of some ten thousand tokens
//! Example    test/simt/balance/device_transitions_test.cpp
inline status device_transition_counts(const device_stream& on, const assignment_view& from, const assignment_view& to,
                                       matrix_view<std::int64_t> counts) {
  const status checked = detail::check_transitions(detail::check_device_assignments(from),
                                                   detail::check_device_assignments(to), from, to, counts);
  if (!checked.ok()) return checked;
  constexpr int threads = 256;
  return detail::launch(on, {from.experts, threads, 0}, kernel_transitions<threads>, from, to, counts, on.num_tokens);
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace balance
RESONANCE_NAMESPACE_END

#endif
