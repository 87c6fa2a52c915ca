// SPDX-License-Identifier: Apache-2.0
//! \file
//! Capacity pruning of one expert by a warp or a block: what it may keep, then the cut; and what tokens add to it.
#ifndef RESONANCE_PRUNE_BLOCK_PRUNE_CUH
#define RESONANCE_PRUNE_BLOCK_PRUNE_CUH

#include <resonance/config.hpp>
#include <resonance/core/block_rank.cuh>
#include <resonance/core/collectives.cuh>
#include <resonance/core/expert_members.cuh>
#include <resonance/core/math.hpp>
#include <resonance/core/order_key.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/core/views.hpp>
#include <resonance/prune/capacity.hpp>
#include <resonance/prune/check.hpp>
#include <resonance/prune/drop_order.hpp>
#include <resonance/prune/options.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace prune {

//! Memory in which a team prunes an expert.
struct expert_scratch {
  std::uint64_t* shared = nullptr;      //!< [shared_words] in shared memory, the team's own
  int shared_words = 0;                 //!< >= rank_scratch::least_words
  std::uint32_t* rank_spill = nullptr;  //!< [count] in global memory: affinity_mass above two members a word
  std::uint64_t* key_spill = nullptr;   //!< [2 * count] in global memory: drop orders by key above one member a word
};

//! The better of two bests is the larger: by affinity, equal ones by token, the first. 0: none. The lowest bit is the
//! sign, which the key of a zero does not tell.
RESONANCE_DEVICE std::uint64_t packed_best(float affinity, std::uint32_t token) {
  const std::uint32_t key = order_key(affinity);
  const std::uint32_t sign = resonance::detail::float_bits(affinity) >> 31;
  return key != never_chosen ? (std::uint64_t{key} << 32) | ((0x7fffffffu - token) << 1) | sign : 0;
}

//! The affinity in a packed_best, +inf as the largest finite value; -inf where there is none.
RESONANCE_DEVICE float best_affinity(std::uint64_t packed) {
  if (packed == 0) return math::negative_infinity();
  const std::uint32_t key = packed_key(packed);
  const std::uint32_t magnitude = key >= 0x80000000u ? key - 0x80000000u : 0x80000000u - key;
  return resonance::detail::bits_float((static_cast<std::uint32_t>(packed) << 31) | magnitude);
}

//! Every token's largest affinity over its assigned slots, and the best of all.
//!
//! Threads    all of `team`; tokens [begin, end) of a tile
//! Inputs     assignments: ids, affinity
//! Outputs    token_best float[T], -inf where there is none; the tile's best as a packed_best, in every thread
//! Cost       8 bytes per slot
//! Example    test/simt/prune/block_prune_test.cpp
template <class Team>
RESONANCE_DEVICE std::uint64_t best_affinities(const Team& team, const assignment_view& a, std::uint32_t begin,
                                               std::uint32_t end, float* token_best) {
  std::uint64_t best = 0;
  for (std::uint32_t token = begin + static_cast<std::uint32_t>(team.rank()); token < end;
       token += static_cast<std::uint32_t>(team.size())) {
    float own = math::negative_infinity();
    const std::int64_t last = detail::first_slot(a, std::int64_t{token} + 1);
    for (std::int64_t slot = detail::first_slot(a, token); slot < last; ++slot) {
      const float affinity = a.is_expert(load(a.ids + slot)) ? load(a.affinity + slot) : own;
      own = affinity > own ? affinity : own;
    }
    store(token_best + token, own);
    const std::uint64_t packed = packed_best(own, token);
    best = packed > best ? packed : best;
  }
  return team.max(best);
}

//! The largest affinity of all: of the tiles' best ones, [tiles] in global memory.
template <class Team>
RESONANCE_DEVICE float largest_affinity(const Team& team, const std::uint64_t* tile_best, std::int64_t tiles) {
  std::uint64_t best = 0;
  RESONANCE_NO_UNROLL
  for (std::int64_t tile = team.rank(); tile < tiles; tile += team.size()) {
    const std::uint64_t other = load(tile_best + tile);
    best = other > best ? other : best;
  }
  return best_affinity(team.max(best));
}

