// SPDX-License-Identifier: Apache-2.0
//! \file
//! Resonance merge policies: how token choice and expert choice meet (SEMANTICS 5).
#ifndef RESONANCE_MERGE_POLICIES_HPP
#define RESONANCE_MERGE_POLICIES_HPP

#include <resonance/config.hpp>
#include <resonance/core/policy.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace merge {

//! A policy says whether it keeps the pairs that the token chose alone, needs the experts' own choice over all tokens
//! (affinity [T,E] and C_i), and may give a token experts that it did not choose (then the result is ragged).

//! The paper's: expert i ranks the members of A_i, the tokens that chose it; capacity pruning then cuts by rank.
struct restricted {
  using stage = stages::merge;
  static constexpr bool keeps_token_choice = true;
  static constexpr bool needs_expert_choice = false;
  static constexpr bool adds_expert_choice = false;
};

//! (t,i) survives iff t chose i and t is among expert i's C_i best of all tokens.
struct intersection {
  using stage = stages::merge;
  static constexpr bool keeps_token_choice = false;
  static constexpr bool needs_expert_choice = true;
  static constexpr bool adds_expert_choice = false;
};

//! (t,i) survives iff either side chose it.
struct union_ {
  using stage = stages::merge;
  static constexpr bool keeps_token_choice = true;
  static constexpr bool needs_expert_choice = true;
  static constexpr bool adds_expert_choice = true;
};

//! Token choice alone. The members are ranked as in `restricted`, which is why the two differ in name only; this one
//! says that no expert's view is meant.
struct token_only : restricted {};

//! Expert choice alone.
struct expert_only {
  using stage = stages::merge;
  static constexpr bool keeps_token_choice = false;
  static constexpr bool needs_expert_choice = true;
  static constexpr bool adds_expert_choice = true;
};

}  // namespace merge
RESONANCE_NAMESPACE_END

#endif
