// SPDX-License-Identifier: Apache-2.0
//! \file
//! Drop orders: who comes first when an expert is full (SEMANTICS 6). Ties go by token, then slot.
#ifndef RESONANCE_PRUNE_DROP_ORDER_HPP
#define RESONANCE_PRUNE_DROP_ORDER_HPP

#include <resonance/config.hpp>
#include <resonance/core/order_key.hpp>
#include <resonance/core/policy.hpp>
#include <resonance/core/std.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace prune {

//! How an order ranks an expert's members.
enum class ranked_by {
  merge_rank,      //!< the merge's rank_in_expert
  slot,            //!< flat slot number
  key,             //!< key(place of the slot in its token, the token's largest affinity), larger first
  place_then_key,  //!< place of the slot in its token, then the same key
};

//! The expert's best first: rank_in_expert.
struct affinity_order {
  using stage = stages::drop_order;
  static constexpr ranked_by ranks = ranked_by::merge_rank;
  static constexpr bool needs_token_best = false;
  RESONANCE_HOST_DEVICE static std::uint32_t key(std::int64_t, float) { return 0; }
};

//! First come, first served, by token.
struct position {
  using stage = stages::drop_order;
  static constexpr ranked_by ranks = ranked_by::slot;
  static constexpr bool needs_token_best = false;
  RESONANCE_HOST_DEVICE static std::uint32_t key(std::int64_t, float) { return 0; }
};

//! All first choices before any second choice (GShard).
struct slot_major {
  using stage = stages::drop_order;
  static constexpr ranked_by ranks = ranked_by::key;
  static constexpr bool needs_token_best = false;
  RESONANCE_HOST_DEVICE static std::uint32_t key(std::int64_t place, float) {
    return 0xffffffffu - static_cast<std::uint32_t>(place);
  }
};

//! Tokens by their largest affinity, whichever of their choices the expert was.
struct batch_prioritized {
  using stage = stages::drop_order;
  static constexpr ranked_by ranks = ranked_by::key;
  static constexpr bool needs_token_best = true;
  RESONANCE_HOST_DEVICE static std::uint32_t key(std::int64_t, float token_best) { return order_key(token_best); }
};

//! All first choices before any second choice, each of them by the tokens' largest affinity (V-MoE).
struct slot_major_prioritized : batch_prioritized {
  static constexpr ranked_by ranks = ranked_by::place_then_key;
};

}  // namespace prune
RESONANCE_NAMESPACE_END

#endif
