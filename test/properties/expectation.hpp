// SPDX-License-Identifier: Apache-2.0
// A whole route held against the reference, stage by stage.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#include "properties/route_case.hpp"
#include "reference/permute.hpp"

namespace properties {

inline void expect_close(double actual, double wanted, const char* what, std::size_t where, double relative = 1e-5) {
  if (actual == wanted) return;
  EXPECT_LE(std::fabs(actual - wanted), relative * std::fabs(wanted) + 1e-37)
      << what << '[' << where << "] is " << actual << " instead of " << wanted;
}

template <class Value>
bool same_bits(const std::vector<Value>& a, const std::vector<Value>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(Value)) == 0);
}

//! Every array of two routes, marks past the written parts included.
inline void expect_same_bits(const routed& a, const routed& b) {
  EXPECT_TRUE(same_bits(a.topk_ids, b.topk_ids) && same_bits(a.topk_weights, b.topk_weights) &&
              same_bits(a.topk_affinity, b.topk_affinity) && same_bits(a.affinity, b.affinity))
      << "token choice differs";
  EXPECT_TRUE(same_bits(a.merged_ids, b.merged_ids) && same_bits(a.merged_weights, b.merged_weights) &&
              same_bits(a.merged_affinity, b.merged_affinity) && same_bits(a.rank_in_expert, b.rank_in_expert) &&
              same_bits(a.token_offsets, b.token_offsets) && same_bits(a.token_of_slot, b.token_of_slot))
      << "merge differs";
  EXPECT_TRUE(same_bits(a.kept_ids, b.kept_ids) && same_bits(a.kept_weights, b.kept_weights) &&
              same_bits(a.capacities, b.capacities) && same_bits(a.kept, b.kept) && same_bits(a.dropped, b.dropped) &&
              same_bits(a.assigned_mass, b.assigned_mass) && same_bits(a.kept_mass, b.kept_mass) &&
              std::memcmp(&a.delta_max, &b.delta_max, sizeof(float)) == 0)
      << "prune differs";
  EXPECT_TRUE(same_bits(a.tokens_per_expert, b.tokens_per_expert) && same_bits(a.expert_offsets, b.expert_offsets) &&
              same_bits(a.sorted_token_ids, b.sorted_token_ids) && same_bits(a.inverse, b.inverse) &&
              same_bits(a.expert_ids, b.expert_ids) && same_bits(a.num_rows, b.num_rows))
      << "plan differs";
}

//! True where the mass of some token reaches p within rounding, so that neither answer is wrong.
inline bool on_border(const reference::matrix& delta, const reference::matrix& scores, const std::vector<double>& bias,
                      reference::score_function function, reference::choice_options choice) {
  if (choice.policy != reference::choice_policy::top_p || choice.p == 1) return false;
  const double p = choice.p;
  choice.p = p * (1 - 1e-5);
  const reference::choices less = reference::token_choice(delta, scores, bias, function, choice);
  choice.p = p * (1 + 1e-5);
  return less.ids.values != reference::token_choice(delta, scores, bias, function, choice).ids.values;
}

template <class Metric, class Row>
void expect_affinity(const routed& r, const storage<Row>& s) {
  const reference::matrix wanted = metric_by_definition<Metric>(s);
  for (std::size_t i = 0; i < wanted.values.size(); ++i) {
    const double value = wanted.values[i];
    if (std::is_same<Metric, resonance::affinity::logits>::value) {
      EXPECT_EQ(r.affinity[i], reference::ranked_value(value, largest_of(static_cast<const Row*>(nullptr))));
    } else if (!s.hostile) {
      EXPECT_NEAR(r.affinity[i], value, 1e-5 * std::max(1.0, std::fabs(value))) << "affinity[" << i << ']';
    }
  }
}

//! The deltas' scores as the library rounds them.
template <class Score>
reference::matrix library_scores(const routed& r, const Score& score) {
  std::vector<float> scores(r.affinity.size());
  const resonance::matrix_view<float> out(scores.data(), r.tokens, r.experts);
  const resonance::matrix_view<const float> in(r.affinity.data(), r.tokens, r.experts);
  EXPECT_TRUE(resonance::affinity::host_scores(resonance::serial_executor{}, score, in, out).ok());
  return reference::widened(scores, static_cast<std::size_t>(r.tokens), static_cast<std::size_t>(r.experts));
}

