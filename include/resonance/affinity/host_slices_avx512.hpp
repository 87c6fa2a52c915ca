// SPDX-License-Identifier: Apache-2.0
//! \file
//! Metrics on slices for AVX-512: the slice sums and the norm of a row, in the order of ordered_sum.hpp.
//!
//! A register holds a group of 16 lanes. Sixteen registers become the sixteen sums of their lanes in 15 additions, each
//! of which adds neighbours and merges two registers. For short slices those are registers of the row, the lanes of
//! other slices masked away; long slices and the norm add up eight registers over a chunk first.
#ifndef RESONANCE_AFFINITY_HOST_SLICES_AVX512_HPP
#define RESONANCE_AFFINITY_HOST_SLICES_AVX512_HPP

#include <cstdint>

#include <resonance/affinity/host_slice_layout.hpp>
#include <resonance/core/host_intrinsics.hpp>
#include <resonance/core/host_simd.hpp>
#include <resonance/core/host_vectors_avx512.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/row_type.hpp>

#if RESONANCE_DETAIL_AVX512
RESONANCE_NAMESPACE_BEGIN
namespace detail {

//! A row, and the columns to ask memory for while it is read: those `distance` columns later, row after row.
template <class Row>
struct row_ahead {
  static constexpr std::int64_t distance = 6144 / sizeof(Row);  // less comes too late, more has left L1 again

  const Row* row;
  const Row* soon;  // holds what is `distance` columns after the row's first, at soon_column
  const Row* after_soon;
  std::int64_t soon_column;
};

//! The columns of one chunk, with the slice weights where Weighted.
template <class Row, bool Weighted>
struct avx512_slice_terms {
  const Row* row;
  const float* weights;
  const Row* soon;

  RESONANCE_DETAIL_INLINE_AVX512 __m512 values(int column, __mmask16 lanes) const {
    return avx512_row::load(row + column, lanes);
  }
  //! sum + the terms of `values`.
  RESONANCE_DETAIL_INLINE_AVX512 __m512 add(__m512 sum, __m512 values, int column, __mmask16 lanes) const {
    if constexpr (Weighted) {
      return _mm512_fmadd_ps(values, _mm512_maskz_loadu_ps(lanes, weights + column), sum);
    } else {
      return _mm512_add_ps(sum, values);
    }
  }
  //! The first term of each lane; a -0 stays -0, which shows in a sum of nothing else only.
  RESONANCE_DETAIL_INLINE_AVX512 __m512 first(__m512 values, int column, __mmask16 lanes) const {
    if constexpr (Weighted) return add(_mm512_setzero_ps(), values, column, lanes);
    return values;
  }
  RESONANCE_DETAIL_INLINE_AVX512 __m512 first(int column, __mmask16 lanes) const {
    return first(values(column, lanes), column, lanes);
  }
  RESONANCE_DETAIL_INLINE_AVX512 void prefetch(int column) const {
    _mm_prefetch(reinterpret_cast<const char*>(soon + column), _MM_HINT_T0);
    // Not past other instructions: gcc gathers prefetches, and sixteen in a row wait for each other.
    __asm__ volatile("");
  }
};

class avx512_slices {
 public:
  //! The sums of a row's slices into sums[E]; returns the sum of its squares where Squares, else 0.
  template <bool Squares, bool Weighted, class Row>
  RESONANCE_DETAIL_INLINE_AVX512 static float add_row(const slice_layout& layout, const row_ahead<Row>& x,
                                                      const float* weights, std::int64_t hidden, float* sums) {
    const slice_chunk* chunk = layout.chunks;
    const slice_piece* piece = layout.pieces;
    const slice_segment* segment = layout.segments;
    const slice_pair* pair = layout.pairs;
    alignas(64) float of_segment[most_chunk_segments + 4 * slice_batch];  // is read past what was written
    float square_sum = 0.0f;
    for (std::int64_t first = 0; first < hidden; first += sum_chunk, ++chunk) {
      const int columns = static_cast<int>(hidden - first < sum_chunk ? hidden - first : sum_chunk);
      const std::int64_t ahead = x.soon_column + first;
      const avx512_slice_terms<Row, Weighted> terms = {
          x.row + first, Weighted ? weights + first : nullptr,
          ahead < hidden ? x.soon + ahead : x.after_soon + (ahead - hidden)};
      float* out = sums + chunk->first_expert;
      const float before = chunk->continues ? out[0] : 0.0f;
      __m512 squares[lane_groups];
      for (int g = 0; g < lane_groups; ++g) squares[g] = _mm512_setzero_ps();
      if (layout.short_slices) {
        const bool by_registers = layout.segment_columns == group_lanes && columns % (slice_batch * group_lanes) == 0;
        if (by_registers) {
          add_registers<Squares>(terms, columns, of_segment, squares);
        } else {
          add_segments(terms, columns, segment, chunk->segments, layout.segment_columns, of_segment);
        }
        // The norm comes between what stores the segments' sums and what loads them across the lines of those stores.
        if constexpr (Squares) {
          if (!by_registers) add_range<false, true>(terms, 0, columns, nullptr, squares);
          square_sum += sum_of_lanes(squares);
        }
        add_pieces(pair, chunk->pieces, layout.segments_each, of_segment, out);
        segment += whole_batches(chunk->segments);
        pair += whole_batches(chunk->pieces) / 2;
      } else {
        for (int p = 0; p < chunk->pieces; ++p) {
          __m512 lanes[lane_groups];
          for (int g = 0; g < lane_groups; ++g) lanes[g] = _mm512_setzero_ps();
          add_range<true, Squares>(terms, piece[p].begin, piece[p].end, lanes, squares);
          out[p] = 0.0f + sum_of_lanes(lanes);
        }
        if constexpr (Squares) square_sum += sum_of_lanes(squares);
        piece += chunk->pieces;
      }
      if (chunk->continues) out[0] = before + out[0];
    }
    return square_sum;
  }

