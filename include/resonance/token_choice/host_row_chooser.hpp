// SPDX-License-Identifier: Apache-2.0
//! \file
//! The choice of one token on the host: keys, selection, weights.
#ifndef RESONANCE_TOKEN_CHOICE_HOST_ROW_CHOOSER_HPP
#define RESONANCE_TOKEN_CHOICE_HOST_ROW_CHOOSER_HPP

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include <resonance/core/math.hpp>
#include <resonance/core/order_key.hpp>
#include <resonance/core/policy.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/core/softmax.hpp>
#include <resonance/core/workspace.hpp>
#include <resonance/token_choice/group_best.hpp>
#include <resonance/token_choice/policies.hpp>
#include <resonance/token_choice/select.hpp>
#include <resonance/token_choice/weights.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace token_choice {

//! One worker's scratch: `block` rows of delta and of scores, and what one row needs.
struct host_row_scratch {
  float* delta = nullptr;               // [block, E]
  float* score = nullptr;               // [block, E] score + bias; one row at a time uses the first
  float* numerator = nullptr;           // [E] exp(argument - largest)
  std::uint32_t* keys = nullptr;        // [E] the order of selection
  std::uint32_t* group_keys = nullptr;  // [E]
  std::uint64_t* best = nullptr;        // [E] packed, best first
  std::uint64_t* candidates = nullptr;  // [E]

  void carve(detail::workspace_carver& carver, std::int64_t experts, std::int64_t block) {
    delta = carver.take<float>(block * experts);
    score = carver.take<float>(block * experts);
    numerator = carver.take<float>(experts);
    keys = carver.take<std::uint32_t>(experts);
    group_keys = carver.take<std::uint32_t>(experts);
    best = carver.take<std::uint64_t>(experts);
    candidates = carver.take<std::uint64_t>(experts);
  }
};

template <class Score, class Selection>
class host_row_chooser {
  static_assert(detail::is_policy_of<Score, stages::score>, "resonance: Score must be a score function");
  static_assert(
      detail::is_policy_of<Selection, stages::token_choice>,
      "resonance: Selection must be a token choice policy (top_k, grouped_top_k, top_p, rank_set, threshold)");

 public:
  //! `largest`: what a delta of +inf counts as.
  host_row_chooser(const Score& score, const Selection& selection, const options& o, std::int32_t experts,
                   float largest)
      : score_(score), selection_(selection), options_(o), experts_(experts), largest_(largest) {}

  //! Fills the token's K slots from delta[E], which comes back with NaN as -inf and +inf as the largest finite value.
  //! `weights` and `affinity` are nullable; an empty slot has affinity -inf.
  RESONANCE_FORCE_INLINE void choose(float* delta, const host_row_scratch& s, std::int32_t* ids, float* weights,
                                     float* affinity) const {
    make_choosable(delta);
    softmax_terms terms;
    if (needs_numerators()) terms = terms_of(delta, s.numerator);
    if (reads_scores()) make_scores(delta, terms, s);
    make_keys(delta, s);
    const std::int32_t found = pick(delta, s);

    const std::int32_t slots = options_.top_k;
    for (std::int32_t k = 0; k < slots; ++k)
      ids[k] = k < found ? static_cast<std::int32_t>(packed_index(s.best[k])) : -1;
    const auto delta_at = [&](std::int64_t k)
                              RESONANCE_INLINE_LAMBDA { return k < found ? delta[ids[k]] : math::negative_infinity(); };
    if (weights != nullptr) {
      weigh_slots(score_, options_, terms, slots, delta_at,
                  [&](std::int64_t k) RESONANCE_INLINE_LAMBDA -> float& { return weights[k]; });
    }
    if (affinity != nullptr)
      for (std::int32_t k = 0; k < slots; ++k) affinity[k] = delta_at(k);
    if (options_.missing == missing_choice::lowest_ids) fill_missing(found, ids);
  }

  //! NaN to -inf, +inf to the largest finite value.
  RESONANCE_FORCE_INLINE void make_choosable(float* delta) const {
    const std::int32_t experts = experts_;  // local copies: the stores below could change the members
    const float largest = largest_;
    for (std::int32_t e = 0; e < experts; ++e) delta[e] = choosable_score(delta[e], largest);
  }

  //! The softmax terms of a choosable row; numerator[E] gets its numerators.
  RESONANCE_FORCE_INLINE softmax_terms terms_of(const float* delta, float* numerator) const {
    return score_.numerators(
        experts_, [=](std::int64_t e) RESONANCE_INLINE_LAMBDA { return delta[e]; },
        [numerator](std::int64_t e) RESONANCE_INLINE_LAMBDA -> float& { return numerator[e]; });
  }

