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
#include <resonance/permute/row_plan.hpp>

RESONANCE_NAMESPACE_BEGIN
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
  const detail::row_combiner<Row, Index> combiner(permuted, plan, inputs, y);
  detail::for_ranges(executor, y.rows, 16,
                     [&](std::int64_t begin, std::int64_t end, int) { combiner.combine(begin, end); });
  return {};
}

}  // namespace permute
RESONANCE_NAMESPACE_END

#endif
