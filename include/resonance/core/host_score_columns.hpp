// SPDX-License-Identifier: Apache-2.0
//! \file
//! The best rows of single columns of a score matrix, without a transposed copy of it.
#ifndef RESONANCE_CORE_HOST_SCORE_COLUMNS_HPP
#define RESONANCE_CORE_HOST_SCORE_COLUMNS_HPP

#include <cstdint>

#include <resonance/core/executor.hpp>
#include <resonance/core/host_columns_avx512.hpp>
#include <resonance/core/host_simd.hpp>
#include <resonance/core/order_key.hpp>
#include <resonance/core/views.hpp>
#include <resonance/core/workspace.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

//! One worker's view of up to sixteen columns: their keys, column by column. Sixteen scores are a line of a row.
class score_columns {
 public:
  static constexpr int most = 16;

  void carve(workspace_carver& carver, std::int64_t rows) {
    rows_ = rows;
    keys_ = carver.take<std::uint32_t>(most * stride());
    listed_ = carver.take<std::uint32_t>(rows + slack);
  }

  //! Reads columns [first, first + count).
  void load(const matrix_view<const float>& scores, std::int64_t first, int count) {
    scores_ = scores;
    first_ = first;
    std::int64_t row = 0;
#if RESONANCE_DETAIL_AVX512
    if (has_avx512()) row = columns_avx512::keys_of(scores.data + first, scores.stride, rows_, count, keys_, stride());
#endif
    run_widest_at_o3([&]() RESONANCE_INLINE_LAMBDA {
      for (; row < rows_; row += most) {
        const int height = static_cast<int>(rows_ - row < most ? rows_ - row : most);
        std::uint32_t block[most][most] = {};
        for (int r = 0; r < height; ++r) {
          const float* from = scores.row(row + r) + first;
          for (int c = 0; c < count; ++c) block[r][c] = order_key(from[c]);
        }
        for (int c = 0; c < count; ++c) {
          std::uint32_t* to = keys_ + c * stride() + row;
          for (int r = 0; r < most; ++r) to[r] = block[r][c];
        }
      }
    });
  }

  //! Packs rows of a loaded column that can be chosen, in row order, at least the `wanted` best if there are as many.
  //! `items` has room for all rows. Returns how many.
  std::int64_t list_best(std::int64_t column, std::int64_t wanted, std::uint64_t* items) const {
    if (wanted <= 0) return 0;
    const std::uint32_t* keys = keys_ + (column - first_) * stride();
    std::int64_t count = 0;
    if (rows_ >= least_sampled) count = list_reaching(keys, floor_of(keys, wanted, sample_step));
    if (count < wanted) count = list_reaching(keys, rows_ > most_listed ? floor_of(keys, wanted, 1) : never_chosen + 1);
    for (std::int64_t i = 0; i < count; ++i) items[i] = pack_key(keys[listed_[i]], listed_[i]);
    return count;
  }

  //! The score of a row of a loaded column, from its key unless several scores share that.
  float score(std::int64_t column, std::uint64_t item) const {
    constexpr std::uint32_t zero = 0x80000000u;
    const std::uint32_t key = packed_key(item);
    if (key == zero || key == order_key(row_traits<float>::largest)) return scores_.row(packed_index(item))[column];
    return bits_float(key > zero ? key - zero : (zero - key) | zero);
  }

 private:
  // A line past the rows: whole vectors are written, and columns a power of two apart would share their cache sets.
  static constexpr std::int64_t slack = 16;
  static constexpr std::int64_t most_listed = 512;  // of so few rows all are listed
  static constexpr std::int64_t least_sampled = 1024;
  static constexpr std::int64_t sample_step = 8;

  std::int64_t stride() const { return (rows_ + slack - 1) / slack * slack + slack; }

  //! A key that probably (for every row looked at: certainly) `wanted` of the keys reach, if as many can be chosen.
  std::uint32_t floor_of(const std::uint32_t* keys, std::int64_t wanted, std::int64_t step) const {
    constexpr int dropped_bits = 21;  // the rest: sign, exponent and two bits of the mantissa
    std::uint32_t counts[1 << (32 - dropped_bits)] = {};
    for (std::int64_t row = 0; row < rows_; row += step) ++counts[keys[row] >> dropped_bits];
    const std::int64_t in_sample = wanted / step;
    const std::int64_t enough = step == 1 ? wanted : in_sample + in_sample / 8 + 8;
    std::int64_t reached = 0;
    std::uint32_t part = 1 << (32 - dropped_bits);
    while (part > 0 && reached < enough) reached += counts[--part];
    const std::uint32_t floor = part << dropped_bits;
    return floor > never_chosen ? floor : never_chosen + 1;
  }

  std::int64_t list_reaching(const std::uint32_t* keys, std::uint32_t floor) const {
    std::int64_t row = 0;
    std::int64_t count = 0;
#if RESONANCE_DETAIL_AVX512
    if (has_avx512()) {
      row = rows_ / slack * slack;
      count = columns_avx512::list_reaching(keys, row, floor, listed_);
    }
#endif
    for (; row < rows_; ++row) {
      listed_[count] = static_cast<std::uint32_t>(row);
      count += keys[row] >= floor ? 1 : 0;
    }
    return count;
  }

  matrix_view<const float> scores_;
  std::int64_t first_ = 0;
  std::int64_t rows_ = 0;
  std::uint32_t* keys_ = nullptr;
  std::uint32_t* listed_ = nullptr;
};

//! Calls visit(columns, column, items) for every column of the scores, a group of them loaded at a time; `items` has
//! room for all rows.
class column_scan {
 public:
  void carve(workspace_carver& carver, int workers, std::int64_t rows) {
    rows_ = rows;
    workers_ = workers;
    bytes_per_worker_ = worker_bytes(rows);
    memory_ = carver.take<char>(workers * bytes_per_worker_);
  }

  template <class Executor, class Visit>
  void run(const Executor& executor, const matrix_view<const float>& scores, const Visit& visit) const {
    // Few columns are spread over the workers rather than loaded together.
    const std::int64_t share = (scores.cols + workers_ - 1) / workers_;
    const std::int64_t width = share < score_columns::most ? share : score_columns::most;
    if (width == 0) return;
    const std::int64_t groups = (scores.cols + width - 1) / width;
    const std::int64_t group_grain = grain_of_groups(groups, scores.cols * rows_, 8192);
    for_ranges(executor, groups, group_grain, [&](std::int64_t begin, std::int64_t end, int piece) {
      workspace_carver carver(memory_ + piece * bytes_per_worker_);
      score_columns columns;
      columns.carve(carver, rows_);
      std::uint64_t* items = carver.take<std::uint64_t>(rows_);
      for (std::int64_t first = begin * width; first < end * width && first < scores.cols; first += width) {
        const std::int64_t last = first + width < scores.cols ? first + width : scores.cols;
        columns.load(scores, first, static_cast<int>(last - first));
        for (std::int64_t column = first; column < last; ++column) visit(columns, column, items);
      }
    });
  }

 private:
  static std::int64_t worker_bytes(std::int64_t rows) {
    workspace_carver counter;
    score_columns columns;
    columns.carve(counter, rows);
    counter.take<std::uint64_t>(rows);
    constexpr auto unit = static_cast<std::int64_t>(workspace_alignment);
    return (static_cast<std::int64_t>(counter.bytes()) + unit - 1) / unit * unit;
  }

  std::int64_t rows_ = 0;
  int workers_ = 1;
  std::int64_t bytes_per_worker_ = 0;
  char* memory_ = nullptr;
};

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
