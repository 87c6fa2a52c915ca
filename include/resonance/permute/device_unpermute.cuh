// SPDX-License-Identifier: Apache-2.0
//! \file
//! Unpermute (combine) on the device: every token's weighted sum of its experts' rows.
#ifndef RESONANCE_PERMUTE_DEVICE_UNPERMUTE_CUH
#define RESONANCE_PERMUTE_DEVICE_UNPERMUTE_CUH

#include <resonance/config.hpp>
#include <resonance/core/launch.cuh>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/core/views.hpp>
#include <resonance/permute/kernel_permute.cuh>
#include <resonance/permute/kernel_unpermute.cuh>
#include <resonance/permute/row_plan.hpp>
#include <resonance/permute/warp_unpermute.cuh>

RESONANCE_NAMESPACE_BEGIN
namespace detail {
RESONANCE_ARCH_NAMESPACE_BEGIN

template <int Elements, class Row, class Index>
status launch_unpermute(const device_stream& on, const matrix_view<const Row>& permuted,
                        const permute::row_plan<Index>& plan, const matrix_view<Row>& y, permute::no_slot without,
                        const matrix_view<const Row>& x) {
  const row_shares shares(divide_up(y.cols, unpermute_piece<Row, Elements>), unpermute_threads);
  const std::int64_t items = y.rows * shares.blocks;
  const status fits = checks{}.fits(items <= most_blocks, "y").result();
  if (!fits.ok()) return fits;
  return launch(on, {items, shares.threads(), 0}, kernel_unpermute<unpermute_threads, Elements, Row, Index>, permuted,
                plan, on.num_tokens, shares, y, without, x);
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace detail

namespace permute {
RESONANCE_ARCH_NAMESPACE_BEGIN

//! Sums the rows of every token's slots, weighted, in slot order.
//!
//! Equation   host_unpermute's
//! Inputs     permuted Row[P,H] strided; plan (assignments.weights float[slots], null = all ones)
//!            x Row[T,H] strided: the tokens' inputs, read for `passthrough` only; all in device memory
//! Outputs    y Row[T,H] strided; must not overlap permuted; may be x. Rows of tokens that are not there
//!            (device_stream::num_tokens) stay untouched
//! Contract   host_unpermute's bits; a NaN is a NaN, its payload the machine's
//! Errors     host_unpermute's; index_overflow (y: more than 2^31 blocks, terabytes of rows); launch_failed
//! Resources  1 launch, no workspace
//! Cost       kept*H reads and T*H writes, in accesses of 16 bytes where the rows are 16-byte aligned, else of 4 bytes
//!            or one element; 8 bytes per slot and 512 bytes of row
//! Example    test/simt/permute/device_unpermute_test.cpp
template <class Row, class Index>
status device_unpermute(const device_stream& on, matrix_view<const as_deduced<Row>> permuted,
                        const row_plan<Index>& plan, matrix_view<Row> y, no_slot without = no_slot::zero,
                        matrix_view<const as_deduced<Row>> x = {}) {
  const status checked = detail::check_unpermute(plan.check_device(), permuted, plan, y, without, x);
  if (!checked.ok() || y.cols == 0) return checked;
  std::uint64_t bits = alignment_bits(permuted.data, permuted.stride) | alignment_bits(y.data, y.stride) |
                       static_cast<std::uint64_t>(y.cols) * sizeof(Row);
  if (without == no_slot::passthrough) bits |= alignment_bits(x.data, x.stride);
  const int bytes = packet_bytes_for(bits);
  if constexpr (widest_packet % sizeof(Row) == 0 && sizeof(Row) < widest_packet)
    if (bytes >= 16)
      return detail::launch_unpermute<static_cast<int>(16 / sizeof(Row))>(on, permuted, plan, y, without, x);
  if constexpr (sizeof(Row) < 4 && 4 % sizeof(Row) == 0)
    if (bytes >= 4)
      return detail::launch_unpermute<static_cast<int>(4 / sizeof(Row))>(on, permuted, plan, y, without, x);
  return detail::launch_unpermute<1>(on, permuted, plan, y, without, x);
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace permute
RESONANCE_NAMESPACE_END

#endif
