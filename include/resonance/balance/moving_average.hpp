// SPDX-License-Identifier: Apache-2.0
//! \file
//! An exponential moving average: what smooths a batch's delta_max from step to step.
#ifndef RESONANCE_BALANCE_MOVING_AVERAGE_HPP
#define RESONANCE_BALANCE_MOVING_AVERAGE_HPP

#include <resonance/config.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/order_key.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace balance {

//! m := decay m + (1 - decay) x, from the first x on.
//!
//! A small value that lives where its user wants it, in device memory too. An absent x (NaN, -inf: a batch without a
//! choice) leaves it as it is; so does an x before the first, whose value is -inf, absent to whoever reads it.
struct moving_average {
  float decay = 0.9f;  //!< in [0, 1): the share of what was
  float value = detail::bits_float(0xff800000u);

  constexpr status check() const { return detail::checks{}.in_range(decay >= 0.0f && decay < 1.0f, "decay").result(); }
  RESONANCE_HOST_DEVICE void add(float x) {
    if (order_key(x) == never_chosen) return;
    value = order_key(value) == never_chosen ? x : math::fma(decay, value - x, x);
  }
};

}  // namespace balance
RESONANCE_NAMESPACE_END

#endif
