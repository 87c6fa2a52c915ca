// SPDX-License-Identifier: Apache-2.0
//! \file
//! The best experts of sixteen rows at once, for AVX-512: a bound per row, what reaches it, and its order.
//!
//! Work goes by rows where it is about a row's values, and across rows where it is about order: there a register holds
//! one place of sixteen rows, so that sorting is a fixed network of minima and maxima, without a branch or a shuffle.
//! 1. The maxima of a row's 16 lanes (lane = position mod 16), sorted across rows: the K-th largest of them is reached
//!    by at least K values of the row, and by about 16 ln 2 = 11 for K = 8.
//! 2. The ids of the values that reach it, compressed to bytes, 64 positions at a time.
//! 3. Up to 16 of them by (value desc, id asc), as words of 64 bits, across rows again.
#ifndef RESONANCE_TOKEN_CHOICE_HOST_ROWS_AVX512_HPP
#define RESONANCE_TOKEN_CHOICE_HOST_ROWS_AVX512_HPP

#include <cstddef>
#include <cstdint>
#include <utility>

#include <resonance/core/host_intrinsics.hpp>
#include <resonance/core/host_simd.hpp>
#include <resonance/core/row_type.hpp>

#if RESONANCE_DETAIL_AVX512
RESONANCE_NAMESPACE_BEGIN
namespace detail {

#define RESONANCE_DETAIL_INLINE_AVX512 RESONANCE_FORCE_INLINE RESONANCE_DETAIL_TARGET_AVX512

//! What was chosen for up to 16 rows; [slot][row].
struct row_batch {
  static constexpr int rows = 16;
  static constexpr int most_chosen = 8;  // more would leave too few of 16 places for what else reaches the bound

  alignas(64) float delta[most_chosen][rows];
  alignas(64) std::int32_t ids[most_chosen][rows];
};

//! Batcher's network for 16 places, as pairs of places; the upper one gets the larger.
struct sorting_network {
  static constexpr int pairs = 63;
  struct {
    int upper = 0, lower = 0;
  } pair[pairs];

  constexpr sorting_network() {
    int n = 0;
    for (int p = 1; p < 16; p *= 2)
      for (int k = p; k >= 1; k /= 2)
        for (int j = k % p; j + k < 16; j += 2 * k)
          for (int i = 0; i < k; ++i)
            if (i + j + k < 16 && (i + j) / (2 * p) == (i + j + k) / (2 * p)) {
              pair[n].upper = i + j;
              pair[n++].lower = i + j + k;
            }
  }
};
inline constexpr sorting_network batcher{};

class avx512_rows {
 public:
  //! Chooses the `wanted` best of every row by (value desc, id asc); 1 <= wanted <= most_chosen, and
  //! wanted <= experts <= 2^16.
  //! Returns the rows for which this does not hold (bit i: row i), to be chosen by other means: those with fewer
  //! values that can be chosen, with an infinite one, or with more than 16 that reach the bound.
  template <class Row>
  RESONANCE_DETAIL_INLINE_AVX512 static unsigned choose(const Row* first, std::int64_t stride, int rows,
                                                        std::int32_t experts, int wanted, row_batch& out) {
    const auto row = [=](int i) { return first + (i < rows ? i : 0) * stride; };
    __m512 maxima[16];
    for (int i = 0; i < row_batch::rows; ++i) maxima[i] = lane_maxima(row(i), experts);
    transpose(maxima);
    sort(maxima);
    alignas(64) float sorted[16][row_batch::rows];
    for (int i = 0; i < 16; ++i) _mm512_store_ps(sorted[i], maxima[i]);
    const float* bounds = sorted[wanted - 1];
    const __m512 bound = _mm512_load_ps(bounds);
    unsigned unsettled =
        _mm512_cmp_ps_mask(_mm512_load_ps(sorted[0]), _mm512_set1_ps(row_traits<float>::largest), _CMP_GT_OQ) |
        _mm512_cmp_ps_mask(bound, _mm512_set1_ps(-row_traits<float>::largest), _CMP_LT_OQ);

    __m512 values[16];
    __m512 ids[16];
    for (int i = 0; i < row_batch::rows; ++i) {
      alignas(64) std::uint16_t reaching[most_listed + 64];
      const int count = list_reaching(row(i), experts, bounds[i], reaching);
      unsettled |= (count > 16 ? 1u : 0u) << i;
      const auto listed = static_cast<__mmask16>((1u << (count < 16 ? count : 16)) - 1u);
      const __m512i own =
          _mm512_cvtepu16_epi32(_mm256_load_si256(reinterpret_cast<const __m256i*>(static_cast<void*>(reaching))));
      ids[i] = _mm512_castsi512_ps(own);
      values[i] = gather(row(i), own, listed);
    }
    transpose(values);
    transpose(ids);
    order(values, ids);
    const __m512 zero = _mm512_setzero_ps();
    for (int k = 0; k < wanted; ++k) {
      _mm512_store_ps(out.delta[k], values[k]);
      _mm512_store_si512(out.ids[k], _mm512_castps_si512(ids[k]));
      // Both zeros have one key: the sign comes from the row.
      for (unsigned zeros = _mm512_cmp_ps_mask(values[k], zero, _CMP_EQ_OQ) & ~unsettled; zeros != 0;
           zeros &= zeros - 1) {
        const int i = __builtin_ctz(zeros);
        out.delta[k][i] = row_traits<Row>::widen(row(i)[out.ids[k][i]]);
      }
    }
    return unsettled & ((1u << rows) - 1u);
  }

