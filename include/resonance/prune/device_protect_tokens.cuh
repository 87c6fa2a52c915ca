// SPDX-License-Identifier: Apache-2.0
//! \file
//! From a list of tokens to the mask that token-side pruning reads, on the device.
#ifndef RESONANCE_PRUNE_DEVICE_PROTECT_TOKENS_CUH
#define RESONANCE_PRUNE_DEVICE_PROTECT_TOKENS_CUH

#include <resonance/config.hpp>
#include <resonance/core/launch.cuh>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/prune/kernel_protect_tokens.cuh>
#include <resonance/prune/protect_tokens.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace prune {
RESONANCE_ARCH_NAMESPACE_BEGIN

//! Marks the listed tokens, and no others: an expert's choice by importance becomes a mask.
//!
//! Equation   protected_tokens[t] = 1 if t is in the list, else 0
//! Inputs     token_ids int32[count] in device memory, a token at most once; ids outside [0, tokens) count as no token
//! Outputs    protected_tokens uint8[tokens]
//! Contract   same result as host_protect_tokens, over the tokens that there are
//! Errors     as host_protect_tokens; index_overflow (count), launch_failed
//! Resources  2 launches; no workspace
//! Cost       1 byte per token, 4 per id
//! Example    test/simt/prune/device_token_importance_test.cpp
inline status device_protect_tokens(const device_stream& on, const std::int32_t* token_ids, std::int64_t count,
                                    std::int64_t tokens, std::uint8_t* protected_tokens) {
  const status checked = detail::checks{}
                             .also(detail::check_protect_tokens(token_ids, count, tokens, protected_tokens))
                             .fits(count <= detail::max_int32, "count")
                             .result();
  if (!checked.ok()) return checked;
  constexpr int threads = detail::protect_threads;
  const status cleared =
      detail::launch(on, {detail::divide_up(tokens, threads), threads, 0}, detail::kernel_unprotect_tokens<threads>,
                     tokens, on.num_tokens, protected_tokens);
  if (!cleared.ok()) return cleared;
  return detail::launch(on, {detail::divide_up(count, threads), threads, 0}, detail::kernel_protect_tokens<threads>,
                        token_ids, count, tokens, on.num_tokens, protected_tokens);
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace prune
RESONANCE_NAMESPACE_END

#endif
