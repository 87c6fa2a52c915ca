// SPDX-License-Identifier: Apache-2.0
//! \file
//! Permute on the host: the rows of the kept assignments, side by side by expert.
#ifndef RESONANCE_PERMUTE_HOST_PERMUTE_HPP
#define RESONANCE_PERMUTE_HOST_PERMUTE_HPP

#include <cstdint>
#include <cstring>
#include <type_traits>

#include <resonance/core/executor.hpp>
#include <resonance/core/host_stream.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/views.hpp>
#include <resonance/permute/row_plan.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace permute {

//! Copies every token's row to the rows that the plan gave it, and zeroes the padding rows.
//!
//! Equation   Xp[inverse[slot]] = X[token(slot)] for every slot with a row; Xp[row] = 0 where sorted_token_ids[row] =
//! -1 Inputs     x Row[T,H] strided; plan: sorted_token_ids Index[P], inverse Index[slots], the assignments' shape
//! Outputs    permuted Row[P,H] strided; rows past P stay untouched. Must not overlap x.
//! Contract   bits are copied, whatever they mean: Row may be any trivially copyable type. A row number outside [0, P)
//!            is passed over.
//! Errors     null_pointer, shape_mismatch (x, permuted)
//! Resources  none
//! Cost       T*H reads (each row once) and P*H writes, past the caches from 32 MiB on
//! Example    examples/02_stages.cpp
template <class Executor, class Row, class Index>
status host_permute(const Executor& executor, matrix_view<const as_deduced<Row>> x, const row_plan<Index>& plan,
                    matrix_view<Row> permuted) {
  static_assert(std::is_trivially_copyable_v<Row>, "resonance: permute copies rows of trivially copyable elements");
  const status checked = detail::check_permute(plan.check(), x, plan, permuted);
  if (!checked.ok() || x.cols == 0) return checked;

  const std::size_t row_bytes = static_cast<std::size_t>(x.cols) * sizeof(Row);
  const bool streams = detail::past_the_caches(plan.num_rows, x.cols, sizeof(Row));
  detail::for_ranges(executor, x.rows, 16, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t t = begin; t < end; ++t) {
      for (std::int64_t slot = plan.assignments.begin(t); slot < plan.assignments.end(t); ++slot) {
        const std::int64_t row = plan.inverse[slot];
        if (row < 0 || row >= plan.num_rows) continue;
        if (streams) {
          detail::copy_streaming(permuted.row(row), x.row(t), row_bytes);
        } else {
          std::memcpy(permuted.row(row), x.row(t), row_bytes);
        }
      }
    }
    if (streams) detail::finish_streaming();
  });
  detail::for_ranges(executor, plan.num_rows, 1024, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t row = begin; row < end; ++row)
      if (plan.sorted_token_ids[row] < 0) std::memset(permuted.row(row), 0, row_bytes);
  });
  return {};
}

}  // namespace permute
RESONANCE_NAMESPACE_END

#endif
