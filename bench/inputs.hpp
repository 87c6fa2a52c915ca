// SPDX-License-Identifier: Apache-2.0
//! \file
//! Inputs that are the same on every machine and quick to make.
#ifndef RESONANCE_BENCH_INPUTS_HPP
#define RESONANCE_BENCH_INPUTS_HPP

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include <resonance/core/row_type.hpp>
#include <resonance/core/views.hpp>

namespace bench {

template <class Row>
std::string type_name();
template <>
inline std::string type_name<float>() {
  return "f32";
}
template <>
inline std::string type_name<resonance::bfloat16>() {
  return "bf16";
}
template <>
inline std::string type_name<resonance::float16>() {
  return "f16";
}

template <class Row>
float to_float(Row value) {
  return resonance::row_traits<Row>::widen(value);
}

template <class T>
std::vector<T> zeros(std::int64_t count) {
  return std::vector<T>(static_cast<std::size_t>(count));
}

//! SplitMix64.
inline std::uint64_t mixed(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

//! Mean 0, variance 1, bell-shaped: the sum of the four 16-bit parts of one random word.
template <class Row>
std::vector<Row> normal_values(std::int64_t count, std::uint64_t seed) {
  std::vector<Row> values = zeros<Row>(count);
  std::uint64_t position = mixed(seed);
  for (Row& value : values) {
    const std::uint64_t word = mixed(position++);
    const std::uint64_t sum = (word & 0xffff) + (word >> 16 & 0xffff) + (word >> 32 & 0xffff) + (word >> 48);
    const float centered = (static_cast<float>(sum) + 2.0f) / 65536.0f - 2.0f;
    value = resonance::row_traits<Row>::narrow(centered * std::sqrt(3.0f));
  }
  return values;
}

template <class T>
resonance::matrix_view<const T> rows_of(const std::vector<T>& values, std::int64_t rows, std::int64_t cols) {
  return {values.data(), rows, cols};
}

template <class T>
resonance::matrix_view<T> rows_of(std::vector<T>& values, std::int64_t rows, std::int64_t cols) {
  return {values.data(), rows, cols};
}

//! Every pair within `relative` of the larger magnitude, or within `absolute`.
template <class Row>
bool close(const std::vector<Row>& a, const std::vector<Row>& b, float relative, float absolute) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    const float x = to_float(a[i]);
    const float y = to_float(b[i]);
    if (!(std::fabs(x - y) <= absolute + relative * std::fmax(std::fabs(x), std::fabs(y)))) return false;
  }
  return a.size() == b.size();
}

}  // namespace bench

#endif
