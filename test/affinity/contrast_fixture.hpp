// SPDX-License-Identifier: Apache-2.0
// Rows of strong and weak logits, and their contrast in double precision.
#pragma once

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "permute/fixture.hpp"
#include "support/random.hpp"

namespace contrast_test {

inline constexpr double absent = -std::numeric_limits<double>::infinity();

//! NaN is absent, +inf the largest finite value of the row type, as the contract reads a logit.
inline double read(double value, double largest) {
  if (std::isnan(value)) return absent;
  return std::min(value, largest);
}

struct expected_row {
  std::vector<double> values;
  std::vector<bool> certain;  // not within rounding of the bound
};

//! The paper's formula, literally.
inline expected_row contrast(const std::vector<double>& strong, const std::vector<double>& weak, double alpha,
                             double beta, double largest) {
  double best = absent;
  for (double value : strong) best = std::max(best, read(value, largest));
  expected_row row;
  for (std::size_t i = 0; i < strong.size(); ++i) {
    const double s = read(strong[i], largest);
    const double w = read(weak[i], largest);
    const double bound = std::log(alpha) + best;
    const bool valid = s > absent && w > absent && s >= bound;
    const double z = (1 + beta) * s - beta * w;
    row.values.push_back(valid ? std::clamp(z, -static_cast<double>(FLT_MAX), static_cast<double>(FLT_MAX)) : absent);
    row.certain.push_back(!(std::fabs(s - bound) <= 1e-6 * (1 + std::fabs(best))));
  }
  return row;
}

template <class Row>
using rows = permute_test::stored_rows<Row>;

template <class Row>
void fill(support::random_source& random, support::adversary kind, rows<Row>& logits) {
  for (std::int64_t t = 0; t < logits.rows; ++t)
    for (std::int64_t i = 0; i < logits.cols; ++i)
      permute_test::encode(support::adversarial_value(random, kind), logits.at(t, i));
}

//! got: float[T,V] beside the formula.
template <class Row, class Got>
void expect_contrast(const rows<Row>& strong, const rows<Row>& weak, double alpha, double beta, const Got& got) {
  const double largest = static_cast<double>(resonance::row_traits<Row>::largest);
  const reference::matrix s = strong.widened();
  const reference::matrix w = weak.widened();
  for (std::size_t t = 0; t < s.rows; ++t) {
    const expected_row expected = contrast(s.row(t), w.row(t), alpha, beta, largest);
    for (std::size_t i = 0; i < s.cols; ++i) {
      if (!expected.certain[i]) continue;
      const auto value = static_cast<double>(got.at(static_cast<std::int64_t>(t), static_cast<std::int64_t>(i)));
      const double scale = (1 + beta) * std::fabs(s(t, i)) + beta * std::fabs(w(t, i));
      if (expected.values[i] == absent)
        ASSERT_EQ(value, absent) << "row " << t << " column " << i;
      else
        ASSERT_NEAR(value, expected.values[i], 1e-6 * std::min(scale, 2.0 * static_cast<double>(FLT_MAX)) + 0x1p-148)
            << "row " << t << " column " << i;
    }
  }
}

}  // namespace contrast_test
