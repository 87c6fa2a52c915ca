// SPDX-License-Identifier: Apache-2.0
//! \file
//! Token-side pruning on the device: a token gives up the choices that weigh too little.
#ifndef RESONANCE_PRUNE_DEVICE_PRUNE_CHOICES_CUH
#define RESONANCE_PRUNE_DEVICE_PRUNE_CHOICES_CUH

#include <resonance/config.hpp>
#include <resonance/core/launch.cuh>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>
#include <resonance/core/workspace.hpp>
#include <resonance/prune/choice_rules.hpp>
#include <resonance/prune/kernel_prune_choices.cuh>
#include <resonance/prune/prune_choices.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace prune {
RESONANCE_ARCH_NAMESPACE_BEGIN

//! Bytes of workspace that device_prune_choices needs: 8 per 256 tokens.
inline std::size_t device_prune_choices_workspace_bytes(std::int64_t tokens) {
  detail::workspace_carver counter;
  counter.take<std::int64_t>(tokens > 0 ? detail::divide_up(tokens, detail::prune_choices_threads) : 0);
  return counter.bytes();
}

//! Drops the choices of every unprotected token whose share is below the rule's bound; a token's first stays.
//!
//! Equation   see the choice rule   MC, arXiv 2410.06270 (weight_ratio); AdapMoE, arXiv 2408.10284 (sensitivity)
//! Inputs     as host_prune_choices, in device memory
//! Outputs    see choice_outputs; the slots that stay keep their places
//! Contract   the host's bits
//! Errors     as host_prune_choices; workspace_too_small, launch_failed
//! Resources  1 launch, 2 where `pruned` is given; device_prune_choices_workspace_bytes
//! Cost       16 bytes per slot
//! Example    test/simt/prune/device_prune_choices_test.cpp
template <class Rule>
status device_prune_choices(const device_stream& on, const Rule& rule, const assignment_view& assignments,
                            const std::uint8_t* protected_tokens, const choice_options& o, const choice_outputs& out,
                            workspace_view workspace) {
  const assignment_view& a = assignments;
  const status shape = detail::check_device_assignments(a);
  detail::checks c;
  c.also(detail::check_prune_choices(shape, shape.ok() && a.most_slots() > 0, rule, a, out));
  if (!c.result().ok()) return c.result();
  c.also(detail::check_workspace(workspace, device_prune_choices_workspace_bytes(a.tokens)));
  if (!c.result().ok()) return c.result();

  constexpr int threads = detail::prune_choices_threads;
  const std::int64_t blocks = detail::divide_up(a.tokens, threads);
  std::int64_t* counts = nullptr;
  if (out.pruned != nullptr) counts = detail::workspace_carver(workspace.data).take<std::int64_t>(blocks);
  const status pruned = detail::launch(on, {blocks, threads, 0}, detail::kernel_prune_choices<threads, Rule>,
                                       rule.bound(), a, protected_tokens, o, out, on.num_tokens, counts);
  if (!pruned.ok() || out.pruned == nullptr) return pruned;
  return detail::launch(on, {1, threads, 0}, detail::kernel_sum_counts<threads>,
                        static_cast<const std::int64_t*>(counts), blocks, out.pruned);
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace prune
RESONANCE_NAMESPACE_END

#endif
