// SPDX-License-Identifier: Apache-2.0
//! \file
//! The element types of rows and logits: float, bfloat16, float16, and any type with a row_traits of its own.
#ifndef RESONANCE_CORE_ROW_TYPE_HPP
#define RESONANCE_CORE_ROW_TYPE_HPP

#include <resonance/config.hpp>
#include <resonance/core/std.hpp>

RESONANCE_NAMESPACE_BEGIN

//! 1 sign, 8 exponent, 7 mantissa bits, as stored; layout-compatible with the 16-bit types of the frameworks.
struct bfloat16 {
  std::uint16_t bits;
};

//! IEEE 754 binary16, as stored.
struct float16 {
  std::uint16_t bits;
};

namespace detail {

RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE std::uint32_t float_bits(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE float bits_float(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

template <class T>
inline constexpr bool always_false = false;

}  // namespace detail

//! Conversions of a row type; specialize it for a type of your own (a framework's half, say).
//! `widen` is exact, `narrow` rounds to nearest even and keeps NaN a NaN, `largest` is the largest finite value.
template <class T>
struct row_traits {
  static_assert(detail::always_false<T>,
                "resonance: a row type must be float, bfloat16 or float16, or have a specialization of row_traits");
};

template <>
struct row_traits<float> {
  RESONANCE_HOST_DEVICE static RESONANCE_FORCE_INLINE float widen(float value) { return value; }
  RESONANCE_HOST_DEVICE static RESONANCE_FORCE_INLINE float narrow(float value) { return value; }
  static constexpr float largest = 3.402823466e+38f;
};

template <>
struct row_traits<bfloat16> {
  RESONANCE_HOST_DEVICE static RESONANCE_FORCE_INLINE float widen(bfloat16 value) {
    return detail::bits_float(static_cast<std::uint32_t>(value.bits) << 16);
  }
  RESONANCE_HOST_DEVICE static RESONANCE_FORCE_INLINE bfloat16 narrow(float value) {
    const std::uint32_t bits = detail::float_bits(value);
    const std::uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    const std::uint32_t quiet_nan = (bits >> 16) | 0x40u;
    return {static_cast<std::uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? quiet_nan : rounded)};
  }
  static constexpr float largest = 3.389531390e+38f;
};

template <>
struct row_traits<float16> {
  // Neither direction does arithmetic on a subnormal float, so that flush-to-zero modes change nothing. Masks
  // instead of selections: compilers turn those into branches, not into vectors.
  RESONANCE_HOST_DEVICE static RESONANCE_FORCE_INLINE float widen(float16 value) {
    const std::uint32_t sign = (value.bits & 0x8000u) << 16;
    const std::uint32_t magnitude = static_cast<std::uint32_t>(value.bits & 0x7fffu) << 13;
    const std::uint32_t is_special = mask(magnitude >= (31u << 23));  // infinite or NaN
    const std::uint32_t normal = magnitude + (112u << 23) + (is_special & (112u << 23));
    const std::uint32_t subnormal =
        detail::float_bits(detail::bits_float(magnitude + (113u << 23)) - detail::bits_float(113u << 23));
    const std::uint32_t is_subnormal = mask(magnitude < (1u << 23));
    return detail::bits_float(sign | (subnormal & is_subnormal) | (normal & ~is_subnormal));
  }
  RESONANCE_HOST_DEVICE static RESONANCE_FORCE_INLINE float16 narrow(float value) {
    const std::uint32_t bits = detail::float_bits(value);
    const std::uint32_t sign = (bits >> 16) & 0x8000u;
    const std::uint32_t magnitude = bits & 0x7fffffffu;
    const std::uint32_t nan = 0x7e00u | ((magnitude >> 13) & 0x3ffu);
    const std::uint32_t normal = (magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
    // Adding one half aligns the mantissa to the subnormal grid; the addition itself rounds to nearest even.
    const std::uint32_t is_small = mask(magnitude < (113u << 23));
    const std::uint32_t subnormal =
        detail::float_bits(detail::bits_float(magnitude & is_small) + 0.5f) - detail::float_bits(0.5f);
    const std::uint32_t is_infinite = mask(magnitude >= (143u << 23));
    const std::uint32_t is_nan = mask(magnitude > 0x7f800000u);
    const std::uint32_t finite = (subnormal & is_small) | (normal & ~is_small);
    const std::uint32_t result = (((finite & ~is_infinite) | (0x7c00u & is_infinite)) & ~is_nan) | (nan & is_nan);
    return {static_cast<std::uint16_t>(sign | result)};
  }
  static constexpr float largest = 65504.0f;

 private:
  RESONANCE_HOST_DEVICE static RESONANCE_FORCE_INLINE std::uint32_t mask(bool set) {
    return 0u - static_cast<std::uint32_t>(set);
  }
};

template <class T>
inline constexpr bool is_own_row_type =
    std::is_same_v<T, float> || std::is_same_v<T, bfloat16> || std::is_same_v<T, float16>;

RESONANCE_NAMESPACE_END

#endif
