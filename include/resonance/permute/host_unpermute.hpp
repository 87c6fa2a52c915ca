// SPDX-License-Identifier: Apache-2.0
//! \file
//! Unpermute (combine) on the host: every token's weighted sum of its experts' rows.
#ifndef RESONANCE_PERMUTE_HOST_UNPERMUTE_HPP
#define RESONANCE_PERMUTE_HOST_UNPERMUTE_HPP

#include <cstdint>

#include <resonance/core/executor.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/views.hpp>
#include <resonance/permute/host_combine.hpp>
#include <resonance/permute/host_token_rows.hpp>
#include <resonance/permute/in_place_experts.hpp>
#include <resonance/permute/row_plan.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

template <class Executor, class Row, class Slots>
void combine_rows(const Executor& executor, const Slots& slots, const matrix_view<const Row>& inputs,
                  const matrix_view<Row>& y) {
  const row_combiner<Row, Slots> combiner(slots, inputs, y);
  for_ranges(executor, y.rows, 16, [&](std::int64_t begin, std::int64_t end, int) { combiner.combine(begin, end); });
}

}  // namespace detail

namespace permute {

//! Sums the rows of every token's slots, weighted, in slot order.
//!
//! Equation   Y[t] = sum over slots of w[slot] * Yp[inverse[slot]]
//! Inputs     permuted Row[P,H] strided; plan (assignments.weights float[slots], null = all ones)
//!            x Row[T,H] strided: the tokens' inputs, read for `passthrough` only
//! Outputs    y Row[T,H] strided; must not overlap permuted; may be x
//! Contract   float accumulation in slot order, the first term a product, the others fused multiply-adds, rounded to
//!            nearest even at the end: bitwise reproducible; one slot of weight 1 gives its row's values exactly
//! Errors     null_pointer, shape_mismatch (permuted, y, x)
//! Resources  none
//! Cost       kept*H reads and T*H writes, past the caches where the rows read are 32 MiB or more
//! Example    examples/02_stages.cpp
template <class Executor, class Row, class Index>
status host_unpermute(const Executor& executor, matrix_view<const as_deduced<Row>> permuted,
                      const row_plan<Index>& plan, matrix_view<Row> y, no_slot without = no_slot::zero,
                      matrix_view<const as_deduced<Row>> x = {}) {
  const status checked = detail::check_unpermute(plan.check(), permuted, plan, y, without, x);
  if (!checked.ok()) return checked;
  const matrix_view<const Row> inputs = without == no_slot::passthrough ? x : matrix_view<const Row>{};
  detail::combine_rows(executor, detail::planned_slots<Row, Index>{permuted, plan}, inputs, y);
  return {};
}

//! Sums the rows of every token's slots, weighted, in slot order, and what experts without rows make of the token.
//!
//! Equation   Y[t] = sum over slots of w E(x_t), E(x_t) = Yp[inverse[slot]] where expert_map >= 0; 0 (in_place::zero);
//!            x_t (in_place::copy); a1 x_t + a2 v_n, [a1, a2] = softmax(mixing[t, 2n], mixing[t, 2n + 1])
//!            (in_place::constant(n))   MoE++, arXiv 2410.07348, section 3.1
//! Inputs     permuted Row[P,H] strided; plan (assignments.ids int32[slots]; weights float[slots], null = all ones)
//!            experts: expert_map int32[E], the plan's; x Row[T,H], constants Row[N,H], mixing float[T,2N] strided
//! Outputs    y Row[T,H] strided; must not overlap permuted or constants; may be x. A token to which no slot adds
//!            anything gets zeros
//! Contract   float accumulation in slot order; a constant expert adds (w a1) x_t, then (w a2) v_n; the first term a
//!            product, the others fused multiply-adds, rounded to nearest even at the end: bitwise reproducible.
//!            Dropped slots (ids outside [0, E)) add nothing
//! Errors     null_pointer, shape_mismatch (permuted, y, x, constants, mixing), out_of_range (expert_map: a constant
//!            expert >= N), index_overflow (constants)
//! Resources  none
//! Cost       a read of x_t per slot in place, of v_n per constant one, else as above
//! Example    test/catalogue/moe_plus_plus_test.cpp
template <class Executor, class Row, class Index>
status host_unpermute(const Executor& executor, matrix_view<const as_deduced<Row>> permuted,
                      const row_plan<Index>& plan, const in_place_experts<Row>& experts, matrix_view<Row> y) {
  const status checked = detail::check_unpermute(plan.check(), permuted, plan, experts, false, y);
  if (!checked.ok()) return checked;
  detail::combine_rows(executor, detail::slots_in_place<Row, Index>{{permuted, plan}, experts},
                       matrix_view<const Row>{}, y);
  return {};
}

}  // namespace permute
RESONANCE_NAMESPACE_END

#endif
