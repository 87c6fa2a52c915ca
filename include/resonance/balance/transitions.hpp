// SPDX-License-Identifier: Apache-2.0
//! \file
//! What both backends check before they count transitions between the experts of two layers.
#ifndef RESONANCE_BALANCE_TRANSITIONS_HPP
#define RESONANCE_BALANCE_TRANSITIONS_HPP

#include <resonance/config.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

//! `from_checked`, `to_checked`: check_assignments or check_device_assignments of the two.
inline status check_transitions(const status& from_checked, const status& to_checked, const assignment_view& from,
                                const assignment_view& to, const matrix_view<std::int64_t>& counts) {
  return checks{}
      .require(from_checked.ok(), from_checked.code, "from")
      .require(to_checked.ok(), to_checked.code, "to")
      .matches(to.tokens == from.tokens, "to")
      .also(check_matrix(counts, "counts"))
      .matches(counts.rows == from.experts && counts.cols == to.experts, "counts")
      .result();
}

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
