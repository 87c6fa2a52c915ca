// SPDX-License-Identifier: Apache-2.0
//! \file
//! The one order of scores (SEMANTICS 1): higher score first, equal scores by lower index first.
#ifndef RESONANCE_CORE_ORDER_KEY_HPP
#define RESONANCE_CORE_ORDER_KEY_HPP

#include <resonance/config.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/core/std.hpp>

RESONANCE_NAMESPACE_BEGIN

//! The key of a score that is never chosen: NaN and -inf.
inline constexpr std::uint32_t never_chosen = 0;

//! Maps a score to an unsigned key with the same order: larger key, better score.
//! -0 and +0 share a key, +inf shares the key of the largest finite float, NaN and -inf give `never_chosen`.
RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE std::uint32_t order_key(float score) {
  // One selection alone, the rest arithmetic: compilers turn chains of selections into branches, not into vectors.
  const std::uint32_t bits = detail::float_bits(score);
  const std::uint32_t negative = bits >> 31;
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  const std::uint32_t finite = magnitude < 0x7f7fffffu ? magnitude : 0x7f7fffffu;
  const std::uint32_t key = 0x80000000u + ((finite ^ (0u - negative)) + negative);
  const bool nan_or_minus_infinity = magnitude > 0x7f800000u - negative;
  return nan_or_minus_infinity ? never_chosen : key;
}

//! A float whose order_key is `key`: the score itself, but +0 for -0 and the largest finite float for +inf.
//! `key` is not never_chosen.
RESONANCE_HOST_DEVICE inline float score_of_key(std::uint32_t key) {
  constexpr std::uint32_t sign = 0x80000000u;
  return detail::bits_float(key >= sign ? key - sign : (sign - key) | sign);
}

//! Key and index in one word: the largest word is the best pair, ties to the lower index. `index` < 2^32 - 1.
RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE std::uint64_t pack_key(std::uint32_t key, std::uint32_t index) {
#if defined(__CUDA_ARCH__)
  // Two registers are the word. Shifts and masks of 64 bits say the same, but not in every PTX tool's reading of their
  // constants.
  std::uint64_t packed;
  asm("mov.b64 %0, {%1, %2};" : "=l"(packed) : "r"(0xffffffffu - index), "r"(key));
  return packed;
#else
  return (static_cast<std::uint64_t>(key) << 32) | (0xffffffffu - index);
#endif
}

RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE std::uint32_t packed_key(std::uint64_t packed) {
#if defined(__CUDA_ARCH__)
  std::uint32_t high;
  asm("{ .reg .b32 low; mov.b64 {low, %0}, %1; }" : "=r"(high) : "l"(packed));
  return high;
#else
  return static_cast<std::uint32_t>(packed >> 32);
#endif
}

RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE std::uint32_t packed_index(std::uint64_t packed) {
#if defined(__CUDA_ARCH__)
  std::uint32_t low;
  asm("{ .reg .b32 high; mov.b64 {%0, high}, %1; }" : "=r"(low) : "l"(packed));
  return 0xffffffffu - low;
#else
  return 0xffffffffu - static_cast<std::uint32_t>(packed);
#endif
}

//! An affinity as the rest of the library reads it: NaN becomes -inf ("absent"), +inf the largest finite value of the
//! type that it was stored in.
RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE float choosable_score(float score, float largest) {
  // Against the largest float, not `largest`: a quotient of stored values may be finite and above that.
  constexpr float largest_float = row_traits<float>::largest;
  const float finite = score > largest_float ? largest : score;
  return finite <= largest_float ? finite : detail::bits_float(0xff800000u);
}

//! What a pair that is present scores after arithmetic: the nearest finite float where that overflowed.
RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE float finite_score(float score) {
  constexpr float largest_float = row_traits<float>::largest;
  const float below = score > largest_float ? largest_float : score;
  return below < -largest_float ? -largest_float : below;
}

RESONANCE_NAMESPACE_END

#endif
