// SPDX-License-Identifier: Apache-2.0
//! \file
//! The choice of sixteen tokens at a time on the host, where the processor and the policies allow it.
#ifndef RESONANCE_TOKEN_CHOICE_HOST_BATCH_CHOOSER_HPP
#define RESONANCE_TOKEN_CHOICE_HOST_BATCH_CHOOSER_HPP

#include <cstdint>
#include <type_traits>
#include <utility>

#include <resonance/core/host_simd.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/order_key.hpp>
#include <resonance/core/policy.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/core/softmax.hpp>
#include <resonance/core/views.hpp>
#include <resonance/token_choice/host_groups_avx512.hpp>
#include <resonance/token_choice/host_rows_avx512.hpp>
#include <resonance/token_choice/policies.hpp>
#include <resonance/token_choice/weights.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

//! Does the order of the scores follow that of the deltas? A score that does not say so is asked for each.
template <class Score, class = void>
inline constexpr bool keeps_order = false;
template <class Score>
inline constexpr bool keeps_order<Score, std::enable_if_t<Score::strictly_increasing>> = true;

//! Are the source's rows deltas as they are stored? Then they need not be copied.
template <class Source, class = void>
inline constexpr bool stores_deltas = false;
template <class Source>
inline constexpr bool stores_deltas<Source, std::void_t<decltype(std::declval<const Source&>().stored())>> = true;

//! Tokens of one batch; rows of delta that a worker needs for them.
inline constexpr int batch_tokens = 16;

#if RESONANCE_DETAIL_AVX512

//! Do scores decide rather than deltas?
template <class Selection>
bool chooses_by_score(const token_choice::options& o) {
  return o.correction_bias != nullptr || std::is_same_v<Selection, token_choice::grouped_top_k>;
}

template <class Score, class Selection>
bool chooses_batches(const Selection& selection, const token_choice::options& o, std::int32_t experts) {
  if (o.top_k > row_batch::most_chosen || experts > 1 << 16 || !has_avx512()) return false;
  if (o.correction_bias == nullptr && !keeps_order<Score>) return false;
  if constexpr (std::is_same_v<Selection, token_choice::grouped_top_k>) {
    return selection.n_group <= avx512_groups::most_groups;
  } else {
    return std::is_same_v<Selection, token_choice::top_k>;
  }
}

//! Not a lambda: one of a function with a target of its own could not be inlined into functions without.
struct element_of {
  float (*of_slot)[row_batch::rows];
  RESONANCE_FORCE_INLINE float& operator()(std::int64_t k, int lane) const { return of_slot[k][lane]; }
};

//! As avx512_rows does, by the fewest lanes and places that hold `wanted`.
template <class Row>
inline unsigned choose_rows(const Row* first, std::int64_t stride, int rows, std::int32_t experts, int wanted,
                            row_batch& out) {
  if (wanted == 1) return avx512_rows<1>::choose(first, stride, rows, experts, wanted, out);
  if (wanted == 2) return avx512_rows<2>::choose(first, stride, rows, experts, wanted, out);
  if (wanted <= 4) return avx512_rows<4>::choose(first, stride, rows, experts, wanted, out);
  if (wanted <= 8) return avx512_rows<8>::choose(first, stride, rows, experts, wanted, out);
  if (wanted <= 16) return avx512_rows<16>::choose(first, stride, rows, experts, wanted, out);
  return avx512_rows<32>::choose(first, stride, rows, experts, wanted, out);
}

//! Is a score f(scaled(delta)), with f by the name of activate and the scale by two numbers?
template <class Score, class = void>
inline constexpr bool has_scale = false;
template <class Score>
inline constexpr bool has_scale<
    Score,
    std::void_t<decltype(std::declval<const Score&>().scaled(0.0f)), decltype(Score::activate(0.0f)),
                decltype(std::declval<const Score&>().temperature), decltype(std::declval<const Score&>().logit_cap)>> =
    true;

//! Such a score where the numbers change no finite delta.
template <class Score>
struct unscaled {
  static constexpr normalizer normalized_over = Score::normalized_over;
  RESONANCE_FORCE_INLINE float argument(float delta) const { return Score::activate(delta); }
};

//! Calls body(score), or where it scales nothing body(a score that is the same for finite deltas): gcc 12 makes no
//! vectors of loops that may scale, because of the branches. Exponential scores keep a constant scale: a loop without
//! any arithmetic becomes a memcpy, and what reads its result at once waits for it.
template <class Score, class Body>
RESONANCE_FORCE_INLINE void with_least_scale(const Score& score, const Body& body) {
  if constexpr (has_scale<Score>) {
    if (score.temperature == 1.0f && score.logit_cap == 0.0f) {
      if constexpr (Score::normalized_over == normalizer::none) {
        body(unscaled<Score>{});
      } else {
        Score plain = score;
        plain.temperature = 1.0f;
        plain.logit_cap = 0.0f;
        body(plain);
      }
      return;
    }
  }
  body(score);
}

//! weigh_lanes of sixteen rows.
struct batch_weigher {
  const token_choice::options& options;
  const softmax_terms* terms;
  row_batch& chosen;
  float (*weights)[row_batch::rows];

