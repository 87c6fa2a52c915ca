// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "resonance_route/run.hpp"

namespace route_cli {
namespace {

namespace prune = resonance::prune;

// The kept slots alone: what assignments.npy lists and the plan of a ragged merge numbers.
assignments kept_only(const routing& r, const resonance::assignment_view& merged) {
  assignments out;
  out.token_offsets.push_back(0);
  for (std::int64_t t = 0; t < r.tokens; ++t) {
    for (std::int64_t slot = merged.begin(t); slot < merged.end(t); ++slot) {
      const auto at = static_cast<std::size_t>(slot);
      if (r.kept_ids[at] < 0) continue;
      out.ids.push_back(r.kept_ids[at]);
      out.weights.push_back(r.kept_weights[at]);
      out.affinity.push_back(merged.affinity[slot]);
      out.rank_in_expert.push_back(merged.rank_in_expert[slot]);
      out.token_of_slot.push_back(static_cast<std::int32_t>(t));
    }
    out.token_offsets.push_back(static_cast<std::int64_t>(out.ids.size()));
  }
  return out;
}

}  // namespace

capacity_rule effective_capacity(const options& o, const routing& r) {
  capacity_rule rule = o.capacity;
  auto* bound = std::get_if<prune::lower_bound>(&rule);
  if (bound != nullptr && !bound->delta_given) {
    bound->delta_given = true;
    // From sqrt(2) on the bound is infinite, so cutting a huge dot product down changes nothing.
    bound->delta = std::clamp(static_cast<double>(r.delta_max), 0.0, 2.0);
  }
  return rule;
}

void prune_to_capacity(const resonance::thread_pool& pool, const options& o, routing& r) {
  const resonance::assignment_view merged = r.merged.view(r.tokens, r.experts);
  resize(r.kept_ids, merged.slots());
  resize(r.kept_weights, merged.slots());
  prune::outputs out;
  out.ids = r.kept_ids.data();
  out.weights = r.kept_weights.data();
  const auto per_expert = [&](auto& values) {
    resize(values, r.experts);
    return values.data();
  };
  out.capacities = per_expert(r.capacities);
  out.kept = per_expert(r.kept);
  out.dropped = per_expert(r.dropped);
  out.assigned_mass = per_expert(r.assigned_mass);
  out.kept_mass = per_expert(r.kept_mass);
  scratch workspace(prune::host_prune_workspace_bytes(pool, merged));
  std::visit(
      [&](const auto& rule, const auto& order) {
        require(prune::host_prune(pool, rule, order, merged, o.prune, out, workspace.view()));
      },
      effective_capacity(o, r), o.drop);
  if (r.ragged) r.compact = kept_only(r, merged);
}

}  // namespace route_cli
