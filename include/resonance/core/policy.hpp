// SPDX-License-Identifier: Apache-2.0
//! \file
//! What policies tell the stages about themselves: which stage they belong to (so that a misplaced one is refused by
//! name), and how a score function is normalized.
#ifndef RESONANCE_CORE_POLICY_HPP
#define RESONANCE_CORE_POLICY_HPP

#include <resonance/config.hpp>
#include <resonance/core/std.hpp>

RESONANCE_NAMESPACE_BEGIN

namespace stages {
struct affinity {};
struct score {};
struct token_choice {};
struct merge {};
struct capacity {};
struct drop_order {};
struct choice_rule {};
}  // namespace stages

//! Over what a score function's exponentials are normalized.
enum class normalizer {
  none,    //!< elementwise: the score of a pair depends on its own delta only
  row,     //!< softmax over the token's experts
  chosen,  //!< softmax over the token's chosen experts; before the choice the score is the scaled delta
};

namespace detail {

template <class Policy, class Stage, class = void>
inline constexpr bool is_policy_of = false;
template <class Policy, class Stage>
inline constexpr bool is_policy_of<Policy, Stage, std::void_t<typename Policy::stage>> =
    std::is_same_v<typename Policy::stage, Stage>;

}  // namespace detail

RESONANCE_NAMESPACE_END

#endif
