// SPDX-License-Identifier: Apache-2.0
//! \file
//! The best keys of one row of any length, by the threads of a block.
#ifndef RESONANCE_TOKEN_CHOICE_BLOCK_TOP_K_CUH
#define RESONANCE_TOKEN_CHOICE_BLOCK_TOP_K_CUH

#include <resonance/config.hpp>
#include <resonance/core/block_select.cuh>
#include <resonance/core/block_sort.cuh>
#include <resonance/core/collectives.cuh>
#include <resonance/core/order_key.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>

RESONANCE_NAMESPACE_BEGIN
namespace token_choice {

//! What block_top_k keeps in shared memory.
struct alignas(16) top_k_scratch {
  selection_scratch<1, false> selection;
  unsigned listed;
};

//! Chooses the `wanted` best of `count` keys: a radix selection lists those that are taken, then they are sorted.
//!
//! Threads    all of `team`, a block
//! Inputs     packed_at(i) -> uint64 for 0 <= i < count < 2^32: pack_key(key, i), or 0 = never chosen; written before a
//!            barrier
//! Outputs    best uint64[wanted] in shared or global memory, largest first; entries past the returned count undefined
//! Returns    how many there are, in every thread
//! Contract   SEMANTICS 1; any count, any wanted <= count
//! Resources  the scratch, in shared memory
//! Cost       some three passes over random keys, ten at most; O(wanted log^2 wanted / size) for the order
//! Example    test/simt/token_choice/device_token_choice_test.cpp
template <class PackedAt>
RESONANCE_DEVICE std::int64_t block_top_k(const block_team& team, std::int64_t count, const PackedAt& packed_at,
                                          std::int64_t wanted, std::uint64_t* best, top_k_scratch& scratch) {
  if (team.rank() == 0) scratch.listed = 0;
  const auto wanted_of = [wanted](int) { return static_cast<std::uint64_t>(wanted); };
  const auto list = [best, &scratch](int, std::uint64_t packed) {
    store(best + atomic_add(&scratch.listed, 1u), packed);  // in any order: sorted below
  };
  block_select<1>(
      scratch.selection, 1, count, [&](int, std::int64_t i) { return packed_at(i); },
      select_count<decltype(wanted_of)>{wanted_of}, visit_selected<decltype(list)>{list});
  const std::int64_t found = scratch.listed;
  team_sort_descending(team, best, found);
  return found;
}

}  // namespace token_choice
RESONANCE_NAMESPACE_END

#endif
