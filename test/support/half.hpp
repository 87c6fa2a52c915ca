// SPDX-License-Identifier: Apache-2.0
// fp16 and bf16 as bit patterns, for tests: written from the formats, sharing nothing with the library.
// Decoding is exact; encoding rounds to nearest, ties to even, overflows to infinity, and keeps NaN a (quiet) NaN.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

namespace support {

inline constexpr double fp16_largest = 65504.0;
inline constexpr double bf16_largest = 0x1.FEp127;

inline float bf16_to_float(std::uint16_t bits) {
  const std::uint32_t wide = static_cast<std::uint32_t>(bits) << 16;
  float value = 0;
  std::memcpy(&value, &wide, sizeof value);
  return value;
}

inline float fp16_to_float(std::uint16_t bits) {
  const int exponent = (bits >> 10) & 0x1F;
  const int fraction = bits & 0x3FF;
  float magnitude = 0;
  if (exponent == 0x1F)
    magnitude = fraction == 0 ? std::numeric_limits<float>::infinity() : std::numeric_limits<float>::quiet_NaN();
  else if (exponent == 0)
    magnitude = std::ldexp(static_cast<float>(fraction), -24);
  else
    magnitude = std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
  return (bits & 0x8000) != 0 ? std::copysign(magnitude, -1.0F) : magnitude;
}

//! Encodes in a format of 16 bits whose fraction has `fraction_bits` bits. The magnitude is divided by the spacing of
//! the format's numbers around it; the quotient, rounded to even, is the fraction with its hidden bit.
inline std::uint16_t encode_16_bits(float value, int fraction_bits) {
  const int exponent_bits = 15 - fraction_bits;
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int infinity = ((1 << exponent_bits) - 1) << fraction_bits;
  const int sign = std::signbit(value) ? 0x8000 : 0;
  if (std::isnan(value)) return static_cast<std::uint16_t>(sign | infinity | (1 << (fraction_bits - 1)));
  if (std::isinf(value)) return static_cast<std::uint16_t>(sign | infinity);
  const double magnitude = std::fabs(static_cast<double>(value));
  if (magnitude == 0) return static_cast<std::uint16_t>(sign);

  int exponent = std::ilogb(magnitude);
  if (exponent < 1 - bias) exponent = 1 - bias;  // subnormal numbers share the spacing of the least normal ones
  const long quotient = std::lrint(std::ldexp(magnitude, fraction_bits - exponent));
  // With the hidden bit included, adding instead of joining lets a carry move into the exponent, up to infinity.
  const long encoded = ((static_cast<long>(exponent) + bias - 1) << fraction_bits) + quotient;
  return static_cast<std::uint16_t>(sign | (encoded > infinity ? infinity : static_cast<int>(encoded)));
}

inline std::uint16_t float_to_fp16(float value) { return encode_16_bits(value, 10); }
inline std::uint16_t float_to_bf16(float value) { return encode_16_bits(value, 7); }

inline std::vector<std::uint16_t> to_fp16(const std::vector<float>& values) {
  std::vector<std::uint16_t> bits;
  for (float value : values) bits.push_back(float_to_fp16(value));
  return bits;
}

inline std::vector<std::uint16_t> to_bf16(const std::vector<float>& values) {
  std::vector<std::uint16_t> bits;
  for (float value : values) bits.push_back(float_to_bf16(value));
  return bits;
}

inline std::vector<float> from_fp16(const std::vector<std::uint16_t>& bits) {
  std::vector<float> values;
  for (std::uint16_t pattern : bits) values.push_back(fp16_to_float(pattern));
  return values;
}

inline std::vector<float> from_bf16(const std::vector<std::uint16_t>& bits) {
  std::vector<float> values;
  for (std::uint16_t pattern : bits) values.push_back(bf16_to_float(pattern));
  return values;
}

}  // namespace support
