// SPDX-License-Identifier: Apache-2.0
// Every stage of the reference against small cases worked out by hand.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "reference/affinity.hpp"
#include "reference/balance.hpp"
#include "reference/expert_choice.hpp"
#include "reference/merge.hpp"
#include "reference/order.hpp"
#include "reference/permute.hpp"
#include "reference/plan.hpp"
#include "reference/prune.hpp"
#include "reference/score.hpp"
#include "reference/table.hpp"
#include "reference/token_choice.hpp"
#include "support/random.hpp"

namespace {

using namespace reference;
using counts = std::vector<std::size_t>;
using id_list = std::vector<std::int32_t>;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double inf = std::numeric_limits<double>::infinity();

TEST(order, ties_signed_zero_nan_and_infinities) {
  EXPECT_EQ(choosable_in_order({1, nan, -0.0, 0.0, -inf, 1}), (counts{0, 5, 2, 3}));
  EXPECT_EQ(choosable_in_order({double{FLT_MAX}, inf, 65504}), (counts{0, 1, 2}));
  EXPECT_EQ(choosable_in_order({65504, inf}, 65504), (counts{0, 1}));
}

TEST(order, one_rounding_to_fp32) {
  EXPECT_EQ(rounded(1 + 0x1p-24, precision::fp32), 1.0);
  EXPECT_EQ(rounded(1 + 0x1.8p-23, precision::fp32), 1 + 0x1p-22);
  EXPECT_EQ(rounded(1 + 0x1p-24, precision::fp64), 1 + 0x1p-24);
  EXPECT_EQ(rounded(-2.0 * FLT_MAX, precision::fp32), -inf);
  EXPECT_EQ(rounded(FLT_MAX + 1.0, precision::fp32), double{FLT_MAX});
}

TEST(affinity, slices_have_ceil_bounds) {
  counts bounds;
  for (std::size_t i = 0; i <= 3; ++i) bounds.push_back(slice_begin(i, 7, 3));
  EXPECT_EQ(bounds, (counts{0, 3, 5, 7}));
  EXPECT_EQ(slice_begin(1, 2880, 128), 23U);
  EXPECT_EQ(slice_begin(2, 2880, 128), 45U);
}

TEST(affinity, metrics_by_hand) {
  const matrix x(1, 4, {3, 0, 0, 4});
  const matrix w(3, 4, {1, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0});
  EXPECT_EQ(dot(x, w).values, (std::vector<double>{3, 8, 0}));
  const matrix cosines = cosine(x, w);
  EXPECT_DOUBLE_EQ(cosines(0, 0), 0.6);
  EXPECT_DOUBLE_EQ(cosines(0, 1), 0.8);
  EXPECT_EQ(cosines(0, 2), 0.0);
  EXPECT_DOUBLE_EQ(grouped_average_cosine(x, 2)(0, 0), 3 / (5 * std::sqrt(2.0)));
  EXPECT_DOUBLE_EQ(grouped_average_cosine(x, 2)(0, 1), 4 / (5 * std::sqrt(2.0)));
  EXPECT_EQ(grouped_average(x, 2).values, (std::vector<double>{1.5, 2}));
  const std::vector<double> slice_weights = {3, 4, 0, 0};
  EXPECT_DOUBLE_EQ(grouped_average_cosine(x, 2, slice_weights)(0, 0), 9.0 / 25);
  EXPECT_EQ(grouped_average_cosine(x, 2, slice_weights)(0, 1), 0.0);
  EXPECT_EQ(grouped_average(x, 2, slice_weights).values, (std::vector<double>{4.5, 0}));
  EXPECT_EQ(grouped_average_cosine(matrix(1, 4), 2).values, (std::vector<double>{0, 0}));
}

TEST(affinity, grouped_average_cosine_is_a_projection) {
  support::random_source random(1);
  const matrix x = widened(support::isotropic_tokens(random, 50, 45), 50, 45);
  matrix scaled = x;
  for (double& value : scaled.values) value *= 1e3;
  const matrix delta = grouped_average_cosine(x, 7);
  const matrix delta_of_scaled = grouped_average_cosine(scaled, 7);
  for (std::size_t t = 0; t < x.rows; ++t) {
    double sum_of_squares = 0;
    for (std::size_t e = 0; e < 7; ++e) {
      sum_of_squares += delta(t, e) * delta(t, e);
      EXPECT_NEAR(delta(t, e), delta_of_scaled(t, e), 1e-14);
    }
    EXPECT_LE(sum_of_squares, 1 + 1e-12);
  }
  matrix indicator(1, 45);
  for (std::size_t j = slice_begin(3, 45, 7); j < slice_begin(4, 45, 7); ++j) indicator(0, j) = 1;
  for (std::size_t e = 0; e < 7; ++e)
    EXPECT_NEAR(grouped_average_cosine(indicator, 7)(0, e), e == 3 ? 1.0 : 0.0, 1e-15);
}

TEST(score, functions_by_hand) {
  const std::vector<double> row = {std::log(1.0), std::log(3.0), nan, -inf};
  score_options options;
  std::vector<double> result = score_row(row, options);
  EXPECT_DOUBLE_EQ(result[0], 0.25);
  EXPECT_DOUBLE_EQ(result[1], 0.75);
  EXPECT_EQ(result[2], 0.0);
  EXPECT_EQ(result[3], 0.0);
  options.temperature = 0.5;
  EXPECT_DOUBLE_EQ(score_row(row, options)[1], 0.9);
  options = {score_function::relu_softmax, 0, 1, FLT_MAX};
  result = score_row({-5, std::log(3.0), nan}, options);
  EXPECT_DOUBLE_EQ(result[0], 0.25);
  EXPECT_DOUBLE_EQ(result[1], 0.75);
  EXPECT_EQ(result[2], 0.0);
  options.function = score_function::sigmoid;
  EXPECT_DOUBLE_EQ(score_row({std::log(3.0)}, options)[0], 0.75);
  options.function = score_function::sqrt_softplus;
  EXPECT_DOUBLE_EQ(score_row({25}, options)[0], 5.0);
  EXPECT_DOUBLE_EQ(score_row({0}, options)[0], std::sqrt(std::log(2.0)));
  options = {score_function::identity, 2, 4, FLT_MAX};
  EXPECT_DOUBLE_EQ(score_row({3}, options)[0], 2 * std::tanh(1.5) / 4);
  EXPECT_DOUBLE_EQ(score_row({inf}, options)[0], 0.5);
}

TEST(token_choice, top_k_and_weights) {
  const matrix delta(2, 4, {std::log(1.0), std::log(4.0), std::log(3.0), nan, 0, -inf, nan, -inf});
  choice_options options;
  options.k = 2;
  choices chosen = token_choice(delta, score_options{}, {}, options);
  EXPECT_EQ(chosen.ids.values, (id_list{1, 2, 0, -1}));
  EXPECT_DOUBLE_EQ(chosen.weights(0, 0), 0.5);
  EXPECT_DOUBLE_EQ(chosen.weights(0, 1), 0.375);
  EXPECT_EQ(chosen.weights(1, 0), 1.0);
  EXPECT_EQ(chosen.weights(1, 1), 0.0);
  options.renormalize = true;
  options.routed_scaling_factor = 2;
  options.missing = missing_choice::lowest_ids;
  chosen = token_choice(delta, score_options{}, {}, options);
  EXPECT_EQ(chosen.ids.values, (id_list{1, 2, 0, 1}));
  EXPECT_DOUBLE_EQ(chosen.weights(0, 0), 8.0 / 7);
  EXPECT_EQ(chosen.weights(1, 1), 0.0);
  score_options over_chosen;
  over_chosen.function = score_function::softmax_over_chosen;
  options.renormalize = false;
  options.routed_scaling_factor = 1;
  EXPECT_DOUBLE_EQ(token_choice(delta, over_chosen, {}, options).weights(0, 0), 4.0 / 7);
}

TEST(token_choice, bias_selects_and_does_not_weigh) {
  const matrix delta(1, 3, {0, std::log(3.0), nan});
  score_options sigmoid_scores;
  sigmoid_scores.function = score_function::sigmoid;
  const choices chosen = token_choice(delta, sigmoid_scores, {0.5, 0, 100}, choice_options{});
  EXPECT_EQ(chosen.ids.values, (id_list{0}));
  EXPECT_DOUBLE_EQ(chosen.weights(0, 0), 0.5);
}

TEST(token_choice, groups_count_score_and_bias) {
  const matrix delta(1, 4, {3, 2, 1, 0});
  score_options identity;
  identity.function = score_function::identity;
  choice_options options;
  options.policy = choice_policy::grouped_top_k;
  options.n_group = 2;
  EXPECT_EQ(token_choice(delta, identity, {}, options).ids.values, (id_list{0}));
  const choices biased = token_choice(delta, identity, {0, 0, 0, 4.5}, options);
  EXPECT_EQ(biased.ids.values, (id_list{3}));
  EXPECT_EQ(biased.weights.values, (std::vector<double>{0}));
  // -inf as a bias closes an expert; its group is then worth its other expert only.
  EXPECT_EQ(token_choice(delta, identity, {-inf, 0, 1.5, 0}, options).ids.values, (id_list{2}));
}

TEST(token_choice, relu_softmax_ties_below_zero) {
  score_options relu;
  relu.function = score_function::relu_softmax;
  const matrix delta(1, 3, {-2, -1, -3});
  choice_options options;
  options.k = 2;
  EXPECT_EQ(token_choice(delta, relu, {}, options).ids.values, (id_list{0, 1}));
}

TEST(token_choice, groups) {
  const matrix keys(1, 6, {9, 0, 5, 5, 1, nan});
  choice_options options;
  options.policy = choice_policy::grouped_top_k;
  options.k = 2;
  options.n_group = 3;
  options.topk_group = 1;
  EXPECT_EQ(choose(keys, options).values, (id_list{2, 3}));
  options.score_of_group = group_score::best;
  EXPECT_EQ(choose(keys, options).values, (id_list{0, 1}));
  options.topk_group = 2;
  EXPECT_EQ(choose(keys, options).values, (id_list{0, 2}));
}

TEST(token_choice, top_p_cuts_after_reaching_p) {
  const matrix delta(1, 4, {std::log(1.0), std::log(2.0), std::log(4.0), std::log(1.0)});
  choice_options options;
  options.policy = choice_policy::top_p;
  options.k = 4;
  options.p = 0.4;
  EXPECT_EQ(choose(delta, options).values, (id_list{2, -1, -1, -1}));
  options.p = 0.7;
  EXPECT_EQ(choose(delta, options).values, (id_list{2, 1, -1, -1}));
  options.p = 1;
  EXPECT_EQ(choose(delta, options).values, (id_list{2, 1, 0, 3}));
  options.p = 0.75;  // reached exactly by the two best
  EXPECT_EQ(choose(delta, delta, matrix(1, 4, {.125, .25, .5, .125}), options).values, (id_list{2, 1, -1, -1}));
}

TEST(token_choice, rank_set_takes_positions) {
  choice_options options;
  options.policy = choice_policy::rank_set;
  options.ranks = {1, 3};
  EXPECT_EQ(choose(matrix(2, 4, {1, 2, 3, 4, 1, nan, 3, 4}), options).values, (id_list{2, 0, 2, -1}));
}

TEST(expert_choice, all_tokens_and_candidates) {
  const matrix keys(3, 2, {1, 5, 3, 5, nan, 6});
  EXPECT_EQ(expert_choice(keys, 2), (token_lists{{1, 0}, {2, 0}}));
  EXPECT_EQ(expert_choice(keys, counts{3, 1}), (token_lists{{1, 0, -1}, {2}}));
  const id_table candidates(3, 1, {0, 1, 1});
  EXPECT_EQ(expert_choice(keys, 2, &candidates), (token_lists{{0, -1}, {2, 1}}));
}

struct merged_example {
  id_table ids{3, 2, {0, 1, 1, 0, 0, 7}};
  matrix weights{3, 2, {.1, .2, .3, .4, .5, .6}};
  matrix affinity{3, 3, {.5, .9, .1, .5, .2, .3, .7, .8, .6}};
  token_lists expert_tokens{{2}, {0, 2}, {1, -1}};