 private:
  static constexpr bool grouped = std::is_same_v<Selection, grouped_top_k>;
  static constexpr bool by_mass = std::is_same_v<Selection, top_p>;
  static constexpr bool by_rank = std::is_same_v<Selection, rank_set>;

  bool biased() const { return options_.correction_bias != nullptr; }
  bool reads_scores() const { return biased() || grouped; }
  bool needs_numerators() const {
    return Score::normalized_over == normalizer::row && (reads_scores() || needs_row_terms<Score>(options_));
  }

  RESONANCE_FORCE_INLINE void make_scores(const float* delta, const softmax_terms& terms,
                                          const host_row_scratch& s) const {
    for (std::int32_t e = 0; e < experts_; ++e) {
      s.score[e] = Score::normalized_over == normalizer::row ? math::divide(s.numerator[e], terms.sum)
                                                             : score_.argument(delta[e]);
    }
    if (biased())
      for (std::int32_t e = 0; e < experts_; ++e) s.score[e] += options_.correction_bias[e];
  }

  //! Without a bias the order is delta's own; an absent pair stays absent whatever its score is.
  RESONANCE_FORCE_INLINE void make_keys(const float* delta, const host_row_scratch& s) const {
    const std::int32_t experts = experts_;
    const float* values = biased() ? s.score : delta;
    std::uint32_t* RESONANCE_RESTRICT keys = s.keys;
    const Score score = score_;
    const Selection selection = selection_;
    const bool is_biased = biased();
    for (std::int32_t e = 0; e < experts; ++e) {
      const float value = is_biased ? values[e] : score.unbiased_key(values[e]);
      keys[e] = is_candidate(selection, delta[e]) ? order_key(value) : never_chosen;
    }
  }

  //! Leaves the chosen in s.best, in slot order; returns how many.
  RESONANCE_FORCE_INLINE std::int32_t pick(const float* delta, const host_row_scratch& s) const {
    if constexpr (by_rank) {
      const std::int32_t deepest = selection_.ranks[options_.top_k - 1] + 1;
      const std::int32_t found = select_best(s.keys, experts_, deepest, s.best, s.candidates);
      std::int32_t kept = 0;
      for (; kept < options_.top_k && selection_.ranks[kept] < found; ++kept)
        s.best[kept] = s.best[selection_.ranks[kept]];
      return kept;
    } else {
      if constexpr (grouped) keep_best_groups(s);
      const std::int32_t found = select_best(s.keys, experts_, options_.top_k, s.best, s.candidates);
      if constexpr (by_mass) return cut_at_mass(found, delta, s);
      return found;
    }
  }

  RESONANCE_FORCE_INLINE std::int32_t cut_at_mass(std::int32_t found, const float* delta,
                                                  const host_row_scratch& s) const {
    if (selection_.p >= 1.0) return found;
    const softmax_terms terms = softmax_numerators(
        experts_, [=](std::int64_t e) RESONANCE_INLINE_LAMBDA { return delta[e]; },
        [&](std::int64_t e) RESONANCE_INLINE_LAMBDA -> float& { return s.numerator[e]; });
    const double wanted = selection_.p * static_cast<double>(terms.sum);
    double mass = 0.0;
    for (std::int32_t k = 0; k < found; ++k) {
      mass += static_cast<double>(s.numerator[packed_index(s.best[k])]);
      if (mass >= wanted) return k + 1;
    }
    return found;
  }

  //! Takes the experts of the groups that are not kept out of the running.
  RESONANCE_FORCE_INLINE void keep_best_groups(const host_row_scratch& s) const {
    const std::int32_t groups = selection_.n_group;
    const std::int32_t size = experts_ / groups;
    for (std::int32_t g = 0; g < groups; ++g) {
      group_best group;
      for (std::int32_t e = g * size; e < (g + 1) * size; ++e)
        if (s.keys[e] != never_chosen) group.add(choosable_score(s.score[e], row_traits<float>::largest));
      s.group_keys[g] = group.key(selection_.scored_by);
    }
    const std::int32_t kept = select_best(s.group_keys, groups, selection_.topk_group, s.best, s.candidates);
    for (std::int32_t k = 0; k < kept; ++k) s.group_keys[packed_index(s.best[k])] = 0xffffffffu;
    for (std::int32_t e = 0; e < experts_; ++e)
      if (s.group_keys[e / size] != 0xffffffffu) s.keys[e] = never_chosen;
  }

  void fill_missing(std::int32_t found, std::int32_t* ids) const {
    std::int32_t next = 0;
    for (std::int32_t k = found; k < options_.top_k; ++k, ++next) {
      while (std::find(ids, ids + found, next) != ids + found) ++next;
      ids[k] = next;
    }
  }

  Score score_;
  Selection selection_;
  options options_;
  std::int32_t experts_;
  float largest_;
};

}  // namespace token_choice
RESONANCE_NAMESPACE_END

#endif
