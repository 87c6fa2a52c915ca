// SPDX-License-Identifier: Apache-2.0
//! \file
//! The best groups of experts of sixteen rows at once, for AVX-512 (grouped_top_k).
#ifndef RESONANCE_TOKEN_CHOICE_HOST_GROUPS_AVX512_HPP
#define RESONANCE_TOKEN_CHOICE_HOST_GROUPS_AVX512_HPP

#include <cstdint>

#include <resonance/core/host_simd.hpp>
#include <resonance/core/host_vectors_avx512.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/token_choice/policies.hpp>

#if RESONANCE_DETAIL_AVX512

RESONANCE_NAMESPACE_BEGIN
namespace detail {

class avx512_groups {
 public:
  static constexpr int most_groups = 32;

  //! What group_best says of sixteen rows of values, none NaN or +inf: kept[g] gets the rows that keep group g. A group
  //! of -inf alone may be kept: it has nothing to choose.
  RESONANCE_DETAIL_TARGET_AVX512 static void choose(const float* first, std::int64_t stride, int rows,
                                                    std::int32_t experts, const token_choice::grouped_top_k& selection,
                                                    __mmask16* kept) {
    const std::int32_t size = experts / selection.n_group;
    __m512 of_group[most_groups];
    for (int g = 0; g < selection.n_group; ++g) {
      __m512 best[16];
      __m512 second[16];
      for (int i = 0; i < 16; ++i)
        best_two_of_lanes(first + (i < rows ? i : 0) * stride + g * size, size, best[i], second[i]);
      avx512_table::transpose(best);
      if (selection.scored_by == token_choice::group_score::sum_of_two_best) avx512_table::transpose(second);
      for (int lane = 1; lane < 16; ++lane) add(best[lane], second[lane], best[0], second[0]);
      of_group[g] =
          selection.scored_by == token_choice::group_score::sum_of_two_best ? sum(best[0], second[0]) : best[0];
    }
    for (int g = 0; g < selection.n_group; ++g) {
      __m512i better = _mm512_setzero_si512();
      for (int other = 0; other < selection.n_group; ++other) {
        const __mmask16 wins = other < g ? _mm512_cmp_ps_mask(of_group[other], of_group[g], _CMP_GE_OQ)
                                         : _mm512_cmp_ps_mask(of_group[other], of_group[g], _CMP_GT_OQ);
        better = _mm512_mask_add_epi32(better, wins, better, _mm512_set1_epi32(1));
      }
      kept[g] = _mm512_cmplt_epi32_mask(better, _mm512_set1_epi32(selection.topk_group));
    }
  }

  //! Copies rows, with -inf for the experts of the groups that a row does not keep. `from` may be `to`.
  RESONANCE_DETAIL_TARGET_AVX512 static void keep(const float* from, std::int64_t from_stride, int rows,
                                                  std::int32_t experts, std::int32_t groups, const __mmask16* kept,
                                                  float* to) {
    const std::int32_t size = experts / groups;
    for (int i = 0; i < rows; ++i) {
      for (int g = 0; g < groups; ++g) {
        const __mmask16 stays = (kept[g] >> i & 1) != 0 ? static_cast<__mmask16>(0xffffu) : static_cast<__mmask16>(0);
        const std::int64_t begin = g * size;
        for (std::int32_t e = 0; e < size; e += 16) {
          const __mmask16 held = avx512_row::first_of(size - e);
          const __m512 values = avx512_row::load(from + i * from_stride + begin + e, held);
          _mm512_mask_storeu_ps(to + static_cast<std::int64_t>(i) * experts + begin + e, held,
                                _mm512_mask_mov_ps(avx512_row::negative_infinities(), stays, values));
        }
      }
    }
  }

 private:
  //! Adds two values that are the best two of others, lane by lane.
  RESONANCE_DETAIL_INLINE_AVX512 static void add(__m512 best_of_others, __m512 second_of_others, __m512& best,
                                                 __m512& second) {
    second = _mm512_max_ps(_mm512_min_ps(best, best_of_others), _mm512_max_ps(second, second_of_others));
    best = _mm512_max_ps(best, best_of_others);
  }

  RESONANCE_DETAIL_INLINE_AVX512 static void best_two_of_lanes(const float* values, std::int32_t count, __m512& best,
                                                               __m512& second) {
    best = second = avx512_row::negative_infinities();
    for (std::int32_t e = 0; e < count; e += 16) {
      const __m512 value =
          _mm512_mask_loadu_ps(avx512_row::negative_infinities(), avx512_row::first_of(count - e), values + e);
      second = _mm512_max_ps(second, _mm512_min_ps(best, value));
      best = _mm512_max_ps(best, value);
    }
  }

  //! As group_best::key orders it: a lone best for itself, and no sum that leaves the finite floats.
  RESONANCE_DETAIL_INLINE_AVX512 static __m512 sum(__m512 best, __m512 second) {
    constexpr float most = row_traits<float>::largest;
    const __m512 none = avx512_row::negative_infinities();
    const __mmask16 two = _mm512_cmp_ps_mask(second, none, _CMP_GT_OQ);
    const __m512 both = _mm512_add_ps(best, second);
    const __m512 finite = _mm512_min_ps(_mm512_max_ps(both, _mm512_set1_ps(-most)), _mm512_set1_ps(most));
    return _mm512_mask_mov_ps(best, two, finite);
  }
};

}  // namespace detail
RESONANCE_NAMESPACE_END
#endif

#endif
