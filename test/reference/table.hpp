// SPDX-License-Identifier: Apache-2.0
// The containers of the reference: dense row-major tables that own their values.
// The reference shares no code with the library; it is written from the contract, for reading rather than for speed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <utility>
#include <vector>

namespace reference {

template <class Value>
struct table {
  std::size_t rows = 0;
  std::size_t cols = 0;
  std::vector<Value> values;

  table() = default;
  table(std::size_t row_count, std::size_t column_count, Value fill = Value{})
      : rows(row_count), cols(column_count), values(row_count * column_count, fill) {}
  table(std::size_t row_count, std::size_t column_count, std::vector<Value> contents)
      : rows(row_count), cols(column_count), values(std::move(contents)) {}
  table(std::size_t row_count, std::size_t column_count, std::initializer_list<Value> contents)
      : rows(row_count), cols(column_count), values(contents) {}

  Value& operator()(std::size_t row, std::size_t column) { return values[row * cols + column]; }
  const Value& operator()(std::size_t row, std::size_t column) const { return values[row * cols + column]; }

  std::vector<Value> row(std::size_t index) const {
    const auto first = values.begin() + static_cast<std::ptrdiff_t>(index * cols);
    return std::vector<Value>(first, first + static_cast<std::ptrdiff_t>(cols));
  }
};

using matrix = table<double>;
using id_table = table<std::int32_t>;

//! Copies a row-major array of any arithmetic type, `row_stride` elements from row to row.
template <class Source>
matrix widened(const Source* source, std::size_t rows, std::size_t cols, std::size_t row_stride) {
  matrix result(rows, cols);
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < cols; ++c) result(r, c) = static_cast<double>(source[r * row_stride + c]);
  return result;
}

template <class Source>
matrix widened(const std::vector<Source>& source, std::size_t rows, std::size_t cols) {
  return widened(source.data(), rows, cols, cols);
}

//! True where `id` names one of `count` experts; any other value counts as unassigned.
inline bool names_expert(std::int32_t id, std::size_t count) { return id >= 0 && static_cast<std::size_t>(id) < count; }

}  // namespace reference