//! Weights of chosen ids. A renormalized softmax is one over the chosen, which needs no scores of the row: in exact
//! numbers the same, but without their underflow.
template <class Score>
reference::matrix expected_weights(const routed& r, const Score& score, const reference::id_table& ids,
                                   const reference::matrix& scores, const told_options& told) {
  if (Score::normalized_over != resonance::normalizer::row || !told.choice.renormalize)
    return reference::weights_of(ids, scores, told.score.function, told.choice);
  resonance::affinity::softmax_over_chosen plain;
  plain.temperature = score.temperature;
  plain.logit_cap = score.logit_cap;
  reference::matrix arguments = library_scores(r, plain);
  if (told.score.function == reference::score_function::relu_softmax)
    for (double& value : arguments.values) value = std::max(value, 0.0);
  return reference::weights_of(ids, arguments, reference::score_function::softmax_over_chosen, told.choice);
}

//! What the reference expects of merge: assignments with places, ranks and weights, and their flat slots.
struct expected_merge {
  std::vector<reference::assignment> assignments;
  std::vector<std::int64_t> token_offsets;  // ragged only
  std::size_t slots = 0;

  std::size_t flat(const reference::assignment& a, std::size_t top_k) const {
    const auto token = static_cast<std::size_t>(a.token);
    const std::size_t begin = token_offsets.empty() ? token * top_k : static_cast<std::size_t>(token_offsets[token]);
    return begin + static_cast<std::size_t>(a.slot);
  }
};

//! A ragged list counts a token's slots without gaps: its own choices as they stand, then the gained by rising id;
//! expert_only has no own choices. Weights are those of the whole set.
template <class WeightsOf>
void make_ragged(expected_merge& merged, std::size_t tokens, bool expert_only, const WeightsOf& weights_of) {
  std::vector<reference::assignment>& list = merged.assignments;
  if (expert_only) {
    std::sort(list.begin(), list.end(), [](const reference::assignment& a, const reference::assignment& b) {
      return a.token != b.token ? a.token < b.token : a.expert < b.expert;
    });
  }
  merged.token_offsets.assign(tokens + 1, 0);
  std::size_t most = 0;
  for (reference::assignment& a : list) {
    std::int64_t& count = merged.token_offsets[static_cast<std::size_t>(a.token) + 1];
    a.slot = static_cast<std::int32_t>(count++);
    most = std::max(most, static_cast<std::size_t>(count));
  }
  for (std::size_t t = 0; t < tokens; ++t) merged.token_offsets[t + 1] += merged.token_offsets[t];
  reference::id_table ids(tokens, most, -1);
  for (const reference::assignment& a : list)
    ids(static_cast<std::size_t>(a.token), static_cast<std::size_t>(a.slot)) = a.expert;
  const reference::matrix weights = weights_of(ids);
  for (reference::assignment& a : list)
    a.weight = weights(static_cast<std::size_t>(a.token), static_cast<std::size_t>(a.slot));
  merged.slots = list.size();
}

//! C_i of experts that choose among all tokens.
inline std::vector<std::size_t> expert_capacities(const reference::matrix& delta, const told_options& told) {
  if (told.expert_capacity >= 0)
    return std::vector<std::size_t>(delta.cols, static_cast<std::size_t>(told.expert_capacity));
  std::vector<reference::assignment> all;
  for (std::size_t t = 0; t < delta.rows; ++t)
    for (std::size_t e = 0; e < delta.cols; ++e)
      if (reference::choosable(delta(t, e)))
        all.push_back({static_cast<std::int32_t>(t), 0, static_cast<std::int32_t>(e), delta(t, e), 0, 0});
  reference::prune_options options = told.prune;
  options.shared = false;
  return reference::prune(all, delta.rows, told.choice.slots(), delta.cols, options).capacities;
}

inline void expect_prune(const routed& r, const expected_merge& merged, const told_options& told) {
  const auto tokens = static_cast<std::size_t>(r.tokens);
  const auto experts = static_cast<std::size_t>(r.experts);
  const std::size_t k = told.choice.slots();
  const reference::prune_result wanted = reference::prune(merged.assignments, tokens, k, experts, told.prune);
  std::vector<std::int32_t> ids(merged.slots, -1);
  std::vector<double> weights(merged.slots, 0.0);
  std::vector<double> sums(tokens, 0.0);
  double largest = reference::absent;
  for (std::size_t i = 0; i < merged.assignments.size(); ++i) {
    const reference::assignment& a = merged.assignments[i];
    largest = std::max(largest, a.affinity);
    if (!wanted.kept[i]) continue;
    ids[merged.flat(a, k)] = a.expert;
    weights[merged.flat(a, k)] = a.weight;
    sums[static_cast<std::size_t>(a.token)] += a.weight;
  }
  if (told.renormalize_kept)
    for (const reference::assignment& a : merged.assignments)
      if (sums[static_cast<std::size_t>(a.token)] > 0)
        weights[merged.flat(a, k)] /= sums[static_cast<std::size_t>(a.token)];
  ASSERT_GE(r.kept_ids.size(), merged.slots);
  for (std::size_t slot = 0; slot < merged.slots; ++slot) {
    EXPECT_EQ(r.kept_ids[slot], ids[slot]) << "kept id of slot " << slot;
    expect_close(r.kept_weights[slot], weights[slot], "kept weight", slot);
  }
  for (std::size_t slot = merged.slots; slot < r.kept_ids.size(); ++slot) EXPECT_EQ(r.kept_ids[slot], -7);
  EXPECT_EQ(r.delta_max, largest);
  for (std::size_t e = 0; e < experts; ++e) {
    EXPECT_EQ(r.capacities[e], static_cast<std::int64_t>(wanted.capacities[e])) << "capacity of expert " << e;
    EXPECT_EQ(r.kept[e], static_cast<std::int64_t>(wanted.kept_per_expert[e]));
    EXPECT_EQ(r.dropped[e], static_cast<std::int64_t>(wanted.dropped_per_expert[e]));
    expect_close(r.assigned_mass[e], wanted.total_mass[e], "assigned mass", e, 1e-12);
    expect_close(r.kept_mass[e], wanted.kept_mass[e], "kept mass", e, 1e-12);
  }
}

