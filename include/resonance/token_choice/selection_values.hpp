// SPDX-License-Identifier: Apache-2.0
//! \file
//! How a token choice policy travels into a kernel: by value, without pointers to host memory.
#ifndef RESONANCE_TOKEN_CHOICE_SELECTION_VALUES_HPP
#define RESONANCE_TOKEN_CHOICE_SELECTION_VALUES_HPP

#include <resonance/config.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/token_choice/policies.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace token_choice {

//! The positions of the descending order that the slots take: 0, 1, 2, ... but for rank_set.
template <class Selection>
struct device_selection {
  Selection policy;

  explicit device_selection(const Selection& selection, const options&) : policy(selection) {}
  static status check(const Selection&, const options&) { return {}; }

  //! How far down the order the choice looks.
  static std::int32_t deepest(const Selection&, const options& o) { return o.top_k; }
  RESONANCE_HOST_DEVICE std::int32_t position(std::int32_t slot) const { return slot; }
};

template <>
struct device_selection<rank_set> {
  static constexpr std::int32_t most = 128;  //!< slots that a kernel argument has room for
  rank_set policy;
  std::int32_t ranks[most];

  explicit device_selection(const rank_set& selection, const options& o) : policy(selection), ranks{} {
    for (std::int32_t k = 0; k < o.top_k && k < most; ++k) ranks[k] = selection.ranks[k];
    policy.ranks = nullptr;
  }
  static status check(const rank_set&, const options& o) {
    return detail::checks{}.in_range(o.top_k <= most, "top_k").result();
  }

  static std::int32_t deepest(const rank_set& selection, const options& o) { return selection.ranks[o.top_k - 1] + 1; }
  RESONANCE_HOST_DEVICE std::int32_t position(std::int32_t slot) const { return ranks[slot]; }
};

}  // namespace token_choice
RESONANCE_NAMESPACE_END

#endif
