// SPDX-License-Identifier: Apache-2.0
// SparseMixer's weights in double precision, and rows whose experts are clearly near or clearly far.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include <resonance/core/views.hpp>

#include "affinity/typed_rows.hpp"
#include "support/random.hpp"

namespace sparse_mixer_reference {

//! Logits on a grid that every row type holds exactly, and the choices of all tokens, some slots empty or filled.
template <class Row>
struct problem {
  problem(support::random_source& random, std::size_t tokens, std::size_t experts, bool ragged)
      : stride(static_cast<std::int64_t>(experts) + 3) {
    const std::size_t top_k = std::min<std::size_t>(experts, 3);
    std::vector<float> values(tokens * static_cast<std::size_t>(stride), 9000.0F);
    for (std::size_t t = 0; t < tokens; ++t) {
      float* row = values.data() + t * static_cast<std::size_t>(stride);
      for (std::size_t e = 0; e < experts; ++e) {
        row[e] = static_cast<float>(64 + static_cast<int>(random.below(8))) * (t % 3 == 0 ? -0.125F : 0.125F);
        if (random.coin(0.1)) row[e] = 0.0F;
        if (random.coin(0.02)) row[e] = random.coin() ? -HUGE_VALF : std::nanf("");
      }
      if (t % 5 == 4) row[t % experts] = HUGE_VALF;
      if (t % 10 == 9) row[(t + 1) % experts] = static_cast<float>(typed_rows::largest<Row>());
      choose(random, row, experts, ragged ? t % (top_k + 2) : top_k, t);
      offsets.push_back(static_cast<std::int64_t>(ids.size()));
    }
    rows = typed_rows::narrowed<Row>(values);
    view.tokens = static_cast<std::int64_t>(tokens);
    view.experts = static_cast<std::int32_t>(experts);
    view.slots_per_token = ragged ? 0 : static_cast<std::int32_t>(top_k);
    view.ids = ids.data();
    view.affinity = affinity.data();
    view.token_offsets = ragged ? offsets.data() : nullptr;
    view.token_of_slot = ragged ? token_of_slot.data() : nullptr;
    view.slot_capacity = ragged ? static_cast<std::int64_t>(ids.size()) : 0;
  }
  problem(const problem&) = delete;
  problem& operator=(const problem&) = delete;

  resonance::matrix_view<const Row> logits() const { return {rows.data(), view.tokens, view.experts, stride}; }

  std::vector<Row> rows;
  std::int64_t stride;
  std::vector<std::int32_t> ids, token_of_slot;
  std::vector<float> affinity;
  std::vector<std::int64_t> offsets = {0};
  resonance::assignment_view view;

 private:
  //! The best experts in order; one slot in ten holds something else.
  void choose(support::random_source& random, const float* row, std::size_t experts, std::size_t count, std::size_t t) {
    std::vector<std::int32_t> order;
    for (std::size_t e = 0; e < experts; ++e) order.push_back(static_cast<std::int32_t>(e));
    const auto key = [&](std::int32_t e) { return std::isnan(row[e]) ? -HUGE_VALF : row[e]; };
    std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) { return key(a) > key(b); });
    for (std::size_t k = 0; k < count; ++k) {
      ids.push_back(k < experts ? order[k] : -1);
      affinity.push_back(random.coin(0.05) ? -HUGE_VALF : 1.0F);
      if (random.coin(0.1)) ids.back() = static_cast<std::int32_t>(random.below(experts + 2)) - 1;
      token_of_slot.push_back(static_cast<std::int32_t>(t));
    }
  }
};

//! The weights of one token's slots by the definition, -1 as an id meaning an empty slot.
inline std::vector<double> weights_of(const std::vector<double>& logits, const std::vector<std::int32_t>& ids,
                                      double jitter) {
  std::set<std::size_t> taken;
  std::vector<double> weights;
  for (const std::int32_t id : ids) {
    weights.push_back(0.0);
    const auto own = static_cast<std::size_t>(id);
    if (id < 0 || taken.count(own) != 0 || std::isinf(logits[own])) continue;
    const double best = logits[own];
    double sum = 0.0;
    for (std::size_t e = 0; e < logits.size(); ++e) {
      if (taken.count(e) != 0 || std::isinf(logits[e])) continue;
      const bool far = (best - logits[e]) / std::max(std::fabs(logits[e]), best) > 2.0 * jitter;
      if (!far) sum += std::exp(logits[e] - best);
    }
    weights.back() = 1.0 / sum;
    taken.insert(own);
  }
  return weights;
}

//! To a relative 1e-5. The grid keeps quotients away from the bounds that are used: 0, 0.02 and 0.6.
template <class Row>
void expect_weights(const problem<Row>& p, float jitter, const std::vector<float>& found) {
  const auto experts = static_cast<std::size_t>(p.view.experts);
  for (std::int64_t t = 0; t < p.view.tokens; ++t) {
    std::vector<double> logits;
    for (std::size_t e = 0; e < experts; ++e) {
      const auto value = static_cast<double>(typed_rows::widened(p.logits().row(t)[e]));
      logits.push_back(std::isnan(value) ? -HUGE_VAL : std::min(value, typed_rows::largest<Row>()));
    }
    const auto first = static_cast<std::size_t>(p.view.begin(t));
    const auto last = static_cast<std::size_t>(p.view.end(t));
    std::vector<std::int32_t> ids;
    for (std::size_t s = first; s < last; ++s) {
      const bool filled = p.affinity[s] == -HUGE_VALF;
      ids.push_back(!filled && p.ids[s] >= 0 && p.ids[s] < p.view.experts ? p.ids[s] : -1);
    }
    const std::vector<double> expected = weights_of(logits, ids, static_cast<double>(jitter));
    for (std::size_t s = first; s < last; ++s)
      ASSERT_NEAR(found[s], expected[s - first], 1e-5 * expected[s - first]) << t << " slot " << s - first;
  }
}

}  // namespace sparse_mixer_reference
