// SPDX-License-Identifier: Apache-2.0
//! \file
//! The numerators and the sum of a softmax, in the library's order of additions.
#ifndef RESONANCE_CORE_SOFTMAX_HPP
#define RESONANCE_CORE_SOFTMAX_HPP

#include <cstdint>

#include <resonance/config.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/ordered_sum.hpp>

RESONANCE_NAMESPACE_BEGIN

//! The largest argument of a row and the sum of exp(argument - largest), in the order of ordered_sum.
struct softmax_terms {
  float largest = 0.0f;
  float sum = 0.0f;
};

//! numerator_at(i) = exp(argument_at(i) - largest) for 0 <= i < count; an argument of -inf is absent: numerator 0.
template <class ArgumentAt, class NumeratorAt>
RESONANCE_FORCE_INLINE softmax_terms softmax_numerators(std::int64_t count, const ArgumentAt& argument_at,
                                                        const NumeratorAt& numerator_at) {
  float largest = math::negative_infinity();
  for (std::int64_t i = 0; i < count; ++i) numerator_at(i) = argument_at(i);
  for (std::int64_t i = 0; i < count; ++i) largest = numerator_at(i) > largest ? numerator_at(i) : largest;
  const float shift = largest == math::negative_infinity() ? 0.0f : largest;
  for (std::int64_t i = 0; i < count; ++i) numerator_at(i) = math::exp(numerator_at(i) - shift);
  return {shift, ordered_sum(0, count,
                             [&](float sum, std::int64_t i) RESONANCE_INLINE_LAMBDA { return sum + numerator_at(i); })};
}

RESONANCE_NAMESPACE_END

#endif
