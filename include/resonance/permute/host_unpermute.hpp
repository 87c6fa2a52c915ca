// SPDX-License-Identifier: Apache-2.0
//! \file
//! Unpermute (combine) on the host: every token's weighted sum of its experts' rows.
#ifndef RESONANCE_PERMUTE_HOST_UNPERMUTE_HPP
#define RESONANCE_PERMUTE_HOST_UNPERMUTE_HPP

#include <algorithm>
#include <cstdint>

#include <resonance/core/executor.hpp>
#include <resonance/core/host_simd.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/views.hpp>
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
//! Cost       kept*H reads and T*H writes
//! Example    examples/02_stages.cpp
template <class Executor, class Row, class Index>
status host_unpermute(const Executor& executor, matrix_view<const as_deduced<Row>> permuted,
                      const row_plan<Index>& plan, matrix_view<Row> y, no_slot without = no_slot::zero,
                      matrix_view<const as_deduced<Row>> x = {}) {
  const status checked = detail::check_unpermute(plan.check(), permuted, plan, y, without, x);
  if (!checked.ok()) return checked;
  const assignment_view& a = plan.assignments;

  detail::for_ranges(executor, y.rows, 16, [&](std::int64_t begin, std::int64_t end, int) {
    detail::run_widest([&]() RESONANCE_INLINE_LAMBDA {
      constexpr std::int64_t width = 64;  // columns summed at once: a line or more of each row, sums close at hand
      alignas(64) float sum[width];
      for (std::int64_t t = begin; t < end; ++t) {
        for (std::int64_t column = 0; column < y.cols; column += width) {
          const std::int64_t count = std::min(width, y.cols - column);
          bool first = true;
          for (std::int64_t slot = a.begin(t); slot < a.end(t); ++slot) {
            const std::int64_t row = plan.inverse[slot];
            if (row < 0 || row >= plan.num_rows) continue;
            const Row* source = permuted.row(row) + column;
            const float weight = a.weights != nullptr ? a.weights[slot] : 1.0f;
            if (first) {
              for (std::int64_t j = 0; j < count; ++j) sum[j] = weight * row_traits<Row>::widen(source[j]);
            } else {
              for (std::int64_t j = 0; j < count; ++j)
                sum[j] = math::fma(weight, row_traits<Row>::widen(source[j]), sum[j]);
            }
            first = false;
          }
          Row* target = y.row(t) + column;
          if (!first) {
            for (std::int64_t j = 0; j < count; ++j) target[j] = row_traits<Row>::narrow(sum[j]);
          } else if (without == no_slot::passthrough) {
            const Row* input = x.row(t) + column;
            for (std::int64_t j = 0; j < count; ++j) target[j] = input[j];
          } else {
            for (std::int64_t j = 0; j < count; ++j) target[j] = row_traits<Row>::narrow(0.0f);
          }
        }
      }
    });
  });
  return {};
}

}  // namespace permute
RESONANCE_NAMESPACE_END

#endif
