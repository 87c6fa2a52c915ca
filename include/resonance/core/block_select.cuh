// SPDX-License-Identifier: Apache-2.0
//! \file
//! Selection in several lists at once by one block: the best keys of a list up to a count or up to a share of its mass,
//! without a sort.
#ifndef RESONANCE_CORE_BLOCK_SELECT_CUH
#define RESONANCE_CORE_BLOCK_SELECT_CUH

#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/order_key.hpp>
#include <resonance/core/std.hpp>

RESONANCE_NAMESPACE_BEGIN

//! A goal of a selection: what a key weighs, and how much the selected keys must weigh together.
//!
//! A goal of your own has `weighs`, `weight(list, key)`, a non-negative integer, and `target(list, keys, total)`: 0
//! takes nothing, more than `total` takes every key. The fewest best keys that weigh `target` together are selected.

//! The `wanted_of(list)` best keys.
template <class WantedOf>
struct select_count {
  static constexpr bool weighs = false;  //!< every key weighs 1: `weight` is not called
  WantedOf wanted_of;
  RESONANCE_DEVICE std::uint64_t weight(int, std::uint64_t) const { return 1; }
  RESONANCE_DEVICE std::uint64_t target(int list, std::uint64_t keys, std::uint64_t) const {
    const std::int64_t wanted = wanted_of(list);
    if (wanted <= 0) return 0;
    return static_cast<std::uint64_t>(wanted) < keys ? static_cast<std::uint64_t>(wanted) : keys + 1;
  }
};

//! Nobody asks for the selected keys themselves.
struct ignore_selected {
  static constexpr bool wanted = false;
  RESONANCE_DEVICE void operator()(int, std::uint64_t) const {}
};

//! visit(list, key) for every selected key, in no particular order.
template <class Visit>
struct visit_selected {
  static constexpr bool wanted = true;
  Visit visit;
  RESONANCE_DEVICE void operator()(int list, std::uint64_t key) const { visit(list, key); }
};

//! What a selection keeps in shared memory. Lists: a power of two up to 32.
template <int Lists, bool Weighs>
struct selection_scratch {
  static constexpr int digits = 256;
  static constexpr int most_gathered = 64;

  std::uint64_t gathered[Lists][most_gathered];                         // the last candidates of a list
  unsigned long long weights[Weighs ? Lists : 1][Weighs ? digits : 1];  // of the keys with each digit
  unsigned counts[Lists][digits];                                       // how many they are
  std::uint64_t prefix[Lists];                                          // the bits that are known of the key looked for
  std::uint64_t missing[Lists];  // what the keys with this prefix must still weigh
  unsigned above[Lists];         // keys above all with this prefix
  unsigned gathered_count[Lists];
  unsigned phase[Lists];
  // Results. The threshold in halves: no wide constant in the device code.
  unsigned taken[Lists];
  unsigned threshold_high[Lists];
  unsigned threshold_low[Lists];

  //! The least key that is selected; all bits set where none is, pack_key(never_chosen + 1, 0) where all are.
  RESONANCE_DEVICE std::uint64_t threshold(int list) const {
    return (static_cast<std::uint64_t>(threshold_high[list]) << 32) | threshold_low[list];
  }
};