inline void expect_plan(const routed& r, const expected_merge& merged, const told_options& told) {
  const auto slots = static_cast<std::ptrdiff_t>(merged.slots);
  const reference::id_table kept(1, merged.slots,
                                 std::vector<std::int32_t>(r.kept_ids.begin(), r.kept_ids.begin() + slots));
  reference::matrix affinity(1, merged.slots, reference::absent);
  for (const reference::assignment& a : merged.assignments)
    affinity(0, merged.flat(a, told.choice.slots())) = a.affinity;
  reference::plan_options options = told.plan;
  if (told.by_affinity) options.affinity = &affinity;
  const reference::plan_result wanted = reference::plan(kept, options);
  ASSERT_EQ(r.num_rows[0], static_cast<std::int64_t>(wanted.num_rows_padded));
  EXPECT_EQ(r.num_rows[1], static_cast<std::int64_t>(wanted.num_rows_unpadded));
  const auto equal_up_to = [](const std::vector<std::int32_t>& actual, const auto& expected, const char* what) {
    ASSERT_GE(actual.size(), expected.size()) << what;
    for (std::size_t i = 0; i < actual.size(); ++i)
      ASSERT_EQ(actual[i], i < expected.size() ? static_cast<std::int32_t>(expected[i]) : -7)
          << what << '[' << i << ']';
  };
  equal_up_to(r.tokens_per_expert, wanted.tokens_per_expert, "tokens_per_expert");
  equal_up_to(r.expert_offsets, wanted.expert_offsets, "expert_offsets");
  equal_up_to(r.sorted_token_ids, wanted.sorted_token_ids, "sorted_token_ids");
  equal_up_to(r.inverse, wanted.inverse.values, "inverse");
  equal_up_to(r.expert_ids, wanted.expert_ids, "expert_ids");
}

//! Sends rows to their experts and back under the route's plan.
template <class Row>
void expect_moves(const routed& r, support::random_source& random) {
  const auto tokens = static_cast<std::size_t>(r.tokens);
  const std::size_t width = random.pick(std::vector<std::size_t>{1, 5, 16, 33});
  const std::int64_t columns = static_cast<std::int64_t>(width);
  const std::vector<Row> x = to_rows<Row>(support::normal_values(random, tokens * width));
  const auto rows = static_cast<std::size_t>(r.num_rows[0]);
  std::vector<Row> permuted(rows * width);
  std::vector<Row> y(tokens * width);
  const resonance::serial_executor serial;
  ASSERT_TRUE(resonance::permute::host_permute(serial, resonance::matrix_view<const Row>(x.data(), r.tokens, columns),
                                               r.rows(),
                                               resonance::matrix_view<Row>(permuted.data(), r.num_rows[0], columns))
                  .ok());
  ASSERT_TRUE(resonance::permute::host_unpermute(
                  serial, resonance::matrix_view<const Row>(permuted.data(), r.num_rows[0], columns), r.rows(),
                  resonance::matrix_view<Row>(y.data(), r.tokens, columns))
                  .ok());
  const resonance::assignment_view kept = r.kept_assignments();
  for (std::size_t row = 0; row < rows; ++row) {
    const std::int32_t slot = r.sorted_token_ids[row];
    const std::vector<Row> zeros(width, Row{});
    const Row* wanted = slot < 0 ? zeros.data() : x.data() + static_cast<std::size_t>(kept.token(slot)) * width;
    EXPECT_EQ(std::memcmp(permuted.data() + row * width, wanted, width * sizeof(Row)), 0) << "row " << row;
  }
  const double half_unit = std::is_same<Row, float>::value ? 1e-6 : 1.0 / 256;
  for (std::size_t t = 0; t < tokens; ++t) {
    for (std::size_t j = 0; j < width; ++j) {
      double sum = 0;
      double magnitude = 0;
      for (std::int64_t slot = kept.begin(r.tokens == 0 ? 0 : static_cast<std::int64_t>(t));
           slot < kept.end(static_cast<std::int64_t>(t)); ++slot) {
        const auto flat = static_cast<std::size_t>(slot);
        if (r.inverse[flat] < 0) continue;
        const double term = static_cast<double>(r.kept_weights[flat]) * from_row(x[t * width + j]);
        sum += term;
        magnitude += std::fabs(term);
      }
      if (magnitude > 1e4) continue;  // beyond the 16-bit formats; such weights occur for hostile scores alone
      EXPECT_NEAR(from_row(y[t * width + j]), sum, half_unit * std::fabs(sum) + 1e-6 * magnitude + 1e-7);
    }
  }
}

