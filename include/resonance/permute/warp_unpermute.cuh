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
#include <resonance/permute/in_place_experts.hpp>
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

//! A row that a thread of a warp found for its slot, and the row's weight.
template <class Name>
struct weighted_row {
  Name name;
  float weight;
};

//! Slots whose rows are those of a plan: one row each, named by its number.
template <class Row, class Index>
struct planned_slot_rows {
  static constexpr int per_slot = 1;
  using name = Index;
  static constexpr name none = -1;
  matrix_view<const Row> permuted;
  const Index* inverse;
  const float* weights;
  std::int64_t rows;  // P

  RESONANCE_DEVICE weighted_row<name> find(std::int64_t slot, int) const {
    return {load(inverse + slot), weight(slot)};
  }
  RESONANCE_DEVICE float weight(std::int64_t slot) const { return weights != nullptr ? load(weights + slot) : 1.0f; }
  RESONANCE_DEVICE bool holds(std::int64_t row) const { return row >= 0 && row < rows; }
  RESONANCE_DEVICE const Row* at(std::int64_t row) const { return permuted.data + row * permuted.stride; }
};

//! Slots whose experts have rows in a plan, or none and are computed in place: two rows each at most, named by address.
template <class Row, class Index>
struct slot_rows_in_place {
  static constexpr int per_slot = 2;
  using name = std::int64_t;
  static constexpr name none = 0;
  planned_slot_rows<Row, Index> planned;
  permute::in_place_experts<Row> experts;
  const std::int32_t* ids;
  std::int32_t expert_count;
  std::int64_t token;

  RESONANCE_DEVICE weighted_row<name> find(std::int64_t slot, int which) const {
    namespace in_place = permute::in_place;
    const std::int32_t id = load(ids + slot);
    if (id < 0 || id >= expert_count) return {none, 0.0f};
    const std::int32_t entry = load(experts.expert_map + id);
    if (entry >= 0) {
      const std::int64_t row = which == 0 ? load(planned.inverse + slot) : Index{-1};
      return planned.holds(row) ? of(planned.at(row), planned.weight(slot)) : weighted_row<name>{none, 0.0f};
    }
    const Row* input = experts.x.data + token * experts.x.stride;
    if (entry == in_place::copy && which == 0) return of(input, planned.weight(slot));
    const std::int64_t n = in_place::constant_number(entry);
    if (entry >= in_place::copy || n >= experts.constants.rows) return {none, 0.0f};
    const float* logits = experts.mixing.data + token * experts.mixing.stride + 2 * n;
    const in_place::shares shares = in_place::mix(load(logits), load(logits + 1));
    if (which == 0) return of(input, planned.weight(slot) * shares.of_input);
    return of(experts.constants.data + n * experts.constants.stride, planned.weight(slot) * shares.of_constant);
  }
  RESONANCE_DEVICE bool holds(name row) const { return row != none; }
  RESONANCE_DEVICE const Row* at(name row) const { return reinterpret_cast<const Row*>(row); }

 private:
  RESONANCE_DEVICE static weighted_row<name> of(const Row* row, float weight) {
    return {reinterpret_cast<std::intptr_t>(row), weight};
  }
};

//! Writes the elements [piece * unpermute_piece, ...) of a token's row of Y.
//!
//! Threads    one warp, converged
//! Inputs     rows of the token's slots; y, x (passthrough only); cols and all addresses multiples of Elements
//! Contract   float, slot order, first term a product, then fused multiply-adds: host_unpermute's bits
//! Resources  registers; no barrier
//! Cost       the piece of every row is read once; 4 bytes of row number and 4 of weight per slot
template <int Elements, class Row, class SlotRows>
RESONANCE_DEVICE void warp_unpermute_piece(const SlotRows& rows, std::int64_t token, std::int64_t piece,
                                           const token_slots& slots, const matrix_view<Row>& y,
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
  constexpr int per_slot = SlotRows::per_slot;
  constexpr int slots_per_warp = warp_size / per_slot;
  for (std::int64_t slot = slots.begin; slot < slots.end; slot += slots_per_warp) {
    const int slot_count = slots.end - slot < slots_per_warp ? static_cast<int>(slots.end - slot) : slots_per_warp;
    const int count = slot_count * per_slot;
    weighted_row<typename SlotRows::name> own{SlotRows::none, 1.0f};
    if (lane_id() < count) own = rows.find(slot + lane_id() / per_slot, lane_id() % per_slot);
    for (int k = 0; k < count; k += at_once) {
      packed values[at_once][packets];
      float weight[at_once];
      bool used[at_once];
      RESONANCE_UNROLL
      for (int i = 0; i < at_once; ++i) {
        // Lanes past the last slot hold no row, those past the warp are lane k again.
        const int source = k + i < warp_size ? k + i : k;
        const std::int64_t row = warp_team::shuffle(own.name, source);
        weight[i] = warp_team::shuffle(own.weight, source);
        used[i] = k + i < count && rows.holds(row);
        if (!used[i]) continue;
        const Row* from = rows.at(row);
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