  // Token, slot, expert and rank of every assignment.
  std::vector<std::vector<int>> of(merge_kind kind) const {
    std::vector<std::vector<int>> rows;
    for (const assignment& a : merge(kind, ids, weights, affinity, expert_tokens, affinity))
      rows.push_back({a.token, a.slot, a.expert, static_cast<int>(a.rank)});
    return rows;
  }
};

TEST(merge, kinds_by_hand) {
  using rows = std::vector<std::vector<int>>;
  const merged_example example;
  const rows own = {{0, 0, 0, 1}, {0, 1, 1, 0}, {1, 0, 1, 1}, {1, 1, 0, 2}, {2, 0, 0, 0}};
  EXPECT_EQ(example.of(merge_kind::restricted), own);
  EXPECT_EQ(example.of(merge_kind::token_only), own);
  EXPECT_EQ(example.of(merge_kind::intersection), (rows{{0, 1, 1, 0}, {2, 0, 0, 0}}));
  EXPECT_EQ(example.of(merge_kind::union_),
            (rows{{0, 0, 0, 1}, {0, 1, 1, 0}, {1, 0, 1, 2}, {1, 1, 0, 2}, {1, 2, 2, 0}, {2, 0, 0, 0}, {2, 2, 1, 1}}));
  EXPECT_EQ(example.of(merge_kind::expert_only), (rows{{0, 1, 1, 0}, {1, 2, 2, 0}, {2, 0, 0, 0}, {2, 2, 1, 1}}));
}

std::vector<assignment> on_one_expert(const std::vector<double>& affinity) {
  id_table ids(affinity.size(), 1, 0);
  return merge(merge_kind::restricted, ids, matrix(affinity.size(), 1, 1.0), matrix(affinity.size(), 1, affinity));
}

TEST(prune, mass_is_counted_in_integers) {
  EXPECT_EQ(mass_capacity({4, 3, 2, 1}, 0.7), 2U);
  EXPECT_EQ(mass_capacity({4, 3, 2, 1}, 0.71), 3U);
  EXPECT_EQ(mass_capacity({1, 0, 0}, 1), 1U);
  EXPECT_EQ(mass_capacity({0, 0, 0}, 0.5), 3U);
  EXPECT_EQ(mass_capacity({}, 0.5), 0U);
  // The unit is 2^-30 here: half a unit rounds to even, so the tail of the first list weighs nothing.
  EXPECT_EQ(mass_capacity({1, 0x1p-31, 0x1p-31}, 1), 1U);
  EXPECT_EQ(mass_capacity({1, 0x1.8p-31, 0x1p-31}, 1), 2U);
  // Just above a power of two the unit doubles.
  EXPECT_EQ(mass_capacity({0x1.000002p0, 0x1p-30}, 1), 1U);
  const prune_result result = [] {
    prune_options options;
    options.rule = capacity_rule::affinity_mass;
    options.rho = 0.7;
    options.order = drop_order::position;
    return prune(on_one_expert({1, -5, 4, nan, 3, 2}), 6, 1, 1, options);
  }();
  EXPECT_EQ(result.kept, (std::vector<bool>{false, false, true, false, true, false}));
  EXPECT_EQ(result.dropped_per_expert, (counts{4}));
  EXPECT_EQ(result.kept_mass, (std::vector<double>{7}));
  EXPECT_EQ(result.total_mass, (std::vector<double>{10}));
}

TEST(prune, drop_orders) {
  // Expert 0 is the first choice of tokens 0 and 2 and the second of 1 and 3; token 3's best delta is elsewhere.
  const id_table ids(4, 2, {0, 1, 1, 0, 0, 1, 1, 0});
  const matrix affinity(4, 2, {.3, .1, .5, .6, .4, .2, .2, .9});
  const auto assignments = merge(merge_kind::restricted, ids, matrix(4, 2, 1.0), affinity);
  const auto kept_tokens = [&](drop_order order) {
    prune_options options;
    options.rule = capacity_rule::per_expert;
    options.per_expert = {2, 0};
    options.order = order;
    const prune_result result = prune(assignments, 4, 2, 2, options);
    id_list tokens;
    for (std::size_t i = 0; i < assignments.size(); ++i)
      if (result.kept[i]) tokens.push_back(assignments[i].token);
    return tokens;
  };
  EXPECT_EQ(kept_tokens(drop_order::affinity), (id_list{1, 2}));
  EXPECT_EQ(kept_tokens(drop_order::position), (id_list{0, 1}));
  EXPECT_EQ(kept_tokens(drop_order::slot_major), (id_list{0, 2}));
  EXPECT_EQ(kept_tokens(drop_order::batch_prioritized), (id_list{1, 3}));
}

TEST(prune, capacity_rules) {
  EXPECT_EQ(factor_capacity(1.0, 10, 2, 8), 3U);
  EXPECT_EQ(factor_capacity(1.25, 64, 1, 8), 10U);
  prune_options options;
  options.hidden = 4096;
  options.capacity_factor = 1e6;
  EXPECT_EQ(lower_bound_capacity(0.03, 100000, 1, 8, options), 1U);
  EXPECT_EQ(lower_bound_capacity(0.05, 100000, 1, 8, options), 22U);
  EXPECT_EQ(lower_bound_capacity(1.5, 100000, 1, 8, options), 100000U);
  options.capacity_factor = 1.1;
  EXPECT_EQ(lower_bound_capacity(0.08, 800, 1, 8, options), 111U);  // 1.1 * 100 is just above 110 in double
  options.floor = 5;
  EXPECT_EQ(lower_bound_capacity(0.0, 800, 1, 8, options), 5U);

  const merged_example example;
  const auto assignments = merge(merge_kind::restricted, example.ids, example.weights, example.affinity);
  prune_options none;
  EXPECT_EQ(prune(assignments, 3, 2, 3, none).kept_per_expert, (counts{3, 2, 0}));
  none.cap = 1;
  EXPECT_EQ(prune(assignments, 3, 2, 3, none).kept_per_expert, (counts{1, 1, 0}));
  prune_options shared;
  shared.rule = capacity_rule::per_expert;
  shared.per_expert = {1, 0, 2};
  EXPECT_EQ(prune(assignments, 3, 2, 3, shared).kept_per_expert, (counts{1, 0, 0}));
  shared.shared = true;
  const prune_result result = prune(assignments, 3, 2, 3, shared);
  EXPECT_EQ(result.capacities, (counts{2, 2, 2}));
  EXPECT_EQ(result.kept_per_expert, (counts{2, 2, 0}));
  const kept_choices kept(assignments, result.kept, 3, 2, true);
  EXPECT_EQ(kept.ids.values, (id_list{0, 1, 1, -1, 0, -1}));
  EXPECT_DOUBLE_EQ(kept.weights(0, 1), 2.0 / 3);
  EXPECT_EQ(kept.weights(1, 0), 1.0);
  EXPECT_EQ(kept.weights(1, 1), 0.0);
}

TEST(plan, tiles_capacity_and_map) {
  const id_table ids(3, 2, {2, 0, 2, 2, -1, 9});
  plan_options options;
  options.experts = 3;
  options.tile_tokens = 2;
  plan_result result = plan(ids, options);
  EXPECT_EQ(result.tokens_per_expert, (counts{1, 0, 3}));
  EXPECT_EQ(result.expert_offsets, (counts{0, 2, 2, 6}));
  EXPECT_EQ(result.sorted_token_ids, (id_list{1, -1, 0, 2, 3, -1}));
  EXPECT_EQ(result.inverse.values, (id_list{2, 0, 3, 4, -1, -1}));
  EXPECT_EQ(result.expert_ids, (id_list{0, 2, 2}));
  EXPECT_EQ(result.num_rows_unpadded, 4U);
  EXPECT_EQ(result.num_rows_padded, 6U);

  const matrix affinity(3, 2, {.1, .2, .3, .3, 0, 0});
  options.affinity = &affinity;
  EXPECT_EQ(plan(ids, options).sorted_token_ids, (id_list{1, -1, 2, 3, 0, -1}));

  options = plan_options{};
  options.experts = 3;
  options.capacity = 2;
  result = plan(ids, options);
  EXPECT_EQ(result.sorted_token_ids, (id_list{1, -1, -1, -1, 0, 2}));
  EXPECT_EQ(result.inverse.values, (id_list{4, 0, 5, -1, -1, -1}));
  EXPECT_EQ(result.tokens_per_expert, (counts{1, 0, 2}));

  options = plan_options{};
  options.experts = 3;
  options.expert_map = {-1, 1, 0};
  options.num_local = 2;
  result = plan(ids, options);
  EXPECT_EQ(result.tokens_per_expert, (counts{3, 0}));
  EXPECT_EQ(result.sorted_token_ids, (id_list{0, 2, 3}));
}

TEST(permute, round_trip_and_passthrough) {
  const matrix x(3, 2, {1, 2, 3, 4, 5, 6});
  const id_table ids(3, 2, {1, 0, -1, 1, -1, -1});
  plan_options options;
  options.experts = 2;
  options.tile_tokens = 2;
  const plan_result layout = plan(ids, options);
  const matrix permuted = permute(x, layout.sorted_token_ids, 2);
  EXPECT_EQ(permuted.values, (std::vector<double>{1, 2, 0, 0, 1, 2, 3, 4}));
  const matrix weights(3, 2, {.25, .5, 9, 2, 9, 9});
  EXPECT_EQ(unpermute(permuted, layout.inverse, weights).values, (std::vector<double>{.75, 1.5, 6, 8, 0, 0}));
  EXPECT_EQ(unpermute(permuted, layout.inverse, weights, &x).values, (std::vector<double>{.75, 1.5, 6, 8, 5, 6}));
}

TEST(balance, losses_by_hand) {
  EXPECT_EQ(tokens_per_expert(id_table(2, 2, {0, 1, 0, -1}), 2), (counts{2, 1}));
  EXPECT_DOUBLE_EQ(auxiliary_loss(assignment_share({5, 5, 5, 5}), {.25, .25, .25, .25}, 0.01), 0.01);
  EXPECT_DOUBLE_EQ(auxiliary_loss(assignment_share({3, 1}), {.5, .25}, 1), 2 * (0.375 + 0.0625));
  EXPECT_DOUBLE_EQ(z_loss(matrix(2, 2, {0, 0, 3, -inf})), (std::log(2.0) * std::log(2.0) + 9) / 2);
  EXPECT_NEAR(locality_loss({.45, .45, .05, .05}, {true, true, false, false}, 0.1, 3), 0.0, 1e-15);
  EXPECT_DOUBLE_EQ(locality_loss({1, 0}, {true, false}, 0.5, 2), 2 * std::log(2.0));
  EXPECT_DOUBLE_EQ(max_over_mean_load({6, 0, 2, 0}), 3.0);
  EXPECT_EQ(mean_probability(matrix(2, 2, {1, 0, .5, .5})), (std::vector<double>{.75, .25}));
  // Clusters {0, 2} and {10, 12}: between = 4 * 25, within = 4 * 1.
  EXPECT_DOUBLE_EQ(calinski_harabasz(matrix(4, 1, {0, 10, 2, 12}), id_table(4, 1, {0, 1, 0, 1}), 3), 25.0);
}

}  // namespace
