// SPDX-License-Identifier: Apache-2.0
//! \file
//! Columns of a row-major table of scores, as lists to select from: eight at a time, whole sectors of memory.
#ifndef RESONANCE_CORE_BLOCK_COLUMNS_CUH
#define RESONANCE_CORE_BLOCK_COLUMNS_CUH

#include <resonance/config.hpp>
#include <resonance/core/block_select.cuh>
#include <resonance/core/collectives.cuh>
#include <resonance/core/launch.cuh>
#include <resonance/core/order_key.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/core/views.hpp>

RESONANCE_NAMESPACE_BEGIN

//! Columns that a block serves: floats of one 32-byte sector.
inline constexpr int columns_per_block = 8;

//! Threads of a block that serves columns: few blocks have many rows to read.
inline constexpr int column_threads = 512;

//! The keys of up to columns_per_block neighbouring columns of a table.
struct column_keys {
  matrix_view<const float> scores;
  std::int64_t first = 0;  //!< first column
  int columns = 0;         //!< how many
  std::int64_t rows = 0;   //!< rows to look at
  //! uint32[columns_per_block * rows] in shared memory, filled by stage(): the table is then read once. Null: it is
  //! read at every look.
  std::uint32_t* staged = nullptr;

  //! The columns of group `group` of a table, over its first `live` rows.
  RESONANCE_DEVICE static column_keys of_group(matrix_view<const float> scores, std::int64_t group, std::int64_t live,
                                               std::uint32_t* staged) {
    const std::int64_t first = group * columns_per_block;
    const std::int64_t left = scores.cols - first;
    return {scores, first, left < columns_per_block ? static_cast<int>(left) : columns_per_block, live, staged};
  }

  //! Fills `staged`, by all threads of the block. Each stages the entries that block_select has it read, so that there
  //! is no barrier; who reads others' entries needs one.
  RESONANCE_DEVICE void stage() const {
    const int column = block_thread() % columns_per_block;
    if (staged == nullptr || column >= columns) return;
    for (std::int64_t row = block_thread() / columns_per_block; row < rows; row += block_threads() / columns_per_block)
      staged[row * columns_per_block + column] = read(column, row);
  }

  //! The order key of one score.
  RESONANCE_DEVICE std::uint32_t key(int column, std::int64_t row) const {
    return staged != nullptr ? staged[row * columns_per_block + column] : read(column, row);
  }

  //! key and row in one word: what block_select wants.
  RESONANCE_DEVICE std::uint64_t operator()(int column, std::uint32_t row) const {
    return pack_key(key(column, row), row);
  }

 private:
  RESONANCE_DEVICE std::uint32_t read(int column, std::int64_t row) const {
    return order_key(load(scores.row(row) + first + column));
  }
};

namespace detail {

inline std::int64_t column_groups(std::int64_t columns) { return divide_up(columns, columns_per_block); }

//! Dynamic shared memory to stage `rows` keys of every column, beside `static_bytes`; 0 where they do not fit.
inline std::size_t staged_column_bytes(std::int64_t rows, std::size_t static_bytes) {
  constexpr std::size_t bytes_per_row = columns_per_block * sizeof(std::uint32_t);
  const std::int64_t most_rows = static_cast<std::int64_t>((shared_bytes_per_block - static_bytes) / bytes_per_row);
  return rows <= most_rows ? static_cast<std::size_t>(rows) * bytes_per_row : 0;
}

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
