// SPDX-License-Identifier: Apache-2.0
//! \file
//! The capacity of every expert that may choose among all tokens, for the merges that ask the experts.
#ifndef RESONANCE_PRUNE_HOST_EXPERT_CAPACITIES_HPP
#define RESONANCE_PRUNE_HOST_EXPERT_CAPACITIES_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>

#include <resonance/core/executor.hpp>
#include <resonance/core/order_key.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/views.hpp>
#include <resonance/core/workspace.hpp>
#include <resonance/prune/capacity.hpp>
#include <resonance/prune/check_expert_capacities.hpp>
#include <resonance/prune/host_prune.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace prune {

//! Bytes of workspace that host_expert_capacities needs: 4 T per worker for affinity_mass, else none.
template <class Rule, class Executor>
std::size_t host_expert_capacities_workspace_bytes(const Executor& executor, std::int64_t tokens) {
  detail::workspace_carver counter;
  if (Rule::by_mass) counter.take<float>(detail::worker_count(executor) * tokens);
  return counter.bytes();
}

//! Computes C_i as if every token with a choosable affinity were a member of expert i.
//!
//! Equation   C_i = min(rule(A_i = all tokens), cap)
//! Inputs     affinity float[T,E] strided; batch: what the rule looks at (delta_max, top_k, hidden ...)
//!            capacity_cap: -1 = none
//! Outputs    capacities int64[E]
//! Contract   deterministic at any worker count
//! Errors     null_pointer, out_of_range (the rule's parameters, capacity_cap), shape_mismatch, workspace_too_small
//! Resources  host_expert_capacities_workspace_bytes; no allocation
//! Cost       T*E reads; a sort of T per expert for affinity_mass
//! Example    test/prune/host_expert_capacities_test.cpp
template <class Executor, class Rule>
status host_expert_capacities(const Executor& executor, const Rule& rule, matrix_view<const float> affinity,
                              const batch_facts& batch, std::int64_t capacity_cap, std::int64_t* capacities,
                              workspace_view workspace) {
  static_assert(detail::is_policy_of<Rule, stages::capacity>, "resonance: the second argument must be a capacity rule");
  detail::checks c;
  c.also(detail::check_expert_capacities(rule.check(batch), affinity, batch, capacity_cap, capacities));
  c.also(detail::check_workspace(workspace, host_expert_capacities_workspace_bytes<Rule>(executor, batch.tokens)));
  if (!c.result().ok()) return c.result();

  detail::workspace_carver carver(workspace.data);
  float* columns = Rule::by_mass ? carver.take<float>(detail::worker_count(executor) * batch.tokens) : nullptr;
  detail::for_ranges(executor, batch.experts, 1, [&](std::int64_t begin, std::int64_t end, int piece) {
    for (std::int64_t e = begin; e < end; ++e) {
      std::int64_t count = 0;
      std::int64_t capacity;
      if constexpr (Rule::by_mass) {
        float* column = columns + piece * batch.tokens;
        for (std::int64_t t = 0; t < batch.tokens; ++t)
          if (order_key(affinity.row(t)[e]) != never_chosen) column[count++] = affinity.row(t)[e];
        std::sort(column, column + count, std::greater<float>());
        capacity = detail::mass_capacity(rule, column, count);
      } else {
        for (std::int64_t t = 0; t < batch.tokens; ++t) count += order_key(affinity.row(t)[e]) != never_chosen ? 1 : 0;
        capacity = rule.capacity(batch, static_cast<std::int32_t>(e), count);
      }
      capacities[e] = capacity_cap >= 0 ? std::min(capacity, capacity_cap) : capacity;
    }
  });
  return {};
}

}  // namespace prune
RESONANCE_NAMESPACE_END

#endif
