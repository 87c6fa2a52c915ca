// SPDX-License-Identifier: Apache-2.0
//! \file
//! The weighted sums of tokens' rows on the host, some columns at a time.
#ifndef RESONANCE_PERMUTE_HOST_COMBINE_HPP
#define RESONANCE_PERMUTE_HOST_COMBINE_HPP

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <resonance/core/host_simd.hpp>
#include <resonance/core/host_stream.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/core/views.hpp>
#include <resonance/permute/host_combine_avx512.hpp>
#include <resonance/permute/host_token_rows.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

//! Adds `Rows` rows at once: sum[j] = fma(weight, row[j], sum[j]), row by row.
template <int Rows, class Row>
RESONANCE_FORCE_INLINE void add_rows(const token_rows<Row>& rows, int first, std::int64_t column, int columns,
                                     float* sum) {
  const Row* row[Rows];
  float weight[Rows];
  for (int i = 0; i < Rows; ++i) {
    row[i] = rows.row[first + i] + column;
    weight[i] = rows.weight[first + i];
  }
  for (int j = 0; j < columns; ++j) {
    float value = sum[j];
    for (int i = 0; i < Rows; ++i) value = math::fma(weight[i], row_traits<Row>::widen(row[i][j]), value);
    sum[j] = value;
  }
}

template <class Row>
RESONANCE_FORCE_INLINE void add_rows(const token_rows<Row>& rows, std::int64_t column, int columns, float* sum) {
  int first = 0;
  for (; first + 8 <= rows.count; first += 8) add_rows<8>(rows, first, column, columns, sum);
  for (; first + 2 <= rows.count; first += 2) add_rows<2>(rows, first, column, columns, sum);
  if (first < rows.count) add_rows<1>(rows, first, column, columns, sum);
}

//! One call of host_unpermute, by ranges of tokens. Slots: what rows a slot has.
template <class Row, class Slots>
class row_combiner {
 public:
  //! `inputs`: what tokens without a row get; without data: zeros.
  row_combiner(const Slots& slots, const matrix_view<const Row>& inputs, const matrix_view<Row>& y)
      : slots_(slots),
        inputs_(inputs),
        y_(y),
        streams_(past_the_caches(slots.rows(), y.cols, sizeof(Row))),
        // Longer rows are prefetched well enough by the processor itself, and asking for them gets in its way.
        prefetches_(streams_ && y.cols * static_cast<std::int64_t>(sizeof(Row)) <= 4096) {}

  void combine(std::int64_t begin, std::int64_t end) const {
    // While a token is summed, the rows of the next are on their way.
    token_rows<Row> lists[2];
    std::int64_t listed_to = list(begin, lists[begin % 2]);
    for (std::int64_t t = begin; t < end; ++t) {
      const token_rows<Row>& rows = lists[t % 2];
      const std::int64_t others = listed_to;
      token_rows<Row>& ahead = lists[(t + 1) % 2];
      ahead.count = 0;
      if (t + 1 < end) listed_to = list(t + 1, ahead);
      if (rows.count == 0) {
        write_input(t);
      } else {
        combine_token(t, rows, others, prefetches_ ? ahead : none_);
      }
    }
    if (streams_) finish_streaming();
  }

 private:
  std::int64_t end(std::int64_t token) const { return slots_.assignments().end(token); }

  std::int64_t list(std::int64_t token, token_rows<Row>& rows) const {
    return rows.list(slots_, token, slots_.assignments().begin(token), end(token));
  }

  //! `others`: the first of the token's slots that are not in `rows`.
  void combine_token(std::int64_t token, const token_rows<Row>& rows, std::int64_t others,
                     const token_rows<Row>& ahead) const {
    std::int64_t done = 0;
#if RESONANCE_DETAIL_AVX512
    if constexpr (is_own_row_type<Row>) {
      if (others == end(token) && has_avx512()) done = combine_avx512(rows, ahead, y_.cols, streams_, y_.row(token));
    }
#endif
    run_widest_at_o3([&]() RESONANCE_INLINE_LAMBDA {
      for (std::int64_t column = done; column < y_.cols; column += summed_columns) {
        combine_columns(token, rows, others, column,
                        static_cast<int>(y_.cols - column < summed_columns ? y_.cols - column : summed_columns));
        ahead.prefetch(column, summed_columns);
      }
    });
  }

  RESONANCE_FORCE_INLINE void combine_columns(std::int64_t token, const token_rows<Row>& rows, std::int64_t others,
                                              std::int64_t column, int columns) const {
    alignas(64) float sum[summed_columns];
    for (int j = 0; j < columns; ++j) sum[j] = -0.0f;  // plus a product it is the product, whatever its sign
    add_rows(rows, column, columns, sum);
    while (others < end(token)) {
      token_rows<Row> more;
      others = more.list(slots_, token, others, end(token));
      add_rows(more, column, columns, sum);
    }
    Row* target = y_.row(token) + column;
    const std::size_t bytes = static_cast<std::size_t>(columns) * sizeof(Row);
    if (streams_ && std::is_same_v<Row, float>) {
      copy_streaming(target, sum, bytes);
    } else if (streams_) {
      alignas(64) Row narrow[summed_columns];
      for (int j = 0; j < columns; ++j) narrow[j] = row_traits<Row>::narrow(sum[j]);
      copy_streaming(target, narrow, bytes);
    } else {
      for (int j = 0; j < columns; ++j) target[j] = row_traits<Row>::narrow(sum[j]);
    }
  }

  void write_input(std::int64_t token) const {
    Row* target = y_.row(token);
    for (std::int64_t j = 0; j < y_.cols; ++j)
      target[j] = inputs_.data != nullptr ? inputs_.row(token)[j] : row_traits<Row>::narrow(0.0f);
  }

  Slots slots_;
  matrix_view<const Row> inputs_;
  matrix_view<Row> y_;
  bool streams_;
  bool prefetches_;
  token_rows<Row> none_;
};

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
