// SPDX-License-Identifier: Apache-2.0
//! \file
//! The choice of one token by the threads of a block: rows and choices that are too long for registers.
#ifndef RESONANCE_TOKEN_CHOICE_BLOCK_TOKEN_CHOICE_CUH
#define RESONANCE_TOKEN_CHOICE_BLOCK_TOKEN_CHOICE_CUH

#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/math.hpp>
#include <resonance/core/order_key.hpp>
#include <resonance/core/softmax.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/core/warp_sum.cuh>
#include <resonance/token_choice/block_top_k.cuh>
#include <resonance/token_choice/row_rules.cuh>

RESONANCE_NAMESPACE_BEGIN
namespace token_choice {

//! A block's memory for one row, shared or global.
struct block_row_memory {
  std::uint64_t* best = nullptr;    // [deepest]
  float* delta = nullptr;           // [E]
  float* score = nullptr;           // [E]
  std::uint32_t* groups = nullptr;  // [2 E] the groups' keys, then whether they are kept
  float* numerator = nullptr;       // [K]

  RESONANCE_HOST_DEVICE static std::int64_t bytes(std::int64_t experts, std::int64_t top_k, std::int64_t deepest) {
    const std::int64_t words = 2 * deepest + 4 * experts + top_k;
    return (words * 4 + 15) / 16 * 16;
  }
  RESONANCE_DEVICE block_row_memory(void* memory, std::int64_t experts, std::int64_t deepest)
      : best(static_cast<std::uint64_t*>(memory)),
        delta(reinterpret_cast<float*>(best + deepest)),
        score(delta + experts),
        groups(reinterpret_cast<std::uint32_t*>(score + experts)),
        numerator(reinterpret_cast<float*>(groups + 2 * experts)) {}
};

//! As warp_row_chooser, for any E and K.
//!
//! Threads    a block
//! Inputs     memory.delta[E] as the source wrote it, before a barrier
//! Cost       some 10 passes over the row in the block's memory
template <class Score, class Selection>
class block_row_chooser {
 public:
  using rules_type = row_rules<Score, Selection>;

  RESONANCE_DEVICE block_row_chooser(const rules_type& rules, std::int32_t deepest, const block_team& team,
                                     const block_row_memory& memory, top_k_scratch& scratch)
      : rules_(rules), deepest_(deepest), team_(team), memory_(memory), scratch_(scratch) {}

  RESONANCE_DEVICE void choose(std::int64_t token, const choice_outputs& out) const {
    const std::int32_t experts = rules_.experts;
    RESONANCE_NO_UNROLL
    for (std::int32_t e = team_.rank(); e < experts; e += team_.size()) {
      const float delta = choosable_score(memory_.delta[e], rules_.largest);
      memory_.delta[e] = delta;
      if (out.affinity.data != nullptr) store(out.affinity.row(token) + e, delta);
    }
    team_.sync();
    softmax_terms terms;
    if (rules_.needs_row_sum()) terms = row_terms([this](float d) { return rules_.argument(d); });
    if (rules_.reads_scores()) {
      RESONANCE_NO_UNROLL
      for (std::int32_t e = team_.rank(); e < experts; e += team_.size())
        memory_.score[e] = rules_.biased_score(memory_.delta[e], terms, e);
      team_.sync();
    }
    if constexpr (rules_type::grouped) keep_best_groups();
    const std::int64_t listed = block_top_k(
        team_, experts, [this](std::int64_t e) { return packed(static_cast<std::int32_t>(e)); }, deepest_, memory_.best,
        scratch_);
    write_slots(token, found_slots(listed), terms, out);
    team_.sync();
  }

 private:
  RESONANCE_DEVICE std::uint32_t key(std::int32_t e) const {
    return rules_.biased() ? rules_.biased_key(memory_.delta[e], memory_.score[e]) : rules_.key(memory_.delta[e]);
  }

  RESONANCE_DEVICE std::uint64_t packed(std::int32_t e) const {
    if constexpr (rules_type::grouped) {
      const std::int32_t size = rules_.experts / rules_.selection.policy.n_group;
      if (memory_.groups[rules_.experts + e / size] == 0u) return 0;
    }
    const std::uint32_t own = key(e);
    return own == never_chosen ? 0 : pack_key(own, static_cast<std::uint32_t>(e));
  }

