// SPDX-License-Identifier: Apache-2.0
//! \file
//! Token-side pruning on the host: a token gives up the choices that weigh too little.
#ifndef RESONANCE_PRUNE_HOST_PRUNE_CHOICES_HPP
#define RESONANCE_PRUNE_HOST_PRUNE_CHOICES_HPP

#include <atomic>
#include <cstdint>

#include <resonance/core/executor.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/views.hpp>
#include <resonance/prune/choice_rules.hpp>
#include <resonance/prune/prune_choices.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace prune {

//! Drops the choices of every unprotected token whose share is below the rule's bound; a token's first stays.
//!
//! Equation   see the choice rule   MC, arXiv 2410.06270 (weight_ratio); AdapMoE, arXiv 2408.10284 (sensitivity)
//! Inputs     assignments: ids, weights (meant to be >= 0; regular or ragged, a token's leader first)
//!            protected_tokens uint8[T], nullable: no token; not 0 keeps all choices of that token
//! Outputs    see choice_outputs; the slots that stay keep their places
//! Contract   same bits at any worker count; a share without a positive whole is not below any bound, nor is NaN;
//!            renormalized, a lone survivor of positive weight weighs exactly 1
//! Errors     null_pointer (assignments.ids, assignments.weights, ids, weights), out_of_range (the rule's parameters),
//!            the assignments' shape
//! Resources  no workspace, no allocation
//! Cost       16 bytes per slot
//! Example    test/prune/host_prune_choices_test.cpp
template <class Executor, class Rule>
status host_prune_choices(const Executor& executor, const Rule& rule, const assignment_view& assignments,
                          const std::uint8_t* protected_tokens, const choice_options& o, const choice_outputs& out) {
  const assignment_view& a = assignments;
  const status shape = detail::check_assignments(a);
  const status checked = detail::check_prune_choices(shape, shape.ok() && a.slots() > 0, rule, a, out);
  if (!checked.ok()) return checked;

  const float bound = rule.bound();
  std::atomic<std::int64_t> pruned{0};
  detail::for_ranges(executor, a.tokens, 1024, [&](std::int64_t begin, std::int64_t end, int) {
    std::int64_t dropped = 0;
    for (std::int64_t t = begin; t < end; ++t) {
      const bool is_protected = protected_tokens != nullptr && protected_tokens[t] != 0;
      dropped += detail::prune_token_choices<Rule>(
          detail::bound_of_token(bound, is_protected), o, a.experts, a.begin(t), a.end(t),
          [&](std::int64_t slot) { return a.ids[slot]; }, [&](std::int64_t slot) { return a.weights[slot]; },
          [&](std::int64_t slot, std::int32_t id, float weight) {
            out.ids[slot] = id;
            out.weights[slot] = weight;
          });
    }
    pruned += dropped;
  });
  if (out.pruned != nullptr) *out.pruned = pruned;
  return {};
}

}  // namespace prune
RESONANCE_NAMESPACE_END

#endif
