// SPDX-License-Identifier: Apache-2.0
//! \file
//! The elementary functions of routing, with the same bits on every compiler, instruction set and backend.
//!
//! Library exp and tanh differ between platforms, so these are built from IEEE operations alone. Every product that
//! meets a sum is an explicit fused multiply-add: a compiler may contract a bare a * b + c or not, which would change
//! bits. The polynomials are Chebyshev fits of our own; the error bounds stand over each function and are tested.
#ifndef RESONANCE_CORE_MATH_HPP
#define RESONANCE_CORE_MATH_HPP

#include <resonance/config.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/core/std.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace math {

RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE float fma(float a, float b, float c) {
#if defined(__GNUC__) || defined(__clang__)
  return __builtin_fmaf(a, b, c);
#else
  return std::fma(a, b, c);
#endif
}

RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE double fma(double a, double b, double c) {
#if defined(__GNUC__) || defined(__clang__)
  return __builtin_fma(a, b, c);
#else
  return std::fma(a, b, c);
#endif
}

RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE bool is_nan(float x) {
  return (detail::float_bits(x) & 0x7fffffffu) > 0x7f800000u;
}

RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE float abs(float x) {
  return detail::bits_float(detail::float_bits(x) & 0x7fffffffu);
}

RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE float negative_infinity() { return detail::bits_float(0xff800000u); }

//! Correctly rounded square root.
RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE float sqrt(float x) {
#if defined(__CUDA_ARCH__)
  return __fsqrt_rn(x);
#else
  return std::sqrt(x);
#endif
}

//! Correctly rounded quotient.
RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE float divide(float a, float b) {
#if defined(__CUDA_ARCH__)
  return __fdiv_rn(a, b);
#else
  return a / b;
#endif
}

//! e^x within 1 ulp; 0 below -87.33 (no subnormal results), +inf above 88.73, NaN for NaN.
RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE float exp(float x) {
  constexpr float to_integer = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer in the low mantissa bits
  // A mask and no second selection on one condition: compilers turn that into a branch, not into vectors.
  const std::uint32_t remains = 0u - static_cast<std::uint32_t>(!(x < -87.33f));
  x = detail::bits_float(detail::float_bits(x) & remains);
  x = x > 89.0f ? 89.0f : x;
  const float shifted = fma(x, 1.44269504f, to_integer);
  const float n = shifted - to_integer;
  float r = fma(n, -0.693359375f, x);
  r = fma(n, 2.12194440e-4f, r);
  float p = 0.0001989098087f;
  p = fma(p, r, 0.001393364103f);
  p = fma(p, r, 0.008333310934f);
  p = fma(p, r, 0.04166646501f);
  p = fma(p, r, 0.1666666668f);
  p = fma(p, r, 0.5f);
  p = fma(p, r * r, r);
  // Two powers of two, since 2^128 is none. Without subnormal results these products are exact, so that a compiler
  // that contracts one with a sum around the call changes no bit.
  const std::int32_t k = static_cast<std::int32_t>(detail::float_bits(shifted) - detail::float_bits(to_integer));
  const std::int32_t half = k >> 1;
  const float low = detail::bits_float(static_cast<std::uint32_t>(half + 127) << 23);
  const float high = detail::bits_float(static_cast<std::uint32_t>(k - half + 127) << 23);
  const float result = (1.0f + p) * low * high;
  return detail::bits_float(detail::float_bits(result) & remains);
}

//! ln x within 2 ulp for normal x > 0; other arguments are outside its domain.
RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE float log(float x) {
  constexpr std::uint32_t sqrt_half = 0x3f3504f3u;
  const std::uint32_t offset = detail::float_bits(x) - sqrt_half;
  const float k = static_cast<float>(static_cast<std::int32_t>(offset) >> 23);
  const float f = detail::bits_float((offset & 0x7fffffu) + sqrt_half) - 1.0f;
  float p = 0.06971611471f;
  p = fma(p, f, -0.1147973385f);
  p = fma(p, f, 0.1168541992f);
  p = fma(p, f, -0.1242568733f);
  p = fma(p, f, 0.1424905765f);
  p = fma(p, f, -0.1666780232f);
  p = fma(p, f, 0.2000071575f);
  p = fma(p, f, -0.2499999696f);
  p = fma(p, f, 0.3333333118f);
  const float square = f * f;
  float y = fma(k, -2.12194440e-4f, square * f * p);
  y = fma(-0.5f, square, y);
  return fma(k, 0.693359375f, f + y);
}

//! ln(1 + e^x) within 3 ulp for x <= 20.
RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE float softplus(float x) {
  const float e = exp(x);
  const float u = 1.0f + e;
  return log(u) + divide(e - (u - 1.0f), u);  // the quotient gives back what rounding took from u
}

//! tanh x within 3 ulp.
RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE float tanh(float x) {
  const float a = abs(x);
  const float z = a * a;
  float p = 0.002292744816f;
  p = fma(p, z, -0.008343945516f);
  p = fma(p, z, 0.02176891865f);
  p = fma(p, z, -0.05395925958f);
  p = fma(p, z, 0.1333330356f);
  p = fma(p, z, -0.3333333317f);
  const float small = fma(z * a, p, a);
  const float large = 1.0f - divide(2.0f, exp(2.0f * a) + 1.0f);
  const float magnitude = a < 0.625f ? small : large;
  return detail::bits_float(detail::float_bits(magnitude) | (detail::float_bits(x) & 0x80000000u));
}

//! 1 / (1 + e^-x) within 2.5 ulp where the result is at least 2^-126.
RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE float sigmoid(float x) { return divide(1.0f, 1.0f + exp(-x)); }

//! e^x in double, within 1 ulp for |x| <= 700; 0 below and +inf above, NaN for NaN.
RESONANCE_HOST_DEVICE inline double exp(double x) {
  if (x > 700.0) return HUGE_VAL;
  if (x < -700.0) return 0.0;
  if (x != x) return x;
  constexpr double to_integer = 6755399441055744.0;  // 1.5 * 2^52
  const double shifted = fma(x, 1.4426950408889634, to_integer);
  const double n = shifted - to_integer;
  double r = fma(n, -0.693147180369123816490, x);
  r = fma(n, -1.90821492927058770002e-10, r);
  double p = 1.60866224362155534e-10;
  p = fma(p, r, 2.09181294549670657e-9);
  p = fma(p, r, 2.50520711092144483e-8);
  p = fma(p, r, 2.75572633014747545e-7);
  p = fma(p, r, 2.75573192472047903e-6);
  p = fma(p, r, 2.48015873365213226e-5);
  p = fma(p, r, 1.98412698412633044e-4);
  p = fma(p, r, 1.38888888888790818e-3);
  p = fma(p, r, 8.33333333333333401e-3);
  p = fma(p, r, 4.16666666666666768e-2);
  p = fma(p, r, 1.66666666666666667e-1);
  p = fma(p, r, 0.5);
  p = fma(p, r * r, r);
  const std::int32_t exponent = static_cast<std::int32_t>(n) + 1023;
#if defined(__CUDA_ARCH__)
  const double scale = __hiloint2double(exponent << 20, 0);  // by halves: no constant wider than 32 bits
#else
  const std::uint64_t scale_bits = static_cast<std::uint64_t>(exponent) << 52;
  double scale;
  std::memcpy(&scale, &scale_bits, sizeof scale);
#endif
  return (1.0 + p) * scale;
}

}  // namespace math
RESONANCE_NAMESPACE_END

#endif
