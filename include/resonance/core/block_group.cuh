// SPDX-License-Identifier: Apache-2.0
//! \file
//! Stable grouping of slots by expert in a block, without a sort: counts of tiles, then every slot's place.
//!
//! The slots are cut into tiles of consecutive slots. A first pass counts every tile's experts; in the second the block
//! of a tile adds up what the tiles before it hold (no scan between the passes) and ranks its own slots: a warp owns
//! consecutive slots and takes 32 at a time; equal experts find each other by votes, so no atomic decides an order.
#ifndef RESONANCE_CORE_BLOCK_GROUP_CUH
#define RESONANCE_CORE_BLOCK_GROUP_CUH

#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/core/views.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

//! Slots that a thread holds in registers between ranking and placing.
inline constexpr int group_items = 8;

//! Experts whose counters share the block's memory at once; more experts mean more passes over the tile.
inline constexpr std::int32_t group_range = 2048;

//! The same for counting, which needs one counter per expert and not one per warp.
inline constexpr std::int32_t count_range = 8192;

RESONANCE_HOST_DEVICE constexpr std::int32_t least(std::int32_t a, std::int32_t b) { return a < b ? a : b; }

//! Whose group a slot belongs to: its expert, or the expert's local number.
struct slot_experts {
  const std::int32_t* ids = nullptr;         // [slots]
  const std::int32_t* expert_map = nullptr;  // [ids_below]; null = every id is its own group
  std::int32_t ids_below = 0;
  std::int32_t groups = 0;

  slot_experts() = default;
  RESONANCE_HOST_DEVICE explicit slot_experts(const assignment_view& a)
      : ids(a.ids), ids_below(a.experts), groups(a.experts) {}
  RESONANCE_HOST_DEVICE slot_experts(const assignment_view& a, const std::int32_t* map, std::int32_t num_local)
      : ids(a.ids), expert_map(map), ids_below(a.experts), groups(map != nullptr ? num_local : a.experts) {}

  RESONANCE_DEVICE std::int32_t id(std::int64_t slot) const { return load(ids + slot); }
  //! The group of an id, -1 where it has none.
  RESONANCE_DEVICE std::int32_t group(std::int32_t id) const {
    if (static_cast<std::uint32_t>(id) >= static_cast<std::uint32_t>(ids_below)) return -1;
    if (expert_map == nullptr) return id;
    const std::int32_t local = load(expert_map + id);
    return static_cast<std::uint32_t>(local) < static_cast<std::uint32_t>(groups) ? local : -1;
  }
};

//! Shared memory of block_place_slots. Position: unsigned or unsigned long long, wide enough for every place.
template <class Position>
struct group_scratch {
  Position* next;           // [range] place of the expert's next slot
  Position* ends;           // [range] where the expert's slots end
  std::uint16_t* counters;  // [warps + 1][range] a warp's slots of the expert, then those of the warps before
  std::int32_t range;

  //! `shared`: bytes(experts, warps of the block), 16-byte aligned.
  RESONANCE_DEVICE group_scratch(unsigned char* shared, std::int32_t experts)
      : next(reinterpret_cast<Position*>(shared)), range(least(experts, group_range)) {
    ends = next + range;
    counters = reinterpret_cast<std::uint16_t*>(ends + range);
  }
  static constexpr std::size_t bytes(std::int32_t experts, int warps) {
    return static_cast<std::size_t>(least(experts, group_range)) *
           (2 * sizeof(Position) + static_cast<std::size_t>(warps + 1) * sizeof(std::uint16_t));
  }
};

//! visit(group, slot) for the grouped slots of [begin, end), in no order, all loads of a thread in flight at once.
template <class Visit>
RESONANCE_DEVICE void for_each_group(std::int64_t begin, std::int64_t end, const slot_experts& experts,
                                     const Visit& visit) {
  const int threads = block_threads();
  for (std::int64_t first = begin + block_thread(); first < end; first += std::int64_t{group_items} * threads) {
    std::int32_t ids[group_items];
    RESONANCE_UNROLL
    for (int i = 0; i < group_items; ++i) {
      const std::int64_t slot = first + i * threads;
      ids[i] = slot < end ? experts.id(slot) : -1;
    }
    RESONANCE_UNROLL
    for (int i = 0; i < group_items; ++i) {
      const std::int32_t group = experts.group(ids[i]);
      if (group >= 0) visit(group);
    }
  }
}

