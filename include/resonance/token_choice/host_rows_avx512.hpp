// SPDX-License-Identifier: Apache-2.0
//! \file
//! The best experts of sixteen rows at once, for AVX-512: a bound per row, what reaches it, and its order.
//!
//! Work goes by rows where it is about a row's values, and across rows where it is about order: there a register holds
//! one place of many rows, so that sorting is a fixed network of minima and maxima, without a branch or a shuffle.
//! 1. The maxima of a row's lanes (lane = position mod lanes), sorted across rows: the K-th largest of them is reached
//!    by at least K values of the row, and by about 2 K ln 2 = 11 where K = 8 and there are 16 lanes.
//! 2. The ids of the values that reach it, compressed to bytes, 64 positions at a time.
//! 3. As many of them as there are places, as words of 64 bits whose order is (value desc, id asc), across rows again.
#ifndef RESONANCE_TOKEN_CHOICE_HOST_ROWS_AVX512_HPP
#define RESONANCE_TOKEN_CHOICE_HOST_ROWS_AVX512_HPP

#include <cstdint>

#include <resonance/core/host_intrinsics.hpp>
#include <resonance/core/host_simd.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/token_choice/host_networks_avx512.hpp>
#include <resonance/token_choice/host_vectors_avx512.hpp>

#if RESONANCE_DETAIL_AVX512
RESONANCE_NAMESPACE_BEGIN
namespace detail {

//! What was chosen for up to 16 rows; [slot][row].
struct row_batch {
  static constexpr int rows = 16;
  static constexpr int most_chosen = 32;

  alignas(64) float delta[most_chosen][rows];
  alignas(64) std::int32_t ids[most_chosen][rows];
};

//! Chooses the `wanted` best of every row, wanted <= Best.
template <int Best>
class avx512_rows {
 public:
  //! Chooses by (value desc, id asc); 1 <= wanted <= Best, and wanted <= experts <= 2^16.
  //! Returns the rows for which this does not hold (bit i: row i), to be chosen by other means: those with fewer
  //! values that can be chosen, with an infinite one, or with more that reach the bound than there are places.
  template <class Row>
  RESONANCE_DETAIL_AT_O3 RESONANCE_DETAIL_TARGET_AVX512 static unsigned choose(const Row* first, std::int64_t stride,
                                                                               int rows, std::int32_t experts,
                                                                               int wanted, row_batch& out) {
    alignas(64) float bounds[row_batch::rows];
    unsigned unsettled = find_bounds(first, stride, rows, experts, wanted, bounds);
    alignas(64) std::int32_t counts[row_batch::rows];
    alignas(64) std::uint16_t reaching[row_batch::rows][most_listed];
    for (int i = 0; i < row_batch::rows; ++i) {
      counts[i] = list_reaching(first + (i < rows ? i : 0) * stride, experts, bounds[i], reaching[i]);
      unsettled |= (counts[i] > places ? 1u : 0u) << i;
    }
    // A loop of its own: what vectors stored a moment ago cannot be read back in parts yet.
    alignas(64) std::uint64_t words[places][row_batch::rows];
    for (int i = 0; i < row_batch::rows; ++i) {
      const Row* row = first + (i < rows ? i : 0) * stride;
      for (int place = 0; place < places; ++place) {
        const std::uint32_t id = reaching[i][place];  // past the count: any position
        words[place][i] = static_cast<std::uint64_t>(avx512_row::bits_of(row[id])) << 32 | (0xffffffffu - id);
      }
    }
    order(words, counts);
    write_best<Row>(words, wanted, out);
    restore_zeros(first, stride, wanted, unsettled, out);
    return unsettled & ((1u << rows) - 1u);
  }

 private:
  static constexpr int vectors = Best <= 8 ? 1 : Best / 8;  // of lanes
  static constexpr int lanes = 16 * vectors;
  static constexpr int places = Best == 1 ? 4 : 2 * Best;
  static constexpr int most_listed = places <= 16 ? 64 : 128;  // places + 1, and room for a whole store

