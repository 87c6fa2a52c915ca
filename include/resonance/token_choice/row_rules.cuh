// SPDX-License-Identifier: Apache-2.0
//! \file
//! What a token's choice asks of one expert's delta on the device: the parts that the warp and the block chooser share.
#ifndef RESONANCE_TOKEN_CHOICE_ROW_RULES_CUH
#define RESONANCE_TOKEN_CHOICE_ROW_RULES_CUH

#include <resonance/config.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/order_key.hpp>
#include <resonance/core/policy.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/core/softmax.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/core/views.hpp>
#include <resonance/token_choice/group_best.hpp>
#include <resonance/token_choice/policies.hpp>
#include <resonance/token_choice/selection_values.hpp>
#include <resonance/token_choice/weights.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace token_choice {

//! Where the device's token choice writes; `affinity` is nullable (data = null).
struct choice_outputs {
  choice_buffers choice{};
  matrix_view<float> affinity{};
};

template <class Score, class Selection>
struct row_rules {
  static constexpr bool grouped = std::is_same_v<Selection, grouped_top_k>;
  static constexpr bool by_mass = std::is_same_v<Selection, top_p>;
  static constexpr bool by_row = Score::normalized_over == normalizer::row;

  Score score;
  device_selection<Selection> selection;
  options o;
  std::int32_t experts;
  float largest;  //!< what a delta of +inf counts as

  RESONANCE_HOST_DEVICE bool biased() const { return o.correction_bias != nullptr; }
  RESONANCE_HOST_DEVICE bool reads_scores() const { return biased() || grouped; }
  RESONANCE_HOST_DEVICE bool needs_row_sum() const { return by_row && (reads_scores() || needs_row_terms<Score>(o)); }

  //! The softmax's argument; -inf where the pair is absent.
  RESONANCE_DEVICE float argument(float delta) const {
    return delta == math::negative_infinity() ? delta : score.argument(delta);
  }

  //! Score + bias; read where reads_scores().
  RESONANCE_DEVICE float biased_score(float delta, const softmax_terms& terms, std::int32_t expert) const {
    float value = by_row ? math::divide(math::exp(argument(delta) - terms.largest), terms.sum) : score.argument(delta);
    if (biased()) value += load(o.correction_bias + expert);
    return value;
  }

  //! What selection orders by without a bias: delta's own order.
  RESONANCE_DEVICE std::uint32_t key(float delta) const {
    return is_candidate(selection.policy, delta) ? order_key(score.unbiased_key(delta)) : never_chosen;
  }
  //! And with one; an absent pair stays absent whatever its score is.
  RESONANCE_DEVICE std::uint32_t biased_key(float delta, float score_and_bias) const {
    return is_candidate(selection.policy, delta) ? order_key(score_and_bias) : never_chosen;
  }

  //! Words of shared memory that a tile needs beside the row.
  RESONANCE_HOST_DEVICE std::int64_t scratch_words() const {
    return (reads_scores() ? 1 : 0) * std::int64_t{experts} * (grouped ? 3 : 1);
  }

  //! What a group's score is made from.
  RESONANCE_DEVICE static float group_value(std::uint32_t key, float score_and_bias) {
    return key == never_chosen ? math::negative_infinity()
                               : choosable_score(score_and_bias, row_traits<float>::largest);
  }
};

//! True when fewer than `kept` groups come before `group`: a larger key, or the same and a lower index.
RESONANCE_DEVICE bool group_is_kept(const std::uint32_t* group_keys, std::int32_t groups, std::int32_t group,
                                    std::int32_t kept) {
  const std::uint32_t own = group_keys[group];
  std::int32_t before = 0;
  for (std::int32_t other = 0; other < groups; ++other)
    before += group_keys[other] > own || (group_keys[other] == own && other < group) ? 1 : 0;
  return own != never_chosen && before < kept;
}

//! The n-th lowest id (n = 0 the lowest) that is not among the `found` ids id_of(0..found).
template <class IdOf>
RESONANCE_DEVICE std::int32_t lowest_unused(std::int32_t found, std::int32_t n, const IdOf& id_of) {
  std::int32_t id = n;
  for (bool moved = true; moved;) {
    std::int32_t below = 0;
    for (std::int32_t k = 0; k < found; ++k) below += id_of(k) <= id ? 1 : 0;
    moved = id != n + below;
    id = n + below;
  }
  return id;
}

}  // namespace token_choice
RESONANCE_NAMESPACE_END

#endif
