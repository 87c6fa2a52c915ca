// SPDX-License-Identifier: Apache-2.0
//! \file
//! Capacity pruning on the host: every expert keeps its first C_i assignments under the drop order.
#ifndef RESONANCE_PRUNE_HOST_PRUNE_HPP
#define RESONANCE_PRUNE_HOST_PRUNE_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>

#include <resonance/core/executor.hpp>
#include <resonance/core/host_best_first.hpp>
#include <resonance/core/host_group.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/order_key.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/views.hpp>
#include <resonance/core/workspace.hpp>
#include <resonance/prune/capacity.hpp>
#include <resonance/prune/check.hpp>
#include <resonance/prune/drop_order.hpp>
#include <resonance/prune/options.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

struct prune_scratch {
  members_by_expert members;
  float* by_rank = nullptr;            // [slots] affinity of each expert's members, best first
  float* token_best = nullptr;         // [T]
  std::int64_t* capacities = nullptr;  // [E]
  std::int64_t* kept_ranks = nullptr;  // [E] min(|A_i|, C_i)
  float* piece_best = nullptr;         // [workers]

  void carve(workspace_carver& carver, int workers, std::int32_t experts, std::int64_t tokens, std::int64_t slots) {
    members.carve(carver, workers, experts, slots);
    by_rank = carver.take<float>(slots);
    token_best = carver.take<float>(tokens);
    capacities = carver.take<std::int64_t>(experts);
    kept_ranks = carver.take<std::int64_t>(experts);
    piece_best = carver.take<float>(workers);
  }
};

//! Every token's largest affinity over its assigned slots, and the largest of all; -inf where there is none.
template <class Executor>
float best_affinities(const Executor& executor, const assignment_view& a, const prune_scratch& scratch) {
  constexpr std::int64_t token_grain = 1024;
  if (a.tokens == 0) return math::negative_infinity();
  const int pieces = piece_count(executor, a.tokens, token_grain);
  float* piece_best = scratch.piece_best;
  for_pieces(executor, a.tokens, token_grain, [&](std::int64_t begin, std::int64_t end, int piece) {
    float best = math::negative_infinity();
    for (std::int64_t t = begin; t < end; ++t) {
      float own = math::negative_infinity();
      for (std::int64_t slot = a.begin(t); slot < a.end(t); ++slot)
        if (a.assigned(slot) && a.affinity[slot] > own) own = a.affinity[slot];
      scratch.token_best[t] = own;
      best = own > best ? own : best;
    }
    piece_best[piece] = best;
  });
  return choosable_score(*std::max_element(piece_best, piece_best + pieces), row_traits<float>::largest);
}

//! The least count of best members whose mass reaches the rule's threshold; `count` where there is no mass.
inline std::int64_t mass_capacity(const prune::affinity_mass& rule, const float* best_first, std::int64_t count) {
  if (count == 0) return 0;
  const double scale = prune::mass_scale(best_first[0]);
  std::int64_t total = 0;
  for (std::int64_t k = 0; k < count; ++k) total += prune::mass_units(best_first[k], scale);
  if (total == 0) return count;
  const std::int64_t threshold = rule.threshold(total);
  std::int64_t mass = 0;
  std::int64_t kept = 0;
  while (kept < count && mass < threshold) mass += prune::mass_units(best_first[kept++], scale);
  return kept;
}

//! The masses of one expert. Terms are added in groups of 32 neighbours of the expert's list, a group as a tree of
//! neighbours and the groups from left to right, which is how the threads of a warp add them.
class mass_sums {
 public:
  void add(double mass, bool kept) {
    assigned_[count_] = mass;
    kept_[count_++] = kept ? mass : 0.0;
    if (count_ == width) close_group();
  }
  double assigned() {
    close_group();
    return assigned_sum_;
  }
  double kept() {
    close_group();
    return kept_sum_;
  }

 private:
  static constexpr int width = 32;

  void close_group() {
    for (; count_ % width != 0; ++count_) assigned_[count_] = kept_[count_] = 0.0;
    if (count_ == 0) return;
    assigned_sum_ += sum(assigned_);
    kept_sum_ += sum(kept_);
    count_ = 0;
  }
  static double sum(double* terms) {
    for (int left = width / 2; left > 0; left /= 2)
      for (int i = 0; i < left; ++i) terms[i] = terms[2 * i] + terms[2 * i + 1];
    return terms[0];
  }