 private:
  //! Bit i: column + i is in [begin, end).
  RESONANCE_DETAIL_INLINE_AVX512 static __mmask16 lanes_in(int column, int begin, int end) {
    return static_cast<__mmask16>(low_lanes(end - column) & ~low_lanes(begin - column));
  }
  RESONANCE_DETAIL_INLINE_AVX512 static unsigned low_lanes(int count) {
    return (1u << (count < 0 ? 0 : count > group_lanes ? group_lanes : count)) - 1u;
  }

  //! Adds the columns [begin, end) of a chunk to its lanes, terms to those of `sums`, squares to those of `squares`.
  template <bool Sums, bool Squares, class Terms>
  RESONANCE_DETAIL_INLINE_AVX512 static void add_range(const Terms& terms, int begin, int end, __m512* sums,
                                                       __m512* squares) {
    // Three loops: with masks in that of whole rows gcc keeps sixteen addresses instead of one.
    int row = begin / sum_lanes * sum_lanes;
    if (row < begin) {
      add_part_of_lanes<Sums, Squares>(terms, row, begin, end, sums, squares);
      row += sum_lanes;
    }
    for (; row + sum_lanes <= end; row += sum_lanes) {
      for (int g = 0; g < lane_groups; ++g)
        add_group<Sums, Squares>(terms, row + g * group_lanes, 0xffff, sums + g, squares + g);
    }
    if (row < end) add_part_of_lanes<Sums, Squares>(terms, row, begin, end, sums, squares);
  }
  template <bool Sums, bool Squares, class Terms>
  RESONANCE_DETAIL_INLINE_AVX512 static void add_part_of_lanes(const Terms& terms, int row, int begin, int end,
                                                               __m512* sums, __m512* squares) {
    for (int g = 0; g < lane_groups; ++g) {
      const int column = row + g * group_lanes;
      add_group<Sums, Squares>(terms, column, lanes_in(column, begin, end), sums + g, squares + g);
    }
  }
  template <bool Sums, bool Squares, class Terms>
  RESONANCE_DETAIL_INLINE_AVX512 static void add_group(const Terms& terms, int column, __mmask16 lanes, __m512* sum,
                                                       __m512* squares) {
    terms.prefetch(column);
    const __m512 x = terms.values(column, lanes);
    if constexpr (Sums) *sum = terms.add(*sum, x, column, lanes);
    if constexpr (Squares) *squares = _mm512_fmadd_ps(x, x, *squares);
  }

