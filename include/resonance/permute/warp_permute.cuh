// SPDX-License-Identifier: Apache-2.0
//! \file
//! A warp's share of a row move: a piece of one token's row, to all rows that the plan gave the token.
#ifndef RESONANCE_PERMUTE_WARP_PERMUTE_CUH
#define RESONANCE_PERMUTE_WARP_PERMUTE_CUH

#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/expert_members.cuh>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/core/views.hpp>
#include <resonance/permute/row_plan.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

//! The slots of a token.
struct token_slots {
  std::int64_t begin = 0;
  std::int64_t end = 0;

  RESONANCE_DEVICE token_slots(const assignment_view& a, std::int64_t token)
      : begin(first_slot(a, token)), end(first_slot(a, token + 1)) {}
};

//! P, where it is in device memory; hostile values are no more than the plan's num_rows.
template <class Index>
RESONANCE_DEVICE std::int64_t live_rows(const permute::row_plan<Index>& plan) {
  if (plan.device_num_rows == nullptr) return plan.num_rows;
  const std::int64_t rows = load(plan.device_num_rows);
  return rows < plan.num_rows ? rows : plan.num_rows;
}

//! A matrix as packets of its rows' bytes.
template <int Bytes>
struct packet_rows {
  packet<Bytes>* data = nullptr;
  std::int64_t stride = 0;  // in packets, as all counts here
  std::int64_t cols = 0;
};

//! Packets of a row that a thread moves at once: loads in flight.
inline constexpr int permute_packets = 2;
inline constexpr int permute_piece = permute_packets * warp_size;

//! Stores the packets [piece * permute_piece, ...) of a token's row into each of its rows in the plan.
//!
//! Threads    one warp, converged
//! Inputs     x, permuted as packets; inverse of the plan; slots of the token; rows = P
//! Contract   row numbers outside [0, rows) are passed over
//! Resources  registers; no barrier
//! Cost       the piece is read once and stored once per row
template <int Bytes, class Index>
RESONANCE_DEVICE void warp_permute_piece(const packet_rows<Bytes>& x, std::int64_t token, std::int64_t piece,
                                         const token_slots& slots, const Index* inverse, std::int64_t rows,
                                         const packet_rows<Bytes>& permuted) {
  const std::int64_t first = piece * permute_piece + lane_id();
  packet<Bytes> packets[permute_packets];
  RESONANCE_UNROLL
  for (int i = 0; i < permute_packets; ++i)
    if (first + i * warp_size < x.cols) packets[i] = load(x.data + token * x.stride + first + i * warp_size);
  for (std::int64_t slot = slots.begin; slot < slots.end; slot += warp_size) {
    const int count = slots.end - slot < warp_size ? static_cast<int>(slots.end - slot) : warp_size;
    const Index own = lane_id() < count ? load(inverse + slot + lane_id()) : Index{-1};
    for (int k = 0; k < count; ++k) {
      const std::int64_t row = warp_team::shuffle(own, k);
      if (row < 0 || row >= rows) continue;
      packet<Bytes>* target = permuted.data + row * permuted.stride + first;
      RESONANCE_UNROLL
      for (int i = 0; i < permute_packets; ++i)
        if (first + i * warp_size < x.cols) store(target + i * warp_size, packets[i]);
    }
  }
}

//! Rows that a warp looks at for padding.
inline constexpr int padding_group = 8;

//! Zeroes the padding rows of [group * padding_group, ...).
//!
//! Threads    one warp, converged
//! Inputs     sorted_token_ids of the plan; rows = P
template <int Bytes, class Index>
RESONANCE_DEVICE void warp_zero_padding(std::int64_t group, const Index* sorted_token_ids, std::int64_t rows,
                                        const packet_rows<Bytes>& permuted) {
  const std::int64_t first = group * padding_group;
  const std::int64_t own = first + lane_id();
  const bool padding = lane_id() < padding_group && own < rows && load(sorted_token_ids + own) < 0;
  unsigned left = warp_team::ballot(padding);
  while (left != 0) {
    packet<Bytes>* row = permuted.data + (first + first_bit(left)) * permuted.stride;
    left &= left - 1;
    for (std::int64_t p = lane_id(); p < permuted.cols; p += warp_size) store(row + p, packet<Bytes>{});
  }
}

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