namespace detail {

enum : unsigned { selection_counts, selection_gathers, selection_takes_all, selection_done };

//! The end of a selection that takes every key or none.
template <class Scratch>
RESONANCE_DEVICE void select_extreme(Scratch& s, int list, bool all, unsigned keys, bool must_visit) {
  s.taken[list] = all ? keys : 0;
  s.threshold_high[list] = all ? never_chosen + 1 : 0xffffffffu;
  s.threshold_low[list] = 0xffffffffu;
  s.phase[list] = all && must_visit ? selection_takes_all : selection_done;
}

//! Finds the digit of the key looked for from the counts, by one warp; leaves the counts zero.
template <int Lists, class Goal>
RESONANCE_DEVICE void select_digit(selection_scratch<Lists, Goal::weighs>& s, const Goal& goal, int list, bool first,
                                   int shift, bool must_visit) {
  constexpr int digits = selection_scratch<Lists, Goal::weighs>::digits;
  constexpr int per_lane = digits / warp_size;
  const int best = digits - 1 - lane_id() * per_lane;  // the lane's digits: best, best - 1, ...
  unsigned counts[per_lane];
  std::uint64_t weights[per_lane];
  unsigned count = 0;
  std::uint64_t weight = 0;
  RESONANCE_UNROLL
  for (int i = 0; i < per_lane; ++i) {
    counts[i] = s.counts[list][best - i];
    s.counts[list][best - i] = 0;
    count += counts[i];
    if constexpr (Goal::weighs) {
      weights[i] = s.weights[list][best - i];
      s.weights[list][best - i] = 0;
    } else {
      weights[i] = counts[i];
    }
    weight += weights[i];
  }
  const warp_team warp;
  unsigned all_keys;
  std::uint64_t total;
  unsigned keys_before = warp.exclusive_sum(count, all_keys);
  std::uint64_t before = warp.exclusive_sum(weight, total);
  const std::uint64_t target = first ? goal.target(list, all_keys, total) : s.missing[list];
  if (target == 0 || target > total) {
    if (lane_id() == 0) select_extreme(s, list, target != 0, all_keys, must_visit);
    return;
  }
  warp.sync();  // all lanes have read `missing`
  RESONANCE_UNROLL
  for (int i = 0; i < per_lane; ++i) {
    if (before < target && target <= before + weights[i]) {
      s.prefix[list] |= static_cast<std::uint64_t>(best - i) << shift;
      s.missing[list] = target - before;
      s.above[list] += keys_before;
      if (counts[i] <= static_cast<unsigned>(s.most_gathered)) s.phase[list] = selection_gathers;
    }
    before += weights[i];
    keys_before += counts[i];
  }
}

//! Finds the key looked for among the gathered ones, by one warp; visits those that are selected.
template <int Lists, class Goal, class Selected>
RESONANCE_DEVICE void select_gathered(selection_scratch<Lists, Goal::weighs>& s, const Goal& goal, int list, bool first,
                                      const Selected& selected) {
  const unsigned keys = s.gathered_count[list];
  const std::uint64_t* gathered = s.gathered[list];
  std::uint64_t target = s.missing[list];
  bool all = false;
  if (first) {
    std::uint64_t total = 0;
    for (unsigned i = 0; i < keys; ++i) total += goal.weight(list, gathered[i]);
    target = goal.target(list, keys, total);
    all = target > total;
    if ((target == 0 || all) && lane_id() == 0) select_extreme(s, list, all, keys, false);
  }
  if (target == 0) return;
  for (unsigned own = static_cast<unsigned>(lane_id()); own < keys; own += warp_size) {
    const std::uint64_t key = gathered[own];
    std::uint64_t above = 0;
    unsigned larger = 0;
    for (unsigned i = 0; i < keys; ++i) {
      const bool is_larger = gathered[i] > key;
      larger += is_larger ? 1 : 0;
      above += is_larger ? goal.weight(list, gathered[i]) : 0;
    }
    if (!all && above >= target) continue;
    selected(list, key);
    if (all || above + goal.weight(list, key) < target) continue;
    s.taken[list] = s.above[list] + larger + 1;
    s.threshold_high[list] = packed_key(key);
    s.threshold_low[list] = static_cast<unsigned>(key);
    s.phase[list] = selection_done;
  }
}

}  // namespace detail