  //! The sums of a chunk's segments of one register each, whole batches of them, and the squares.
  template <bool Squares, class Terms>
  RESONANCE_DETAIL_INLINE_AVX512 static void add_registers(const Terms& terms, int columns, float* of_segment,
                                                           __m512* squares) {
    for (int first = 0; first < columns; first += slice_batch * group_lanes) {
      __m512 lanes[slice_batch];
      for (int i = 0; i < slice_batch; ++i) {
        const int column = first + i * group_lanes;
        terms.prefetch(column);
        const __m512 x = terms.values(column, 0xffff);
        lanes[i] = terms.first(x, column, 0xffff);
        if constexpr (Squares) squares[i % lane_groups] = _mm512_fmadd_ps(x, x, squares[i % lane_groups]);
      }
      _mm512_store_ps(of_segment + first / group_lanes, sums_of_sixteen(lanes));
    }
  }

  //! The sums of a chunk's segments, by batches; past the last, anything.
  template <class Terms>
  RESONANCE_DETAIL_INLINE_AVX512 static void add_segments(const Terms& terms, int columns, const slice_segment* segment,
                                                          int count, int segment_columns, float* of_segment) {
    for (int s = 0; s < count; s += slice_batch) {
      const int column = s * segment_columns;
      const bool regular = segment_columns != 0 && column + slice_batch * segment_columns <= columns;
      const __m512 sums =
          regular ? regular_segments(terms, column, segment_columns) : masked_segments(terms, segment + s);
      _mm512_store_ps(of_segment + s, sums);
    }
  }

  template <class Terms>
  RESONANCE_DETAIL_INLINE_AVX512 static __m512 masked_segments(const Terms& terms, const slice_segment* segment) {
    __m512 lanes[slice_batch];
    for (int i = 0; i < slice_batch; ++i) {
      terms.prefetch(segment[i].column);
      lanes[i] = terms.first(segment[i].column, segment[i].lanes);
    }
    return sums_of_sixteen(lanes);
  }

  //! Segments of as many columns each, from `column` on.
  template <class Terms>
  RESONANCE_DETAIL_INLINE_AVX512 static __m512 regular_segments(const Terms& terms, int column, int segment_columns) {
    for (int i = 0; i < segment_columns; ++i) terms.prefetch(column + i * group_lanes);
    if (segment_columns == 1) return tuple_sums<1>(terms, column);
    if (segment_columns == 2) return tuple_sums<2>(terms, column);
    if (segment_columns == 4) return tuple_sums<4>(terms, column);
    if (segment_columns == 8) return tuple_sums<8>(terms, column);
    __m512 lanes[slice_batch];
    for (int i = 0; i < slice_batch; ++i) lanes[i] = terms.first(column + i * group_lanes, 0xffff);
    return sums_of_sixteen(lanes);
  }
  template <int Columns, class Terms>
  RESONANCE_DETAIL_INLINE_AVX512 static __m512 tuple_sums(const Terms& terms, int column) {
    if constexpr (Columns == 1) {
      return terms.first(column, 0xffff);
    } else {
      return add_neighbours(tuple_sums<Columns / 2>(terms, column),
                            tuple_sums<Columns / 2>(terms, column + Columns / 2 * slice_batch));
    }
  }

  //! The sums of a chunk's pieces from those of their segments.
  RESONANCE_DETAIL_INLINE_AVX512 static void add_pieces(const slice_pair* pair, int count, int segments_each,
                                                        const float* of_segment, float* out) {
    for (int p = 0; p < count; p += slice_batch, pair += slice_batch / 2) {
      const float* own = of_segment + p * segments_each;
      __m512 sums;
      if (segments_each == 1) {
        sums = _mm512_load_ps(own);
      } else if (segments_each == 2) {
        sums = sums_of_twos(own);
      } else if (segments_each == 4) {
        sums = add_neighbours(sums_of_twos(own), sums_of_twos(own + 2 * slice_batch));
      } else {
        sums = sums_of_pairs(pair, of_segment);
      }
      // As the lanes of the order begin with +0, no sum is -0.
      _mm512_mask_storeu_ps(out + p, lanes_in(p, 0, count), _mm512_add_ps(_mm512_setzero_ps(), sums));
    }
  }
  RESONANCE_DETAIL_INLINE_AVX512 static __m512 sums_of_twos(const float* of_segment) {
    return add_neighbours(_mm512_load_ps(of_segment), _mm512_load_ps(of_segment + slice_batch));
  }

