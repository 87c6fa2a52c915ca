// SPDX-License-Identifier: Apache-2.0
// Pruning as the tests call it: a merged batch, one run with every output, and the reference's answer beside it.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "reference/merge.hpp"
#include "reference/prune.hpp"
#include "resonance/prune/host_prune.hpp"
#include "support/assignments.hpp"

namespace prune_test {

//! Token choices after a restricted merge: ids, weights, affinity and ranks.
struct merged_batch {
  support::random_choices choices;
  std::vector<reference::assignment> assignments;
  std::vector<std::int32_t> rank;

  merged_batch(support::random_source& random, const support::batch_shape& shape,
               const support::choice_traits& traits = {})
      : choices(random, shape, traits), rank(choices.slots(), -1) {
    assignments = reference::merge(reference::merge_kind::restricted, choices.reference_ids(),
                                   choices.reference_weights(), choices.reference_deltas());
    for (reference::assignment& a : assignments) {
      rank[slot_of(a)] = static_cast<std::int32_t>(a.rank);
    }
  }

  std::size_t slot_of(const reference::assignment& a) const {
    return static_cast<std::size_t>(a.token) * choices.top_k() + static_cast<std::size_t>(a.slot);
  }
  resonance::assignment_view view() const {
    resonance::assignment_view v = choices.view();
    v.rank_in_expert = rank.data();
    return v;
  }
};

//! Every array that pruning may write.
struct pruned_arrays {
  support::guarded_buffer<std::int32_t> ids;
  support::guarded_buffer<float> weights, delta_max;
  support::guarded_buffer<std::int64_t> capacities, kept, dropped;
  support::guarded_buffer<double> assigned_mass, kept_mass;

  pruned_arrays(std::size_t slots, std::size_t experts)
      : ids(slots),
        weights(slots),
        delta_max(1),
        capacities(experts),
        kept(experts),
        dropped(experts),
        assigned_mass(experts),
        kept_mass(experts) {}
  resonance::prune::outputs view() {
    return {ids.data(),     weights.data(),       capacities.data(), kept.data(),
            dropped.data(), assigned_mass.data(), kept_mass.data(),  delta_max.data()};
  }
  bool intact() const {
    return ids.intact() && weights.intact() && delta_max.intact() && capacities.intact() && kept.intact() &&
           dropped.intact() && assigned_mass.intact() && kept_mass.intact();
  }
  bool untouched() const {
    return ids.untouched() && weights.untouched() && delta_max.untouched() && capacities.untouched() &&
           kept.untouched() && dropped.untouched() && assigned_mass.untouched() && kept_mass.untouched();
  }
  std::string bits() const {
    return support::bits_of(ids, weights, delta_max, capacities, kept, dropped, assigned_mass, kept_mass);
  }
};

template <class Executor, class Rule, class Order>
pruned_arrays run(const Executor& executor, const Rule& rule, const Order& order, const resonance::assignment_view& a,
                  const resonance::prune::options& o) {
  pruned_arrays out(static_cast<std::size_t>(a.slots()), static_cast<std::size_t>(a.experts));
  support::exact_workspace workspace(resonance::prune::host_prune_workspace_bytes(executor, a));
  EXPECT_TRUE(
      support::accepted(resonance::prune::host_prune(executor, rule, order, a, o, out.view(), workspace.view())));
  EXPECT_TRUE(out.intact() && workspace.intact());
  return out;
}

inline void expect_close(double got, double expected, double tolerance) {
  EXPECT_NEAR(got, expected, tolerance * std::fabs(expected));
}

//! Ids, counts and capacities exactly; masses and renormalized weights to rounding; other weights to the bit.
inline void expect_reference(const pruned_arrays& got, const merged_batch& batch,
                             const reference::prune_options& options, bool renormalize = false) {
  const support::random_choices& c = batch.choices;
  const reference::prune_result expected =
      reference::prune(batch.assignments, c.tokens(), c.top_k(), c.experts(), options);
  const reference::kept_choices kept(batch.assignments, expected.kept, c.tokens(), c.top_k(), renormalize);
  EXPECT_TRUE(support::values_of(got.ids) == kept.ids.values);
  for (std::size_t slot = 0; slot < c.slots(); ++slot) {
    if (renormalize)
      expect_close(static_cast<double>(got.weights[slot]), kept.weights.values[slot], 1e-5);
    else
      EXPECT_EQ(static_cast<double>(got.weights[slot]), kept.weights.values[slot]);
  }
  double delta_max = reference::absent;
  for (const reference::assignment& a : batch.assignments)
    delta_max = std::max(delta_max, reference::ranked_value(a.affinity));
  EXPECT_EQ(static_cast<double>(got.delta_max[0]), delta_max);
  for (std::size_t e = 0; e < c.experts(); ++e) {
    EXPECT_EQ(static_cast<std::size_t>(got.capacities[e]), expected.capacities[e]) << "expert " << e;
    EXPECT_EQ(static_cast<std::size_t>(got.kept[e]), expected.kept_per_expert[e]) << "expert " << e;
    EXPECT_EQ(static_cast<std::size_t>(got.dropped[e]), expected.dropped_per_expert[e]) << "expert " << e;
    expect_close(got.kept_mass[e], expected.kept_mass[e], 1e-12);
    expect_close(got.assigned_mass[e], expected.total_mass[e], 1e-12);
  }
}

//! One rule under one order; run(rule, order, assignments, options) gives the pruned arrays. Bits of `variant`:
//! sharing, a cap, renormalizing.
template <class Run, class Rule, class Order>
void expect_reference(const Run& run, const merged_batch& batch, const Rule& rule, const Order& order,
                      reference::prune_options meaning, reference::drop_order order_meaning, int variant) {
  SCOPED_TRACE(::testing::Message() << "order " << static_cast<int>(order_meaning) << " variant " << variant);
  resonance::prune::options o;
  meaning.order = order_meaning;
  o.hidden = static_cast<std::int64_t>(meaning.hidden);
  o.shared = meaning.shared = (variant & 1) != 0;
  if ((variant & 2) != 0) {
    o.capacity_cap = 3;
    meaning.cap = 3;
  }
  o.renormalize = (variant & 4) != 0;
  expect_reference(run(rule, order, batch.view(), o), batch, meaning, o.renormalize);
}

}  // namespace prune_test
