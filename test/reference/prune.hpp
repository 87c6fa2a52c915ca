// SPDX-License-Identifier: Apache-2.0
// Section 6 of the contract: capacities, and which assignments fit into them.
#pragma once

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "reference/facts.hpp"
#include "reference/merge.hpp"
#include "reference/order.hpp"
#include "reference/table.hpp"

namespace reference {

enum class capacity_rule { unlimited, fixed, factor, lower_bound, affinity_mass, per_expert, heterogeneous_factor };
enum class drop_order { affinity, position, slot_major, batch_prioritized, slot_major_prioritized };

struct prune_options {
  capacity_rule rule = capacity_rule::unlimited;
  std::size_t fixed = 0;
  double capacity_factor = 1.1;         // factor; upper clamp of lower_bound
  double rho = 1;                       // affinity_mass
  std::vector<std::size_t> per_expert;  // per_expert: C_i
  std::size_t hidden = 0;               // lower_bound
  std::size_t floor = 1;                // lower_bound
  std::optional<double> delta_max;      // lower_bound: in place of the batch's largest delta
  double tau = 1;                       // heterogeneous_factor
  std::size_t full_experts = 0;         // heterogeneous_factor
  bool counts_k = false;                // heterogeneous_factor
  std::optional<std::size_t> cap;       // every rule
  bool shared = false;
  drop_order order = drop_order::affinity;
  double largest_finite = FLT_MAX;
};

struct prune_result {
  std::vector<bool> kept;  // by assignment
  std::vector<std::size_t> capacities;
  std::vector<std::size_t> kept_per_expert;
  std::vector<std::size_t> dropped_per_expert;
  std::vector<double> kept_mass;   // sum of max(delta, 0) over the kept
  std::vector<double> total_mass;  // the same over all members
};

//! max(delta, 0), with NaN as 0 and +inf as the largest finite value.
inline double mass_of(double affinity, double largest_finite = FLT_MAX) {
  return std::max(ranked_value(affinity, largest_finite), 0.0);
}

//! ceil(cf*T*K/E), in double from left to right.
inline std::size_t factor_capacity(double factor, std::size_t tokens, std::size_t k, std::size_t experts) {
  return static_cast<std::size_t>(
      std::ceil(factor * static_cast<double>(tokens) * static_cast<double>(k) / static_cast<double>(experts)));
}

//! gamma * eta * T / (tau * N_full + N_other) before it is rounded up, eta = tau for a full expert and 1 for another;
//! times K with counts_k (MoE++).
inline double heterogeneous_capacity(const prune_options& options, std::size_t tokens, std::size_t k,
                                     std::size_t experts, std::size_t expert) {
  const double others = static_cast<double>(experts - options.full_experts);
  const double weighted = std::fma(options.tau, static_cast<double>(options.full_experts), others);
  const double eta = expert < options.full_experts ? options.tau : 1.0;
  const double all = options.capacity_factor * eta * static_cast<double>(tokens);
  return (options.counts_k ? all * static_cast<double>(k) : all) / weighted;
}

//! clamp(ceil(C_min), floor, min(T, ceil(cf*T*K/E))); the upper bound wins over the floor.
inline std::size_t lower_bound_capacity(double delta_max, std::size_t tokens, std::size_t k, std::size_t experts,
                                        const prune_options& options) {
  const std::size_t upper = std::min(tokens, factor_capacity(options.capacity_factor, tokens, k, experts));
  const double bound = std::ceil(capacity_lower_bound(delta_max, options.hidden, experts));
  if (bound >= static_cast<double>(upper)) return upper;
  return std::min(std::max(static_cast<std::size_t>(bound), options.floor), upper);
}

//! Least count of the best members whose integer mass reaches rho of the total; all of them where the mass is 0.
//! `descending` holds max(delta, 0) from the largest down.
inline std::size_t mass_capacity(const std::vector<double>& descending, double rho) {
  if (descending.empty() || descending.front() == 0) return descending.size();
  int exponent = 0;
  if (std::frexp(descending.front(), &exponent) == 0.5) --exponent;  // an exact power of two is its own bound
  std::vector<std::int64_t> units;
  std::int64_t total = 0;
  for (double mass : descending) {
    units.push_back(std::llrint(std::ldexp(mass, 30 - exponent)));  // rounds half to even
    total += units.back();
  }
  const auto threshold = static_cast<std::int64_t>(std::ceil(rho * static_cast<double>(total)));
  std::int64_t sum = 0;
  for (std::size_t count = 0; count < units.size(); ++count) {
    if (sum >= threshold) return count;
    sum += units[count];
  }
  return units.size();
}

//! Assignments [T,K'] are pruned to the capacities of their experts; T, K and E enter the capacity rules.
inline prune_result prune(const std::vector<assignment>& assignments, std::size_t tokens, std::size_t k,
                          std::size_t experts, const prune_options& options) {
  const double largest = options.largest_finite;
  double delta_max = 0;
  std::vector<double> best_of_token(tokens, absent);
  for (const assignment& a : assignments) {
    double& best = best_of_token[static_cast<std::size_t>(a.token)];
    best = std::max(best, ranked_value(a.affinity, largest));
    delta_max = std::max(delta_max, best);
  }
  delta_max = options.delta_max.value_or(delta_max);

  const drop_order order = options.rule == capacity_rule::affinity_mass ? drop_order::affinity : options.order;
  const auto stays_longer = [&](std::size_t a, std::size_t b) {
    const assignment& first = assignments[a];
    const assignment& second = assignments[b];
    if (order == drop_order::affinity) return better_for_expert(first, second, largest);
    const bool prioritized = order == drop_order::slot_major_prioritized;
    if ((order == drop_order::slot_major || prioritized) && first.slot != second.slot) return first.slot < second.slot;
    if (order == drop_order::batch_prioritized || prioritized) {
      const double best_first = best_of_token[static_cast<std::size_t>(first.token)];
      const double best_second = best_of_token[static_cast<std::size_t>(second.token)];
      if (best_first != best_second) return best_first > best_second;
    }
    if (first.token != second.token) return first.token < second.token;
    return first.slot < second.slot;
  };

  std::vector<std::vector<std::size_t>> members = members_by_expert(assignments, experts);
  prune_result result;
  for (std::size_t e = 0; e < experts; ++e) {
    std::vector<double> masses;
    for (std::size_t i : members[e]) masses.push_back(mass_of(assignments[i].affinity, largest));
    std::sort(masses.begin(), masses.end(), [](double a, double b) { return a > b; });

    std::size_t capacity = 0;
    switch (options.rule) {
      case capacity_rule::unlimited: capacity = members[e].size(); break;
      case capacity_rule::fixed: capacity = options.fixed; break;
      case capacity_rule::factor: capacity = factor_capacity(options.capacity_factor, tokens, k, experts); break;
      case capacity_rule::lower_bound: capacity = lower_bound_capacity(delta_max, tokens, k, experts, options); break;
      case capacity_rule::affinity_mass: capacity = mass_capacity(masses, options.rho); break;
      case capacity_rule::per_expert: capacity = options.per_expert[e]; break;
      case capacity_rule::heterogeneous_factor:
        capacity = static_cast<std::size_t>(std::ceil(heterogeneous_capacity(options, tokens, k, experts, e)));
        break;
    }
    result.capacities.push_back(options.cap ? std::min(capacity, *options.cap) : capacity);
  }
  if (options.shared && experts > 0)
    result.capacities.assign(experts, *std::max_element(result.capacities.begin(), result.capacities.end()));

  result.kept.assign(assignments.size(), false);
  for (std::size_t e = 0; e < experts; ++e) {
    std::sort(members[e].begin(), members[e].end(), stays_longer);
    const std::size_t kept = std::min(members[e].size(), result.capacities[e]);
    double kept_mass = 0;
    double total_mass = 0;
    for (std::size_t rank = 0; rank < members[e].size(); ++rank) {
      const double mass = mass_of(assignments[members[e][rank]].affinity, largest);
      total_mass += mass;
      if (rank >= kept) continue;
      result.kept[members[e][rank]] = true;
      kept_mass += mass;
    }
    result.kept_per_expert.push_back(kept);
    result.dropped_per_expert.push_back(members[e].size() - kept);
    result.kept_mass.push_back(kept_mass);
    result.total_mass.push_back(total_mass);
  }
  return result;
}

//! The kept assignments as tables [T,slots]: id -1 and weight 0 elsewhere. With `renormalize` a token's kept weights
//! are divided by their sum where that is > 0.
struct kept_choices {
  id_table ids;
  matrix weights;

  kept_choices(const std::vector<assignment>& assignments, const std::vector<bool>& kept, std::size_t tokens,
               std::size_t slots, bool renormalize = false)
      : ids(tokens, slots, -1), weights(tokens, slots) {
    std::vector<double> sums(tokens, 0.0);
    for (std::size_t i = 0; i < assignments.size(); ++i)
      if (kept[i]) sums[static_cast<std::size_t>(assignments[i].token)] += assignments[i].weight;
    for (std::size_t i = 0; i < assignments.size(); ++i) {
      if (!kept[i]) continue;
      const auto t = static_cast<std::size_t>(assignments[i].token);
      const auto slot = static_cast<std::size_t>(assignments[i].slot);
      ids(t, slot) = assignments[i].expert;
      weights(t, slot) = renormalize && sums[t] > 0 ? assignments[i].weight / sums[t] : assignments[i].weight;
    }
  }
};

}  // namespace reference
