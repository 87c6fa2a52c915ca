// SPDX-License-Identifier: Apache-2.0
//! \file
//! From a list of tokens to the mask that token-side pruning reads, on the host.
#ifndef RESONANCE_PRUNE_HOST_PROTECT_TOKENS_HPP
#define RESONANCE_PRUNE_HOST_PROTECT_TOKENS_HPP

#include <algorithm>
#include <cstdint>

#include <resonance/core/executor.hpp>
#include <resonance/core/status.hpp>
#include <resonance/prune/protect_tokens.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace prune {

//! Marks the listed tokens, and no others: an expert's choice by importance becomes a mask.
//!
//! Equation   protected_tokens[t] = 1 if t is in the list, else 0
//! Inputs     token_ids int32[count], a token at most once, in any order; ids outside [0, tokens) count as no token
//! Outputs    protected_tokens uint8[tokens]
//! Contract   same result at any worker count
//! Errors     out_of_range (count, tokens), null_pointer (token_ids, protected_tokens)
//! Resources  no workspace, no allocation
//! Cost       1 byte per token, 4 per id
//! Example    test/prune/host_token_importance_test.cpp
template <class Executor>
status host_protect_tokens(const Executor& executor, const std::int32_t* token_ids, std::int64_t count,
                           std::int64_t tokens, std::uint8_t* protected_tokens) {
  const status checked = detail::check_protect_tokens(token_ids, count, tokens, protected_tokens);
  if (!checked.ok()) return checked;
  detail::for_ranges(executor, tokens, 65536, [&](std::int64_t begin, std::int64_t end, int) {
    std::fill(protected_tokens + begin, protected_tokens + end, std::uint8_t{0});
  });
  for (std::int64_t i = 0; i < count; ++i)
    if (token_ids[i] >= 0 && token_ids[i] < tokens) protected_tokens[token_ids[i]] = 1;
  return {};
}

}  // namespace prune
RESONANCE_NAMESPACE_END

#endif
