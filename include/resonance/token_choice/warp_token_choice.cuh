// SPDX-License-Identifier: Apache-2.0
//! \file
//! The choice of one token by the threads of a tile, in registers.
#ifndef RESONANCE_TOKEN_CHOICE_WARP_TOKEN_CHOICE_CUH
#define RESONANCE_TOKEN_CHOICE_WARP_TOKEN_CHOICE_CUH

#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/math.hpp>
#include <resonance/core/order_key.hpp>
#include <resonance/core/softmax.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/core/warp_softmax.cuh>
#include <resonance/token_choice/row_rules.cuh>
#include <resonance/token_choice/warp_top_k.cuh>

RESONANCE_NAMESPACE_BEGIN
namespace token_choice {

//! Chooses one token's experts from its row of delta and weighs them.
//!
//! Threads    a tile of Size threads, converged; fewer than 32 only where E <= 4 * Size
//! Inputs     row float[E] in shared memory, delta as its source wrote it, before a barrier of the tile; comes back
//!            with
//!            NaN as -inf and +inf as the largest finite value
//!            scratch: row_rules::scratch_words() words of shared memory, the tile's own
//! Outputs    the token's K slots of out.choice and its row of out.affinity, as host_token_choice writes them
//! Contract   the host's bits; the list is Deepest long: K slots, or the positions of rank_set, must lie in it
//! Resources  registers, and shared memory of the caller; no block barrier
template <class Score, class Selection, int Size, int Deepest>
class warp_row_chooser {
 public:
  using rules_type = row_rules<Score, Selection>;
  using tile_type = warp_tile<Size>;

  RESONANCE_DEVICE explicit warp_row_chooser(const rules_type& rules) : rules_(rules) {}

  //! `live`: false for a tile that only keeps its warp company; it writes nothing.
  RESONANCE_DEVICE void choose(std::int64_t token, bool live, float* row, std::uint32_t* scratch,
                               const choice_outputs& out) const {
    const tile_type tile;
    const bool writes_row = out.affinity.data != nullptr && live;
    for (std::int32_t e = tile.rank(); e < rules_.experts; e += Size) {
      const float delta = choosable_score(row[e], rules_.largest);
      row[e] = delta;
      if (writes_row) store(out.affinity.row(token) + e, delta);
    }
    tile.sync();
    softmax_terms terms;
    if (rules_.needs_row_sum()) terms = row_terms(tile, row, [this](float d) { return rules_.argument(d); });
    if (rules_.reads_scores()) make_keys(tile, row, terms, scratch);
    std::uint64_t best[Deepest];
    warp_top_k<Deepest>(
        tile, rules_.experts,
        [&](std::int32_t e) {
          const std::uint32_t key = rules_.reads_scores() ? scratch[e] : rules_.key(row[e]);
          return key == never_chosen ? std::uint64_t{0} : pack_key(key, static_cast<std::uint32_t>(e));
        },
        best);
    write_slots(tile, token, live, row, terms, best, out);
  }

 private:
  static constexpr int most_turns = (Deepest + Size - 1) / Size;  // slots per thread, at most

  template <class ArgumentOf>
  RESONANCE_DEVICE softmax_terms row_terms(const tile_type& tile, const float* row,
                                           const ArgumentOf& argument_of) const {
    return tile_softmax_terms(tile, rules_.experts, [&](std::int64_t e) { return argument_of(row[e]); });
  }

  //! The keys of rows that are chosen by scores, made before the list is: scratch[0..E). With groups scratch[E..2E)
  //! holds first the experts' values, then whether a group is kept, and scratch[2E..3E) the groups' keys.
  RESONANCE_DEVICE void make_keys(const tile_type& tile, const float* row, const softmax_terms& terms,
                                  std::uint32_t* scratch) const {
    const std::int32_t experts = rules_.experts;
    auto* values = reinterpret_cast<float*>(scratch + experts);
    RESONANCE_NO_UNROLL
    for (std::int32_t e = tile.rank(); e < experts; e += Size) {
      const float score = rules_.biased_score(row[e], terms, e);
      scratch[e] = rules_.biased() ? rules_.biased_key(row[e], score) : rules_.key(row[e]);
      if constexpr (rules_type::grouped) values[e] = rules_type::group_value(scratch[e], score);
    }
    tile.sync();
    if constexpr (rules_type::grouped) {
      const grouped_top_k& policy = rules_.selection.policy;
      const std::int32_t groups = policy.n_group;
      const std::int32_t size = experts / groups;
      std::uint32_t* kept = scratch + experts;
      std::uint32_t* group_keys = kept + experts;
      for (std::int32_t g = tile.rank(); g < groups; g += Size) {
        group_best group;
        for (std::int32_t e = g * size; e < (g + 1) * size; ++e) group.add(values[e]);
        group_keys[g] = group.key(policy.scored_by);
      }
      tile.sync();
      for (std::int32_t g = tile.rank(); g < groups; g += Size)
        kept[g] = group_is_kept(group_keys, groups, g, policy.topk_group) ? 1u : 0u;
      tile.sync();
      for (std::int32_t e = tile.rank(); e < experts; e += Size)
        if (kept[e / size] == 0u) scratch[e] = never_chosen;
      tile.sync();
    }
  }

