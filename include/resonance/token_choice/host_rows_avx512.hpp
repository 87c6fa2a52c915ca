// SPDX-License-Identifier: Apache-2.0
//! \file
//! The best experts of sixteen rows at once, for AVX-512: a bound per row, what reaches it, and its order.
//!
//! Work goes by rows where it is about a row's values, and across rows where it is about order: there a register holds
//! one place of many rows, so that sorting is a fixed network of minima and maxima, without a branch or a shuffle.
//! 1. The maxima of a row's lanes (lane = position mod lanes), sorted across rows: the K-th largest of them is reached
//!    by at least K values of the row, and by about 2 K ln 2 = 11 where K = 8 and there are 16 lanes.
//! 2. The values that reach it and their ids, 64 positions at a time: positions compressed as bytes, which pick the
//!    values from registers.
//! 3. As many of them as there are places, as words of 64 bits whose order is (value desc, id asc), across rows again.
#ifndef RESONANCE_TOKEN_CHOICE_HOST_ROWS_AVX512_HPP
#define RESONANCE_TOKEN_CHOICE_HOST_ROWS_AVX512_HPP

#include <cstdint>

#include <resonance/core/host_intrinsics.hpp>
#include <resonance/core/host_simd.hpp>
#include <resonance/core/host_vectors_avx512.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/token_choice/host_networks_avx512.hpp>

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
    alignas(64) float maxima[Best][row_batch::rows];
    unsigned unsettled = best_maxima(first, stride, rows, experts, wanted, maxima);
    reaching_values reaching[row_batch::rows];
    for (int i = 0; i < row_batch::rows; ++i) {
      const Row* row = first + (i < rows ? i : 0) * stride;
      list_reaching(row, experts, maxima[wanted - 1][i], reaching[i]);
      // The next larger maximum often has at least `wanted`, too.
      if (reaching[i].count > places && wanted > 1) list_reaching(row, experts, maxima[wanted - 2][i], reaching[i]);
      unsettled |= (reaching[i].count > places || reaching[i].count < wanted ? 1u : 0u) << i;
    }
    write_best(reaching, wanted, out);
    const unsigned asked = (1u << rows) - 1u;
    restore_zeros(first, stride, wanted, asked & ~unsettled, out);
    return asked & unsettled;
  }

 private:
  static constexpr int vectors = Best <= 8 ? 1 : Best / 8;  // of lanes
  static constexpr int lanes = 16 * vectors;
  static constexpr int places = Best == 1 ? 4 : 2 * Best;
  static constexpr int listed = places < 16 ? 16 : places;

  //! Values of one row and their ids, by rising id; past the count, any.
  struct reaching_values {
    int count;  // places + 1 where they are more
    alignas(64) float value[places + 1 + listed];
    alignas(64) std::uint16_t id[places + 1 + listed];
  };

  //! maxima[k][i]: the k-th largest of row i's lanes; the `wanted`-th is reached by the `wanted` best. Returns the rows
  //! that have too few values or too large a one.
  template <class Row>
  RESONANCE_DETAIL_INLINE_AVX512 static unsigned best_maxima(const Row* first, std::int64_t stride, int rows,
                                                             std::int32_t experts, int wanted,
                                                             float (*maxima)[row_batch::rows]) {
    __m512 lane[lanes];
    for (int i = 0; i < row_batch::rows; ++i) lane_maxima(first + (i < rows ? i : 0) * stride, experts, lane + i);
    for (int v = 0; v < vectors; ++v) avx512_table::transpose(lane + 16 * v);
    avx512_best_of<Best, lanes>::run(lane);
    for (int k = 0; k < Best; ++k) _mm512_store_ps(maxima[k], lane[k]);
    const __m512 bound = _mm512_load_ps(maxima[wanted - 1]);
    return static_cast<unsigned>(_mm512_cmp_ps_mask(lane[0], _mm512_set1_ps(row_traits<float>::largest), _CMP_GT_OQ) |
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

  //! What reaches the bound, 64 positions at a time.
  template <class Row>
  RESONANCE_DETAIL_INLINE_AVX512 static void list_reaching(const Row* row, std::int32_t experts, float bound,
                                                           reaching_values& list) {
    const __m512 least = _mm512_set1_ps(bound);
    int count = 0;
    __m512 chunk[4];
    std::int32_t e = 0;
    for (; e + 64 <= experts; e += 64) {
      __mmask16 reach[4];
      for (int part = 0; part < 4; ++part) {
        chunk[part] = avx512_row::load(row + e + 16 * part);
        reach[part] = _mm512_cmp_ps_mask(chunk[part], least, _CMP_GE_OQ);
      }
      count = append(chunk, reach, e, count, list);
    }
    if (e < experts) {
      __mmask16 reach[4] = {};
      for (int part = 0; part < 4; ++part) {
        const std::int32_t left = experts - e - 16 * part;
        chunk[part] = least;
        if (left <= 0) continue;
        const __mmask16 held = avx512_row::first_of(left);
        chunk[part] = avx512_row::load(row + e + 16 * part, held);
        reach[part] = _mm512_mask_cmp_ps_mask(held, chunk[part], least, _CMP_GE_OQ);
      }
      count = append(chunk, reach, e, count, list);
    }
    list.count = count;
  }

  RESONANCE_DETAIL_INLINE_AVX512 static int append(const __m512* chunk, const __mmask16* reach, std::int32_t e,
                                                   int count, reaching_values& list) {
    const __mmask64 reaches = _mm512_kunpackd(_mm512_kunpackw(reach[3], reach[2]), _mm512_kunpackw(reach[1], reach[0]));
    const __m512i found = _mm512_maskz_compress_epi8(reaches, _mm512_load_si512(positions));
    append_sixteen(chunk, _mm512_castsi512_si128(found), e, count, list);
    if constexpr (listed >= 32) append_sixteen(chunk, _mm512_extracti32x4_epi32(found, 1), e, count + 16, list);
    if constexpr (listed >= 64) {
      append_sixteen(chunk, _mm512_extracti32x4_epi32(found, 2), e, count + 32, list);
      append_sixteen(chunk, _mm512_extracti32x4_epi32(found, 3), e, count + 48, list);
    }
    count += __builtin_popcountll(reaches);
    return count <= places ? count : places + 1;
  }

  //! `found`: positions in the chunk, as bytes.
  RESONANCE_DETAIL_INLINE_AVX512 static void append_sixteen(const __m512* chunk, __m128i found, std::int32_t e,
                                                            int count, reaching_values& list) {
    const __m512i at = _mm512_cvtepu8_epi32(found);
    const __m512 of_first_half = _mm512_permutex2var_ps(chunk[0], at, chunk[1]);
    const __m512 of_second_half = _mm512_permutex2var_ps(chunk[2], at, chunk[3]);
    const __mmask16 second = _mm512_test_epi32_mask(at, _mm512_set1_epi32(32));
    const __m512 values = _mm512_mask_mov_ps(of_first_half, second, of_second_half);
    const __m256i ids = _mm256_add_epi16(_mm256_cvtepu8_epi16(found), _mm256_set1_epi16(static_cast<short>(e)));
    if constexpr (places <= 8) {
      _mm256_storeu_ps(list.value + count, _mm512_castps512_ps256(values));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(list.id + count), _mm256_castsi256_si128(ids));
    } else {
      _mm512_storeu_ps(list.value + count, values);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(list.id + count), ids);
    }
  }

  //! Leaves the `wanted` best of every row in out, in order; zeros without their sign.
  RESONANCE_DETAIL_INLINE_AVX512 static void write_best(const reaching_values* reaching, int wanted, row_batch& out) {
    const __m512i ones = _mm512_set1_epi32(-1);
    // Key and ~id in one word; the even pairs of rows, and the odd ones.
    __m512i even[listed];
    __m512i odd[listed];
    for (int block = 0; block < listed; block += 16) {
      __m512 values[16];
      __m512 ids[16];
      for (int i = 0; i < row_batch::rows; ++i) {
        const int count = reaching[i].count - block;
        const __mmask16 held = count > 0 ? avx512_row::first_of(count) : static_cast<__mmask16>(0);
        values[i] = _mm512_mask_load_ps(avx512_row::negative_infinities(), held, reaching[i].value + block);
        ids[i] = _mm512_castsi512_ps(_mm512_cvtepu16_epi32(
            _mm256_load_si256(reinterpret_cast<const __m256i*>(static_cast<const void*>(reaching[i].id + block)))));
      }
      avx512_table::transpose(values);
      avx512_table::transpose(ids);
      for (int i = 0; i < 16; ++i) {
        const __m512i key = key_of(values[i]);
        const __m512i earlier = _mm512_xor_si512(_mm512_castps_si512(ids[i]), ones);
        even[block + i] = _mm512_unpacklo_epi32(earlier, key);
        odd[block + i] = _mm512_unpackhi_epi32(earlier, key);
      }
    }
    avx512_best_of<Best, places>::run(even);
    avx512_best_of<Best, places>::run(odd);
    alignas(64) float sorted[2][Best][row_batch::rows];
    for (int k = 0; k < Best; ++k) {
      const __m512 a = _mm512_castsi512_ps(even[k]);
      const __m512 b = _mm512_castsi512_ps(odd[k]);
      _mm512_store_ps(sorted[0][k], _mm512_shuffle_ps(a, b, 0x88));
      _mm512_store_ps(sorted[1][k], _mm512_shuffle_ps(a, b, 0xdd));
    }
    for (int k = 0; k < wanted; ++k) {
      _mm512_store_si512(out.ids[k], _mm512_xor_si512(_mm512_load_si512(sorted[0][k]), ones));
      _mm512_store_ps(out.delta[k], value_of(_mm512_load_si512(sorted[1][k])));
    }
  }

  //! A number in the order of the value, both zeros the same one; and a value from its number.
  RESONANCE_DETAIL_INLINE_AVX512 static __m512i key_of(__m512 value) {
    const __m512i bits = _mm512_castps_si512(value);
    const __m512i sign = _mm512_srai_epi32(bits, 31);
    const __m512i magnitude = _mm512_and_si512(bits, _mm512_set1_epi32(0x7fffffff));
    return _mm512_sub_epi32(_mm512_xor_si512(magnitude, sign), sign);
  }
  RESONANCE_DETAIL_INLINE_AVX512 static __m512 value_of(__m512i key) {
    const __m512i sign = _mm512_slli_epi32(_mm512_srai_epi32(key, 31), 31);
    return _mm512_castsi512_ps(_mm512_or_si512(_mm512_abs_epi32(key), sign));
  }

  //! Both zeros have one key: the sign comes from the row.
  template <class Row>
  RESONANCE_DETAIL_INLINE_AVX512 static void restore_zeros(const Row* first, std::int64_t stride, int wanted,
                                                           unsigned settled, row_batch& out) {
    for (int k = 0; k < wanted; ++k) {
      unsigned zeros = _mm512_cmp_ps_mask(_mm512_load_ps(out.delta[k]), _mm512_setzero_ps(), _CMP_EQ_OQ) & settled;
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
