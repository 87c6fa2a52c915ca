// SPDX-License-Identifier: Apache-2.0
// A random route: its input, its options, and what the reference makes of them.
//
// Where order is decided the reference reads the library's own floats: the deltas that the route wrote (which are held
// to the metric's definition apart from that) and host_scores of them. From there on ids, ranks, capacities and rows
// are exact, and weights hold to 1e-5.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include <resonance/resonance.hpp>

#include "properties/routed.hpp"
#include "reference/affinity.hpp"
#include "reference/merge.hpp"
#include "reference/plan.hpp"
#include "reference/prune.hpp"
#include "reference/token_choice.hpp"
#include "support/half.hpp"
#include "support/random.hpp"

namespace properties {

//! The rows' type by its bits, converted by code that shares nothing with the library.
inline float to_row(float value, const float*) { return value; }
inline resonance::bfloat16 to_row(float value, const resonance::bfloat16*) { return {support::float_to_bf16(value)}; }
inline resonance::float16 to_row(float value, const resonance::float16*) { return {support::float_to_fp16(value)}; }
inline float from_row(float value) { return value; }
inline float from_row(resonance::bfloat16 value) { return support::bf16_to_float(value.bits); }
inline float from_row(resonance::float16 value) { return support::fp16_to_float(value.bits); }
inline double largest_of(const float*) { return std::numeric_limits<float>::max(); }
inline double largest_of(const resonance::bfloat16*) { return support::bf16_largest; }
inline double largest_of(const resonance::float16*) { return support::fp16_largest; }

template <class Row>
std::vector<Row> to_rows(const std::vector<float>& values) {
  std::vector<Row> rows;
  for (const float value : values) rows.push_back(to_row(value, static_cast<const Row*>(nullptr)));
  return rows;
}

template <class Row>
std::vector<float> from_rows(const std::vector<Row>& rows) {
  std::vector<float> values;
  for (const Row row : rows) values.push_back(from_row(row));
  return values;
}

//! The arrays behind a route's input and options. Not movable: views point into it.
template <class Row>
struct storage {
  std::size_t tokens = 0;
  std::size_t experts = 0;
  std::size_t hidden = 0;
  std::vector<Row> x;
  std::vector<Row> gate;
  std::vector<Row> logits;
  std::vector<float> slice_weights;
  std::vector<float> token_norms;
  std::vector<float> gate_norms;
  std::vector<float> bias;
  std::vector<std::int32_t> ranks;
  std::vector<std::int64_t> capacities;
  std::vector<std::int32_t> expert_map;
  bool hostile = false;  // scores may be NaN, infinite or close to overflow

