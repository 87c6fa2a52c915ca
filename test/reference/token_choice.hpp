// SPDX-License-Identifier: Apache-2.0
// Section 3 of the contract: each token chooses experts, and what weights it gives them.
#pragma once

#include <algorithm>
#include <cfloat>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "reference/order.hpp"
#include "reference/score.hpp"
#include "reference/table.hpp"

namespace reference {

enum class choice_policy { top_k, grouped_top_k, top_p, rank_set, threshold };
enum class group_score { sum_of_two_best, best };
enum class missing_choice { minus_one, lowest_ids };

struct choice_options {
  choice_policy policy = choice_policy::top_k;
  std::size_t k = 1;
  std::size_t n_group = 1;     // grouped_top_k
  std::size_t topk_group = 1;  // grouped_top_k
  group_score score_of_group = group_score::sum_of_two_best;
  double p = 1;                    // top_p
  std::vector<std::size_t> ranks;  // rank_set: positions of the descending order, 0 = best; slot s holds ranks[s]
  double above = 0;                // threshold
  missing_choice missing = missing_choice::minus_one;
  bool renormalize = false;
  double routed_scaling_factor = 1;
  double largest_finite = FLT_MAX;
  precision sums = precision::fp32;  // of score + bias and of a group's two best

  std::size_t slots() const { return policy == choice_policy::rank_set ? ranks.size() : k; }
};

struct choices {
  id_table ids;    // topk_ids [T,K]
  matrix weights;  // topk_weights [T,K]
};

//! Selection keys [T,E]: score + bias where there is a bias; else delta itself, of which relu_softmax sees only the
//! positive part.
inline matrix selection_keys(const matrix& delta, const matrix& scores, const std::vector<double>& bias,
                             score_function function, precision sums = precision::fp32,
                             double largest_finite = FLT_MAX) {
  matrix keys = delta;
  for (std::size_t t = 0; t < delta.rows; ++t) {
    for (std::size_t e = 0; e < delta.cols; ++e) {
      if (!choosable(delta(t, e)))
        keys(t, e) = absent;
      else if (!bias.empty())
        keys(t, e) = rounded(ranked_value(scores(t, e), largest_finite) + bias[e], sums);
      else if (function == score_function::relu_softmax)
        keys(t, e) = std::max(delta(t, e), 0.0);
    }
  }
  return keys;
}

//! What groups are scored by [T,E]: score + bias, or the score alone where there is no bias.
inline matrix group_keys(const matrix& delta, const matrix& scores, const std::vector<double>& bias,
                         precision sums = precision::fp32, double largest_finite = FLT_MAX) {
  if (bias.empty()) return without_absent(scores, delta);
  return selection_keys(delta, scores, bias, score_function::identity, sums, largest_finite);
}

//! The keys of one token with every expert outside the kept groups made absent. A group with one choosable expert
//! is worth that expert's key; a group with none comes last.
inline std::vector<double> inside_kept_groups(std::vector<double> keys, const std::vector<double>& group_keys_of_token,
                                              const choice_options& options) {
  const std::size_t group_size = keys.size() / options.n_group;
  std::vector<double> worth(options.n_group, absent);
  for (std::size_t g = 0; g < options.n_group; ++g) {
    const auto first = group_keys_of_token.begin() + static_cast<std::ptrdiff_t>(g * group_size);
    const std::vector<double> members(first, first + static_cast<std::ptrdiff_t>(group_size));
    const std::vector<std::size_t> best = choosable_in_order(members, options.largest_finite);
    if (best.empty()) continue;
    worth[g] = ranked_value(members[best[0]], options.largest_finite);
    if (options.score_of_group == group_score::sum_of_two_best && best.size() > 1)
      worth[g] = rounded(worth[g] + ranked_value(members[best[1]], options.largest_finite), options.sums);
    worth[g] = std::max(worth[g], -options.largest_finite);  // a sum that overflows leaves its group choosable
  }
  std::vector<std::size_t> groups = choosable_in_order(worth, options.largest_finite);
  groups.resize(std::min(groups.size(), options.topk_group));
  for (std::size_t e = 0; e < keys.size(); ++e)
    if (std::find(groups.begin(), groups.end(), e / group_size) == groups.end()) keys[e] = absent;
  return keys;
}

//! Delta with what the threshold refuses made absent.
inline matrix above_threshold(matrix delta, const choice_options& options) {
  if (options.policy != choice_policy::threshold) return delta;
  for (double& value : delta.values)
    if (!(ranked_value(value, options.largest_finite) > options.above)) value = absent;
  return delta;
}

//! The ids chosen by ready keys [T,E]. Groups are scored by `keys_of_groups` [T,E]; `mass` [T,E] is the softmax mass
//! that top_p accumulates. Empty slots hold -1 whatever `missing` says: fill_lowest_ids comes after the weights.
inline id_table choose(const matrix& keys, const matrix& keys_of_groups, const matrix& mass,
                       const choice_options& options) {
  id_table ids(keys.rows, options.slots(), -1);
  for (std::size_t t = 0; t < keys.rows; ++t) {
    std::vector<double> row = keys.row(t);
    if (options.policy == choice_policy::grouped_top_k) row = inside_kept_groups(row, keys_of_groups.row(t), options);
    const std::vector<std::size_t> order = choosable_in_order(row, options.largest_finite);

    double mass_so_far = 0;
    for (std::size_t slot = 0; slot < ids.cols; ++slot) {
      const std::size_t rank = options.policy == choice_policy::rank_set ? options.ranks[slot] : slot;
      if (rank >= order.size()) continue;
      ids(t, slot) = static_cast<std::int32_t>(order[rank]);
      if (options.policy == choice_policy::top_p && options.p < 1) {
        mass_so_far += mass(t, order[rank]);
        if (mass_so_far >= options.p) break;
      }
    }
  }
  return ids;
}

//! The same with groups scored by the keys themselves and the softmax of the keys as mass.
inline id_table choose(const matrix& keys, const choice_options& options) {
  score_options plain;
  plain.largest_finite = options.largest_finite;
  return choose(keys, keys, scores(keys, plain), options);
}

//! Gives every empty slot the lowest expert id that the token does not use yet.
inline void fill_lowest_ids(id_table& ids, std::size_t experts) {
  for (std::size_t t = 0; t < ids.rows; ++t) {
    std::vector<bool> used(experts, false);
    for (std::size_t slot = 0; slot < ids.cols; ++slot)
      if (names_expert(ids(t, slot), experts)) used[static_cast<std::size_t>(ids(t, slot))] = true;
    std::size_t next = 0;
    for (std::size_t slot = 0; slot < ids.cols; ++slot) {
      if (names_expert(ids(t, slot), experts)) continue;
      while (next < experts && used[next]) ++next;
      if (next == experts) break;
      ids(t, slot) = static_cast<std::int32_t>(next++);
    }
  }
}

//! Weights of chosen ids (before any fill) from the raw scores; -1 has weight 0.
inline matrix weights_of(const id_table& ids, const matrix& scores, score_function function,
                         const choice_options& options) {
  matrix weights(ids.rows, ids.cols);
  for (std::size_t t = 0; t < ids.rows; ++t) {
    std::vector<double> row(ids.cols, absent);
    for (std::size_t slot = 0; slot < ids.cols; ++slot)
      if (ids(t, slot) >= 0) row[slot] = scores(t, static_cast<std::size_t>(ids(t, slot)));
    if (function == score_function::softmax_over_chosen) row = softmax(row, options.largest_finite);
    double sum = 0;
    for (std::size_t slot = 0; slot < ids.cols; ++slot) {
      weights(t, slot) = ids(t, slot) >= 0 ? row[slot] : 0.0;
      sum += weights(t, slot);
    }
    for (std::size_t slot = 0; slot < ids.cols; ++slot) {
      if (options.renormalize && sum > 0) weights(t, slot) /= sum;
      weights(t, slot) *= options.routed_scaling_factor;
    }
  }
  return weights;
}

//! Token choice from affinities and ready raw scores, both [T,E], as a library under test computed them.
inline choices token_choice(const matrix& delta, const matrix& raw_scores, const std::vector<double>& bias,
                            score_function function, const choice_options& options) {
  score_options plain;
  plain.largest_finite = options.largest_finite;
  choices result;
  result.ids = choose(
      selection_keys(above_threshold(delta, options), raw_scores, bias, function, options.sums, options.largest_finite),
      group_keys(delta, raw_scores, bias, options.sums, options.largest_finite), scores(delta, plain), options);
  result.weights = weights_of(result.ids, raw_scores, function, options);
  if (options.missing == missing_choice::lowest_ids) fill_lowest_ids(result.ids, delta.cols);
  return result;
}

//! Token choice from affinities, the scores computed here.
inline choices token_choice(const matrix& delta, const score_options& scoring, const std::vector<double>& bias,
                            const choice_options& options) {
  return token_choice(delta, scores(delta, scoring), bias, scoring.function, options);
}

}  // namespace reference