  //! out[row * columns + k] = of_slot[k][row] for k < columns <= 8.
  template <class T>
  RESONANCE_DETAIL_INLINE_AVX512 static void store_rows(const T (*of_slot)[row_batch::rows], int rows, int columns,
                                                        T* out) {
    static_assert(sizeof(T) == 4);
    __m512 lines[16];
    for (int k = 0; k < 16; ++k) lines[k] = _mm512_loadu_ps(of_slot[k < columns ? k : 0]);
    transpose(lines);
    alignas(64) float by_row[row_batch::rows][16];
    for (int i = 0; i < row_batch::rows; ++i) _mm512_store_ps(by_row[i], lines[i]);
    const auto held = static_cast<__mmask8>((1u << columns) - 1u);
    for (int i = 0; i < rows; ++i) _mm256_mask_storeu_ps(out + i * columns, held, _mm256_load_ps(by_row[i]));
  }

 private:
  static constexpr int most_listed = 64;

  RESONANCE_DETAIL_INLINE_AVX512 static __m512 load(const float* row) { return _mm512_loadu_ps(row); }
  RESONANCE_DETAIL_INLINE_AVX512 static __m512 load(const float* row, __mmask16 held) {
    return _mm512_maskz_loadu_ps(held, row);
  }
  RESONANCE_DETAIL_INLINE_AVX512 static __m512 widen(__m256i bits, bfloat16) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
  }
  RESONANCE_DETAIL_INLINE_AVX512 static __m512 widen(__m256i bits, float16) { return _mm512_cvtph_ps(bits); }
  template <class Half>
  RESONANCE_DETAIL_INLINE_AVX512 static __m512 load(const Half* row) {
    return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(row)), Half{});
  }
  template <class Half>
  RESONANCE_DETAIL_INLINE_AVX512 static __m512 load(const Half* row, __mmask16 held) {
    return widen(_mm256_maskz_loadu_epi16(held, row), Half{});
  }

  RESONANCE_DETAIL_INLINE_AVX512 static __m512 gather(const float* row, __m512i ids, __mmask16 listed) {
    return _mm512_mask_i32gather_ps(negative_infinities(), listed, ids, row, 4);
  }
  template <class Half>
  RESONANCE_DETAIL_INLINE_AVX512 static __m512 gather(const Half* row, __m512i ids, __mmask16 listed) {
    alignas(64) std::int32_t id[16];
    alignas(64) float value[16];
    _mm512_store_si512(id, _mm512_maskz_mov_epi32(listed, ids));
    for (int i = 0; i < 16; ++i) value[i] = row_traits<Half>::widen(row[id[i]]);
    return _mm512_mask_load_ps(negative_infinities(), listed, value);
  }

  RESONANCE_DETAIL_INLINE_AVX512 static __m512 negative_infinities() {
    return _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(0xff800000u)));
  }

  //! NaN counts for nothing: the second operand is what max gives back then.
  template <class Row>
  RESONANCE_DETAIL_INLINE_AVX512 static __m512 lane_maxima(const Row* row, std::int32_t experts) {
    __m512 even = negative_infinities();
    __m512 odd = even;
    std::int32_t e = 0;
    for (; e + 32 <= experts; e += 32) {
      even = _mm512_max_ps(load(row + e), even);
      odd = _mm512_max_ps(load(row + e + 16), odd);
    }
    if (e + 16 <= experts) {
      even = _mm512_max_ps(load(row + e), even);
      e += 16;
    }
    if (e < experts) {
      const auto held = static_cast<__mmask16>((1u << (experts - e)) - 1u);
      odd = _mm512_mask_max_ps(odd, held, load(row + e, held), odd);
    }
    return _mm512_max_ps(even, odd);
  }

  //! The positions whose values reach the bound, rising, as far as there is room; returns how many there are, or more
  //! than 16 where they are more.
  template <class Row>
  RESONANCE_DETAIL_INLINE_AVX512 static int list_reaching(const Row* row, std::int32_t experts, float bound,
                                                          std::uint16_t* list) {
    const __m512 least = _mm512_set1_ps(bound);
    int count = 0;
    for (std::int32_t e = 0; e < experts; e += 64) {
      std::uint64_t reach = 0;
      for (int part = 0; part < 4; ++part) {
        const std::int32_t left = experts - e - 16 * part;
        if (left >= 16) {
          reach |= static_cast<std::uint64_t>(_mm512_cmp_ps_mask(load(row + e + 16 * part), least, _CMP_GE_OQ))
                   << (16 * part);
        } else if (left > 0) {
          const auto held = static_cast<__mmask16>((1u << left) - 1u);
          reach |= static_cast<std::uint64_t>(
                       _mm512_mask_cmp_ps_mask(held, load(row + e + 16 * part, held), least, _CMP_GE_OQ))
                   << (16 * part);
        }
      }
      const __m512i places = _mm512_maskz_compress_epi8(reach, _mm512_load_si512(positions));
      const __m512i numbers = _mm512_add_epi16(_mm512_cvtepu8_epi16(_mm512_castsi512_si256(places)),
                                               _mm512_set1_epi16(static_cast<short>(e)));
      _mm512_storeu_si512(list + count, numbers);
      count += __builtin_popcountll(reach);
      count = count < most_listed ? count : most_listed;
    }
    return count;
  }

  RESONANCE_DETAIL_INLINE_AVX512 static void exchange(__m512& upper, __m512& lower) {
    const __m512 a = upper;
    upper = _mm512_max_ps(a, lower);
    lower = _mm512_min_ps(a, lower);
  }
  RESONANCE_DETAIL_INLINE_AVX512 static void exchange(__m512i& upper, __m512i& lower) {
    const __m512i a = upper;
    upper = _mm512_max_epi64(a, lower);
    lower = _mm512_min_epi64(a, lower);
  }
  template <class Vector, std::size_t... Pair>
  RESONANCE_DETAIL_INLINE_AVX512 static void sort(Vector* places, std::index_sequence<Pair...>) {
    (exchange(places[batcher.pair[Pair].upper], places[batcher.pair[Pair].lower]), ...);
  }
  template <class Vector>
  RESONANCE_DETAIL_INLINE_AVX512 static void sort(Vector* places) {
    sort(places, std::make_index_sequence<sorting_network::pairs>{});
  }

  //! Bits of a float as a signed number of the same order, and back. -0 is made +0 before.
  RESONANCE_DETAIL_INLINE_AVX512 static __m512i signed_order(__m512i bits) {
    return _mm512_xor_si512(bits, _mm512_srli_epi32(_mm512_srai_epi32(bits, 31), 1));
  }

  //! Sorts the places of every row by (value desc, id asc).
  RESONANCE_DETAIL_INLINE_AVX512 static void order(__m512* values, __m512* ids) {
    const __m512i ones = _mm512_set1_epi32(-1);
    __m512i low[16];
    __m512i high[16];
    for (int i = 0; i < 16; ++i) {
      const __m512i key = signed_order(_mm512_castps_si512(_mm512_add_ps(values[i], _mm512_setzero_ps())));
      const __m512i earlier = _mm512_xor_si512(_mm512_castps_si512(ids[i]), ones);
      low[i] = _mm512_unpacklo_epi32(earlier, key);
      high[i] = _mm512_unpackhi_epi32(earlier, key);
    }
    sort(low);
    sort(high);
    for (int i = 0; i < 16; ++i) {
      const __m512 a = _mm512_castsi512_ps(low[i]);
      const __m512 b = _mm512_castsi512_ps(high[i]);
      ids[i] = _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(_mm512_shuffle_ps(a, b, 0x88)), ones));
      values[i] = _mm512_castsi512_ps(signed_order(_mm512_castps_si512(_mm512_shuffle_ps(a, b, 0xdd))));
    }
  }

  RESONANCE_DETAIL_INLINE_AVX512 static __m512 pairs_low(__m512 a, __m512 b) {
    return _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
  }
  RESONANCE_DETAIL_INLINE_AVX512 static __m512 pairs_high(__m512 a, __m512 b) {
    return _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
  }

  RESONANCE_DETAIL_INLINE_AVX512 static void transpose(__m512* r) {
    __m512 t[16];
    for (int i = 0; i < 16; i += 2) {
      t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
      t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
      r[i] = pairs_low(t[i], t[i + 2]);
      r[i + 1] = pairs_high(t[i], t[i + 2]);
      r[i + 2] = pairs_low(t[i + 1], t[i + 3]);
      r[i + 3] = pairs_high(t[i + 1], t[i + 3]);
    }
    for (int i = 0; i < 4; ++i) {
      t[i] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88);
      t[i + 4] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xdd);
      t[i + 8] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88);
      t[i + 12] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xdd);
    }
    for (int i = 0; i < 4; ++i) {
      r[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
      r[i + 4] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0x88);
      r[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd);
      r[i + 12] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0xdd);
    }
  }

  // clang-format off
  alignas(64) static constexpr unsigned char positions[64] = {
      0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30,
      31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58,
      59, 60, 61, 62, 63};
  // clang-format on
};

#undef RESONANCE_DETAIL_INLINE_AVX512

}  // namespace detail
RESONANCE_NAMESPACE_END
#endif

#endif
