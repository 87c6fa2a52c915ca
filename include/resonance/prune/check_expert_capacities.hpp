// SPDX-License-Identifier: Apache-2.0
//! \file
//! What both backends check before they compute the experts' capacities.
#ifndef RESONANCE_PRUNE_CHECK_EXPERT_CAPACITIES_HPP
#define RESONANCE_PRUNE_CHECK_EXPERT_CAPACITIES_HPP

#include <resonance/config.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>
#include <resonance/prune/capacity.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

//! `rule`: what the rule's own check said.
inline status check_expert_capacities(const status& rule, const matrix_view<const float>& affinity,
                                      const prune::batch_facts& batch, std::int64_t capacity_cap,
                                      const std::int64_t* capacities) {
  return checks{}
      .also(check_matrix(affinity, "affinity"))
      .matches(affinity.rows == batch.tokens && affinity.cols == batch.experts, "affinity")
      .in_range(capacity_cap >= -1, "capacity_cap")
      .also(rule)
      .present(capacities, true, "capacities")
      .result();
}

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