//! counts[g] = slots of [begin, end) in group g.
//!
//! Threads    all of the block
//! Inputs     histogram unsigned[min(groups, count_range)] in shared memory
//! Outputs    counts uint32[groups] in global memory
//! Resources  one barrier per count_range groups before and after counting; ends with a barrier
RESONANCE_DEVICE void block_count_slots(std::int64_t begin, std::int64_t end, const slot_experts& experts,
                                        unsigned* histogram, std::uint32_t* counts) {
  for (std::int32_t first = 0; first < experts.groups; first += count_range) {
    const std::int32_t range = least(experts.groups - first, count_range);
    for (std::int32_t e = block_thread(); e < range; e += block_threads()) histogram[e] = 0;
    sync_block();
    for_each_group(begin, end, experts, [&](std::int32_t group) {
      const auto e = static_cast<std::uint32_t>(group - first);
      if (e < static_cast<std::uint32_t>(range)) atomic_add(histogram + e, 1u);
    });
    sync_block();
    for (std::int32_t e = block_thread(); e < range; e += block_threads())
      store(counts + first + e, static_cast<std::uint32_t>(histogram[e]));
  }
  sync_block();
}

//! What a thread knows of its slots, in registers.
class ranked_slots {
 public:
  //! Slots [begin, begin + count) of one warp, count <= 32 * group_items. Slots without a group are the first pass's.
  RESONANCE_DEVICE void load_slots(std::int64_t begin, int count, const slot_experts& experts, std::int32_t first,
                                   std::int32_t range) {
    const int lane = lane_id();
    first_slot_ = begin + lane;
    std::int32_t ids[group_items];
    RESONANCE_UNROLL
    for (int i = 0; i < group_items; ++i)
      ids[i] = i * warp_size < count - lane ? experts.id(first_slot_ + i * warp_size) : 0;
    RESONANCE_UNROLL
    for (int i = 0; i < group_items; ++i) {
      const std::int32_t group = i * warp_size < count - lane ? experts.group(ids[i]) : -2;
      const auto here = static_cast<std::uint32_t>(group - first);
      slots_[i] = group >= 0 && here < static_cast<std::uint32_t>(range) ? here
                  : group == -1 && first == 0                            ? no_group
                                                                         : not_here;
    }
  }

  //! Ranks the slots inside the warp; `counters` [range], the warp's own, end as its histogram.
  RESONANCE_DEVICE void rank_in_warp(int count, std::uint16_t* counters, std::int32_t range) {
    int bits = 0;
    while ((range >> bits) != 0) ++bits;
    warp_team::sync();  // the counters of the slots before have been read
    for (std::int32_t e = lane_id(); e < range; e += warp_size) counters[e] = 0;
    warp_team::sync();
    RESONANCE_UNROLL
    for (int i = 0; i < group_items; ++i) {
      if (i * warp_size >= count) continue;  // the same for the whole warp
      const bool grouped = slots_[i] < not_here;
      std::uint16_t* counter = counters + (grouped ? slots_[i] : 0u);
      const unsigned peers = warp_team::peers(grouped ? slots_[i] : static_cast<unsigned>(range), bits);
      const unsigned before = *counter;
      warp_team::sync();
      if (grouped && first_bit(peers) == lane_id())
        *counter = static_cast<std::uint16_t>(before + static_cast<unsigned>(count_bits(peers)));
      warp_team::sync();
      slots_[i] |= (before + static_cast<unsigned>(count_bits(peers & lanes_below(lane_id())))) << 16;
    }
  }

  //! visit(slot, group - first, rank), or visit_none(slot).
  template <class Visit, class VisitNone>
  RESONANCE_DEVICE void for_each(const Visit& visit, const VisitNone& visit_none) const {
    RESONANCE_UNROLL
    for (int i = 0; i < group_items; ++i) {
      const std::uint32_t group = slots_[i] & 0xffffu;
      if (group < not_here)
        visit(first_slot_ + i * warp_size, group, slots_[i] >> 16);
      else if (group == no_group)
        visit_none(first_slot_ + i * warp_size);
    }
  }

 private:
  static constexpr std::uint32_t not_here = 0xfffe;  // another pass's, or no slot at all
  static constexpr std::uint32_t no_group = 0xffff;

  std::int64_t first_slot_;
  std::uint32_t slots_[group_items];  // group - first below, rank among the warp's slots above
};

//! counters[w][e] = slots of e in the warps before w; counters[warps][e] = in all warps, what total(e, count) is told
//! by one thread per expert. Between barriers of the block.
template <class Total>
RESONANCE_DEVICE void prefix_over_warps(std::uint16_t* counters, std::int32_t range, const Total& total) {
  constexpr int at_once = 4;  // loads in flight
  const int warps = block_threads() / warp_size;
  for (std::int32_t e = block_thread(); e < range; e += block_threads()) {
    unsigned sum = 0;
    for (int first = 0; first < warps; first += at_once) {
      unsigned here[at_once];
      RESONANCE_UNROLL
      for (int i = 0; i < at_once; ++i) here[i] = first + i < warps ? counters[(first + i) * range + e] : 0u;
      RESONANCE_UNROLL
      for (int i = 0; i < at_once; ++i) {
        if (first + i < warps) counters[(first + i) * range + e] = static_cast<std::uint16_t>(sum);
        sum += here[i];
      }
    }
    counters[warps * range + e] = static_cast<std::uint16_t>(sum);
    total(e, sum);
  }
}

