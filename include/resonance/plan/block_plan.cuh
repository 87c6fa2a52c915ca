// SPDX-License-Identifier: Apache-2.0
//! \file
//! The plan in a block: where experts' rows start, and which row every slot gets.
#ifndef RESONANCE_PLAN_BLOCK_PLAN_CUH
#define RESONANCE_PLAN_BLOCK_PLAN_CUH

#include <resonance/config.hpp>
#include <resonance/core/block_group.cuh>
#include <resonance/core/block_rank.cuh>
#include <resonance/core/collectives.cuh>
#include <resonance/core/order_key.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/plan/plan.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

//! The rows of a plan and how they are written. Copied to kernels; the counts are within Index (check_plan).
template <class Index>
class plan_rows {
 public:
  using position = std::conditional_t<sizeof(Index) == 4, unsigned, unsigned long long>;

  plan::outputs<Index> out;
  std::int32_t experts = 0;  // L

  plan_rows() = default;
  plan_rows(const plan::outputs<Index>& o, const plan::options& options, std::int32_t local_experts)
      : out(o),
        experts(local_experts),
        tile_(static_cast<position>(options.tile_tokens)),
        capacity_(options.pad_to_capacity < 0 ? ~position{0} : static_cast<position>(options.pad_to_capacity)),
        rows_of_expert_(options.pad_to_capacity < 0 ? position{0} : static_cast<position>(options.padded_capacity())),
        padded_(options.pad_to_capacity >= 0) {
    while (position{1} << shift_ < tile_) ++shift_;
    if (position{1} << shift_ != tile_) shift_ = -1;
  }

  RESONANCE_HOST_DEVICE bool padded() const { return padded_; }
  RESONANCE_HOST_DEVICE position held(position count) const { return count < capacity_ ? count : capacity_; }
  RESONANCE_HOST_DEVICE position width(position count) const { return padded_ ? rows_of_expert_ : aligned(count); }
  //! The first row of an expert in the [E,C] layout.
  RESONANCE_HOST_DEVICE position padded_row(std::int32_t e) const { return static_cast<position>(e) * rows_of_expert_; }
  //! Where the rows of an expert end whose slots end at row `held_end`.
  RESONANCE_HOST_DEVICE position end(std::int32_t e, position held_end) const {
    return padded_ ? padded_row(e) + rows_of_expert_ : aligned(held_end);
  }

  RESONANCE_DEVICE void write_expert(std::int32_t e, position first_row, position count) const {
    store(out.expert_offsets + e, static_cast<Index>(first_row));
    if (out.tokens_per_expert != nullptr) store(out.tokens_per_expert + e, static_cast<Index>(held(count)));
  }
  RESONANCE_DEVICE void write_totals(position rows, position unpadded) const {
    store(out.expert_offsets + experts, static_cast<Index>(rows));
    store(out.num_rows, static_cast<std::int64_t>(rows));
    store(out.num_rows + 1, static_cast<std::int64_t>(unpadded));
  }
  //! The slot gets the row `rank` rows after the expert's first; none where the expert's C rows are taken.
  RESONANCE_DEVICE void write_slot(std::int64_t slot, position row, position rank) const {
    if (rank >= capacity_) {
      write_no_row(slot);
      return;
    }
    store(out.inverse + slot, static_cast<Index>(row));
    store(out.sorted_token_ids + row, static_cast<Index>(slot));
  }
  RESONANCE_DEVICE void write_no_row(std::int64_t slot) const { store(out.inverse + slot, Index{-1}); }
  //! An expert's padding rows and the expert of its tiles: every step-th from `begin` on.
  RESONANCE_DEVICE void write_rest(std::int32_t e, position first, position held_end, position begin,
                                   position step) const {
    const position last = end(e, held_end);
    for (position row = held_end + begin; row < last; row += step) store(out.sorted_token_ids + row, Index{-1});
    if (out.expert_ids == nullptr) return;
    const position tiles_end = tile_of(last);
    for (position t = tile_of(first) + begin; t < tiles_end; t += step) store(out.expert_ids + t, e);
  }

 private:
  //! Tiles of 2^shift rows, the common ones, need no division.
  RESONANCE_HOST_DEVICE position tile_of(position row) const { return shift_ >= 0 ? row >> shift_ : row / tile_; }
  RESONANCE_HOST_DEVICE position aligned(position rows) const { return tile_of(rows + tile_ - 1) * tile_; }

