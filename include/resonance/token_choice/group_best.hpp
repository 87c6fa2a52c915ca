// SPDX-License-Identifier: Apache-2.0
//! \file
//! How a group of experts is scored, for grouped_top_k.
#ifndef RESONANCE_TOKEN_CHOICE_GROUP_BEST_HPP
#define RESONANCE_TOKEN_CHOICE_GROUP_BEST_HPP

#include <resonance/config.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/order_key.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/core/std.hpp>
#include <resonance/token_choice/policies.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace token_choice {

//! The key of a group from its experts' values: the best, or the sum of the two best (DeepSeek-V3).
struct group_best {
  float best = math::negative_infinity();
  float second = math::negative_infinity();

  //! `value`: score + bias of a choosable expert, or -inf, which changes nothing.
  RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE void add(float value) {
    second = value > best ? best : (value > second ? value : second);
    best = value > best ? value : best;
  }
  RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE std::uint32_t key(group_score scored_by) const {
    const float none = math::negative_infinity();
    const bool two = scored_by == group_score::sum_of_two_best && second != none;
    const float sum = two ? best + second : best;
    const bool overflows = best != none && sum == none;  // two choosable experts stay choosable together
    return order_key(overflows ? -row_traits<float>::largest : sum);
  }
};

}  // namespace token_choice
RESONANCE_NAMESPACE_END

#endif
