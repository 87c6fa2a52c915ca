// SPDX-License-Identifier: Apache-2.0
//! \file
//! The capacity of every expert that may choose among all tokens, on the device.
#ifndef RESONANCE_PRUNE_DEVICE_EXPERT_CAPACITIES_CUH
#define RESONANCE_PRUNE_DEVICE_EXPERT_CAPACITIES_CUH

#include <resonance/config.hpp>
#include <resonance/core/block_columns.cuh>
#include <resonance/core/launch.cuh>
#include <resonance/core/policy.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>
#include <resonance/core/workspace.hpp>
#include <resonance/prune/capacity.hpp>
#include <resonance/prune/check.hpp>
#include <resonance/prune/check_expert_capacities.hpp>
#include <resonance/prune/kernel_expert_capacities.cuh>

RESONANCE_NAMESPACE_BEGIN
namespace prune {
RESONANCE_ARCH_NAMESPACE_BEGIN

//! Bytes of workspace that device_expert_capacities needs: none, since what does not fit shared memory is read again.
template <class Rule>
constexpr std::size_t device_expert_capacities_workspace_bytes(std::int64_t) {
  return 0;
}

//! Computes C_i as if every token with a choosable affinity were a member of expert i.
//!
//! Equation   C_i = min(rule(A_i = all tokens), cap)
//! Inputs     affinity float[T,E] strided, in device memory; batch: what the rule looks at (top_k, hidden ...)
//!            delta_max float[1] in device memory, in place of batch.delta_max; null = that
//!            capacity_cap: -1 = none
//! Outputs    capacities int64[E]
//! Contract   same result as host_expert_capacities, over the tokens that there are. What a rule points to is in device
//!            memory, and is not checked there
//! Errors     null_pointer, out_of_range (the rule's parameters, capacity_cap), shape_mismatch (affinity),
//!            index_overflow (affinity), launch_failed
//! Resources  1 launch; no workspace
//! Cost       T*E reads; for affinity_mass only up to T = 600 or so, and beyond it one more for the largest affinities
//!            and per sweep of block_select (five with random scores)
//! Example    test/simt/prune/device_expert_capacities_test.cpp
template <class Rule>
status device_expert_capacities(const device_stream& on, const Rule& rule, matrix_view<const float> affinity,
                                const batch_facts& batch, const float* delta_max, std::int64_t capacity_cap,
                                std::int64_t* capacities, workspace_view) {
  static_assert(detail::is_policy_of<Rule, stages::capacity>, "resonance: the second argument must be a capacity rule");
  const status checked = detail::checks{}
                             .also(detail::check_expert_capacities(detail::check_device_rule(rule, batch), affinity,
                                                                   batch, capacity_cap, capacities))
                             .fits(affinity.rows <= detail::max_int32, "affinity")
                             .result();
  if (!checked.ok()) return checked;
  const std::size_t staged = Rule::by_mass
                                 ? detail::staged_column_bytes(affinity.rows, sizeof(capacity_scratch<Rule::by_mass>))
                                 : 0;  // the others look at each score once
  return detail::launch(on, {detail::column_groups(affinity.cols), column_threads, staged},
                        kernel_expert_capacities<column_threads, Rule>, rule, affinity, batch, delta_max, capacity_cap,
                        on.num_tokens, staged > 0, capacities);
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace prune
RESONANCE_NAMESPACE_END

#endif
