// SPDX-License-Identifier: Apache-2.0
//! \file
//! Keys of sixteen columns at once, and the rows of one that reach a bound, for AVX-512.
#ifndef RESONANCE_CORE_HOST_COLUMNS_AVX512_HPP
#define RESONANCE_CORE_HOST_COLUMNS_AVX512_HPP

#include <cstdint>

#include <resonance/core/host_intrinsics.hpp>
#include <resonance/core/host_simd.hpp>
#include <resonance/core/host_stream.hpp>
#include <resonance/core/host_vectors_avx512.hpp>

#if RESONANCE_DETAIL_AVX512
RESONANCE_NAMESPACE_BEGIN
namespace detail {

class columns_avx512 {
 public:
  //! order_key of columns [0, count), count <= 16, column c to keys + c * key_stride: of all whole blocks of 16 rows.
  //! Returns how many rows these are.
  RESONANCE_DETAIL_AT_O3 RESONANCE_DETAIL_TARGET_AVX512 static std::int64_t keys_of(const float* scores,
                                                                                    std::int64_t stride,
                                                                                    std::int64_t rows, int count,
                                                                                    std::uint32_t* keys,
                                                                                    std::int64_t key_stride) {
    const auto held = static_cast<__mmask16>((1u << count) - 1u);
    std::int64_t row = 0;
    for (; row + 16 <= rows; row += 16) {
      // Rows are further apart than what the processor fetches ahead by itself.
      const std::int64_t soon = row + 80 <= rows ? row + 64 : row;
      for (int r = 0; r < 16; ++r) prefetch_line(scores + (soon + r) * stride);
      __m512 block[16];
      for (int r = 0; r < 16; ++r) block[r] = avx512_row::load(scores + (row + r) * stride, held);
      avx512_table::transpose(block);
      for (int c = 0; c < 16; ++c) {
        if (c < count) _mm512_storeu_si512(keys + c * key_stride + row, key_of(block[c]));
      }
    }
    return row;
  }

  //! Lists the rows of [0, rows), rows a multiple of 16, whose keys reach the floor; the list has room for 16 more than
  //! it gets.
  RESONANCE_DETAIL_TARGET_AVX512 static std::int64_t list_reaching(const std::uint32_t* keys, std::int64_t rows,
                                                                   std::uint32_t floor, std::uint32_t* listed) {
    const __m512i least = _mm512_set1_epi32(static_cast<int>(floor));
    __m512i numbers = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    std::int64_t count = 0;
    for (std::int64_t row = 0; row < rows; row += 16) {
      const __mmask16 reach = _mm512_cmpge_epu32_mask(_mm512_loadu_si512(keys + row), least);
      _mm512_storeu_si512(listed + count, _mm512_maskz_compress_epi32(reach, numbers));
      count += __builtin_popcount(reach);
      numbers = _mm512_add_epi32(numbers, _mm512_set1_epi32(16));
    }
    return count;
  }

 private:
  RESONANCE_DETAIL_INLINE_AVX512 static __m512i key_of(__m512 score) {
    const __m512i zero = _mm512_set1_epi32(static_cast<int>(0x80000000u));
    const __m512i bits = _mm512_castps_si512(score);
    const __m512i magnitude = _mm512_andnot_si512(zero, bits);
    const __m512i finite = _mm512_min_epu32(magnitude, _mm512_set1_epi32(0x7f7fffff));
    const __mmask16 negative = _mm512_movepi32_mask(bits);
    const __m512i key = _mm512_mask_sub_epi32(_mm512_add_epi32(zero, finite), negative, zero, finite);
    // NaN and -inf: magnitude > 0x7f800000 - negative, as in order_key.
    const __m512i most = _mm512_mask_sub_epi32(_mm512_set1_epi32(0x7f800000), negative, _mm512_set1_epi32(0x7f800000),
                                               _mm512_set1_epi32(1));
    return _mm512_maskz_mov_epi32(_mm512_cmple_epu32_mask(magnitude, most), key);
  }
};

}  // namespace detail
RESONANCE_NAMESPACE_END
#endif

#endif
