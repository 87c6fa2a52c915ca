// SPDX-License-Identifier: Apache-2.0
//! \file
//! What the kernels for AVX-512 share: loads of every row type, and tables turned.
#ifndef RESONANCE_CORE_HOST_VECTORS_AVX512_HPP
#define RESONANCE_CORE_HOST_VECTORS_AVX512_HPP

#include <cstdint>

#include <resonance/core/host_intrinsics.hpp>
#include <resonance/core/host_simd.hpp>
#include <resonance/core/row_type.hpp>

#if RESONANCE_DETAIL_AVX512
RESONANCE_NAMESPACE_BEGIN
namespace detail {

//! Sixteen values of a row of any row type.
struct avx512_row {
  RESONANCE_DETAIL_INLINE_AVX512 static __m512 load(const float* row) { return _mm512_loadu_ps(row); }
  RESONANCE_DETAIL_INLINE_AVX512 static __m512 load(const float* row, __mmask16 held) {
    return _mm512_maskz_loadu_ps(held, row);
  }
  template <class Half>
  RESONANCE_DETAIL_INLINE_AVX512 static __m512 load(const Half* row) {
    return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(row)), Half{});
  }
  template <class Half>
  RESONANCE_DETAIL_INLINE_AVX512 static __m512 load(const Half* row, __mmask16 held) {
    return widen(_mm256_maskz_loadu_epi16(held, row), Half{});
  }

  //! The lanes of what is `left`, one at least.
  RESONANCE_DETAIL_INLINE_AVX512 static __mmask16 first_of(std::int32_t left) {
    return left >= 16 ? static_cast<__mmask16>(0xffffu) : static_cast<__mmask16>((1u << left) - 1u);
  }
  RESONANCE_DETAIL_INLINE_AVX512 static __m512 negative_infinities() {
    return _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(0xff800000u)));
  }

 private:
  RESONANCE_DETAIL_INLINE_AVX512 static __m512 widen(__m256i bits, bfloat16) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
  }
  RESONANCE_DETAIL_INLINE_AVX512 static __m512 widen(__m256i bits, float16) { return _mm512_cvtph_ps(bits); }
};

//! Tables of 32-bit values, 16 wide.
struct avx512_table {
  //! Turns 16 by 16 values.
  RESONANCE_DETAIL_INLINE_AVX512 static void transpose(__m512* r) {
    for (int i = 0; i < 16; i += 4) transpose_fours(r + i);
    __m512 t[16];
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

  //! out[row * columns + k] = of_slot[k][row] for row < rows <= 16, k < columns; eight columns at a time.
  template <class T>
  RESONANCE_DETAIL_INLINE_AVX512 static void store_rows(const T (*of_slot)[16], int rows, int columns, T* out) {
    static_assert(sizeof(T) == 4);
    const __m512i first_rows = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
    const __m512i last_rows = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    for (int done = 0; done < columns; done += 8) {
      const int held = columns - done < 8 ? columns - done : 8;
      __m512 r[8];
      for (int k = 0; k < 8; ++k) r[k] = _mm512_loadu_ps(of_slot[done + (k < held ? k : 0)]);
      transpose_fours(r);
      transpose_fours(r + 4);
      for (int i = 0; i < 4; ++i) {
        const __m512d low = _mm512_castps_pd(r[i]);
        const __m512d high = _mm512_castps_pd(r[i + 4]);
        const __m512 first = _mm512_castpd_ps(_mm512_permutex2var_pd(low, first_rows, high));
        const __m512 last = _mm512_castpd_ps(_mm512_permutex2var_pd(low, last_rows, high));
        store_eight(_mm512_castps512_ps256(first), i, rows, columns, held, out + done);
        store_eight(_mm512_extractf32x8_ps(first, 1), i + 4, rows, columns, held, out + done);
        store_eight(_mm512_castps512_ps256(last), i + 8, rows, columns, held, out + done);
        store_eight(_mm512_extractf32x8_ps(last, 1), i + 12, rows, columns, held, out + done);
      }
    }
  }

 private:
  template <class T>
  RESONANCE_DETAIL_INLINE_AVX512 static void store_eight(__m256 eight, int row, int rows, int columns, int held,
                                                         T* out) {
    if (row >= rows) return;
    _mm256_mask_storeu_ps(out + row * columns, static_cast<__mmask8>((1u << held) - 1u), eight);
  }

  //! Turns the four 4 by 4 blocks that lie side by side.
  RESONANCE_DETAIL_INLINE_AVX512 static void transpose_fours(__m512* r) {
    const __m512 low_01 = _mm512_unpacklo_ps(r[0], r[1]);
    const __m512 high_01 = _mm512_unpackhi_ps(r[0], r[1]);
    const __m512 low_23 = _mm512_unpacklo_ps(r[2], r[3]);
    const __m512 high_23 = _mm512_unpackhi_ps(r[2], r[3]);
    r[0] = pairs_low(low_01, low_23);
    r[1] = pairs_high(low_01, low_23);
    r[2] = pairs_low(high_01, high_23);
    r[3] = pairs_high(high_01, high_23);
  }
  RESONANCE_DETAIL_INLINE_AVX512 static __m512 pairs_low(__m512 a, __m512 b) {
    return _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
  }
  RESONANCE_DETAIL_INLINE_AVX512 static __m512 pairs_high(__m512 a, __m512 b) {
    return _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
  }
};

}  // namespace detail
RESONANCE_NAMESPACE_END
#endif

#endif