  template <class ArgumentOf>
  RESONANCE_DEVICE softmax_terms row_terms(const ArgumentOf& argument_of) const {
    float largest = math::negative_infinity();
    RESONANCE_NO_UNROLL
    for (std::int32_t e = team_.rank(); e < rules_.experts; e += team_.size()) {
      const float argument = argument_of(memory_.delta[e]);
      largest = argument > largest ? argument : largest;
    }
    largest = team_.max(largest);
    softmax_terms terms;
    terms.largest = largest == math::negative_infinity() ? 0.0f : largest;
    float sum = 0.0f;
    if (warp_id() == 0) {
      sum = tile_ordered_sum(warp_team{}, 0, rules_.experts, [&](float acc, std::int64_t e) {
        return acc + math::exp(argument_of(memory_.delta[e]) - terms.largest);
      });
    }
    terms.sum = team_.max(sum);  // sums are not negative: the largest is that of the one warp that made one
    return terms;
  }

  RESONANCE_DEVICE void keep_best_groups() const {
    const grouped_top_k& policy = rules_.selection.policy;
    const std::int32_t groups = policy.n_group;
    const std::int32_t size = rules_.experts / groups;
    for (std::int32_t g = team_.rank(); g < groups; g += team_.size()) {
      group_best group;
      for (std::int32_t e = g * size; e < (g + 1) * size; ++e)
        group.add(rules_type::group_value(key(e), memory_.score[e]));
      memory_.groups[g] = group.key(policy.scored_by);
    }
    team_.sync();
    for (std::int32_t g = team_.rank(); g < groups; g += team_.size())
      memory_.groups[rules_.experts + g] = group_is_kept(memory_.groups, groups, g, policy.topk_group) ? 1u : 0u;
    team_.sync();
  }

  RESONANCE_DEVICE std::int32_t id_of(std::int32_t slot) const {
    return static_cast<std::int32_t>(packed_index(load(memory_.best + rules_.selection.position(slot))));
  }

  //! Slots that the sorted list fills.
  RESONANCE_DEVICE std::int32_t found_slots(std::int64_t listed) const {
    std::int32_t own = 0;
    RESONANCE_NO_UNROLL
    for (std::int32_t k = team_.rank(); k < rules_.o.top_k; k += team_.size())
      own += rules_.selection.position(k) < listed ? 1 : 0;
    std::int32_t found = team_.sum(own);
    if constexpr (rules_type::by_mass) found = cut_at_mass(found);
    return found;
  }

  RESONANCE_DEVICE std::int32_t cut_at_mass(std::int32_t found) const {
    const double p = rules_.selection.policy.p;
    if (p >= 1.0) return found;
    const softmax_terms terms = row_terms([](float d) { return d; });
    const double wanted = p * static_cast<double>(terms.sum);
    double mass = 0.0;
    std::int32_t kept = 0;
    while (kept < found && mass < wanted) {
      mass += static_cast<double>(math::exp(memory_.delta[id_of(kept)] - terms.largest));
      ++kept;
    }
    return kept;
  }

  RESONANCE_DEVICE void write_slots(std::int64_t token, std::int32_t found, const softmax_terms& terms,
                                    const choice_outputs& out) const {
    const std::int32_t top_k = rules_.o.top_k;
    const slot_weigher<Score> weigher(rules_.score, rules_.o);
    float shift = terms.largest;
    if (weigher.over_slots) {
      shift = math::negative_infinity();
      RESONANCE_NO_UNROLL
      for (std::int32_t k = team_.rank(); k < found; k += team_.size()) {
        const float argument = rules_.argument(memory_.delta[id_of(k)]);
        shift = argument > shift ? argument : shift;
      }
      shift = team_.max(shift);
    }
    RESONANCE_NO_UNROLL
    for (std::int32_t k = team_.rank(); k < found; k += team_.size())
      memory_.numerator[k] = weigher.numerator(memory_.delta[id_of(k)], shift);
    team_.sync();
    float sum = 0.0f;
    for (std::int32_t k = 0; k < found; ++k) sum += memory_.numerator[k];
    const float divisor = weigher.divisor(sum, terms);
    RESONANCE_NO_UNROLL
    for (std::int32_t k = team_.rank(); k < top_k; k += team_.size()) {
      const bool filled = k < found;
      const std::int64_t place = token * top_k + k;
      std::int32_t id = filled ? id_of(k) : -1;
      const float delta = filled ? memory_.delta[id] : math::negative_infinity();
      if (!filled && rules_.o.missing == missing_choice::lowest_ids)
        id = lowest_unused(found, k - found, [this](std::int32_t slot) { return id_of(slot); });
      store(out.choice.topk_ids + place, id);
      if (out.choice.topk_weights != nullptr)
        store(out.choice.topk_weights + place, filled ? weigher.weight(memory_.numerator[k], divisor) : 0.0f);
      if (out.choice.topk_affinity != nullptr) store(out.choice.topk_affinity + place, delta);
    }
  }

  const rules_type& rules_;
  std::int32_t deepest_;
  const block_team& team_;
  const block_row_memory& memory_;
  top_k_scratch& scratch_;
};

}  // namespace token_choice
RESONANCE_NAMESPACE_END

#endif
