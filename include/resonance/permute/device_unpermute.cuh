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
#include <resonance/permute/in_place_experts.hpp>
#include <resonance/permute/kernel_permute.cuh>
#include <resonance/permute/kernel_unpermute.cuh>
#include <resonance/permute/row_plan.hpp>
#include <resonance/permute/warp_unpermute.cuh>

RESONANCE_NAMESPACE_BEGIN
namespace detail {
RESONANCE_ARCH_NAMESPACE_BEGIN

//! Launches by the elements that an access moves: start(constant of Elements, items, shares).
template <class Row, class Start>
status launch_unpermute(std::uint64_t bits, const matrix_view<Row>& y, const Start& start) {
  const auto launch_by = [&](auto elements) {
    const row_shares shares(divide_up(y.cols, unpermute_piece<Row, decltype(elements)::value>), unpermute_threads);
    const std::int64_t items = y.rows * shares.blocks;
    const status fits = checks{}.fits(items <= most_blocks, "y").result();
    return fits.ok() ? start(elements, launch_shape{items, shares.threads(), 0}, shares) : fits;
  };
  const int bytes =
      packet_bytes_for(bits | alignment_bits(y.data, y.stride) | static_cast<std::uint64_t>(y.cols) * sizeof(Row));
  if constexpr (widest_packet % sizeof(Row) == 0 && sizeof(Row) < widest_packet)
    if (bytes >= 16) return launch_by(std::integral_constant<int, static_cast<int>(16 / sizeof(Row))>{});
  if constexpr (sizeof(Row) < 4 && 4 % sizeof(Row) == 0)
    if (bytes >= 4) return launch_by(std::integral_constant<int, static_cast<int>(4 / sizeof(Row))>{});
  return launch_by(std::integral_constant<int, 1>{});
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
  std::uint64_t bits = alignment_bits(permuted.data, permuted.stride);
  if (without == no_slot::passthrough) bits |= alignment_bits(x.data, x.stride);
  return detail::launch_unpermute(bits, y, [&](auto elements, const auto& shape, const auto& shares) {
    const auto kernel = detail::kernel_unpermute<detail::unpermute_threads, decltype(elements)::value, Row, Index>;
    return detail::launch(on, shape, kernel, permuted, plan, on.num_tokens, shares, y, without, x);
  });
}

//! Sums the rows of every token's slots, weighted, in slot order, and what experts without rows make of the token.
//!
//! Equation   host_unpermute's of in_place_experts
//! Inputs     permuted Row[P,H] strided; plan (assignments.ids int32[slots]; weights float[slots], null = all ones)
//!            experts: expert_map int32[E], the plan's; x Row[T,H], constants Row[N,H], mixing float[T,2N] strided; all
//!            in device memory
//! Outputs    y Row[T,H] strided; must not overlap permuted or constants; may be x. Rows of tokens that are not there
//!            (device_stream::num_tokens) stay untouched
//! Contract   host_unpermute's bits; a NaN is a NaN, its payload the machine's. expert_map is not checked: an entry of
//!            a constant expert >= N adds nothing
//! Errors     host_unpermute's, but for expert_map; index_overflow (y: more than 2^31 blocks); launch_failed
//! Resources  1 launch, no workspace
//! Cost       a read of x_t per slot in place, of v_n per constant one, else as above; ids, entries, row numbers,
//!            weights and logits are 24 bytes per slot and 512 bytes of row
//! Example    test/simt/permute/in_place_experts_test.cpp
template <class Row, class Index>
status device_unpermute(const device_stream& on, matrix_view<const as_deduced<Row>> permuted,
                        const row_plan<Index>& plan, const in_place_experts<Row>& experts, matrix_view<Row> y) {
  const status checked = detail::check_unpermute(plan.check_device(), permuted, plan, experts, true, y);
  if (!checked.ok() || y.cols == 0) return checked;
  std::uint64_t bits =
      alignment_bits(permuted.data, permuted.stride) | alignment_bits(experts.x.data, experts.x.stride);
  if (experts.constants.rows > 0) bits |= alignment_bits(experts.constants.data, experts.constants.stride);
  return detail::launch_unpermute(bits, y, [&](auto elements, const auto& shape, const auto& shares) {
    const auto kernel =
        detail::kernel_unpermute_in_place<detail::unpermute_threads, decltype(elements)::value, Row, Index>;
    return detail::launch(on, shape, kernel, permuted, plan, experts, on.num_tokens, shares, y);
  });
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace permute
RESONANCE_NAMESPACE_END

#endif
