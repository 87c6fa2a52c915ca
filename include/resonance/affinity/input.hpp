// SPDX-License-Identifier: Apache-2.0
//! \file
//! What both backends ask of a metric's input before they read it.
#ifndef RESONANCE_AFFINITY_INPUT_HPP
#define RESONANCE_AFFINITY_INPUT_HPP

#include <resonance/affinity/metrics.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

template <class Metric, class X, class W>
RESONANCE_HOST_DEVICE std::int32_t experts_of(const affinity::hidden_input<X, W>& input) {
  return Metric::reads == affinity::operand::gate ? static_cast<std::int32_t>(input.gate.rows) : input.experts;
}
template <class Metric, class L>
RESONANCE_HOST_DEVICE std::int32_t experts_of(const affinity::logits_input<L>& input) {
  return static_cast<std::int32_t>(input.logits.cols);
}

template <class Metric, class X, class W>
status check_input(const affinity::hidden_input<X, W>& input) {
  static_assert(Metric::reads != affinity::operand::logits,
                "resonance: this metric reads logits_input, not hidden_input");
  checks c;
  c.also(check_matrix(input.hidden, "hidden"));
  c.fits(input.hidden.rows <= max_int32, "hidden");
  if (Metric::reads == affinity::operand::gate) {
    c.also(check_matrix(input.gate, "gate"));
    c.fits(input.gate.rows <= max_int32, "gate");
    c.in_range(input.gate.rows >= 1, "gate");
    c.matches(input.gate.cols == input.hidden.cols, "gate");
  } else {
    c.in_range(input.experts >= 1, "experts");
    c.in_range(input.experts <= input.hidden.cols, "experts");
  }
  return c.result();
}

template <class Metric, class L>
status check_input(const affinity::logits_input<L>& input) {
  static_assert(Metric::reads == affinity::operand::logits,
                "resonance: this metric reads hidden_input, not logits_input");
  return checks{}
      .also(check_matrix(input.logits, "logits"))
      .in_range(input.logits.cols >= 1, "logits")
      .fits(input.logits.rows <= max_int32, "logits")
      .fits(input.logits.cols <= max_int32, "logits")
      .present(input.token_norms, Metric::needs_norms && input.logits.rows > 0, "token_norms")
      .present(input.gate_norms, Metric::needs_norms && input.logits.rows > 0, "gate_norms")
      .result();
}

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
