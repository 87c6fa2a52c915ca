// SPDX-License-Identifier: Apache-2.0
//! \file
//! What the row moves read of a plan.
#ifndef RESONANCE_PERMUTE_ROW_PLAN_HPP
#define RESONANCE_PERMUTE_ROW_PLAN_HPP

#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

template <class T>
struct type_itself {
  using type = T;
};

}  // namespace detail

namespace permute {

//! Row, deduced from another argument: lets a mutable view be passed where a read-only one is asked for.
template <class Row>
using as_deduced = typename detail::type_itself<Row>::type;

//! A filled plan. Index: the plan's, int32_t or int64_t.
template <class Index = std::int32_t>
struct row_plan {
  assignment_view assignments;              //!< shape (tokens, slots_per_token or token_offsets); weights for unpermute
  const Index* sorted_token_ids = nullptr;  //!< [P] row -> slot, -1 = padding
  const Index* inverse = nullptr;           //!< [slots] slot -> row, or outside [0, P)
  std::int64_t num_rows = 0;                //!< P

  status check() const {
    detail::checks c;
    c.also(detail::check_assignments(assignments, false));
    if (!c.result().ok()) return c.result();
    return c.in_range(num_rows >= 0, "num_rows")
        .present(sorted_token_ids, num_rows > 0, "sorted_token_ids")
        .present(inverse, assignments.slots() > 0, "inverse")
        .result();
  }
};

}  // namespace permute
RESONANCE_NAMESPACE_END

#endif
