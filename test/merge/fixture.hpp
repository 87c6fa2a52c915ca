// SPDX-License-Identifier: Apache-2.0
// The arrays that a merge writes, and what the reference merges beside them: ids, ranks and offsets exactly, the
// affinity to the bit.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "reference/merge.hpp"
#include "resonance/merge/policies.hpp"
#include "support/assignments.hpp"

namespace merge_test {

//! Every array that a merge may write.
struct merged_arrays {
  support::guarded_buffer<std::int32_t> ids, rank, token_of_slot;
  support::guarded_buffer<float> affinity, weights;
  support::guarded_buffer<std::int64_t> offsets;

  merged_arrays(std::int64_t slots, std::int64_t tokens)
      : ids(static_cast<std::size_t>(slots)),
        rank(static_cast<std::size_t>(slots)),
        token_of_slot(static_cast<std::size_t>(slots)),
        affinity(static_cast<std::size_t>(slots)),
        weights(static_cast<std::size_t>(slots)),
        offsets(static_cast<std::size_t>(tokens) + 1) {}
  resonance::assignment_buffers view() {
    resonance::assignment_buffers b;
    b.ids = ids.data();
    b.weights = weights.data();
    b.affinity = affinity.data();
    b.rank_in_expert = rank.data();
    b.token_offsets = offsets.data();
    b.token_of_slot = token_of_slot.data();
    b.capacity = static_cast<std::int64_t>(ids.size());
    return b;
  }
  bool intact() const {
    return ids.intact() && rank.intact() && token_of_slot.intact() && affinity.intact() && weights.intact() &&
           offsets.intact();
  }
  bool untouched() const {
    return ids.untouched() && rank.untouched() && token_of_slot.untouched() && affinity.untouched() &&
           weights.untouched() && offsets.untouched();
  }
  std::string bits() const { return support::bits_of(ids, rank, token_of_slot, affinity, weights, offsets); }
};

inline std::int64_t largest_capacity(const resonance::merge::expert_side& expert, std::int64_t experts) {
  std::int64_t most = 0;
  for (std::int64_t e = 0; e < experts; ++e) most = std::max(most, expert.of(e));
  return most;
}

inline reference::token_lists lists_of(const support::random_choices& c, const std::vector<std::size_t>& capacities) {
  return reference::expert_choice(c.reference_deltas(), capacities);
}

//! Slot for slot: the merged ids (-1 where no assignment is left) and their ranks.
inline void expect_regular(const merged_arrays& got, const support::random_choices& c, bool writes_ids,
                           const std::vector<reference::assignment>& expected) {
  std::vector<std::int32_t> ids(c.slots(), -1);
  std::vector<std::int32_t> ranks(c.slots(), -1);
  for (const reference::assignment& a : expected) {
    const std::size_t slot = static_cast<std::size_t>(a.token) * c.top_k() + static_cast<std::size_t>(a.slot);
    ids[slot] = a.expert;
    ranks[slot] = static_cast<std::int32_t>(a.rank);
  }
  EXPECT_TRUE(support::values_of(got.rank) == ranks);
  if (writes_ids)
    EXPECT_TRUE(support::values_of(got.ids) == ids);
  else
    EXPECT_TRUE(got.ids.untouched());
  EXPECT_TRUE(got.weights.untouched() && got.affinity.untouched() && got.token_of_slot.untouched() &&
              got.offsets.untouched());
}

inline void expect_ragged(const merged_arrays& got, const support::random_choices& c,
                          const std::vector<reference::assignment>& expected) {
  ASSERT_LE(expected.size(), got.ids.size());
  std::vector<std::int64_t> offsets(c.tokens() + 1, 0);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const reference::assignment& a = expected[i];
    ++offsets[static_cast<std::size_t>(a.token) + 1];
    ASSERT_EQ(got.ids[i], a.expert) << "slot " << i;
    ASSERT_EQ(got.token_of_slot[i], a.token) << "slot " << i;
    ASSERT_EQ(got.rank[i], static_cast<std::int32_t>(a.rank)) << "slot " << i;
    ASSERT_EQ(resonance::detail::float_bits(got.affinity[i]),
              resonance::detail::float_bits(c.affinity_of(a.token, a.expert)));
  }
  std::partial_sum(offsets.begin(), offsets.end(), offsets.begin());
  EXPECT_TRUE(support::values_of(got.offsets) == offsets);
  const std::size_t rest = got.ids.size() - expected.size();
  EXPECT_TRUE(got.ids.untouched(expected.size(), rest) && got.rank.untouched(expected.size(), rest) &&
              got.affinity.untouched(expected.size(), rest) && got.token_of_slot.untouched(expected.size(), rest));
  EXPECT_TRUE(got.weights.untouched());
}

//! All five policies on one batch; run(policy, choices, expert) gives the merged arrays.
template <class Run>
void expect_reference(const support::random_choices& c, const resonance::merge::expert_side& expert,
                      const std::vector<std::size_t>& capacities, const Run& run) {
  namespace merge = resonance::merge;
  using reference::merge_kind;
  const reference::id_table ids = c.reference_ids();
  const reference::matrix deltas = c.reference_deltas();
  const reference::token_lists lists = lists_of(c, capacities);
  const auto expected = [&](merge_kind kind, const reference::id_table& own) {
    return reference::merge(kind, own, c.reference_weights(), deltas, lists, deltas);
  };
  const resonance::assignment_view choices = c.view();
  const merge::expert_side nobody;
  expect_regular(run(merge::restricted{}, choices, nobody), c, false, expected(merge_kind::restricted, ids));
  expect_regular(run(merge::token_only{}, choices, nobody), c, false, expected(merge_kind::token_only, ids));
  expect_regular(run(merge::intersection{}, choices, expert), c, true, expected(merge_kind::intersection, ids));
  // A slot that was only filled (affinity -inf) is no choice, and a union has no need of fillers.
  reference::id_table really_chosen = ids;
  for (std::size_t slot = 0; slot < c.slots(); ++slot)
    if (!reference::choosable(static_cast<double>(c.affinity[slot]))) really_chosen.values[slot] = -1;
  expect_ragged(run(merge::union_{}, choices, expert), c, expected(merge_kind::union_, really_chosen));
  // Experts alone: the token's own choice does not even set the order of its slots.
  const reference::id_table nothing_chosen(c.tokens(), c.top_k(), -1);
  resonance::assignment_view shape_only = choices;
  shape_only.ids = nullptr;
  shape_only.affinity = shape_only.weights = nullptr;
  expect_ragged(run(merge::expert_only{}, shape_only, expert), c, expected(merge_kind::expert_only, nothing_chosen));
}

}  // namespace merge_test