  template <class Score>
  RESONANCE_FORCE_INLINE void operator()(const Score& score) const {
    token_choice::weigh_lanes<row_batch::rows>(score, options, terms, options.top_k, element_of{chosen.delta},
                                               element_of{weights});
  }
};

//! Writes the slots of a batch: ids, and of chosen.delta weights and affinities.
template <class Score>
RESONANCE_DETAIL_AT_O3 RESONANCE_DETAIL_TARGET_AVX512 inline void write_slots(row_batch& chosen, int tokens,
                                                                              const Score& score,
                                                                              const token_choice::options& o,
                                                                              const softmax_terms* terms,
                                                                              const choice_buffers& out) {
  avx512_table::store_rows(chosen.ids, tokens, o.top_k, out.topk_ids);
  if (out.topk_affinity != nullptr) avx512_table::store_rows(chosen.delta, tokens, o.top_k, out.topk_affinity);
  if (out.topk_weights == nullptr) return;
  alignas(64) float weights[row_batch::most_chosen][row_batch::rows];
  with_least_scale(score, batch_weigher{o, terms, chosen, weights});
  avx512_table::store_rows(weights, tokens, o.top_k, out.topk_weights);
}

//! Fills the slots of `tokens` tokens from their rows of delta; returns those left to be chosen (bit i: the i-th).
//! `terms`: of every row, read only where needs_row_terms.
template <class Row, class Score>
unsigned choose_batch(const Row* rows, std::int64_t stride, int tokens, std::int32_t experts, const Score& score,
                      const token_choice::options& o, const softmax_terms* terms, const choice_buffers& out) {
  row_batch chosen;
  const unsigned unsettled = choose_rows(rows, stride, tokens, experts, o.top_k, chosen);
  write_slots(chosen, tokens, score, o, terms, out);
  return unsettled;
}

//! Scores plus bias of a batch's choosable deltas, as the row chooser makes and reads them: what is never chosen is
//! -inf, what is infinite the largest finite value. Where a softmax makes them, `scores` brings its numerators.
struct batch_scorer {
  const matrix_view<const float>& deltas;
  const float* bias;  // nullable
  const softmax_terms* terms;
  float* scores;

  template <class Score>
  RESONANCE_FORCE_INLINE void operator()(const Score& score) const {
    const float none = math::negative_infinity();
    const std::int64_t experts = deltas.cols;
    for (std::int64_t i = 0; i < deltas.rows; ++i) {
      const float* delta = deltas.row(i);
      float* RESONANCE_RESTRICT to = scores + i * experts;
      const float sum = terms[i].sum;
      // Every step a loop: gcc 12 makes branches of a selection around arithmetic, and no vectors then.
      for (std::int64_t e = 0; e < experts; ++e) {
        if constexpr (Score::normalized_over == normalizer::row) {
          to[e] = math::divide(to[e], sum);
        } else {
          to[e] = score.argument(delta[e]);
        }
      }
      if (bias != nullptr)
        for (std::int64_t e = 0; e < experts; ++e) to[e] += bias[e];
      for (std::int64_t e = 0; e < experts; ++e) to[e] = delta[e] == none ? none : to[e];
      for (std::int64_t e = 0; e < experts; ++e) to[e] = choosable_score(to[e], row_traits<float>::largest);
    }
  }
};

template <class Score>
RESONANCE_DETAIL_AT_O3 RESONANCE_DETAIL_TARGET_AVX512 inline void score_batch(const Score& score,
                                                                              const batch_scorer& scorer) {
  with_least_scale(score, scorer);
}

//! As choose_batch, by scores: with a bias, with groups, or both. `terms` are read where Score is a softmax over the
//! row, too; `scores` [deltas.rows, deltas.cols] brings its numerators then.
template <class Score, class Selection>
unsigned choose_scored_batch(const matrix_view<const float>& deltas, const Score& score, const Selection& selection,
                             const token_choice::options& o, const softmax_terms* terms, float* scores,
                             const choice_buffers& out) {
  const auto tokens = static_cast<int>(deltas.rows);
  const auto experts = static_cast<std::int32_t>(deltas.cols);
  score_batch(score, batch_scorer{deltas, o.correction_bias, terms, scores});
  if constexpr (std::is_same_v<Selection, token_choice::grouped_top_k>) {
    __mmask16 kept[avx512_groups::most_groups];
    avx512_groups::choose(scores, experts, tokens, experts, selection, kept);
    const bool biased = o.correction_bias != nullptr;
    avx512_groups::keep(biased ? scores : deltas.data, biased ? experts : deltas.stride, tokens, experts,
                        selection.n_group, kept, scores);
  }
  row_batch chosen;
  const unsigned unsettled = choose_rows(static_cast<const float*>(scores), experts, tokens, experts, o.top_k, chosen);
  for (int i = 0; i < row_batch::rows; ++i) {
    const bool settled = i < tokens && (unsettled >> i & 1u) == 0;
    for (int k = 0; k < o.top_k; ++k)
      chosen.delta[k][i] = settled ? deltas.row(i)[chosen.ids[k][i]] : math::negative_infinity();
  }
  write_slots(chosen, tokens, score, o, terms, out);
  return unsettled;
}

#endif

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
