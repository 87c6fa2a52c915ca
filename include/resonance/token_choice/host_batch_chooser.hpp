// SPDX-License-Identifier: Apache-2.0
//! \file
//! The choice of sixteen tokens at a time on the host, where the processor and the policies allow it.
#ifndef RESONANCE_TOKEN_CHOICE_HOST_BATCH_CHOOSER_HPP
#define RESONANCE_TOKEN_CHOICE_HOST_BATCH_CHOOSER_HPP

#include <cstdint>
#include <type_traits>
#include <utility>

#include <resonance/core/host_simd.hpp>
#include <resonance/core/softmax.hpp>
#include <resonance/core/views.hpp>
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

template <class Score, class Selection>
bool chooses_batches(const token_choice::options& o, std::int32_t experts) {
  if constexpr (std::is_same_v<Selection, token_choice::top_k> && keeps_order<Score>) {
    return o.correction_bias == nullptr && o.top_k <= row_batch::most_chosen && experts <= 1 << 16 && has_avx512();
  } else {
    return false;
  }
}

//! Not a lambda: one of a function with a target of its own could not be inlined into functions without.
struct element_of {
  float (*of_slot)[row_batch::rows];
  RESONANCE_FORCE_INLINE float& operator()(std::int64_t k, int lane) const { return of_slot[k][lane]; }
};

//! Fills the slots of `tokens` tokens from their rows of delta; returns those left to be chosen (bit i: the i-th).
//! `terms`: of every row, read only where needs_row_terms.
template <class Row, class Score>
RESONANCE_DETAIL_AT_O3 RESONANCE_DETAIL_TARGET_AVX512 inline unsigned choose_batch(
    const Row* rows, std::int64_t stride, int tokens, std::int32_t experts, const Score& score,
    const token_choice::options& o, const softmax_terms* terms, const choice_buffers& out) {
  row_batch chosen;
  const int slots = o.top_k;
  const unsigned unsettled = avx512_rows::choose(rows, stride, tokens, experts, slots, chosen);
  avx512_rows::store_rows(chosen.ids, tokens, slots, out.topk_ids);
  if (out.topk_affinity != nullptr) avx512_rows::store_rows(chosen.delta, tokens, slots, out.topk_affinity);
  if (out.topk_weights == nullptr) return unsettled;
  alignas(64) float weights[row_batch::most_chosen][row_batch::rows];
  token_choice::weigh_lanes<row_batch::rows>(score, o, terms, slots, element_of{chosen.delta}, element_of{weights});
  avx512_rows::store_rows(weights, tokens, slots, out.topk_weights);
  return unsettled;
}

#endif

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
