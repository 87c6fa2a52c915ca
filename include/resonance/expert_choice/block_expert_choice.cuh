// SPDX-License-Identifier: Apache-2.0
//! \file
//! Expert choice by a block: find the best tokens of eight experts or of one expert's candidates, and write them in
//! order.
#ifndef RESONANCE_EXPERT_CHOICE_BLOCK_EXPERT_CHOICE_CUH
#define RESONANCE_EXPERT_CHOICE_BLOCK_EXPERT_CHOICE_CUH

#include <resonance/config.hpp>
#include <resonance/core/block_columns.cuh>
#include <resonance/core/block_select.cuh>
#include <resonance/core/block_sort.cuh>
#include <resonance/core/collectives.cuh>
#include <resonance/core/expert_members.cuh>
#include <resonance/core/order_key.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/core/views.hpp>
#include <resonance/expert_choice/options.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace expert_choice {

//! C_i of an expert, with the capacities in device memory.
RESONANCE_DEVICE std::int64_t capacity_of(const options& o, std::int64_t expert) {
  return o.capacities == nullptr ? o.capacity : o.clamped(load(o.capacities + expert));
}

//! The keys that experts selected, in no order.
struct selected_keys {
  std::uint64_t* keys = nullptr;   //!< [E, stride]
  std::int64_t stride = 0;         //!< >= min(C, T)
  std::uint32_t* found = nullptr;  //!< [E]
};

//! Shared memory of block_choose_tokens.
struct choose_scratch {
  selection_scratch<columns_per_block, false> selection;
  unsigned filled[columns_per_block];
};

//! Selects the C_i best tokens of each of up to eight neighbouring experts.
//!
//! Threads    all of the block
//! Inputs     columns: the experts' scores; it is staged here
//! Outputs    out.keys, out.found of these experts
//! Contract   the set of block_select; the order of the keys is left to block_write_best
//! Resources  scratch in shared memory; ends with a barrier
//! Cost       columns read once where staged, else once per sweep of block_select
//! Example    test/simt/expert_choice/device_expert_choice_test.cpp
RESONANCE_DEVICE void block_choose_tokens(choose_scratch& s, const column_keys& columns, const options& o,
                                          const selected_keys& out) {
  for (int c = block_thread(); c < columns_per_block; c += block_threads()) s.filled[c] = 0;
  columns.stage();
  const auto capacity = [&](int column) { return capacity_of(o, columns.first + column); };
  const auto append = [&](int column, std::uint64_t key) {
    store(out.keys + (columns.first + column) * out.stride + atomic_add(&s.filled[column], 1u), key);
  };
  block_select<columns_per_block>(s.selection, columns.columns, columns.rows, columns,
                                  select_count<decltype(capacity)>{capacity}, visit_selected<decltype(append)>{append});
  for (int c = block_thread(); c < columns.columns; c += block_threads())
    store(out.found + columns.first + c, std::uint32_t{s.selection.taken[c]});
  sync_block();
}

//! Where an expert's keys are sorted: `staged`, in shared memory, if they fit, else where they are.
struct sort_space {
  std::uint64_t* staged = nullptr;  //!< [room] in shared memory
  std::int64_t room = 0;
};

//! Sorts an expert's selected keys and writes its row.
//!
//! Threads    all of `team`
//! Inputs     keys uint64[found], written before a barrier; their order is lost
//!            token_of(index) -> int32, score_of(index) -> float: what a key's index stands for
//! Outputs    ids, scores (nullable) [slots]: best first, then -1 and 0
//! Resources  ends with a barrier
//! Cost       a sort of `found` keys. A score comes from its key where that tells its bits, else from score_of
//! Example    test/simt/expert_choice/device_expert_choice_test.cpp
template <class Team, class TokenOf, class ScoreOf>
RESONANCE_DEVICE void block_write_best(const Team& team, std::uint64_t* keys, std::int64_t found, std::int64_t slots,
                                       const sort_space& space, const TokenOf& token_of, const ScoreOf& score_of,
                                       std::int32_t* ids, float* scores) {
  std::uint64_t* sorted = keys;
  if (found <= space.room) {
    sorted = space.staged;
    for (std::int64_t k = team.rank(); k < found; k += team.size()) sorted[k] = load(keys + k);
    team.sync();
  }
  team_sort_descending(team, sorted, found);
  const std::uint32_t zero = order_key(0.0f);
  const std::uint32_t largest = order_key(row_traits<float>::largest);
  for (std::int64_t k = team.rank(); k < slots; k += team.size()) {
    const std::uint64_t key = k < found ? load(sorted + k) : 0;
    store(ids + k, k < found ? token_of(packed_index(key)) : -1);
    if (scores == nullptr) continue;
    const bool ambiguous = packed_key(key) == zero || packed_key(key) == largest;  // -0 or +0, the largest or infinity
    const float score = k < found ? (ambiguous ? score_of(packed_index(key)) : score_of_key(packed_key(key))) : 0.0f;
    store(scores + k, score);
  }
  team.sync();
}

//! Shared memory of block_choose_candidates.
struct candidate_scratch {
  selection_scratch<1, false> selection;
  unsigned filled;
};

//! Selects the C best of one expert's candidates.
//!
//! Threads    all of the block
//! Inputs     members: the expert's slots; affinity float[slots]
//!            staged uint32[room] in shared memory: longer lists are read at every sweep
//! Outputs    keys uint64[members.count]: those selected, in no order; index = place among the members
//! Contract   returns how many; ends with a barrier
//! Resources  scratch in shared memory
//! Cost       12 bytes per member where staged
//! Example    test/simt/expert_choice/device_expert_choice_test.cpp
RESONANCE_DEVICE std::int64_t block_choose_candidates(candidate_scratch& s, const detail::expert_members& members,
                                                      const float* affinity, std::int64_t wanted, std::uint32_t* staged,
                                                      std::int64_t room, std::uint64_t* keys) {
  const auto read = [&](std::uint32_t i) { return order_key(load(affinity + members.slot(i))); };
  const bool fits = members.count <= room;
  if (block_thread() == 0) s.filled = 0;
  if (fits)
    for (int i = block_thread(); i < static_cast<int>(members.count); i += block_threads())
      staged[i] = read(static_cast<std::uint32_t>(i));
  sync_block();
  const auto key_at = [&](int, std::uint32_t i) { return pack_key(fits ? staged[i] : read(i), i); };
  const auto capacity = [&](int) { return wanted; };
  const auto append = [&](int, std::uint64_t key) { store(keys + atomic_add(&s.filled, 1u), key); };
  block_select<1>(s.selection, 1, members.count, key_at, select_count<decltype(capacity)>{capacity},
                  visit_selected<decltype(append)>{append});
  return s.selection.taken[0];
}

}  // namespace expert_choice
RESONANCE_NAMESPACE_END

#endif