//! The least count of best members whose mass reaches the rule's threshold; all of them where there is no mass.
//!
//! Threads    all of `team`
//! Inputs     members; affinity float[slots]; rank_in_expert int32[slots]: of members that claim one rank the last is
//!            taken, a rank that nobody claims has no mass
//! Contract   integer sums: the host's result, whatever the team's size
//! Cost       12 bytes per member
//! Example    test/simt/prune/block_prune_test.cpp
template <class Team>
RESONANCE_DEVICE std::int64_t mass_capacity(const Team& team, const affinity_mass& rule,
                                            const detail::expert_members& members, const float* affinity,
                                            const std::int32_t* rank_in_expert, const expert_scratch& scratch) {
  const std::uint32_t count = members.count;
  if (count == 0) return 0;
  const bool in_shared = count <= 2 * static_cast<std::uint32_t>(scratch.shared_words);
  unsigned* by_rank = in_shared ? reinterpret_cast<unsigned*>(scratch.shared) : scratch.rank_spill;
  const auto get = [&](std::uint32_t i) { return in_shared ? by_rank[i] : load(by_rank + i); };
  const auto set = [&](std::uint32_t i, unsigned value) {
    if (in_shared) {
      by_rank[i] = value;
    } else {
      store(by_rank + i, value);
    }
  };
  detail::for_each_of(team, count, [&](std::uint32_t rank) { set(rank, 0); });
  team.sync();
  detail::for_each_of(team, count, [&](std::uint32_t i) {
    const auto rank = static_cast<std::uint32_t>(load(rank_in_expert + members.slot(i)));
    if (rank < count && rank <= detail::max_int32) atomic_max(by_rank + rank, i + 1);
  });
  team.sync();
  const auto affinity_at = [&](std::uint32_t rank) {
    const unsigned place = get(rank);
    return place != 0 ? load(affinity + members.slot(place - 1)) : math::negative_infinity();
  };
  const double scale = mass_scale(affinity_at(0));
  team.sync();
  std::int64_t own = 0;
  detail::for_each_of(team, count, [&](std::uint32_t rank) {
    const std::int64_t units = mass_units(affinity_at(rank), scale);
    set(rank, static_cast<unsigned>(units));
    own += units;
  });
  const std::int64_t total = team.sum(own);
  if (total == 0) return count;
  const std::int64_t threshold = rule.threshold(total);
  const auto step = static_cast<std::uint32_t>(team.size());
  std::int64_t mass = 0;
  std::uint32_t kept = 0;
  for (std::uint32_t first = 0; mass < threshold; first += step) {
    const std::uint32_t rank = first + static_cast<std::uint32_t>(team.rank());
    const std::int64_t units = rank < count && rank >= first ? get(rank) : 0;
    std::int64_t all = 0;
    const std::int64_t before = mass + team.exclusive_sum(units, all);
    mass += all;
    if (before < threshold && before + units >= threshold) kept = rank + 1;
    if (count - first <= step) break;
  }
  kept = team.max(kept);
  return kept != 0 ? kept : count;
}

//! C_i of one expert.
//!
//! Threads    all of `team`; the result is in every thread
//! Inputs     batch: the facts, with the tokens that there are and their delta_max
//!            assignments: affinity and rank_in_expert, for affinity_mass only
//! Contract   the host's result; scratch.shared may be used anew on return
//! Example    test/simt/prune/block_prune_test.cpp
template <class Team, class Rule>
RESONANCE_DEVICE std::int64_t expert_capacity(const Team& team, const Rule& rule, const batch_facts& batch,
                                              std::int64_t capacity_cap, std::int32_t expert,
                                              const detail::expert_members& members, const assignment_view& a,
                                              const expert_scratch& scratch) {
  std::int64_t capacity;
  if constexpr (Rule::by_mass) {
    capacity = mass_capacity(team, rule, members, a.affinity, a.rank_in_expert, scratch);
  } else {
    // By one thread: rules reckon in double, which some cards do slowly.
    auto* shared = reinterpret_cast<std::int64_t*>(scratch.shared);
    if (team.rank() == 0) *shared = rule.capacity(batch, expert, members.count);
    team.sync();
    capacity = *shared;
    team.sync();
  }
  return capacity_cap >= 0 && capacity_cap < capacity ? capacity_cap : capacity;
}

