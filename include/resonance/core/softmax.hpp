// SPDX-License-Identifier: Apache-2.0
//! \file
//! The numerators and the sum of a softmax, in the library's order of additions.
#ifndef RESONANCE_CORE_SOFTMAX_HPP
#define RESONANCE_CORE_SOFTMAX_HPP

#include <resonance/config.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/ordered_sum.hpp>
#include <resonance/core/std.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

//! The largest of value_at(0 .. count), -inf for none; a maximum has no order of its own.
template <class ValueAt>
RESONANCE_FORCE_INLINE float largest_of(std::int64_t count, const ValueAt& value_at) {
  constexpr int width = 16;  // lanes, because a compiler may not reorder a maximum of floats into vectors itself
  float lanes[width];
  for (int lane = 0; lane < width; ++lane) lanes[lane] = math::negative_infinity();
  std::int64_t next = 0;
  for (; next + width <= count; next += width) {
    for (int lane = 0; lane < width; ++lane) {
      const float value = value_at(next + lane);
      lanes[lane] = value > lanes[lane] ? value : lanes[lane];
    }
  }
  float largest = math::negative_infinity();
  for (int lane = 0; lane < width; ++lane) largest = lanes[lane] > largest ? lanes[lane] : largest;
  for (; next < count; ++next) {
    const float value = value_at(next);
    largest = value > largest ? value : largest;
  }
  return largest;
}

}  // namespace detail

//! The largest argument of a row and the sum of exp(argument - largest), in the order of ordered_sum.
struct softmax_terms {
  float largest = 0.0f;
  float sum = 0.0f;
};

//! numerator_at(i) = exp(argument_at(i) - largest) for 0 <= i < count; an argument of -inf is absent: numerator 0.
template <class ArgumentAt, class NumeratorAt>
RESONANCE_FORCE_INLINE softmax_terms softmax_numerators(std::int64_t count, const ArgumentAt& argument_at,
                                                        const NumeratorAt& numerator_at) {
  for (std::int64_t i = 0; i < count; ++i) numerator_at(i) = argument_at(i);
  const float largest = detail::largest_of(count, numerator_at);
  const float shift = largest == math::negative_infinity() ? 0.0f : largest;
  for (std::int64_t i = 0; i < count; ++i) numerator_at(i) = math::exp(numerator_at(i) - shift);
  return {shift, ordered_sum(0, count,
                             [&](float sum, std::int64_t i) RESONANCE_INLINE_LAMBDA { return sum + numerator_at(i); })};
}

RESONANCE_NAMESPACE_END

#endif
