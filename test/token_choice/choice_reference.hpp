// SPDX-License-Identifier: Apache-2.0
// Token choice of the library and of the reference on one input: ids exact, weights to a relative 1e-5.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include <resonance/affinity/host_affinity.hpp>
#include <resonance/affinity/host_scores.hpp>
#include <resonance/core/executor.hpp>
#include <resonance/token_choice/host_token_choice.hpp>

#include "affinity/reference_score.hpp"
#include "affinity/typed_rows.hpp"
#include "reference/token_choice.hpp"
#include "support/executors.hpp"
#include "support/poison.hpp"
#include "support/random.hpp"

namespace choice_reference {

namespace affinity = resonance::affinity;
namespace token_choice = resonance::token_choice;

inline void describe(const token_choice::top_k&, reference::choice_options&) {}

inline void describe(const token_choice::grouped_top_k& policy, reference::choice_options& r) {
  r.policy = reference::choice_policy::grouped_top_k;
  r.n_group = static_cast<std::size_t>(policy.n_group);
  r.topk_group = static_cast<std::size_t>(policy.topk_group);
  r.score_of_group = policy.scored_by == token_choice::group_score::best ? reference::group_score::best
                                                                         : reference::group_score::sum_of_two_best;
}

inline void describe(const token_choice::top_p& policy, reference::choice_options& r) {
  r.policy = reference::choice_policy::top_p;
  r.p = policy.p;
}

inline void describe(const token_choice::rank_set& policy, reference::choice_options& r) {
  r.policy = reference::choice_policy::rank_set;
  r.ranks.assign(policy.ranks, policy.ranks + r.k);
}

inline void describe(const token_choice::threshold& policy, reference::choice_options& r) {
  r.policy = reference::choice_policy::threshold;
  r.above = static_cast<double>(policy.above);
}

template <class Selection>
reference::choice_options options_of(const Selection& selection, const token_choice::options& o) {
  reference::choice_options r;
  r.k = static_cast<std::size_t>(o.top_k);
  r.renormalize = o.renormalize;
  r.routed_scaling_factor = static_cast<double>(o.routed_scaling_factor);
  r.missing = o.missing == token_choice::missing_choice::lowest_ids ? reference::missing_choice::lowest_ids
                                                                    : reference::missing_choice::minus_one;
  describe(selection, r);
  return r;
}

struct chosen {
  std::vector<std::int32_t> ids;
  std::vector<float> weights, affinity, delta;
};

//! Runs host_token_choice in exactly the answered workspace at an odd address, and checks the red zones.
template <class Source, class Score, class Selection>
chosen run(const support::any_executor& executor, const Source& source, const Score& score, const Selection& selection,
           const token_choice::options& o) {
  const auto tokens = static_cast<std::size_t>(source.tokens());
  const auto experts = static_cast<std::size_t>(source.experts());
  const std::size_t slots = tokens * static_cast<std::size_t>(o.top_k);
  support::guarded_buffer<std::int32_t> ids(slots);
  support::guarded_buffer<float> weights(slots), slot_affinity(slots), delta(tokens * experts);
  support::guarded_buffer<char> workspace(token_choice::host_token_choice_workspace_bytes(executor, source), 1);
  const resonance::status result = token_choice::host_token_choice(
      executor, source, score, selection, o, {ids.data(), weights.data(), slot_affinity.data()},
      resonance::matrix_view<float>(delta.data(), source.tokens(), source.experts()),
      {workspace.data(), workspace.size()});
  EXPECT_TRUE(result.ok()) << result.argument << ' ' << result.message();
  EXPECT_TRUE(ids.intact() && weights.intact() && slot_affinity.intact() && delta.intact() && workspace.intact());
  return {{ids.begin(), ids.end()},
          {weights.begin(), weights.end()},
          {slot_affinity.begin(), slot_affinity.end()},
          {delta.begin(), delta.end()}};
}

//! The library's raw scores of its own deltas.
template <class Score>
std::vector<float> host_scores(const std::vector<float>& delta, std::size_t tokens, std::size_t experts,
                               const Score& score) {
  std::vector<float> scores(delta.size());
  const auto rows = static_cast<std::int64_t>(tokens);
  const auto cols = static_cast<std::int64_t>(experts);
  const resonance::status scored =
      affinity::host_scores(support::serial(), score, resonance::matrix_view<const float>(delta.data(), rows, cols),
                            resonance::matrix_view<float>(scores.data(), rows, cols));
  EXPECT_TRUE(scored.ok());
  return scores;
}

//! What the reference chooses from the library's own deltas and scores, so that no rounding of a score function can
//! make a false difference; the weights are the reference's from the start. `ids` before any fill go to `unfilled`.
template <class Score, class Selection>
reference::choices expected_choices(const std::vector<float>& delta, const std::vector<float>& scores,
                                    std::size_t tokens, std::size_t experts, const Score& score,
                                    const Selection& selection, const token_choice::options& o,
                                    reference::id_table& unfilled) {
  const reference::matrix exact_delta = reference::widened(delta, tokens, experts);
  std::vector<double> bias;
  if (o.correction_bias != nullptr) bias.assign(o.correction_bias, o.correction_bias + experts);

  const reference::score_options scoring = reference_score::options_of(score);
  reference::choice_options options = options_of(selection, o);
  options.missing = reference::missing_choice::minus_one;
  reference::choices result = reference::token_choice(exact_delta, reference::widened(scores, tokens, experts), bias,
                                                      scoring.function, options);
  result.weights =
      reference::weights_of(result.ids, reference::scores(exact_delta, scoring), scoring.function, options);
  unfilled = result.ids;
  if (o.missing == token_choice::missing_choice::lowest_ids) reference::fill_lowest_ids(result.ids, experts);
  return result;
}

//! `scores` are the library's, of got.delta [tokens, experts].
template <class Score, class Selection>
void expect_reference(const chosen& got, const std::vector<float>& scores, std::size_t tokens, std::size_t experts,
                      const Score& score, const Selection& selection, const token_choice::options& o) {
  reference::id_table unfilled;
  const reference::choices expected =
      expected_choices(got.delta, scores, tokens, experts, score, selection, o, unfilled);
  ASSERT_EQ(got.ids, expected.ids.values) << "T " << tokens << " E " << experts << " K " << o.top_k;
  for (std::size_t slot = 0; slot < got.ids.size(); ++slot) {
    const double weight = expected.weights.values[slot];
    ASSERT_NEAR(got.weights[slot], weight, 1e-5 * std::fabs(weight)) << "slot " << slot;
    const std::int32_t id = unfilled.values[slot];
    const std::size_t token = slot / static_cast<std::size_t>(o.top_k);
    const float affinity_of_slot =
        id < 0 ? -std::numeric_limits<float>::infinity() : got.delta[token * experts + static_cast<std::size_t>(id)];
    ASSERT_EQ(got.affinity[slot], affinity_of_slot) << "slot " << slot;
  }
}

template <class Source, class Score, class Selection>
void expect_reference(const Source& source, const Score& score, const Selection& selection,
                      const token_choice::options& o) {
  const chosen got = run(support::serial(), source, score, selection, o);
  const auto tokens = static_cast<std::size_t>(source.tokens());
  const auto experts = static_cast<std::size_t>(source.experts());
  expect_reference(got, host_scores(got.delta, tokens, experts, score), tokens, experts, score, selection, o);
}

template <class Row>
affinity::host_source<affinity::logits, affinity::logits_input<Row>> logits_source(const std::vector<Row>& logits,
                                                                                   std::size_t tokens,
                                                                                   std::size_t experts) {
  affinity::logits_input<Row> input;
  input.logits = {logits.data(), static_cast<std::int64_t>(tokens), static_cast<std::int64_t>(experts)};
  return {affinity::logits{}, input};
}

//! Logits of which one in twenty is absent, as the row type rounds them (16-bit types make ties).
template <class Row>
std::vector<Row> random_logits(support::random_source& random, std::size_t count) {
  std::vector<float> values = support::normal_values(random, count, 2);
  for (float& value : values)
    if (random.coin(0.05)) value = random.pick(std::vector<float>{-HUGE_VALF, std::numeric_limits<float>::quiet_NaN()});
  return typed_rows::narrowed<Row>(values);
}

}  // namespace choice_reference
