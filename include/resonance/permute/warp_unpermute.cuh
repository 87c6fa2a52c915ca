// SPDX-License-Identifier: Apache-2.0
//! \file
//! A warp's share of unpermute: a piece of one token's row, summed over the token's slots.
#ifndef RESONANCE_PERMUTE_WARP_UNPERMUTE_CUH
#define RESONANCE_PERMUTE_WARP_UNPERMUTE_CUH

#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/math.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/core/views.hpp>
#include <resonance/permute/row_plan.hpp>
#include <resonance/permute/warp_permute.cuh>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

//! Elements of a row that one access moves: a packet, or one element where no packet fits.
template <class Row, int Elements>
using element_packet = std::conditional_t<Elements == 1, Row, packet<Elements* static_cast<int>(sizeof(Row))>>;

//! Accesses of a thread per row: a thread sums 8 bytes of a row at least, so that row numbers and weights are few
//! beside.
template <class Row, int Elements>
inline constexpr int unpermute_packets = Elements * sizeof(Row) >= 8 ? 1
                                                                     : static_cast<int>(8 / (Elements * sizeof(Row)));

//! Elements of a row that a warp sums.
template <class Row, int Elements>
inline constexpr int unpermute_piece = unpermute_packets<Row, Elements>* Elements* warp_size;

//! Rows whose loads are in flight together.
inline constexpr int unpermute_slots_at_once = 4;

//! Writes the elements [piece * unpermute_piece, ...) of a token's row of Y.
//!
//! Threads    one warp, converged
//! Inputs     permuted, y, x (passthrough only); slots of the token; rows = P; cols and all addresses multiples of
//!            Elements
//! Contract   float, slot order, first term a product, then fused multiply-adds: host_unpermute's bits
//! Resources  registers; no barrier
//! Cost       the piece of every row is read once; 4 bytes of row number and 4 of weight per slot
template <int Elements, class Row, class Index>
RESONANCE_DEVICE void warp_unpermute_piece(const matrix_view<const Row>& permuted, std::int64_t token,
                                           std::int64_t piece, const token_slots& slots, const Index* inverse,
                                           const float* weights, std::int64_t rows, const matrix_view<Row>& y,
                                           permute::no_slot without, const matrix_view<const Row>& x) {
  using packed = element_packet<Row, Elements>;
  constexpr int packets = unpermute_packets<Row, Elements>;
  constexpr int at_once = unpermute_slots_at_once;
  const std::int64_t first = piece * unpermute_piece<Row, Elements> + lane_id() * Elements;
  const auto column = [&](int p) { return first + p * warp_size * Elements; };
  // A fused multiply-add onto -0 is the product, its sign of zero included.
  float sums[packets][Elements];
  RESONANCE_UNROLL
  for (int p = 0; p < packets; ++p) {
    RESONANCE_UNROLL
    for (int j = 0; j < Elements; ++j) sums[p][j] = -0.0f;
  }
  bool any = false;
  for (std::int64_t slot = slots.begin; slot < slots.end; slot += warp_size) {
    const int count = slots.end - slot < warp_size ? static_cast<int>(slots.end - slot) : warp_size;
    const bool present = lane_id() < count;
    const Index own_row = present ? load(inverse + slot + lane_id()) : Index{-1};
    const float own_weight = present && weights != nullptr ? load(weights + slot + lane_id()) : 1.0f;
    for (int k = 0; k < count; k += at_once) {
      packed values[at_once][packets];
      float weight[at_once];
      bool used[at_once];
      RESONANCE_UNROLL
      for (int i = 0; i < at_once; ++i) {
        // Lanes past the last slot hold row -1, those past the warp are lane k again.
        const int source = k + i < warp_size ? k + i : k;
        const std::int64_t row = warp_team::shuffle(own_row, source);
        weight[i] = warp_team::shuffle(own_weight, source);
        used[i] = k + i < count && row >= 0 && row < rows;
        if (!used[i]) continue;
        const Row* from = permuted.data + row * permuted.stride;
        RESONANCE_UNROLL
        for (int p = 0; p < packets; ++p)
          if (column(p) < y.cols) values[i][p] = load(reinterpret_cast<const packed*>(from + column(p)));
      }
      RESONANCE_UNROLL
      for (int i = 0; i < at_once; ++i) {
        if (!used[i]) continue;
        any = true;
        RESONANCE_UNROLL
        for (int p = 0; p < packets; ++p) {
          if (column(p) >= y.cols) continue;
          Row elements[Elements];
          memcpy(elements, &values[i][p], sizeof elements);
          RESONANCE_UNROLL
          for (int j = 0; j < Elements; ++j)
            sums[p][j] = math::fma(weight[i], row_traits<Row>::widen(elements[j]), sums[p][j]);
        }
      }
    }
  }
  RESONANCE_UNROLL
  for (int p = 0; p < packets; ++p) {
    if (column(p) >= y.cols) continue;
    packed result;
    if (!any && without == permute::no_slot::passthrough) {
      result = load(reinterpret_cast<const packed*>(x.data + token * x.stride + column(p)));
    } else {
      Row elements[Elements];
      RESONANCE_UNROLL
      for (int j = 0; j < Elements; ++j) elements[j] = row_traits<Row>::narrow(any ? sums[p][j] : 0.0f);
      memcpy(&result, elements, sizeof result);
    }
    store(reinterpret_cast<packed*>(y.data + token * y.stride + column(p)), result);
  }
}

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