//! The sums of one expert's masses, in the order of the host: groups of 32 members, a group as a tree of neighbours.
//! `kept_at(slot)` after the cut; a barrier of the team before the call.
template <class Team, class KeptAt>
RESONANCE_DEVICE void sum_masses(const Team& team, const detail::expert_members& members, const float* affinity,
                                 std::uint64_t* shared, double& assigned_mass, double& kept_mass,
                                 const KeptAt& kept_at) {
  auto* of_warp = reinterpret_cast<double*>(shared);
  const int warps = team.size() / warp_size;
  const int warp = team.rank() / warp_size;
  assigned_mass = 0.0;
  kept_mass = 0.0;
  const auto step = static_cast<std::uint32_t>(team.size());
  for (std::uint32_t first = 0; first < members.count; first += step) {
    const std::uint32_t i = first + static_cast<std::uint32_t>(team.rank());
    double mass = 0.0;
    double kept = 0.0;
    if (i < members.count && i >= first) {
      const std::uint32_t slot = members.slot(i);
      mass = static_cast<double>(positive_part(load(affinity + slot)));
      kept = kept_at(slot) ? mass : 0.0;
    }
    mass = warp_team::sum(mass);
    kept = warp_team::sum(kept);
    if (lane_id() == 0) {
      of_warp[2 * warp] = mass;
      of_warp[2 * warp + 1] = kept;
    }
    team.sync();
    for (int other = 0; other < warps; ++other) {
      assigned_mass += of_warp[2 * other];
      kept_mass += of_warp[2 * other + 1];
    }
    team.sync();
    if (members.count - first <= step) break;
  }
}

//! Keeps the first `capacity` members of one expert under the drop order and drops the rest.
//!
//! Threads    all of `team`
//! Inputs     assignments: weights where out.weights is given; affinity for masses; rank_in_expert where the order is
//!            the merge's; token_best float[T] for batch_prioritized
//! Outputs    ids and weights of the members (may alias the assignments'), out.kept, dropped and the masses of
//!            `expert`;
//!            not out.capacities, not out.delta_max
//! Contract   the host's result to the bit, masses included; a rank outside [0, |A_i|) is dropped
//! Cost       24 bytes per member; a drop order by key also ranks them (team_rank_list); linear
//! Example    test/simt/prune/block_prune_test.cpp
template <class Rule, class Order, class Team>
RESONANCE_DEVICE void cut_members(const Team& team, std::int32_t expert, std::int64_t capacity,
                                  const detail::expert_members& members, const assignment_view& a,
                                  const float* token_best, const outputs& out, const expert_scratch& scratch) {
  constexpr bool by_merge_rank = detail::cuts_by_merge_rank<Rule, Order>;
  std::uint32_t limit = members.count;
  if (capacity < members.count) limit = capacity > 0 ? static_cast<std::uint32_t>(capacity) : 0;
  std::uint32_t kept = 0;
  const auto decide = [&](std::uint32_t slot, bool keep) {
    kept += keep ? 1 : 0;
    if (out.weights != nullptr) store(out.weights + slot, keep ? load(a.weights + slot) : 0.0f);
    store(out.ids + slot, keep ? expert : -1);
  };
  if (detail::cuts_by_key<Rule, Order> && limit != 0 && limit != members.count) {
    const rank_scratch ranking{scratch.shared, scratch.shared_words, scratch.key_spill};
    const auto place_of = [&](std::uint32_t slot, std::uint32_t token) {
      return static_cast<std::uint32_t>(slot - detail::first_slot(a, token));
    };
    const auto key_at = [&](std::uint32_t slot, std::uint32_t token) {
      return Order::key(place_of(slot, token), Order::needs_token_best ? load(token_best + token) : 0.0f);
    };
    if constexpr (Order::ranks == ranked_by::place_then_key) {
      // A round per place that there is.
      std::uint32_t before = 0;
      std::uint32_t place = 0;
      RESONANCE_NO_UNROLL
      while (before < members.count) {
        std::uint32_t here = 0;
        std::uint32_t next = ~std::uint32_t{0};
        team_rank_list(
            team, members.count,
            [&](std::uint32_t i) {
              const std::uint32_t slot = members.slot(i);
              const std::uint32_t token = detail::token_of(a, slot);
              if (place_of(slot, token) != place) return std::uint32_t{0};  // behind all of this place
              const std::uint32_t key = key_at(slot, token);
              return key != 0 ? key : 1;
            },
            ranking,
            [&](std::uint32_t i, std::uint32_t rank) {
              const std::uint32_t slot = members.slot(i);
              const std::uint32_t own = place_of(slot, detail::token_of(a, slot));
              here += own == place ? 1 : 0;
              if (own == place) decide(slot, before + rank < limit);
              if (own > place && own < next) next = own;
            });
        before += team.sum(here);
        place = ~team.max(~next);
      }
    } else {
      team_rank_list(
          team, members.count,
          [&](std::uint32_t i) {
            const std::uint32_t slot = members.slot(i);
            return key_at(slot, detail::token_of(a, slot));
          },
          ranking, [&](std::uint32_t i, std::uint32_t rank) { decide(members.slot(i), rank < limit); });
    }
  } else {
    detail::for_each_of(team, members.count, [&](std::uint32_t i) {
      const std::uint32_t slot = members.slot(i);
      const std::int64_t rank = by_merge_rank ? std::int64_t{load(a.rank_in_expert + slot)} : std::int64_t{i};
      decide(slot, rank >= 0 && rank < limit);
    });
  }
  if (out.kept != nullptr || out.dropped != nullptr) {
    kept = team.sum(kept);
    if (team.rank() == 0 && out.kept != nullptr) store(out.kept + expert, std::int64_t{kept});
    if (team.rank() == 0 && out.dropped != nullptr) store(out.dropped + expert, std::int64_t{members.count - kept});
  }
  if (out.assigned_mass == nullptr && out.kept_mass == nullptr) return;
  team.sync();
  double assigned_mass;
  double kept_mass;
  sum_masses(team, members, a.affinity, scratch.shared, assigned_mass, kept_mass,
             [&](std::uint32_t slot) { return load(out.ids + slot) >= 0; });
  if (team.rank() == 0 && out.assigned_mass != nullptr) store(out.assigned_mass + expert, assigned_mass);
  if (team.rank() == 0 && out.kept_mass != nullptr) store(out.kept_mass + expert, kept_mass);
}