//! Every array of the route `r` of `s` and `o` against the reference.
template <class Row, class M, class S, class G, class C, class F, class O>
void expect_route(const routed& r, const storage<Row>& s, const resonance::route::options<M, S, G, C, F, O>& o,
                  const told_options& told) {
  const std::size_t k = told.choice.slots();
  expect_affinity<M>(r, s);
  const reference::matrix delta = reference::widened(r.affinity, s.tokens, s.experts);
  const reference::matrix scores = library_scores(r, o.score);
  const std::vector<double> bias(s.bias.begin(), s.bias.end());

  reference::choice_options unfilled = told.choice;
  unfilled.missing = reference::missing_choice::minus_one;
  const reference::choices found = reference::token_choice(delta, scores, bias, told.score.function, unfilled);
  const reference::choices chosen = reference::token_choice(delta, scores, bias, told.score.function, told.choice);
  const reference::matrix weights = expected_weights(r, o.score, found.ids, scores, told);
  reference::matrix seen = delta;  // what merge reads: a filled slot has no affinity
  double largest_chosen = reference::absent;
  for (std::size_t t = 0; t < s.tokens; ++t) {
    for (std::size_t slot = 0; slot < k; ++slot) {
      const std::int32_t id = found.ids(t, slot);
      const double wanted = id >= 0 ? delta(t, static_cast<std::size_t>(id)) : reference::absent;
      largest_chosen = std::max(largest_chosen, wanted);
      if (id < 0 && chosen.ids(t, slot) >= 0 && !r.ragged)
        seen(t, static_cast<std::size_t>(chosen.ids(t, slot))) = reference::absent;
      EXPECT_EQ(r.topk_ids[t * k + slot], chosen.ids(t, slot)) << "token " << t << " slot " << slot;
      EXPECT_EQ(r.topk_affinity[t * k + slot], wanted) << "token " << t << " slot " << slot;
      expect_close(r.topk_weights[t * k + slot], weights(t, slot), "topk_weights", t * k + slot);
    }
  }
  told_options told_prune = told;  // where experts are asked, delta_max is still the tokens'
  if (G::needs_expert_choice && !told.prune.delta_max) told_prune.prune.delta_max = std::max(largest_chosen, 0.0);
  reference::token_lists expert_tokens;
  if (G::needs_expert_choice) expert_tokens = reference::expert_choice(delta, expert_capacities(delta, told_prune));
  expected_merge merged;
  merged.assignments =
      reference::merge(kind_of<G>(), r.ragged ? found.ids : chosen.ids, weights, seen, expert_tokens, scores);
  merged.slots = s.tokens * k;
  if (r.ragged) {
    make_ragged(merged, s.tokens, std::is_same<G, resonance::merge::expert_only>::value,
                [&](const reference::id_table& ids) { return expected_weights(r, o.score, ids, scores, told); });
    EXPECT_EQ(r.token_offsets, merged.token_offsets);
    if (::testing::Test::HasFailure()) return;
  }
  std::vector<std::int32_t> ids(r.merged_ids.size(), r.ragged || !G::needs_expert_choice ? -7 : -1);
  std::vector<std::int32_t> ranks(r.rank_in_expert.size(), r.ragged ? -7 : -1);
  for (const reference::assignment& a : merged.assignments) {
    const std::size_t slot = merged.flat(a, k);
    ranks[slot] = static_cast<std::int32_t>(a.rank);
    if (G::needs_expert_choice) ids[slot] = a.expert;
    if (!r.ragged) continue;
    EXPECT_EQ(r.merged_affinity[slot], a.affinity) << "merged affinity of slot " << slot;
    EXPECT_EQ(r.token_of_slot[slot], a.token);
    expect_close(r.merged_weights[slot], a.weight, "merged weight", slot);
  }
  EXPECT_EQ(r.merged_ids, ids);
  EXPECT_EQ(r.rank_in_expert, ranks);
  expect_prune(r, merged, told_prune);
  expect_plan(r, merged, told);
}

}  // namespace properties