  //! Eight pairs: the sum of each segment to the place of its group, then the tree over the groups.
  RESONANCE_DETAIL_INLINE_AVX512 static __m512 sums_of_pairs(const slice_pair* pair, const float* of_segment) {
    __m512 r[8];
    for (int i = 0; i < 8; ++i) {
      const void* source = pair[i].source;
      const __m512i places = _mm512_cvtepu8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(source)));
      r[i] = _mm512_maskz_permutexvar_ps(pair[i].held, places, _mm512_loadu_ps(of_segment + pair[i].first_segment));
    }
    for (int i = 0; i < 4; ++i) r[i] = add_within_quarters(r[2 * i], r[2 * i + 1]);
    for (int i = 0; i < 2; ++i) r[i] = add_within_quarters(r[2 * i], r[2 * i + 1]);
    // Now the even ones of the first eight pieces, the odd ones, and the same of the last eight.
    const __m512i in_order = _mm512_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15);
    return _mm512_permutexvar_ps(in_order, add_quarters(r[0], r[1]));
  }

  //! The sums of sixteen registers as trees of neighbours, in their order.
  RESONANCE_DETAIL_INLINE_AVX512 static __m512 sums_of_sixteen(__m512* r) {
    for (int i = 0; i < 8; ++i) r[i] = add_within_quarters(r[2 * i], r[2 * i + 1]);
    for (int i = 0; i < 4; ++i) r[i] = add_within_quarters(r[2 * i], r[2 * i + 1]);
    for (int i = 0; i < 2; ++i) r[i] = add_quarters(r[2 * i], r[2 * i + 1]);
    return add_quarters(r[0], r[1]);
  }

  //! The sum of all lanes of the eight groups as a tree of neighbours.
  RESONANCE_DETAIL_INLINE_AVX512 static float sum_of_lanes(__m512* r) {
    for (int i = 0; i < 4; ++i) r[i] = add_within_quarters(r[2 * i], r[2 * i + 1]);
    for (int i = 0; i < 2; ++i) r[i] = add_within_quarters(r[2 * i], r[2 * i + 1]);
    const __m512 halves = add_quarters(r[0], r[1]);
    const __m512 groups = add_quarters(halves, halves);
    const __m512 twos = add_within_quarters(groups, groups);
    const __m512 fours = add_within_quarters(twos, twos);
    return _mm512_cvtss_f32(_mm512_add_ps(fours, _mm512_shuffle_f32x4(fours, fours, 1)));
  }

  //! Neighbours in each quarter of a, then of b.
  RESONANCE_DETAIL_INLINE_AVX512 static __m512 add_within_quarters(__m512 a, __m512 b) {
    return _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xdd));
  }
  //! Neighbouring quarters of a, then of b.
  RESONANCE_DETAIL_INLINE_AVX512 static __m512 add_quarters(__m512 a, __m512 b) {
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
  }
  //! Neighbours of a, then of b.
  RESONANCE_DETAIL_INLINE_AVX512 static __m512 add_neighbours(__m512 a, __m512 b) {
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    return _mm512_add_ps(_mm512_permutex2var_ps(a, even, b), _mm512_permutex2var_ps(a, odd, b));
  }
};

//! delta[E] of one row.
template <bool Weighted, class Metric, class Row>
RESONANCE_DETAIL_AT_O3_UNTRAPPED RESONANCE_DETAIL_TARGET_AVX512 inline void score_slices(
    const Metric& metric, const slice_layout& layout, const row_ahead<Row>& x, const float* weights,
    std::int64_t hidden, std::int32_t experts, const float* expert_norms, float* delta) {
  const float token_norm =
      math::sqrt(avx512_slices::add_row<Metric::needs_norms, Weighted>(layout, x, weights, hidden, delta));
  for (std::int32_t e = 0; e < experts; ++e) delta[e] = metric.finish(delta[e], token_norm, expert_norms[e]);
}

}  // namespace detail
RESONANCE_NAMESPACE_END
#endif

#endif
