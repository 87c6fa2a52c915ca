// SPDX-License-Identifier: Apache-2.0
//! \file
//! Token choice policies: which experts a token takes from its row of scores (SEMANTICS 3).
#ifndef RESONANCE_TOKEN_CHOICE_POLICIES_HPP
#define RESONANCE_TOKEN_CHOICE_POLICIES_HPP

#include <resonance/config.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/policy.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace token_choice {

//! What a slot holds that finds no choosable expert; its weight is 0 either way.
enum class missing_choice {
  minus_one,   //!< id -1
  lowest_ids,  //!< the lowest expert ids that the token has not used yet: ids stay distinct and valid
};

//! What every policy shares.
struct options {
  std::int32_t top_k = 1;                  //!< K slots per token, 1 <= K <= E
  const float* correction_bias = nullptr;  //!< [E], added to the score for selection only; null = none
  bool renormalize = false;                //!< divide by the sum of the token's weights, where that is > 0
  float routed_scaling_factor = 1.0f;      //!< then multiply by this; finite
  missing_choice missing = missing_choice::minus_one;

  constexpr status check(std::int32_t experts) const {
    return detail::checks{}
        .in_range(top_k >= 1 && top_k <= experts, "top_k")
        .in_range(routed_scaling_factor >= -3.402823466e+38f && routed_scaling_factor <= 3.402823466e+38f,
                  "routed_scaling_factor")
        .result();
  }
};

//! The K best experts.   (ETR Eq. 5)
struct top_k {
  using stage = stages::token_choice;
  constexpr status check(std::int32_t, const options&) const { return {}; }
};

//! How a group of experts is scored.
enum class group_score {
  sum_of_two_best,  //!< DeepSeek-V3; a group with one choosable expert scores that one
  best,             //!< DeepSeek-V2
};

//! The K best experts among those of the `topk_group` best of `n_group` equal, contiguous groups.
//! Groups are scored from score + bias; equal groups: lower index; a group without a choosable expert is never kept.
struct grouped_top_k {
  using stage = stages::token_choice;
  std::int32_t n_group = 1;     //!< divides E
  std::int32_t topk_group = 1;  //!< 1 <= topk_group <= n_group
  group_score scored_by = group_score::sum_of_two_best;

  constexpr status check(std::int32_t experts, const options&) const {
    return detail::checks{}
        .in_range(n_group >= 1 && n_group <= experts && experts % n_group == 0, "n_group")
        .in_range(topk_group >= 1 && topk_group <= n_group, "topk_group")
        .result();
  }
};

//! The smallest set of best experts whose softmax mass (of delta itself) reaches p, K at most; p = 1 always takes K.
//! (ETR, reading R2.) The mass is added in double, best first, and compared with p times the row's sum.
struct top_p {
  using stage = stages::token_choice;
  double p = 1.0;  //!< in (0, 1]

  constexpr status check(std::int32_t, const options&) const {
    return detail::checks{}.in_range(p > 0.0 && p <= 1.0, "top_p").result();
  }
};

//! The experts at the given positions of the descending order, e.g. {1} = only the second best. top_k says how many.
struct rank_set {
  using stage = stages::token_choice;
  const std::int32_t* ranks = nullptr;  //!< [top_k] strictly increasing, 0 <= rank < E; host memory

  constexpr status check(std::int32_t experts, const options& o) const {
    detail::checks c;
    c.present(ranks, true, "ranks");
    if (!c.result().ok()) return c.result();
    for (std::int32_t k = 0; k < o.top_k; ++k) {
      const std::int32_t above = k == 0 ? -1 : ranks[k - 1];
      c.in_range(ranks[k] > above && ranks[k] < experts, "ranks");
    }
    return c.result();
  }
};

//! The best of the experts whose affinity is above a threshold, K at most: what a token takes does not depend on the
//! other tokens, as a causal stand-in for expert choice must not.
//! (MoMa, arXiv 2407.21770: sigmoid > 0.5 is affinity > 0)
struct threshold {
  using stage = stages::token_choice;
  float above = 0.0f;  //!< delta > above; finite

  constexpr status check(std::int32_t, const options&) const {
    return detail::checks{}.in_range(above >= -3.402823466e+38f && above <= 3.402823466e+38f, "above").result();
  }
};

//! May the token take an expert of this affinity (neither NaN nor +inf)?
template <class Selection>
RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE bool is_candidate(const Selection& selection, float delta) {
  if constexpr (std::is_same_v<Selection, threshold>) return delta > selection.above;
  return delta != math::negative_infinity();
}

}  // namespace token_choice
RESONANCE_NAMESPACE_END

#endif
