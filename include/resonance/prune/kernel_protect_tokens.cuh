// SPDX-License-Identifier: Apache-2.0
//! \file
//! The kernels that mark protected tokens: a thread per token, then a thread per listed one.
#ifndef RESONANCE_PRUNE_KERNEL_PROTECT_TOKENS_CUH
#define RESONANCE_PRUNE_KERNEL_PROTECT_TOKENS_CUH

#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/launch.cuh>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>

RESONANCE_NAMESPACE_BEGIN
namespace detail {
RESONANCE_ARCH_NAMESPACE_BEGIN

inline constexpr int protect_threads = 256;

template <int Threads>
__global__ __launch_bounds__(Threads) void kernel_unprotect_tokens(std::int64_t most_tokens,
                                                                   const std::int64_t* num_tokens,
                                                                   std::uint8_t* protected_tokens) {
  wait_for_previous_kernel();
  const std::int64_t token = block_index() * Threads + block_thread();
  if (token < live_tokens(most_tokens, num_tokens)) store(protected_tokens + token, std::uint8_t{0});
}

template <int Threads>
__global__ __launch_bounds__(Threads) void kernel_protect_tokens(const std::int32_t* token_ids, std::int64_t count,
                                                                 std::int64_t most_tokens,
                                                                 const std::int64_t* num_tokens,
                                                                 std::uint8_t* protected_tokens) {
  wait_for_previous_kernel();
  const std::int64_t i = block_index() * Threads + block_thread();
  if (i >= count) return;
  const std::int32_t token = load(token_ids + i);
  if (token >= 0 && token < live_tokens(most_tokens, num_tokens)) store(protected_tokens + token, std::uint8_t{1});
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
