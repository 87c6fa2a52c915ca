// SPDX-License-Identifier: Apache-2.0
//! \file
//! How both backends give up a token's weak choices, and what they check before.
#ifndef RESONANCE_PRUNE_PRUNE_CHOICES_HPP
#define RESONANCE_PRUNE_PRUNE_CHOICES_HPP

#include <resonance/config.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/policy.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>
#include <resonance/prune/choice_rules.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace prune {

struct choice_options {
  bool renormalize = false;  //!< divide each token's kept weights by their sum, where that is > 0
};

//! Where the pruning of choices writes.
struct choice_outputs {
  std::int32_t* ids = nullptr;     //!< [slots] expert id, -1 where dropped or unassigned; may alias the input's
  float* weights = nullptr;        //!< [slots] 0 where dropped or unassigned; may alias the input's
  std::int64_t* pruned = nullptr;  //!< [1] slots dropped; nullable
};

}  // namespace prune

namespace detail {

template <class Rule>
status check_prune_choices(const status& shape, bool any, const Rule& rule, const assignment_view& a,
                           const prune::choice_outputs& out) {
  static_assert(is_policy_of<Rule, stages::choice_rule>, "resonance: the second argument must be a choice rule");
  return checks{}
      .also(shape)
      .present(a.weights, any, "assignments.weights")
      .also(rule.check())
      .present(out.ids, any, "ids")
      .present(out.weights, any, "weights")
      .result();
}

//! The rule's bound, or one that no share is below for a protected token.
RESONANCE_HOST_DEVICE inline float bound_of_token(float bound, bool is_protected) {
  return is_protected ? math::negative_infinity() : bound;
}

//! Prunes the choices of one token by one thread; how many were dropped.
//!
//! Inputs     slots [begin, end); id_at(slot), weight_at(slot); bound: bound_of_token
//! Outputs    write(slot, id, weight) once per slot, after the last look at that slot: in place is fine
RESONANCE_NO_EXEC_CHECK
template <class Rule, class IdAt, class WeightAt, class Write>
RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE std::int64_t prune_token_choices(
    float bound, const prune::choice_options& o, std::int32_t experts, std::int64_t begin, std::int64_t end,
    const IdAt& id_at, const WeightAt& weight_at, const Write& write) {
  const auto assigned = [=](std::int32_t id) { return id >= 0 && id < experts; };
  std::int64_t leader = end;
  float whole = 0.0f;
  RESONANCE_NO_UNROLL
  for (std::int64_t slot = end - 1; slot >= begin; --slot)
    if (assigned(id_at(slot))) leader = slot;
  RESONANCE_NO_UNROLL
  for (std::int64_t slot = leader; slot < end; ++slot) {
    const bool counts = Rule::measured_by == prune::share_of::token || slot == leader;
    if (counts && assigned(id_at(slot))) whole += weight_at(slot);
  }
  const auto kept = [=](std::int64_t slot, std::int32_t id, float weight) {
    return assigned(id) && (slot == leader || !(prune::weight_share(weight, whole) < bound));
  };
  float kept_sum = 0.0f;
  RESONANCE_NO_UNROLL
  for (std::int64_t slot = leader; o.renormalize && slot < end; ++slot)
    if (kept(slot, id_at(slot), weight_at(slot))) kept_sum += weight_at(slot);
  const float divisor = kept_sum > 0.0f ? kept_sum : 1.0f;
  std::int64_t dropped = 0;
  RESONANCE_NO_UNROLL
  for (std::int64_t slot = begin; slot < end; ++slot) {
    const std::int32_t id = id_at(slot);
    const float weight = weight_at(slot);
    const bool keeps = kept(slot, id, weight);
    dropped += assigned(id) && !keeps ? 1 : 0;
    write(slot, keeps ? id : -1, keeps ? math::divide(weight, divisor) : 0.0f);
  }
  return dropped;
}

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
