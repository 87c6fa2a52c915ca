// SPDX-License-Identifier: Apache-2.0
//! \file
//! The plan's options and views: what an expert GEMM and the row moves read (SEMANTICS 7).
#ifndef RESONANCE_PLAN_PLAN_HPP
#define RESONANCE_PLAN_PLAN_HPP

#include <resonance/config.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace plan {

struct options {
  std::int32_t tile_tokens = 1;       //!< every expert's rows start at a multiple of this; 1 = dense
  std::int64_t pad_to_capacity = -1;  //!< C >= 0: the [E,C] layout of drop-and-pad; -1 = off
  bool by_affinity = false;           //!< rows of an expert by affinity desc instead of by token, slot
  const std::int32_t* expert_map =
      nullptr;                 //!< [E] global -> local id, or outside [0, num_local) = elsewhere; null = all
  std::int32_t num_local = 0;  //!< local experts, where expert_map is given

  //! L: the experts that the plan has rows for.
  constexpr std::int32_t local_experts(std::int32_t experts) const {
    return expert_map != nullptr ? num_local : experts;
  }

  //! The local id of a slot's expert, -1 where unassigned or elsewhere.
  RESONANCE_HOST_DEVICE std::int32_t local_expert(const assignment_view& a, std::int64_t slot) const {
    if (!a.assigned(slot)) return -1;
    if (expert_map == nullptr) return a.ids[slot];
    const std::int32_t local = expert_map[a.ids[slot]];
    return local >= 0 && local < num_local ? local : -1;
  }

  //! Rows per expert in the [E,C] layout: C in whole tiles.
  constexpr std::int64_t padded_capacity() const { return aligned(pad_to_capacity); }

  constexpr std::int64_t aligned(std::int64_t rows) const {
    return (rows + tile_tokens - 1) / tile_tokens * tile_tokens;
  }

  constexpr status check(const assignment_view& a) const { return check(a, a.slots()); }

  //! The same without a look at the offsets of a ragged list; `slots`: that there can be.
  constexpr status check(const assignment_view& a, std::int64_t slots) const {
    return detail::checks{}
        .in_range(tile_tokens >= 1, "tile_tokens")
        .in_range(pad_to_capacity >= -1 && pad_to_capacity <= (std::int64_t{1} << 60), "pad_to_capacity")
        .in_range(expert_map == nullptr || num_local >= 1, "num_local")
        .present(a.affinity, by_affinity && slots > 0, "assignments.affinity")
        .result();
  }
};

//! The most rows that a plan over `slots` slots can have, padding included: what to allocate for sorted_token_ids.
//! slots + min(L, slots) * (tile_tokens - 1) rounded up to whole tiles; L * C in whole tiles with pad_to_capacity.
constexpr std::int64_t max_rows(std::int64_t slots, std::int32_t experts, const options& o) {
  const std::int64_t local = o.local_experts(experts);
  if (o.pad_to_capacity >= 0) return local * o.padded_capacity();
  const std::int64_t busy = slots < local ? slots : local;
  return (slots + busy * (o.tile_tokens - 1)) / o.tile_tokens * o.tile_tokens;
}

//! Where a plan is written. Index: int32_t, or int64_t past 2^31 rows or slots. L = local experts.
template <class Index = std::int32_t>
struct outputs {
  static_assert(std::is_same_v<Index, std::int32_t> || std::is_same_v<Index, std::int64_t>,
                "resonance: a plan's index type must be int32_t or int64_t");
  Index* tokens_per_expert = nullptr;  //!< [L] kept assignments of each expert, padding not counted; nullable
  Index* expert_offsets = nullptr;     //!< [L + 1] first row of each expert; the last is P
  Index* sorted_token_ids = nullptr;   //!< [max_rows] row -> flat slot (token * K + k), -1 = padding; written up to P
  Index* inverse = nullptr;            //!< [slots] slot -> row, -1 = has none
  std::int32_t* expert_ids = nullptr;  //!< [max_rows / tile_tokens] local expert of each tile; nullable; up to P / tile
  std::int64_t* num_rows = nullptr;    //!< [2] P with padding, and without
};

}  // namespace plan

namespace detail {

//! `slots`: a.slots(), or the most there can be where `a` stands in for assignments that are still to come.
template <class Index>
status check_plan(const assignment_view& a, std::int64_t slots, const plan::options& o,
                  const plan::outputs<Index>& out) {
  checks c;
  constexpr std::int64_t largest_index = std::numeric_limits<Index>::max();
  c.also(o.check(a, slots));
  c.fits(slots <= largest_index, "inverse");
  if (!c.result().ok()) return c.result();
  c.fits(o.pad_to_capacity < 0 || product_fits(o.local_experts(a.experts), o.padded_capacity()), "pad_to_capacity");
  if (!c.result().ok()) return c.result();
  const std::int64_t rows = plan::max_rows(slots, a.experts, o);
  return c.fits(rows <= largest_index, "sorted_token_ids")
      .present(out.expert_offsets, true, "expert_offsets")
      .present(out.num_rows, true, "num_rows")
      .present(out.inverse, slots > 0, "inverse")
      .present(out.sorted_token_ids, rows > 0, "sorted_token_ids")
      .result();
}

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