  //! A value of every row that its `wanted` best reach; returns the rows that have none or too large a value.
  template <class Row>
  RESONANCE_DETAIL_INLINE_AVX512 static unsigned find_bounds(const Row* first, std::int64_t stride, int rows,
                                                             std::int32_t experts, int wanted, float* bounds) {
    __m512 maxima[lanes];
    for (int i = 0; i < row_batch::rows; ++i) lane_maxima(first + (i < rows ? i : 0) * stride, experts, maxima + i);
    for (int v = 0; v < vectors; ++v) avx512_table::transpose(maxima + 16 * v);
    avx512_best_of<Best, lanes>::run(maxima);
    alignas(64) float sorted[Best][row_batch::rows];
    for (int i = 0; i < Best; ++i) _mm512_store_ps(sorted[i], maxima[i]);
    const __m512 bound = _mm512_load_ps(sorted[wanted - 1]);
    _mm512_store_ps(bounds, bound);
    return static_cast<unsigned>(_mm512_cmp_ps_mask(maxima[0], _mm512_set1_ps(row_traits<float>::largest), _CMP_GT_OQ) |
                                 _mm512_cmp_ps_mask(bound, _mm512_set1_ps(-row_traits<float>::largest), _CMP_LT_OQ));
  }

  //! maxima[16 v] gets lanes 16 v to 16 v + 15. NaN counts for nothing: the second operand is what max gives back then.
  template <class Row>
  RESONANCE_DETAIL_INLINE_AVX512 static void lane_maxima(const Row* row, std::int32_t experts, __m512* maxima) {
    constexpr int steps = vectors < 2 ? 2 : vectors;
    __m512 best[steps];
    for (int v = 0; v < steps; ++v) best[v] = avx512_row::negative_infinities();
    std::int32_t e = 0;
    for (; e + 16 * steps <= experts; e += 16 * steps)
      for (int v = 0; v < steps; ++v) best[v] = _mm512_max_ps(avx512_row::load(row + e + 16 * v), best[v]);
    for (int v = 0; v < steps; ++v) {
      const std::int32_t left = experts - e - 16 * v;
      if (left <= 0) break;
      const __mmask16 held = avx512_row::first_of(left);
      best[v] = _mm512_mask_max_ps(best[v], held, avx512_row::load(row + e + 16 * v, held), best[v]);
    }
    if (vectors == 1) best[0] = _mm512_max_ps(best[0], best[1]);
    for (int v = 0; v < vectors; ++v) maxima[16 * v] = best[v];
  }

  //! The positions whose values reach the bound, rising, as far as there is room, and then any; returns how many reach
  //! it, or more than there are places where they are more.
  template <class Row>
  RESONANCE_DETAIL_INLINE_AVX512 static int list_reaching(const Row* row, std::int32_t experts, float bound,
                                                          std::uint16_t* list) {
    const __m512 least = _mm512_set1_ps(bound);
    int count = 0;
    std::int32_t e = 0;
    for (; e + 64 <= experts; e += 64) {
      const __mmask16 first = _mm512_cmp_ps_mask(avx512_row::load(row + e), least, _CMP_GE_OQ);
      const __mmask16 second = _mm512_cmp_ps_mask(avx512_row::load(row + e + 16), least, _CMP_GE_OQ);
      const __mmask16 third = _mm512_cmp_ps_mask(avx512_row::load(row + e + 32), least, _CMP_GE_OQ);
      const __mmask16 fourth = _mm512_cmp_ps_mask(avx512_row::load(row + e + 48), least, _CMP_GE_OQ);
      const __mmask64 reach = _mm512_kunpackd(_mm512_kunpackw(fourth, third), _mm512_kunpackw(second, first));
      count = append(reach, e, list, count);
    }
    if (e == experts) return count;
    std::uint64_t reach = 0;
    for (int shift = 0; e + shift < experts; shift += 16) {
      const __mmask16 held = avx512_row::first_of(experts - e - shift);
      reach |= static_cast<std::uint64_t>(
                   _mm512_mask_cmp_ps_mask(held, avx512_row::load(row + e + shift, held), least, _CMP_GE_OQ))
               << shift;
    }
    return append(reach, e, list, count);
  }

