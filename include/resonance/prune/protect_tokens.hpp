// SPDX-License-Identifier: Apache-2.0
//! \file
//! What both backends check before they mark protected tokens.
#ifndef RESONANCE_PRUNE_PROTECT_TOKENS_HPP
#define RESONANCE_PRUNE_PROTECT_TOKENS_HPP

#include <resonance/config.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

inline status check_protect_tokens(const std::int32_t* token_ids, std::int64_t count, std::int64_t tokens,
                                   const std::uint8_t* protected_tokens) {
  return checks{}
      .in_range(count >= 0, "count")
      .present(token_ids, count > 0, "token_ids")
      .in_range(tokens >= 0 && tokens <= max_int32, "tokens")
      .present(protected_tokens, tokens > 0, "protected_tokens")
      .result();
}

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