//! Adds up what the tiles hold of the experts [first, first + range): all of them into ends, those before `tile` into
//! next. Between barriers of the block; both start at 0.
template <class Position>
RESONANCE_DEVICE void add_up_tiles(const group_scratch<Position>& scratch, int tile, int tiles, std::int32_t first,
                                   std::int32_t range, std::int32_t groups, const std::uint32_t* counts) {
  constexpr int at_once = 8;                                                // loads in flight
  const int parts = range < block_threads() ? block_threads() / range : 1;  // threads that share an expert's tiles
  for (std::int32_t item = block_thread(); item < parts * range; item += block_threads()) {
    const std::int32_t e = item % range;
    Position before = 0;
    Position all = 0;
    for (int t = item / range; t < tiles; t += at_once * parts) {
      unsigned here[at_once];
      RESONANCE_UNROLL
      for (int i = 0; i < at_once; ++i) {
        const int other = t + i * parts;
        here[i] = other < tiles ? load(counts + std::int64_t{other} * groups + first + e) : 0u;
      }
      RESONANCE_UNROLL
      for (int i = 0; i < at_once; ++i) {
        all += here[i];
        before += t + i * parts < tile ? here[i] : 0u;
      }
    }
    if (all != 0) atomic_add(scratch.ends + e, all);
    if (before != 0) atomic_add(scratch.next + e, before);
  }
}

//! The tile that a block works on. `counts` [rows][groups] as block_count_slots wrote them, a row for every `row_slots`
//! slots, a tile having one or more whole rows; not read for one tile.
struct group_tile {
  std::int64_t index = 0;
  std::int64_t tile_slots = 0;  // of every tile but the last
  std::int64_t slots = 0;       // of all tiles
  const std::uint32_t* counts = nullptr;
  std::int64_t row_slots = 0;  // 0: tile_slots

  RESONANCE_DEVICE std::int64_t tiles() const { return slots <= tile_slots ? 1 : (slots - 1) / tile_slots + 1; }
  RESONANCE_DEVICE std::int64_t rows() const { return row_slots == 0 ? tiles() : (slots - 1) / row_slots + 1; }
  RESONANCE_DEVICE std::int64_t first_row() const { return row_slots == 0 ? index : begin() / row_slots; }
  RESONANCE_DEVICE std::int64_t begin() const { return index * tile_slots; }
  RESONANCE_DEVICE std::int64_t end() const { return begin() + tile_slots < slots ? begin() + tile_slots : slots; }
};

