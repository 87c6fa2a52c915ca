// SPDX-License-Identifier: Apache-2.0
// Token-side pruning in double precision, and batches of choices whose weights keep clear of any bound's rounding.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "support/random.hpp"

namespace choices_reference {

//! [T,K] choices with positive weights in any order; some slots are empty.
struct table {
  std::size_t tokens, top_k;
  std::int32_t experts = 16;
  std::vector<std::int32_t> ids;
  std::vector<float> weights;
  std::vector<std::uint8_t> protected_tokens;

  table(support::random_source& random, std::size_t t, std::size_t k, double empty = 0.1) : tokens(t), top_k(k) {
    for (std::size_t i = 0; i < t * k; ++i) {
      const bool is_empty = random.coin(empty);
      ids.push_back(is_empty ? (random.coin() ? -1 : experts + 3) : static_cast<std::int32_t>(random.below(16)));
      weights.push_back(is_empty ? 0.0F : static_cast<float>(0.01 + random.uniform()));
    }
    for (std::size_t i = 0; i < t; ++i) protected_tokens.push_back(random.coin(0.2) ? 1 : 0);
  }
  bool assigned(std::size_t slot) const { return ids[slot] >= 0 && ids[slot] < experts; }
};

struct pruned_table {
  std::vector<bool> kept;
  std::vector<double> weights;
  std::int64_t pruned = 0;
  bool near_a_bound = false;  // a share within rounding of the bound: no oracle there
};

//! by_leader: shares of the first assigned slot's weight (MC), else of the token's sum (AdapMoE).
inline pruned_table prune(const table& in, bool by_leader, double bound, bool use_protection, bool renormalize) {
  pruned_table out;
  out.kept.assign(in.ids.size(), false);
  out.weights.assign(in.ids.size(), 0.0);
  for (std::size_t t = 0; t < in.tokens; ++t) {
    double leader = -1;
    double sum = 0;
    for (std::size_t k = 0; k < in.top_k; ++k) {
      const std::size_t slot = t * in.top_k + k;
      if (!in.assigned(slot)) continue;
      const double weight = in.weights[slot];
      const bool leads = leader < 0;
      if (leads) leader = weight;
      sum += weight;
      out.kept[slot] = leads;
    }
    double kept_sum = 0;
    for (std::size_t k = 0; k < in.top_k; ++k) {
      const std::size_t slot = t * in.top_k + k;
      if (!in.assigned(slot)) continue;
      const double share = in.weights[slot] / (by_leader ? leader : sum);
      out.near_a_bound = out.near_a_bound || (!out.kept[slot] && std::fabs(share - bound) < 1e-6);
      if (share >= bound || (use_protection && in.protected_tokens[t] != 0)) out.kept[slot] = true;
      if (out.kept[slot])
        kept_sum += in.weights[slot];
      else
        ++out.pruned;
    }
    for (std::size_t k = 0; k < in.top_k; ++k) {
      const std::size_t slot = t * in.top_k + k;
      if (out.kept[slot]) out.weights[slot] = in.weights[slot] / (renormalize ? kept_sum : 1.0);
    }
  }
  return out;
}

//! Compares ids, weights [T,K] and the count with the oracle's.
template <class Ids, class Weights>
void expect_same(const table& in, const pruned_table& expected, const Ids& ids, const Weights& weights,
                 std::int64_t pruned) {
  ASSERT_FALSE(expected.near_a_bound);
  for (std::size_t slot = 0; slot < in.ids.size(); ++slot) {
    EXPECT_EQ(ids[slot], expected.kept[slot] ? in.ids[slot] : -1) << "slot " << slot;
    EXPECT_NEAR(static_cast<double>(weights[slot]), expected.weights[slot], 1e-6) << "slot " << slot;
  }
  EXPECT_EQ(pruned, expected.pruned);
}

}  // namespace choices_reference