  position tile_ = 1;
  position capacity_ = 0;        // the largest position where there is none
  position rows_of_expert_ = 0;  // of the [E,C] layout
  bool padded_ = false;
  int shift_ = 0;
};

//! Rows of an expert by slot: a placement (block_place_slots) that writes the plan itself.
template <class Index>
struct rows_by_slot {
  using position = typename plan_rows<Index>::position;
  static constexpr bool sums_held = true;
  static constexpr bool fills = true;
  plan_rows<Index> rows;

  RESONANCE_DEVICE position width(position count) const { return rows.width(count); }
  RESONANCE_DEVICE position held(position count) const { return rows.held(count); }
  RESONANCE_DEVICE void group(std::int32_t e, position first, position count) const {
    rows.write_expert(e, first, count);
  }
  RESONANCE_DEVICE void all(position places, position held_places) const { rows.write_totals(places, held_places); }
  RESONANCE_DEVICE void place(std::int64_t slot, std::int32_t e, position at) const {
    rows.write_slot(slot, at, rows.padded() ? at - rows.padded_row(e) : position{0});
  }
  RESONANCE_DEVICE void none(std::int64_t slot) const { rows.write_no_row(slot); }
  RESONANCE_DEVICE position end(std::int32_t e, position held_end) const { return rows.end(e, held_end); }
  RESONANCE_DEVICE void fill(std::int32_t e, position first, position held_end, std::int64_t begin,
                             std::int64_t step) const {
    rows.write_rest(e, first, held_end, static_cast<position>(begin), static_cast<position>(step));
  }
};

//! Every expert's slots, to be ranked by affinity: in the plan's rows, or side by side where only C of them get rows.
template <class Index>
struct rows_by_affinity {
  using position = typename plan_rows<Index>::position;
  static constexpr bool sums_held = true;
  static constexpr bool fills = false;
  plan_rows<Index> rows;
  position* begins = nullptr;       // [L] first member of the expert in `members`
  std::uint32_t* counts = nullptr;  // [L] members of the expert
  std::uint32_t* members = nullptr;

  RESONANCE_DEVICE position width(position count) const { return rows.padded() ? count : rows.width(count); }
  RESONANCE_DEVICE position held(position count) const { return rows.held(count); }
  RESONANCE_DEVICE void group(std::int32_t e, position first, position count) const {
    store(begins + e, first);
    store(counts + e, static_cast<std::uint32_t>(count));
    rows.write_expert(e, rows.padded() ? rows.padded_row(e) : first, count);
  }
  RESONANCE_DEVICE void all(position places, position held_places) const {
    rows.write_totals(rows.padded() ? rows.padded_row(rows.experts) : places, held_places);
  }
  RESONANCE_DEVICE void place(std::int64_t slot, std::int32_t, position at) const {
    store(members + at, static_cast<std::uint32_t>(slot));
  }
  RESONANCE_DEVICE void none(std::int64_t slot) const { rows.write_no_row(slot); }
};

//! Gives the members of one expert their rows by affinity desc, slot asc, and writes the expert's padding.
//!
//! Threads    all of the team
//! Inputs     lists: begins, counts, members filled; scratch: shared memory, spill [2 * members of all experts] or null
//!            where no expert has more than scratch.shared_words members
//! Resources  those of team_rank_list; ends with a barrier
//! Cost       linear; one expert is ranked by one team, so that a hot expert with 2^16 members takes some 3 MiB of
//!            traffic from one block
template <class Team, class Index>
RESONANCE_DEVICE void block_plan_by_affinity(const Team& team, std::int32_t e, const float* affinity,
                                             const rows_by_affinity<Index>& lists, rank_scratch scratch) {
  using position = typename rows_by_affinity<Index>::position;
  const plan_rows<Index>& rows = lists.rows;
  const position begin = load(lists.begins + e);
  const std::uint32_t count = load(lists.counts + e);
  const std::uint32_t* members = lists.members + begin;
  const position first = rows.padded() ? rows.padded_row(e) : begin;
  if (scratch.spill != nullptr) scratch.spill += 2 * begin;
  team_rank_list(
      team, std::int64_t{count}, [&](std::int64_t i) { return order_key(load(affinity + load(members + i))); }, scratch,
      [&](std::int64_t i, std::int64_t rank) {
        const auto place = static_cast<position>(rank);
        rows.write_slot(static_cast<std::int64_t>(load(members + i)), first + place, place);
      });
  const position held_end = first + rows.held(position{count});
  rows.write_rest(e, first, held_end, static_cast<position>(team.rank()), static_cast<position>(team.size()));
  team.sync();
}

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
