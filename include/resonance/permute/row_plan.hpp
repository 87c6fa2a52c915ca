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

//! What a token without a kept slot gets from unpermute.
enum class no_slot {
  zero,         //!< a row of zeros
  passthrough,  //!< its input row
};

//! A filled plan. Index: the plan's, int32_t or int64_t.
template <class Index = std::int32_t>
struct row_plan {
  assignment_view assignments;              //!< shape (tokens, slots_per_token or token_offsets); weights for unpermute
  const Index* sorted_token_ids = nullptr;  //!< [P] row -> slot, -1 = padding
  const Index* inverse = nullptr;           //!< [slots] slot -> row, or outside [0, P)
  std::int64_t num_rows = 0;                //!< P; with device_num_rows the most that P can be
  const std::int64_t* device_num_rows = nullptr;  //!< on the device only: [1] P, in device memory (outputs::num_rows)

  status check() const {
    const status shape = detail::check_assignments(assignments, false);
    return shape.ok() ? check_arrays(assignments.slots()) : shape;
  }
  //! The same for arrays in device memory.
  status check_device() const {
    const status shape = detail::check_device_assignments(assignments, false);
    return shape.ok() ? check_arrays(assignments.most_slots()) : shape;
  }

 private:
  status check_arrays(std::int64_t slots) const {
    return detail::checks{}
        .in_range(num_rows >= 0, "num_rows")
        .present(sorted_token_ids, num_rows > 0, "sorted_token_ids")
        .present(inverse, slots > 0, "inverse")
        .result();
  }
};

}  // namespace permute

namespace detail {

//! `plan_checked`: plan.check() or plan.check_device().
template <class Row, class Index>
status check_permute(const status& plan_checked, const matrix_view<const Row>& x, const permute::row_plan<Index>& plan,
                     const matrix_view<Row>& permuted) {
  checks c;
  c.also(plan_checked);
  c.also(check_matrix(x, "x")).also(check_matrix(permuted, "permuted"));
  if (!c.result().ok()) return c.result();
  return c.matches(x.rows == plan.assignments.tokens, "x")
      .matches(permuted.rows >= plan.num_rows && permuted.cols == x.cols, "permuted")
      .result();
}

template <class Row, class Index>
status check_unpermute(const status& plan_checked, const matrix_view<const Row>& permuted,
                       const permute::row_plan<Index>& plan, const matrix_view<Row>& y, permute::no_slot without,
                       const matrix_view<const Row>& x) {
  checks c;
  c.also(plan_checked);
  c.also(check_matrix(permuted, "permuted")).also(check_matrix(y, "y"));
  if (!c.result().ok()) return c.result();
  c.matches(permuted.rows >= plan.num_rows && permuted.cols == y.cols, "permuted");
  c.matches(y.rows == plan.assignments.tokens, "y");
  if (without == permute::no_slot::passthrough) {
    c.also(check_matrix(x, "x"));
    c.matches(x.rows == y.rows && x.cols == y.cols, "x");
  }
  return c.result();
}

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