//! Gives every slot of a tile its place: groups side by side, slots rising inside a group.
//!
//! Threads    all of the block, a whole number of warps, at most 1024
//! Inputs     tile (index < tiles()), shared memory of group_scratch<Placement::position>::bytes
//! Outputs    placement, a value type:
//!              position                 unsigned or unsigned long long
//!              width(count)             places that a group of `count` slots takes
//!              held(count)              of them those that slots get, at most count
//!              group(g, first, count)   in the block of tile 0, by one thread per group
//!              all(places, held)        there too, by one thread, once; held: the sum, where sums_held, else 0
//!              place(slot, g, at)       by one thread per slot; `at` may be past what the group holds
//!              none(slot)               the same for slots without a group
//!              fills                    whether the rest is asked for: what is left of the groups' places
//!              end(g, held_end)         where the places of a group end whose slots end at held_end
//!              fill(g, first, held_end, begin, step)   by a warp of every tile, for every group: the places and
//!                                       whatever else is by group, at begin, begin + step, ...
//! Contract   positions depend on the slots alone, not on tiles or threads
//! Resources  5 barriers where one tile fits the block's registers; 2 per 32 * group_items slots per warp and a few
//!            per group_range groups otherwise; ends with a barrier
template <class Placement>
RESONANCE_DEVICE void block_place_slots(const block_team& team, unsigned char* shared, const group_tile& tile,
                                        const slot_experts& experts, const Placement& placement) {
  using position = typename Placement::position;
  const group_scratch<position> scratch(shared, experts.groups);
  const int warps = block_threads() / warp_size;
  const std::int64_t chunk_slots = std::int64_t{group_items} * block_threads();
  const std::int64_t tiles = tile.tiles();
  const std::int64_t begin = tile.begin();
  const std::int64_t end = tile.end();
  const bool in_registers = tiles == 1 && end <= chunk_slots && experts.groups <= group_range;
  position places = 0;
  position all_held = 0;
  ranked_slots mine;

  for (std::int32_t first = 0; first < experts.groups; first += group_range) {
    const std::int32_t range = least(experts.groups - first, group_range);
    std::uint16_t* counters = scratch.counters + warp_id() * range;
    const auto rank_chunk = [&](std::int64_t chunk, std::int64_t chunk_end) {
      const auto slots = static_cast<int>(chunk_end - chunk);
      const int share = (slots + block_threads() - 1) / block_threads() * warp_size;  // of a warp
      const int skipped = warp_id() * share;
      const int count = slots - skipped < share ? slots - skipped : share;
      mine.load_slots(chunk + skipped, count, experts, first, range);
      mine.rank_in_warp(count, counters, range);
      sync_block();
    };
    const auto place_chunk = [&] {
      mine.for_each(
          [&](std::int64_t slot, std::uint32_t e, std::uint32_t rank) {
            placement.place(slot, first + static_cast<std::int32_t>(e), scratch.next[e] + counters[e] + rank);
          },
          [&](std::int64_t slot) { placement.none(slot); });
    };

    const position places_before = places;
    if (in_registers) {
      rank_chunk(begin, end);
      prefix_over_warps(scratch.counters, range, [&](std::int32_t e, unsigned count) {
        scratch.next[e] = 0;
        scratch.ends[e] = count;
      });
    } else {
      for (std::int32_t e = block_thread(); e < range; e += block_threads()) {
        scratch.next[e] = 0;
        scratch.ends[e] = 0;
      }
      sync_block();
      if (tiles > 1) {
        add_up_tiles(scratch, static_cast<int>(tile.first_row()), static_cast<int>(tile.rows()), first, range,
                     experts.groups, tile.counts);
      } else {
        for_each_group(begin, end, experts, [&](std::int32_t group) {
          const auto e = static_cast<std::uint32_t>(group - first);
          if (e < static_cast<std::uint32_t>(range)) atomic_add(scratch.ends + e, position{1});
        });
      }
      sync_block();
    }

    for (std::int32_t batch = 0; batch < range; batch += block_threads()) {
      const std::int32_t e = batch + block_thread();
      const position count = e < range ? scratch.ends[e] : position{0};
      position width = 0;
      const position before = places + team.exclusive_sum(e < range ? placement.width(count) : position{0}, width);
      if (e < range) {
        scratch.next[e] += before;
        scratch.ends[e] = before + placement.held(count);
        if (tile.index == 0) placement.group(first + e, before, count);
      }
      places += width;
      if (Placement::sums_held && tile.index == 0)
        all_held += team.sum(e < range ? placement.held(count) : position{0});
    }
    sync_block();

    if (in_registers) {
      place_chunk();
    } else {
      for (std::int64_t chunk = begin; chunk < end; chunk += chunk_slots) {
        rank_chunk(chunk, chunk + chunk_slots < end ? chunk + chunk_slots : end);
        for (std::int32_t e = block_thread(); e < range && chunk != begin; e += block_threads())
          scratch.next[e] += scratch.counters[warps * range + e];  // of the chunk before
        prefix_over_warps(scratch.counters, range, [](std::int32_t, unsigned) {});
        sync_block();
        place_chunk();
      }
    }
    if constexpr (Placement::fills) {
      for (std::int32_t e = warp_id(); e < range; e += warps) {
        const position from_place = e == 0 ? places_before : placement.end(first + e - 1, scratch.ends[e - 1]);
        placement.fill(first + e, from_place, scratch.ends[e], tile.index * warp_size + lane_id(), tiles * warp_size);
      }
    }
    const bool last = first + range == experts.groups;
    if (last && tile.index == 0 && block_thread() == 0) placement.all(places, all_held);
    sync_block();
  }
}

//! Every expert's assigned slots, side by side in slot order.
struct expert_lists {
  std::int64_t* offsets = nullptr;  // [E + 1]
  std::uint32_t* slots = nullptr;   // [slots]; written up to offsets[E]
};

struct list_placement {
  using position = unsigned;
  static constexpr bool sums_held = false;
  static constexpr bool fills = false;
  expert_lists lists;
  std::int32_t groups = 0;

  RESONANCE_DEVICE unsigned width(unsigned count) const { return count; }
  RESONANCE_DEVICE unsigned held(unsigned count) const { return count; }
  RESONANCE_DEVICE void group(std::int32_t e, unsigned first, unsigned) const {
    store(lists.offsets + e, static_cast<std::int64_t>(first));
  }
  RESONANCE_DEVICE void all(unsigned places, unsigned) const {
    store(lists.offsets + groups, static_cast<std::int64_t>(places));
  }
  RESONANCE_DEVICE void place(std::int64_t slot, std::int32_t, unsigned at) const {
    store(lists.slots + at, static_cast<std::uint32_t>(slot));
  }
  RESONANCE_DEVICE void none(std::int64_t) const {}
};

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