//! Both steps of one expert: its capacity, then the cut. For the rules that do not share one capacity.
//!
//! Threads, Inputs, Outputs, Contract  as expert_capacity and cut_members; also out.capacities
//! Example    test/simt/prune/block_prune_test.cpp
template <class Order, class Team, class Rule>
RESONANCE_DEVICE void prune_expert(const Team& team, const Rule& rule, const batch_facts& batch,
                                   std::int64_t capacity_cap, std::int32_t expert,
                                   const detail::expert_members& members, const assignment_view& a,
                                   const float* token_best, const outputs& out, const expert_scratch& scratch) {
  const std::int64_t capacity = expert_capacity(team, rule, batch, capacity_cap, expert, members, a, scratch);
  if (out.capacities != nullptr && team.rank() == 0) store(out.capacities + expert, capacity);
  cut_members<Rule, Order>(team, expert, capacity, members, a, token_best, out, scratch);
}

//! The one capacity of `shared`: the largest of all experts', in every thread.
template <class Team>
RESONANCE_DEVICE std::int64_t largest_capacity(const Team& team, const std::int64_t* capacities, std::int32_t experts) {
  std::int64_t most = load(capacities);
  RESONANCE_NO_UNROLL
  for (std::int32_t e = team.rank(); e < experts; e += team.size()) {
    const std::int64_t other = load(capacities + e);
    most = other > most ? other : most;
  }
  return team.max(most);
}

//! Divides the kept weights of tokens first, first + step, ... below `end` by their sum, where that is > 0.
//!
//! Threads    any number, a thread per token; no barrier
//! Contract   a token's weights are added in slot order, as on the host
//! Cost       8 bytes per slot
//! Example    test/simt/prune/block_prune_test.cpp
RESONANCE_DEVICE void renormalize_tokens(const assignment_view& a, std::int64_t first, std::int64_t end,
                                         std::int64_t step, float* weights) {
  for (std::int64_t token = first; token < end; token += step) {
    const std::int64_t begin = detail::first_slot(a, token);
    const std::int64_t last = detail::first_slot(a, token + 1);
    float sum = 0.0f;
    RESONANCE_NO_UNROLL
    for (std::int64_t slot = begin; slot < last; ++slot) sum += load(weights + slot);
    if (!(sum > 0.0f)) continue;
    for (std::int64_t slot = begin; slot < last; ++slot) store(weights + slot, math::divide(load(weights + slot), sum));
  }
}

}  // namespace prune
RESONANCE_NAMESPACE_END

#endif