  //! What one thread knows of one slot.
  struct slot {
    bool filled = false;
    std::int32_t id = -1;
    float delta = math::negative_infinity();
    float numerator = 0.0f;
  };

  RESONANCE_DEVICE void write_slots(const tile_type& tile, std::int64_t token, bool live, const float* row,
                                    const softmax_terms& terms, const std::uint64_t (&best)[Deepest],
                                    const choice_outputs& out) const {
    const std::int32_t top_k = rules_.o.top_k;
    slot slots[most_turns];
    RESONANCE_UNROLL
    for (int turn = 0; turn < most_turns; ++turn) {
      const std::int32_t k = turn * Size + tile.rank();
      const std::uint64_t packed = k < top_k ? entry(best, rules_.selection.position(k)) : 0;
      if (packed != 0) {
        slots[turn].filled = true;
        slots[turn].id = static_cast<std::int32_t>(packed_index(packed));
        slots[turn].delta = row[slots[turn].id];
      }
    }
    if constexpr (rules_type::by_mass) cut_at_mass(tile, row, slots);
    if (rules_.o.missing == missing_choice::lowest_ids) name_missing(tile, best, slots);

    const slot_weigher<Score> weigher(rules_.score, rules_.o);
    const float divisor = weigh(tile, weigher, terms, slots);
    RESONANCE_UNROLL
    for (int turn = 0; turn < most_turns; ++turn) {
      const std::int32_t k = turn * Size + tile.rank();
      if (!live || k >= top_k) continue;
      const slot& s = slots[turn];
      const std::int64_t place = token * top_k + k;
      store(out.choice.topk_ids + place, s.id);
      if (out.choice.topk_weights != nullptr)
        store(out.choice.topk_weights + place, s.filled ? weigher.weight(s.numerator, divisor) : 0.0f);
      if (out.choice.topk_affinity != nullptr) store(out.choice.topk_affinity + place, s.delta);
    }
  }

  //! Gives the empty slots the lowest unused ids.
  RESONANCE_DEVICE void name_missing(const tile_type& tile, const std::uint64_t (&best)[Deepest],
                                     slot (&slots)[most_turns]) const {
    std::int32_t found = 0;
    RESONANCE_UNROLL
    for (int turn = 0; turn < most_turns; ++turn) found += count_bits(tile.ballot(slots[turn].filled));
    RESONANCE_UNROLL
    for (int turn = 0; turn < most_turns; ++turn) {
      const std::int32_t k = turn * Size + tile.rank();
      if (slots[turn].filled || k >= rules_.o.top_k) continue;
      slots[turn].id = lowest_unused(found, k - found, [&](std::int32_t other) {
        return static_cast<std::int32_t>(packed_index(entry(best, rules_.selection.position(other))));
      });
    }
  }

  //! Fills the slots' numerators; returns what they are divided by.
  RESONANCE_DEVICE float weigh(const tile_type& tile, const slot_weigher<Score>& weigher, const softmax_terms& terms,
                               slot (&slots)[most_turns]) const {
    float shift = terms.largest;
    if (weigher.over_slots) {
      shift = math::negative_infinity();
      RESONANCE_UNROLL
      for (int turn = 0; turn < most_turns; ++turn) {
        const float argument = rules_.argument(slots[turn].delta);
        shift = argument > shift ? argument : shift;
      }
      shift = tile.max(shift);
    }
    float sum = 0.0f;
    RESONANCE_UNROLL
    for (int turn = 0; turn < most_turns; ++turn) {
      if (slots[turn].filled) slots[turn].numerator = weigher.numerator(slots[turn].delta, shift);
      RESONANCE_UNROLL
      for (int r = 0; r < Size; ++r)
        if (turn * Size + r < Deepest) sum += tile.shuffle(slots[turn].numerator, r);  // an empty slot adds +0
    }
    return weigher.divisor(sum, terms);
  }

  //! Empties the slots after the one at which the mass of plain delta reaches p.
  RESONANCE_DEVICE void cut_at_mass(const tile_type& tile, const float* row, slot (&slots)[most_turns]) const {
    const double p = rules_.selection.policy.p;
    if (p >= 1.0) return;
    const softmax_terms terms = row_terms(tile, row, [](float d) { return d; });
    const double wanted = p * static_cast<double>(terms.sum);
    double mass = 0.0;
    RESONANCE_UNROLL
    for (int turn = 0; turn < most_turns; ++turn) {
      const float numerator = math::exp(slots[turn].delta - terms.largest);
      bool keeps = false;
      RESONANCE_UNROLL
      for (int r = 0; r < Size; ++r) {
        if (turn * Size + r >= Deepest) continue;
        keeps = r == tile.rank() ? mass < wanted : keeps;
        mass += static_cast<double>(tile.shuffle(numerator, r));
      }
      if (!keeps) slots[turn] = slot{};
    }
  }

  const rules_type& rules_;
};

}  // namespace token_choice
RESONANCE_NAMESPACE_END

#endif