  RESONANCE_DETAIL_INLINE_AVX512 static int append(__mmask64 reach, std::int32_t e, std::uint16_t* list, int count) {
    const __m512i found = _mm512_maskz_compress_epi8(reach, _mm512_load_si512(positions));
    const __m512i base = _mm512_set1_epi16(static_cast<short>(e));
    if constexpr (places <= 16) {
      _mm256_storeu_si256(
          reinterpret_cast<__m256i*>(list + count),
          _mm256_add_epi16(_mm256_cvtepu8_epi16(_mm512_castsi512_si128(found)), _mm512_castsi512_si256(base)));
    } else {
      _mm512_storeu_si512(list + count, _mm512_add_epi16(_mm512_cvtepu8_epi16(_mm512_castsi512_si256(found)), base));
      if constexpr (places > 32) {
        _mm512_storeu_si512(list + count + 32,
                            _mm512_add_epi16(_mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64(found, 1)), base));
      }
    }
    count += __builtin_popcountll(reach);
    return count <= places ? count : places + 1;
  }

  //! Leaves the Best largest words of every row in the first places, in order; their upper halves, bits of values as
  //! sign and magnitude, become numbers, both zeros the same one.
  RESONANCE_DETAIL_INLINE_AVX512 static void order(std::uint64_t (*words)[row_batch::rows],
                                                   const std::int32_t* counts) {
    const __m512i count = _mm512_load_si512(counts);
    const __m512i least = _mm512_set1_epi64(INT64_MIN);
    const __m512i magnitude = _mm512_set1_epi64(0x7fffffffffffffffll);
    constexpr __mmask16 upper_halves = 0xaaaa;
    for (int part = 0; part < 2; ++part) {
      __m512i place[places];
      for (int i = 0; i < places; ++i) {
        const unsigned held = _mm512_cmpgt_epi32_mask(count, _mm512_set1_epi32(i)) >> (8 * part);
        const __m512i word = _mm512_load_si512(words[i] + 8 * part);
        const __m512i sign = _mm512_maskz_srai_epi32(upper_halves, word, 31);
        const __m512i number = _mm512_sub_epi32(_mm512_xor_si512(_mm512_and_si512(word, magnitude), sign), sign);
        place[i] = _mm512_mask_mov_epi64(least, static_cast<__mmask8>(held), number);
      }
      avx512_best_of<Best, places>::run(place);
      for (int i = 0; i < Best; ++i) _mm512_store_si512(words[i] + 8 * part, place[i]);
    }
  }

  template <class Row>
  RESONANCE_DETAIL_INLINE_AVX512 static void write_best(const std::uint64_t (*words)[row_batch::rows], int wanted,
                                                        row_batch& out) {
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    const __m512i ones = _mm512_set1_epi32(-1);
    for (int k = 0; k < wanted; ++k) {
      const __m512i low = _mm512_load_si512(words[k]);
      const __m512i high = _mm512_load_si512(words[k] + 8);
      _mm512_store_si512(out.ids[k], _mm512_xor_si512(_mm512_permutex2var_epi32(low, even, high), ones));
      const __m512i number = _mm512_permutex2var_epi32(low, odd, high);
      const __m512i sign = _mm512_srai_epi32(number, 31);
      const __m512i bits = _mm512_or_si512(_mm512_abs_epi32(number), _mm512_slli_epi32(sign, 31));
      _mm512_store_ps(out.delta[k], avx512_row::value_of(bits, Row{}));
    }
  }

  //! Both zeros have one key: the sign comes from the row.
  template <class Row>
  RESONANCE_DETAIL_INLINE_AVX512 static void restore_zeros(const Row* first, std::int64_t stride, int wanted,
                                                           unsigned unsettled, row_batch& out) {
    for (int k = 0; k < wanted; ++k) {
      unsigned zeros = _mm512_cmp_ps_mask(_mm512_load_ps(out.delta[k]), _mm512_setzero_ps(), _CMP_EQ_OQ) & ~unsettled;
      for (; zeros != 0; zeros &= zeros - 1) {
        const int i = __builtin_ctz(zeros);
        out.delta[k][i] = row_traits<Row>::widen(first[i * stride + out.ids[k][i]]);
      }
    }
  }

  // clang-format off
  alignas(64) static constexpr unsigned char positions[64] = {
      0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30,
      31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58,
      59, 60, 61, 62, 63};
  // clang-format on
};

}  // namespace detail
RESONANCE_NAMESPACE_END
#endif

#endif
