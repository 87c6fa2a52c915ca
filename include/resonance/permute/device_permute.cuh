// SPDX-License-Identifier: Apache-2.0
//! \file
//! Permute on the device: the rows of the kept assignments, side by side by expert.
#ifndef RESONANCE_PERMUTE_DEVICE_PERMUTE_CUH
#define RESONANCE_PERMUTE_DEVICE_PERMUTE_CUH

#include <resonance/config.hpp>
#include <resonance/core/launch.cuh>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/core/views.hpp>
#include <resonance/permute/kernel_permute.cuh>
#include <resonance/permute/row_plan.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {
RESONANCE_ARCH_NAMESPACE_BEGIN

template <int Bytes, class Row>
packet_rows<Bytes> as_packets(const matrix_view<Row>& m) {
  using bytes = std::conditional_t<std::is_const_v<Row>, const void, void>;
  packet_rows<Bytes> rows;
  rows.data = static_cast<packet<Bytes>*>(const_cast<void*>(static_cast<bytes*>(m.data)));
  rows.stride = m.stride * static_cast<std::int64_t>(sizeof(Row)) / Bytes;
  rows.cols = m.cols * static_cast<std::int64_t>(sizeof(Row)) / Bytes;
  return rows;
}

template <int Bytes, class Row, class Index>
status launch_permute(const device_stream& on, const matrix_view<const Row>& x, const permute::row_plan<Index>& plan,
                      const matrix_view<Row>& permuted) {
  const packet_rows<Bytes> from = as_packets<Bytes>(x);
  const row_shares shares(divide_up(from.cols, permute_piece), permute_threads);
  const std::int64_t items = x.rows * shares.blocks + divide_up(plan.num_rows, padding_group * shares.warps);
  const status fits = checks{}.fits(items <= most_blocks, "x").result();
  if (!fits.ok()) return fits;
  return launch(on, {items, shares.threads(), 0}, kernel_permute<permute_threads, Bytes, Index>, from, plan,
                on.num_tokens, shares, as_packets<Bytes>(permuted));
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace detail

namespace permute {
RESONANCE_ARCH_NAMESPACE_BEGIN

//! Copies every token's row to the rows that the plan gave it, and zeroes the padding rows.
//!
//! Equation   host_permute's
//! Inputs     x Row[T,H] strided; plan: sorted_token_ids, inverse, the assignments' shape; all in device memory.
//!            plan.device_num_rows, where given, is P and plan.num_rows the most it can be
//! Outputs    permuted Row[P,H] strided; rows past P stay untouched. Must not overlap x.
//! Contract   bits are copied: Row may be any trivially copyable type. A row number outside [0, P) is passed over; a
//!            row that two slots name, or a slot and the padding, gets one or the other
//! Errors     host_permute's; index_overflow (x: more than 2^31 blocks, terabytes of rows); launch_failed
//! Resources  1 launch, no workspace
//! Cost       T*H reads (each row once) and P*H writes, in accesses of 16 bytes where the rows are 16-byte aligned,
//!            else of 4, 2 or 1; 4 bytes per slot and KiB of row; 4 bytes per row
//! Example    test/simt/permute/device_permute_test.cpp
template <class Row, class Index>
status device_permute(const device_stream& on, matrix_view<const as_deduced<Row>> x, const row_plan<Index>& plan,
                      matrix_view<Row> permuted) {
  static_assert(std::is_trivially_copyable_v<Row>, "resonance: permute copies rows of trivially copyable elements");
  const status checked = detail::check_permute(plan.check_device(), x, plan, permuted);
  if (!checked.ok() || x.cols == 0) return checked;
  const std::uint64_t row_bytes = static_cast<std::uint64_t>(x.cols) * sizeof(Row);
  const int bytes =
      packet_bytes_for(alignment_bits(x.data, x.stride) | alignment_bits(permuted.data, permuted.stride) | row_bytes);
  if (bytes >= 16) return detail::launch_permute<16>(on, x, plan, permuted);
  if (bytes >= 4) return detail::launch_permute<4>(on, x, plan, permuted);
  if (bytes >= 2) return detail::launch_permute<2>(on, x, plan, permuted);
  return detail::launch_permute<1>(on, x, plan, permuted);
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace permute
RESONANCE_NAMESPACE_END

#endif