  double assigned_[width];
  double kept_[width];
  double assigned_sum_ = 0.0;
  double kept_sum_ = 0.0;
  int count_ = 0;
};

}  // namespace detail

namespace prune {

//! Bytes of workspace that host_prune needs: 20 per slot, 4 T, 32 E and 8 (E + 1) per worker.
template <class Executor>
std::size_t host_prune_workspace_bytes(const Executor& executor, const assignment_view& assignments) {
  if (!detail::check_assignments(assignments).ok()) return 0;
  detail::workspace_carver counter;
  detail::prune_scratch scratch;
  scratch.carve(counter, detail::worker_count(executor), assignments.experts, assignments.tokens, assignments.slots());
  return counter.bytes();
}

//! Keeps an assignment iff its rank under the drop order is below its expert's capacity.
//!
//! Equation   see the capacity rule and the drop order   ETR Eq. 6, Remark 7
//! Inputs     assignments: ids; affinity (rules and orders that read it, and the mass outputs); rank_in_expert (order
//!            `affinity_order`, and affinity_mass); weights (where outputs.weights is given)
//! Outputs    see outputs
//! Contract   deterministic at any worker count; affinity_mass cuts in affinity order whatever `order` is; a slot whose
//!            rank_in_expert is not in [0, |A_i|) is dropped
//! Errors     null_pointer (ids, weights, assignments.affinity, assignments.rank_in_expert, capacities), out_of_range
//!            (the rule's parameters, hidden, capacity_cap), index_overflow, workspace_too_small
//! Resources  host_prune_workspace_bytes; no allocation
//! Cost       O(slots), and for orders but affinity_order and position O(|A_i| log |A_i|) where keys crowd;
//!            slot_major_prioritized reads an expert's list once per place
//! Example    test/prune/host_prune_test.cpp
template <class Executor, class Rule, class Order>
status host_prune(const Executor& executor, const Rule& rule, const Order&, const assignment_view& assignments,
                  const options& o, const outputs& out, workspace_view workspace) {
  static_assert(detail::is_policy_of<Rule, stages::capacity>, "resonance: the second argument must be a capacity rule");
  static_assert(detail::is_policy_of<Order, stages::drop_order>, "resonance: the third argument must be a drop order");
  constexpr bool by_merge_rank = detail::cuts_by_merge_rank<Rule, Order>;
  constexpr bool by_key = detail::cuts_by_key<Rule, Order>;
  const assignment_view& a = assignments;
  detail::checks c;
  c.also(detail::check_prune<Order>(rule, a, o, out));
  if (!c.result().ok()) return c.result();
  c.also(detail::check_workspace(workspace, host_prune_workspace_bytes(executor, a)));
  if (!c.result().ok()) return c.result();
  batch_facts batch = detail::facts_of(a, o);

  detail::workspace_carver carver(workspace.data);
  detail::prune_scratch scratch;
  scratch.carve(carver, detail::worker_count(executor), a.experts, a.tokens, a.slots());
  if (detail::wants_best<Rule, Order>(out)) {
    const float best = detail::best_affinities(executor, a, scratch);
    if (Rule::needs_delta_max) batch.delta_max = o.delta_max != nullptr ? *o.delta_max : best;
    if (out.delta_max != nullptr) *out.delta_max = best;
  }
  const detail::members_by_expert& members = scratch.members;
  members.gather(executor, a, [&](std::int64_t slot) -> std::uint32_t {
    if constexpr (!by_key) return 0u;
    const std::int64_t token = a.token(slot);
    return Order::key(slot - a.begin(token), Order::needs_token_best ? scratch.token_best[token] : 0.0f);
  });

  const std::int64_t expert_grain =
      detail::grain_of_groups(a.experts, a.slots(), detail::members_by_expert::least_members);
  std::int64_t* capacities = out.capacities != nullptr ? out.capacities : scratch.capacities;
  detail::for_ranges(executor, a.experts, expert_grain, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t e = begin; e < end; ++e) {
      const std::int64_t first = members.offsets[e];
      const std::int64_t count = members.counts[e];
      std::int64_t capacity;
      if constexpr (Rule::by_mass) {
        for (std::int64_t i = first; i < first + count; ++i) scratch.by_rank[i] = math::negative_infinity();
        for (std::int64_t i = first; i < first + count; ++i) {
          const std::int64_t rank = a.rank_in_expert[members.slots[i]];
          if (rank >= 0 && rank < count) scratch.by_rank[first + rank] = a.affinity[members.slots[i]];
        }
        capacity = detail::mass_capacity(rule, scratch.by_rank + first, count);
      } else {
        capacity = rule.capacity(batch, static_cast<std::int32_t>(e), count);
      }
      capacities[e] = o.capacity_cap >= 0 ? std::min(capacity, o.capacity_cap) : capacity;
    }
  });
  if (o.shared) std::fill_n(capacities, a.experts, *std::max_element(capacities, capacities + a.experts));

  std::int64_t* kept_ranks = scratch.kept_ranks;
  for (std::int32_t e = 0; e < a.experts; ++e) kept_ranks[e] = std::min(members.counts[e], capacities[e]);
  const auto decide = [&](std::int64_t slot, std::int32_t expert, std::int64_t rank) {
    // Masks, not branches: which slots are dropped looks random.
    const std::uint32_t kept = rank >= 0 && rank < kept_ranks[expert] ? ~std::uint32_t{0} : 0;
    out.ids[slot] = static_cast<std::int32_t>(static_cast<std::uint32_t>(expert) | ~kept);
    if (out.weights != nullptr) out.weights[slot] = detail::bits_float(detail::float_bits(a.weights[slot]) & kept);
  };
  detail::for_ranges(executor, a.slots(), 4096, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t slot = begin; slot < end; ++slot) {
      if (!a.assigned(slot)) {
        out.ids[slot] = -1;
        if (out.weights != nullptr) out.weights[slot] = 0.0f;
      } else if (by_merge_rank) {
        decide(slot, a.ids[slot], a.rank_in_expert[slot]);
      }
    }
  });
  const bool counts = out.kept != nullptr || out.dropped != nullptr;
  const std::int64_t visited = by_merge_rank && !counts && !detail::wants_mass(out) ? 0 : a.experts;
  detail::for_ranges(executor, visited, expert_grain, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t e = begin; e < end; ++e) {
      const std::int64_t* slots = members.slots + members.offsets[e];
      const std::int64_t count = members.counts[e];
      std::uint64_t* keys = members.keys + members.offsets[e];
      if (by_key) detail::sort_best_first(keys, count, count);
      if constexpr (!by_merge_rank && Order::ranks == ranked_by::place_then_key) {
        // A round per place that there is.
        std::int64_t rank = 0;
        std::int64_t next = 0;
        while (rank < count) {
          const std::int64_t place = next;
          next = a.slots();
          for (std::int64_t i = 0; i < count; ++i) {
            const std::int64_t slot = slots[packed_index(keys[i])];
            const std::int64_t own = slot - a.begin(a.token(slot));
            if (own == place) decide(slot, static_cast<std::int32_t>(e), rank++);
            if (own > place) next = std::min(next, own);
          }
        }
      } else if constexpr (!by_merge_rank) {
        for (std::int64_t i = 0; i < count; ++i) decide(slots[packed_index(keys[i])], static_cast<std::int32_t>(e), i);
      }
      if (counts) {
        std::int64_t kept = 0;
        for (std::int64_t i = 0; i < count; ++i) kept += out.ids[slots[i]] >= 0 ? 1 : 0;
        if (out.kept != nullptr) out.kept[e] = kept;
        if (out.dropped != nullptr) out.dropped[e] = count - kept;
      }
      if (!detail::wants_mass(out)) continue;
      detail::mass_sums mass;
      for (std::int64_t i = 0; i < count; ++i)
        mass.add(static_cast<double>(positive_part(a.affinity[slots[i]])), out.ids[slots[i]] >= 0);
      if (out.assigned_mass != nullptr) out.assigned_mass[e] = mass.assigned();
      if (out.kept_mass != nullptr) out.kept_mass[e] = mass.kept();
    }
  });
  if (o.renormalize) {
    detail::for_ranges(executor, a.tokens, 1024, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t t = begin; t < end; ++t) {
        float sum = 0.0f;
        for (std::int64_t slot = a.begin(t); slot < a.end(t); ++slot) sum += out.weights[slot];
        if (!(sum > 0.0f)) continue;
        for (std::int64_t slot = a.begin(t); slot < a.end(t); ++slot)
          out.weights[slot] = math::divide(out.weights[slot], sum);
      }
    });
  }
  return {};
}

}  // namespace prune
RESONANCE_NAMESPACE_END

#endif
