// SPDX-License-Identifier: Apache-2.0
// The experts' own capacities beside the reference's: exactly.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "reference/merge.hpp"
#include "reference/prune.hpp"
#include "resonance/prune/capacity.hpp"
#include "support/assignments.hpp"

namespace prune_test {

//! The reference's capacities where every token with a choosable affinity is a member of every expert.
inline std::vector<std::int64_t> expected_capacities(const reference::matrix& affinity, std::size_t top_k,
                                                     const reference::prune_options& options) {
  std::vector<reference::assignment> everyone;
  for (std::size_t t = 0; t < affinity.rows; ++t)
    for (std::size_t e = 0; e < affinity.cols; ++e)
      if (reference::choosable(affinity(t, e)))
        everyone.push_back({static_cast<std::int32_t>(t), 0, static_cast<std::int32_t>(e), affinity(t, e), 0, 0});
  const reference::prune_result pruned = reference::prune(everyone, affinity.rows, top_k, affinity.cols, options);
  return {pruned.capacities.begin(), pruned.capacities.end()};
}

//! Every rule but per_expert on one table; run(rule, affinity, batch, cap) gives the capacities.
template <class Run>
void expect_reference_capacities(support::random_source& random, const support::batch_shape& s, const Run& run) {
  namespace prune = resonance::prune;
  using reference::capacity_rule;
  SCOPED_TRACE(::testing::Message() << s);
  const support::adversary kind = random.pick(support::all_adversaries());
  const std::int64_t stride = s.experts + 2;
  const std::vector<float> values =
      support::adversarial_values(random, static_cast<std::size_t>(s.tokens * stride), kind);
  const resonance::matrix_view<const float> affinity(values.data(), s.tokens, s.experts, stride);
  const reference::matrix deltas =
      reference::widened(values.data(), static_cast<std::size_t>(s.tokens), static_cast<std::size_t>(s.experts),
                         static_cast<std::size_t>(stride));
  prune::batch_facts batch;
  batch.tokens = s.tokens;
  batch.experts = s.experts;
  batch.top_k = s.top_k;
  batch.hidden = 64;
  batch.delta_max = 0.3F;
  const auto expect = [&](const auto& rule, reference::prune_options meaning) {
    for (std::int64_t cap : {-1, 0, 5}) {
      if (cap >= 0) meaning.cap = static_cast<std::size_t>(cap);
      EXPECT_EQ(run(rule, affinity, batch, cap),
                expected_capacities(deltas, static_cast<std::size_t>(s.top_k), meaning))
          << "rule " << static_cast<int>(meaning.rule) << " cap " << cap;
    }
  };
  reference::prune_options meaning;
  expect(prune::unlimited{}, meaning);
  meaning.rule = capacity_rule::fixed;
  meaning.fixed = 3;
  expect(prune::fixed{3}, meaning);
  meaning.rule = capacity_rule::factor;
  expect(prune::factor{1.1}, meaning);
  meaning.rule = capacity_rule::lower_bound;
  meaning.hidden = 64;
  meaning.delta_max = static_cast<double>(batch.delta_max);
  expect(prune::lower_bound{}, meaning);
  meaning.rule = capacity_rule::heterogeneous_factor;
  meaning.tau = 0.3;
  meaning.full_experts = static_cast<std::size_t>(s.experts) / 2;
  meaning.counts_k = true;
  expect(prune::heterogeneous_factor{1.1, 0.3, s.experts / 2, true}, meaning);
  meaning.rule = capacity_rule::affinity_mass;
  meaning.rho = 0.7;
  expect(prune::affinity_mass{0.7}, meaning);
}

}  // namespace prune_test
