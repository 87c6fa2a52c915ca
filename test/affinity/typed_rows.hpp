// SPDX-License-Identifier: Apache-2.0
// The row types as typed tests see them: made and read back by the test's own conversions, not by the library's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include <gtest/gtest.h>

#include <resonance/core/row_type.hpp>

#include "support/half.hpp"

namespace typed_rows {

using all = ::testing::Types<float, resonance::bfloat16, resonance::float16>;

struct names {
  template <class Row>
  static std::string GetName(int) {
    if (std::is_same<Row, float>::value) return "float32";
    return std::is_same<Row, resonance::bfloat16>::value ? "bfloat16" : "float16";
  }
};

template <class Row>
Row narrowed(float value) {
  if constexpr (std::is_same<Row, float>::value)
    return value;
  else if constexpr (std::is_same<Row, resonance::bfloat16>::value)
    return {support::float_to_bf16(value)};
  else
    return {support::float_to_fp16(value)};
}

template <class Row>
float widened(Row value) {
  if constexpr (std::is_same<Row, float>::value)
    return value;
  else if constexpr (std::is_same<Row, resonance::bfloat16>::value)
    return support::bf16_to_float(value.bits);
  else
    return support::fp16_to_float(value.bits);
}

template <class Row>
constexpr double largest() {
  if (std::is_same<Row, float>::value) return 0x1.FFFFFEp127;
  return std::is_same<Row, resonance::bfloat16>::value ? support::bf16_largest : support::fp16_largest;
}

template <class Row>
std::vector<Row> narrowed(const std::vector<float>& values) {
  std::vector<Row> rows;
  for (float value : values) rows.push_back(narrowed<Row>(value));
  return rows;
}

template <class Row>
std::vector<float> widened(const std::vector<Row>& rows) {
  std::vector<float> values;
  for (Row row : rows) values.push_back(widened(row));
  return values;
}

//! True when two arrays hold the same bits: unlike ==, tells -0 from +0 and one NaN from another.
template <class A, class B>
::testing::AssertionResult same_bits(const A& a, const B& b) {
  if (a.size() != b.size()) return ::testing::AssertionFailure() << a.size() << " elements against " << b.size();
  for (std::size_t i = 0; i < a.size(); ++i)
    if (std::memcmp(a.data() + i, b.data() + i, sizeof(a.data()[0])) != 0)
      return ::testing::AssertionFailure() << "element " << i << ": " << +a.data()[i] << " against " << +b.data()[i];
  return ::testing::AssertionSuccess();
}

}  // namespace typed_rows
