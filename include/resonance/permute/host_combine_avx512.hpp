// SPDX-License-Identifier: Apache-2.0
//! \file
//! The weighted sum of one token's rows for AVX-512: from the loads to the stores in registers.
#ifndef RESONANCE_PERMUTE_HOST_COMBINE_AVX512_HPP
#define RESONANCE_PERMUTE_HOST_COMBINE_AVX512_HPP

#include <cstdint>

#include <resonance/core/host_intrinsics.hpp>
#include <resonance/core/host_simd.hpp>
#include <resonance/core/host_vectors_avx512.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/permute/host_token_rows.hpp>

#if RESONANCE_DETAIL_AVX512
RESONANCE_NAMESPACE_BEGIN
namespace detail {

struct avx512_columns {
  //! row_traits::narrow.
  RESONANCE_DETAIL_INLINE_AVX512 static __m256i narrow(__m512 value, bfloat16) {
    const __m512i bits = _mm512_castps_si512(value);
    const __m512i upper = _mm512_srli_epi32(bits, 16);
    const __m512i odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
    const __m512i rounded =
        _mm512_srli_epi32(_mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd), 16);
    const __mmask16 nan = _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
    return _mm512_cvtepi32_epi16(_mm512_mask_mov_epi32(rounded, nan, upper));  // that of a sum is quiet already
  }
  RESONANCE_DETAIL_INLINE_AVX512 static __m256i narrow(__m512 value, float16) {
    return _mm512_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }

  //! 32 sums to their columns; past the caches only where those are aligned to a line.
  RESONANCE_DETAIL_INLINE_AVX512 static void store(__m512 low, __m512 high, float* at, bool streams) {
    store_line(_mm512_castps_si512(low), at, streams);
    store_line(_mm512_castps_si512(high), at + 16, streams);
  }
  template <class Half>
  RESONANCE_DETAIL_INLINE_AVX512 static void store(__m512 low, __m512 high, Half* at, bool streams) {
    store_line(_mm512_inserti64x4(_mm512_castsi256_si512(narrow(low, Half{})), narrow(high, Half{}), 1), at, streams);
  }

 private:
  RESONANCE_DETAIL_INLINE_AVX512 static void store_line(__m512i line, void* at, bool streams) {
    if (streams) {
      _mm512_stream_si512(static_cast<__m512i*>(at), line);
    } else {
      _mm512_storeu_si512(at, line);
    }
  }
};

//! Sums the listed rows, at least one, over the columns that make whole blocks of summed_columns; returns how many.
//! `ahead`: rows to be asked for on the way.
template <class Row>
RESONANCE_DETAIL_AT_O3 RESONANCE_DETAIL_TARGET_AVX512 inline std::int64_t combine_avx512(const token_rows<Row>& rows,
                                                                                         const token_rows<Row>& ahead,
                                                                                         std::int64_t columns,
                                                                                         bool streams, Row* target) {
  streams = streams && reinterpret_cast<std::uintptr_t>(target) % 64 == 0;
  std::int64_t column = 0;
  for (; column + summed_columns <= columns; column += summed_columns) {
    // Plus a product, -0 is the product, whatever its sign.
    __m512 a = _mm512_set1_ps(-0.0f);
    __m512 b = a;
    __m512 c = a;
    __m512 d = a;
    for (int i = 0; i < rows.count; ++i) {
      const Row* row = rows.row[i] + column;
      const __m512 weight = _mm512_set1_ps(rows.weight[i]);
      a = _mm512_fmadd_ps(weight, avx512_row::load(row), a);
      b = _mm512_fmadd_ps(weight, avx512_row::load(row + 16), b);
      c = _mm512_fmadd_ps(weight, avx512_row::load(row + 32), c);
      d = _mm512_fmadd_ps(weight, avx512_row::load(row + 48), d);
    }
    ahead.prefetch(column, summed_columns);
    avx512_columns::store(a, b, target + column, streams);
    avx512_columns::store(c, d, target + column + 32, streams);
  }
  return column;
}

}  // namespace detail
RESONANCE_NAMESPACE_END
#endif

#endif