//! Selects the best keys of `lists` lists of `count` entries each, to a goal: radix selection, 8 bits per sweep from
//! the top, until a list has few candidates left, which are then ranked by counting.
//!
//! Threads    all of the block
//! Inputs     key_at(list, i) -> packed key (core/order_key.hpp) of entry i (uint32), with index i, i < count < 2^32;
//!            never chosen keys are passed over. Thread r reads the entries i = r / Lists mod threads / Lists of list
//!            r % Lists, so that Lists neighbouring columns of a row-major table are read together.
//!            goal: see select_count
//! Outputs    s.taken, s.threshold(list); selected(list, key) for every selected key, by any thread
//! Contract   the result is that of a sort; on return all threads may read it
//! Resources  the scratch, in shared memory; two barriers per sweep
//! Cost       reads every entry once per sweep: with random keys some three times, else at most ten times
//! Example    test/simt/core/block_select_test.cpp
template <int Lists, class KeyAt, class Goal, class Selected>
RESONANCE_DEVICE void block_select(selection_scratch<Lists, Goal::weighs>& s, int lists, std::int64_t count,
                                   const KeyAt& key_at, const Goal& goal, const Selected& selected) {
  using scratch = selection_scratch<Lists, Goal::weighs>;
  static_assert(Lists >= 1 && Lists <= warp_size && (Lists & (Lists - 1)) == 0,
                "resonance: a block selects in 1, 2, 4, 8, 16 or 32 lists at once");
  constexpr std::uint32_t in_flight = 4;
  for (int l = block_thread(); l < Lists; l += block_threads()) {
    s.phase[l] = l >= lists ? detail::selection_done
                            : (count <= scratch::most_gathered ? detail::selection_gathers : detail::selection_counts);
    s.prefix[l] = 0;
    s.missing[l] = 0;
    s.above[l] = 0;
    s.gathered_count[l] = 0;
    s.taken[l] = 0;
  }
  for (int i = block_thread(); i < Lists * scratch::digits; i += block_threads()) {
    s.counts[i / scratch::digits][i % scratch::digits] = 0;
    if constexpr (Goal::weighs) s.weights[i / scratch::digits][i % scratch::digits] = 0;
  }
  sync_block();

  const int list = block_thread() % Lists;
  const auto entries = static_cast<std::uint32_t>(count);
  const std::uint32_t first_entry = static_cast<std::uint32_t>(block_thread() / Lists);
  const std::uint32_t step = static_cast<std::uint32_t>(block_threads() / Lists);
  int index_bits = 32;  // an index has ones, as packed, in the bits above these
  while (index_bits > 1 && (entries - 1) >> (index_bits - 1) == 0) --index_bits;
  const std::uint32_t unused_bits = index_bits < 32 ? 0xffffffffu << index_bits : 0;
  int known_from = 64;  // the bits from here up are known
  int shift = 56;       // those from here up are counted
  for (bool first = true;; first = false) {
    const unsigned phase = s.phase[list];
    const std::uint64_t prefix = s.prefix[list] | (known_from <= 32 ? unused_bits : 0);
    const std::uint64_t known = known_from < 64 ? ~std::uint64_t{0} << known_from : 0;
    if (phase != detail::selection_done && first_entry < entries) {
      for (std::uint32_t begin = first_entry;; begin += in_flight * step) {
        const std::uint32_t left = entries - begin;
        std::uint64_t keys[in_flight];
        RESONANCE_UNROLL
        for (std::uint32_t u = 0; u < in_flight; ++u) keys[u] = u * step < left ? key_at(list, begin + u * step) : 0;
        RESONANCE_UNROLL
        for (std::uint32_t u = 0; u < in_flight; ++u) {
          const std::uint64_t key = keys[u];
          if (packed_key(key) == never_chosen) continue;
          const bool candidate = (key & known) == prefix;
          if (phase == detail::selection_counts && candidate) {
            const unsigned digit = static_cast<unsigned>(key >> shift) % scratch::digits;
            atomic_add(&s.counts[list][digit], 1u);
            if constexpr (Goal::weighs)
              atomic_add(&s.weights[list][digit], static_cast<unsigned long long>(goal.weight(list, key)));
          } else if (phase == detail::selection_gathers && candidate) {
            s.gathered[list][atomic_add(&s.gathered_count[list], 1u)] = key;
          } else if (phase == detail::selection_takes_all || (phase == detail::selection_gathers && key > prefix)) {
            selected(list, key);
          }
        }
        if (left <= in_flight * step) break;
      }
    }
    sync_block();
    for (int l = warp_id(); l < lists; l += block_threads() / warp_size) {
      const unsigned before = s.phase[l];
      warp_team::sync();
      if (before == detail::selection_counts) {
        detail::select_digit(s, goal, l, first, shift, Selected::wanted);
      } else if (before == detail::selection_gathers) {
        detail::select_gathered(s, goal, l, first, selected);
      } else if (lane_id() == 0) {
        s.phase[l] = detail::selection_done;
      }
    }
    sync_block();
    bool done = true;
    for (int l = 0; l < lists; ++l) done = done && s.phase[l] == detail::selection_done;
    if (done) break;

    known_from = shift == 32 ? index_bits : shift;
    shift = known_from > 8 ? known_from - 8 : 0;
  }
}

RESONANCE_NAMESPACE_END

#endif