  storage() = default;
  storage(const storage&) = delete;
  storage& operator=(const storage&) = delete;
};

template <class Metric>
constexpr bool reads_logits = Metric::reads == resonance::affinity::operand::logits;

template <class Metric, class Row>
auto input_of(const storage<Row>& s) {
  const auto tokens = static_cast<std::int64_t>(s.tokens);
  const auto hidden = static_cast<std::int64_t>(s.hidden);
  const auto experts = static_cast<std::int64_t>(s.experts);
  if constexpr (reads_logits<Metric>) {
    resonance::affinity::logits_input<Row> input;
    input.logits = {s.logits.data(), tokens, experts};
    input.token_norms = s.token_norms.data();
    input.gate_norms = s.gate_norms.data();
    return input;
  } else {
    resonance::affinity::hidden_input<Row> input;
    input.hidden = {s.x.data(), tokens, hidden};
    if (Metric::reads == resonance::affinity::operand::gate) input.gate = {s.gate.data(), experts, hidden};
    input.experts = static_cast<std::int32_t>(experts);
    input.slice_weights = s.slice_weights.empty() ? nullptr : s.slice_weights.data();
    return input;
  }
}

inline void draw_shape(support::random_source& random, std::size_t& tokens, std::size_t& experts, std::size_t& hidden) {
  static const std::vector<std::size_t> token_counts = {0, 1, 2, 7, 12, 33, 33, 60};
  static const std::vector<std::size_t> expert_counts = {1, 2, 6, 7, 8, 12, 13, 24, 40};
  tokens = random.pick(token_counts);
  experts = random.pick(expert_counts);
  hidden = experts + random.below(40);
}

//! Fills the arrays. Hidden states are finite; logits are of every hostile kind in turn.
template <class Metric, class Row>
void draw_input(support::random_source& random, storage<Row>& s) {
  draw_shape(random, s.tokens, s.experts, s.hidden);
  if (reads_logits<Metric>) {
    const std::size_t count = s.tokens * s.experts;
    if (random.coin(0.4)) {
      const support::adversary kind = random.pick(support::all_adversaries());
      s.hostile = kind != support::adversary::ties && kind != support::adversary::constant;
      s.logits = to_rows<Row>(support::adversarial_values(random, count, kind));
    } else {
      s.logits = to_rows<Row>(support::normal_values(random, count, 2.0));
    }
    s.token_norms = support::normal_values(random, s.tokens);
    s.gate_norms = support::normal_values(random, s.experts);
    for (float& norm : s.token_norms) norm = random.coin(0.1) ? 0.0F : std::fabs(norm) + 0.5F;
    for (float& norm : s.gate_norms) norm = random.coin(0.1) ? 0.0F : std::fabs(norm) + 0.5F;
    return;
  }
  s.x = to_rows<Row>(support::normal_values(random, s.tokens * s.hidden));
  if (s.tokens > 0 && random.coin(0.2)) std::fill_n(s.x.begin(), s.hidden, Row{});
  s.gate = to_rows<Row>(support::normal_values(random, s.experts * s.hidden, 0.3));
  if (random.coin(0.5)) s.slice_weights = support::normal_values(random, s.hidden);
}

//! delta by the metric's definition, in double.
template <class Metric, class Row>
reference::matrix metric_by_definition(const storage<Row>& s) {
  namespace affinity = resonance::affinity;
  if constexpr (reads_logits<Metric>) {
    reference::matrix logits = reference::widened(from_rows(s.logits), s.tokens, s.experts);
    if constexpr (std::is_same<Metric, affinity::logits>::value) return logits;
    return reference::cosine_from_logits(logits, {s.token_norms.begin(), s.token_norms.end()},
                                         {s.gate_norms.begin(), s.gate_norms.end()});
  } else {
    const reference::matrix x = reference::widened(from_rows(s.x), s.tokens, s.hidden);
    const reference::matrix w = reference::widened(from_rows(s.gate), s.experts, s.hidden);
    const std::vector<double> v(s.slice_weights.begin(), s.slice_weights.end());
    if constexpr (std::is_same<Metric, affinity::dot>::value) return reference::dot(x, w);
    if constexpr (std::is_same<Metric, affinity::cosine>::value) return reference::cosine(x, w);
    if constexpr (std::is_same<Metric, affinity::grouped_average>::value)
      return reference::grouped_average(x, s.experts, v);
    return reference::grouped_average_cosine(x, s.experts, v);
  }
}

template <class Score>
constexpr reference::score_function function_of() {
  namespace affinity = resonance::affinity;
  using reference::score_function;
  if (std::is_same<Score, affinity::softmax>::value) return score_function::softmax;
  if (std::is_same<Score, affinity::softmax_over_chosen>::value) return score_function::softmax_over_chosen;
  if (std::is_same<Score, affinity::sigmoid>::value) return score_function::sigmoid;
  if (std::is_same<Score, affinity::sqrt_softplus>::value) return score_function::sqrt_softplus;
  if (std::is_same<Score, affinity::relu_softmax>::value) return score_function::relu_softmax;
  return score_function::identity;
}

template <class Merge>
constexpr reference::merge_kind kind_of() {
  namespace merge = resonance::merge;
  using reference::merge_kind;
  if (std::is_same<Merge, merge::intersection>::value) return merge_kind::intersection;
  if (std::is_same<Merge, merge::union_>::value) return merge_kind::union_;
  if (std::is_same<Merge, merge::expert_only>::value) return merge_kind::expert_only;
  if (std::is_same<Merge, merge::token_only>::value) return merge_kind::token_only;
  return merge_kind::restricted;
}

template <class Order>
constexpr reference::drop_order order_of() {
  namespace prune = resonance::prune;
  using reference::drop_order;
  if (std::is_same<Order, prune::position>::value) return drop_order::position;
  if (std::is_same<Order, prune::slot_major>::value) return drop_order::slot_major;
  if (std::is_same<Order, prune::batch_prioritized>::value) return drop_order::batch_prioritized;
  if (std::is_same<Order, prune::slot_major_prioritized>::value) return drop_order::slot_major_prioritized;
  return drop_order::affinity;
}

//! Draws the policy's parameters, in both tongues.
template <class Row>
void draw_selection(support::random_source&, storage<Row>&, resonance::token_choice::top_k&,
                    reference::choice_options&) {}

template <class Row>
void draw_selection(support::random_source& random, storage<Row>& s, resonance::token_choice::grouped_top_k& policy,
                    reference::choice_options& told) {
  std::vector<std::size_t> divisors;
  for (std::size_t g = 1; g <= s.experts; ++g)
    if (s.experts % g == 0) divisors.push_back(g);
  told.policy = reference::choice_policy::grouped_top_k;
  told.n_group = random.pick(divisors);
  told.topk_group = random.between(1, told.n_group);
  policy.n_group = static_cast<std::int32_t>(told.n_group);
  policy.topk_group = static_cast<std::int32_t>(told.topk_group);
  if (random.coin()) {
    policy.scored_by = resonance::token_choice::group_score::best;
    told.score_of_group = reference::group_score::best;
  }
}

template <class Row>
void draw_selection(support::random_source& random, storage<Row>&, resonance::token_choice::top_p& policy,
                    reference::choice_options& told) {
  told.policy = reference::choice_policy::top_p;
  told.p = policy.p = random.coin(0.2) ? 1.0 : 1e-3 + 0.998 * random.uniform();
}

template <class Row>
void draw_selection(support::random_source& random, storage<Row>&, resonance::token_choice::threshold& policy,
                    reference::choice_options& told) {
  told.policy = reference::choice_policy::threshold;
  policy.above = static_cast<float>(random.normal());
  told.above = static_cast<double>(policy.above);
}

template <class Row>
void draw_selection(support::random_source& random, storage<Row>& s, resonance::token_choice::rank_set& policy,
                    reference::choice_options& told) {
  told.policy = reference::choice_policy::rank_set;
  std::vector<std::int32_t> all;
  for (std::size_t rank = 0; rank < s.experts; ++rank) all.push_back(static_cast<std::int32_t>(rank));
  while (all.size() > told.k) all.erase(all.begin() + static_cast<std::ptrdiff_t>(random.below(all.size())));
  s.ranks = all;
  told.ranks.assign(all.begin(), all.end());
  policy.ranks = s.ranks.data();
}

template <class Row>
void draw_capacity(support::random_source&, storage<Row>&, resonance::prune::unlimited&,
                   reference::prune_options& told) {
  told.rule = reference::capacity_rule::unlimited;
}

template <class Row>
void draw_capacity(support::random_source& random, storage<Row>& s, resonance::prune::fixed& rule,
                   reference::prune_options& told) {
  told.rule = reference::capacity_rule::fixed;
  told.fixed = random.below(s.tokens + 2);
  rule.count = static_cast<std::int64_t>(told.fixed);
}

template <class Row>
void draw_capacity(support::random_source& random, storage<Row>&, resonance::prune::factor& rule,
                   reference::prune_options& told) {
  told.rule = reference::capacity_rule::factor;
  told.capacity_factor = rule.capacity_factor = 1.5 * random.uniform();
}

template <class Row>
void draw_capacity(support::random_source& random, storage<Row>&, resonance::prune::lower_bound& rule,
                   reference::prune_options& told) {
  told.rule = reference::capacity_rule::lower_bound;
  told.capacity_factor = rule.capacity_factor = 0.5 + random.uniform();
  told.floor = random.below(4);
  rule.floor = static_cast<std::int64_t>(told.floor);
  if (!random.coin()) return;
  told.delta_max = rule.delta = random.uniform() - 0.2;
  told.delta_max = std::max(*told.delta_max, 0.0);
  rule.delta_given = true;
}

template <class Row>
void draw_capacity(support::random_source& random, storage<Row>&, resonance::prune::affinity_mass& rule,
                   reference::prune_options& told) {
  told.rule = reference::capacity_rule::affinity_mass;
  told.rho = rule.rho = random.coin(0.2) ? 1.0 : 1e-3 + 0.998 * random.uniform();
}

template <class Row>
void draw_capacity(support::random_source& random, storage<Row>& s, resonance::prune::per_expert& rule,
                   reference::prune_options& told) {
  told.rule = reference::capacity_rule::per_expert;
  for (std::size_t e = 0; e < s.experts; ++e) {
    told.per_expert.push_back(random.below(s.tokens + 2));
    s.capacities.push_back(static_cast<std::int64_t>(told.per_expert.back()));
  }
  rule.capacities = s.capacities.data();
}

//! What the reference is told about a route.
struct told_options {
  reference::score_options score;
  reference::choice_options choice;
  reference::prune_options prune;
  reference::plan_options plan;
  bool by_affinity = false;
  bool renormalize_kept = false;
  std::int64_t expert_capacity = -1;
};

template <class Row, class M, class S, class G, class C, class F, class O>
told_options draw_options(support::random_source& random, storage<Row>& s,
                          resonance::route::options<M, S, G, C, F, O>& o) {
  told_options told;
  told.score.function = function_of<F>();
  if (!s.hostile && random.coin(0.3)) told.score.temperature = o.score.temperature = 0.5F;
  if (!s.hostile && random.coin(0.3)) told.score.logit_cap = o.score.logit_cap = 1.5F;

  told.choice.k = random.coin(0.2) ? s.experts : random.between(1, std::min<std::size_t>(s.experts, 6));
  o.choice.top_k = static_cast<std::int32_t>(told.choice.k);
  draw_selection(random, s, o.selection, told.choice);
  if (random.coin(0.4)) {
    s.bias = support::normal_values(random, s.experts);
    o.choice.correction_bias = s.bias.data();
  }
  // Weights that are affinities have signs, so that their sum may cancel and no relative error can be promised.
  const bool may_sum = !std::is_same<F, resonance::affinity::identity>::value;
  told.choice.renormalize = o.choice.renormalize = may_sum && random.coin();
  if (!s.hostile && random.coin(0.3)) told.choice.routed_scaling_factor = o.choice.routed_scaling_factor = 2.5F;
  if (random.coin(0.3)) {
    o.choice.missing = resonance::token_choice::missing_choice::lowest_ids;
    told.choice.missing = reference::missing_choice::lowest_ids;
  }

  draw_capacity(random, s, o.capacity, told.prune);
  told.prune.order = order_of<O>();
  told.prune.hidden = s.hidden;
  o.prune.hidden = static_cast<std::int64_t>(s.hidden);
  if (random.coin(0.3)) {
    told.prune.cap = random.below(s.tokens + 1);
    o.prune.capacity_cap = static_cast<std::int64_t>(*told.prune.cap);
  }
  told.prune.shared = o.prune.shared = random.coin(0.3);
  told.renormalize_kept = o.prune.renormalize = may_sum && random.coin(0.3);
  if (random.coin()) told.expert_capacity = o.expert_capacity = static_cast<std::int64_t>(random.below(s.tokens + 2));

  told.plan.experts = s.experts;
  told.plan.tile_tokens = random.pick(std::vector<std::size_t>{1, 1, 2, 3, 8});
  o.plan.tile_tokens = static_cast<std::int32_t>(told.plan.tile_tokens);
  told.by_affinity = random.coin(0.3);
  o.plan.by_affinity = told.by_affinity;
  if (random.coin(0.3)) {
    told.plan.capacity = random.below(s.tokens + 3);
    o.plan.pad_to_capacity = static_cast<std::int64_t>(*told.plan.capacity);
  }
  if (random.coin(0.3)) {
    told.plan.num_local = random.between(1, s.experts);
    for (std::size_t e = 0; e < s.experts; ++e)
      s.expert_map.push_back(static_cast<std::int32_t>(random.below(s.experts + 1)) - 1);
    told.plan.expert_map = s.expert_map;
    o.plan.expert_map = s.expert_map.data();
    o.plan.num_local = static_cast<std::int32_t>(told.plan.num_local);
  }
  return told;
}

}  // namespace properties
