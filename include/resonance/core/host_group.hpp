// SPDX-License-Identifier: Apache-2.0
//! \file
//! Stable grouping by expert without a sort: counts per piece, one scan, then every slot knows its place.
#ifndef RESONANCE_CORE_HOST_GROUP_HPP
#define RESONANCE_CORE_HOST_GROUP_HPP

#include <cstdint>

#include <resonance/config.hpp>
#include <resonance/core/executor.hpp>
#include <resonance/core/host_best_first.hpp>
#include <resonance/core/order_key.hpp>
#include <resonance/core/views.hpp>
#include <resonance/core/workspace.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

//! A counting sort in two passes over the items, parallel and with the same result at any worker count. Items without
//! an expert (ids outside [0, E)) are a last group, E, since a branch for them would be taken at random.
class expert_grouping {
 public:
  //! Room for one histogram per worker.
  void carve(workspace_carver& carver, int workers, std::int32_t experts) {
    experts_ = experts;
    first_rank_ = carver.take<std::int64_t>(static_cast<std::int64_t>(workers) * groups());
  }

  std::int32_t experts() const { return experts_; }

  //! First pass: totals[e] = number of items with expert_of(item) == e.
  template <class Executor, class ExpertOf>
  void count(const Executor& executor, std::int64_t items, const ExpertOf& expert_of, std::int64_t* totals) const {
    for (std::int32_t e = 0; e < experts_; ++e) totals[e] = 0;
    if (items == 0) return;
    const int pieces = piece_count(executor, items, grain);
    for_pieces(executor, items, grain, [&](std::int64_t begin, std::int64_t end, int piece) {
      std::int64_t* counts = first_rank_ + piece * groups();
      for (std::int64_t g = 0; g < groups(); ++g) counts[g] = 0;
      for (std::int64_t item = begin; item < end; ++item) ++counts[group_of(expert_of(item))];
    });
    std::int64_t without = 0;
    for (int piece = 0; piece < pieces; ++piece) {
      std::int64_t* counts = first_rank_ + piece * groups();
      for (std::int32_t e = 0; e < experts_; ++e) move_in(counts[e], totals[e]);
      move_in(counts[experts_], without);
    }
  }

  //! Second pass, once after count: visit(item, expert, rank), rank = number of earlier items of the same group.
  template <class Executor, class ExpertOf, class Visit>
  void rank(const Executor& executor, std::int64_t items, const ExpertOf& expert_of, const Visit& visit) const {
    for_pieces(executor, items, grain, [&](std::int64_t begin, std::int64_t end, int piece) {
      std::int64_t* next_rank = first_rank_ + piece * groups();
      for (std::int64_t item = begin; item < end; ++item) {
        const std::int32_t group = group_of(expert_of(item));
        visit(item, group, next_rank[group]++);
      }
    });
  }

 private:
  static constexpr std::int64_t grain = 4096;

  std::int64_t groups() const { return std::int64_t{experts_} + 1; }
  std::int32_t group_of(std::int32_t expert) const {
    return static_cast<std::uint32_t>(expert) < static_cast<std::uint32_t>(experts_) ? expert : experts_;
  }
  //! A piece's count becomes the rank of its first item.
  static void move_in(std::int64_t& count, std::int64_t& total) {
    const std::int64_t before = total;
    total += count;
    count = before;
  }

  std::int64_t* first_rank_ = nullptr;
  std::int32_t experts_ = 0;
};

//! offsets[0..count] = running sums of values[0..count).
inline void exclusive_scan(const std::int64_t* values, std::int64_t count, std::int64_t* offsets) {
  offsets[0] = 0;
  for (std::int64_t i = 0; i < count; ++i) offsets[i + 1] = offsets[i] + values[i];
}

//! The assigned slots of every expert, side by side in slot order, each with a packed key: (its key, place in the
//! group).
struct members_by_expert {
  static constexpr std::int64_t least_members = 1024;  // that a piece of work by experts has, some 10 microseconds

  expert_grouping grouping;
  std::int64_t* counts = nullptr;   // [E] |A_i|
  std::int64_t* offsets = nullptr;  // [E + 1]
  std::int64_t* slots = nullptr;    // [slots]
  std::uint64_t* keys = nullptr;    // [slots]; sorting a group by falling key sorts ties by slot

  void carve(workspace_carver& carver, int workers, const assignment_view& a) {
    carve(carver, workers, a.experts, a.slots());
  }

  void carve(workspace_carver& carver, int workers, std::int32_t experts, std::int64_t most_slots) {
    grouping.carve(carver, workers, experts);
    counts = carver.take<std::int64_t>(experts);
    offsets = carver.take<std::int64_t>(std::int64_t{experts} + 1);
    slots = carver.take<std::int64_t>(most_slots);
    keys = carver.take<std::uint64_t>(most_slots);
  }

  template <class Executor, class KeyOf>
  void gather(const Executor& executor, const assignment_view& a, const KeyOf& key_of) const {
    gather(
        executor, a.slots(), [&](std::int64_t slot) { return a.ids[slot]; }, key_of);
  }

  //! key_of(slot) -> uint32, larger is better. A group holds fewer than 2^32 slots.
  template <class Executor, class ExpertOf, class KeyOf>
  void gather(const Executor& executor, std::int64_t all_slots, const ExpertOf& expert_of, const KeyOf& key_of) const {
    grouping.count(executor, all_slots, expert_of, counts);
    exclusive_scan(counts, grouping.experts(), offsets);
    // Slots without an expert come last; there is room for all slots.
    grouping.rank(executor, all_slots, expert_of, [&](std::int64_t slot, std::int32_t expert, std::int64_t rank) {
      slots[offsets[expert] + rank] = slot;
      keys[offsets[expert] + rank] = pack_key(key_of(slot), static_cast<std::uint32_t>(rank));
    });
  }

  //! Sorts every group best first and calls visit(slot, expert, rank) for its members.
  template <class Executor, class Visit>
  void rank_by_key(const Executor& executor, std::int32_t experts, const Visit& visit) const {
    const std::int64_t expert_grain = grain_of_groups(experts, offsets[experts], least_members);
    for_ranges(executor, experts, expert_grain, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t e = begin; e < end; ++e) {
        sort_best_first(keys + offsets[e], counts[e], counts[e]);
        for (std::int64_t rank = 0; rank < counts[e]; ++rank)
          visit(slots[offsets[e] + packed_index(keys[offsets[e] + rank])], static_cast<std::int32_t>(e), rank);
      }
    });
  }
};

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
