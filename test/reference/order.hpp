// SPDX-License-Identifier: Apache-2.0
// Section 1 of the contract: the one order of scores.
#pragma once

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

namespace reference {

//! The value of a pair that may not be chosen.
inline constexpr double absent = -std::numeric_limits<double>::infinity();

//! NaN and -inf are never chosen.
inline bool choosable(double score) { return score > absent; }

//! The number by which a score takes its place: NaN is absent, +inf is the largest finite value of the score's type.
//! -0 and +0 need no care here, since they compare equal.
inline double ranked_value(double score, double largest_finite = FLT_MAX) {
  return choosable(score) ? std::min(score, largest_finite) : absent;
}

//! Where a sum is formed: in double, or rounded once to fp32 as a library that adds in fp32 does. One fp32 addition
//! done in double and then rounded is the fp32 addition (53 >= 2*24 + 2 bits), so ids can be compared exactly.
enum class precision { fp64, fp32 };

inline double rounded(double value, precision to) {
  if (to == precision::fp64 || std::isnan(value)) return value;
  const double rounds_to_infinity = 0x1.FFFFFFp127;  // FLT_MAX and half a unit of its last place
  if (std::fabs(value) >= rounds_to_infinity) return std::copysign(HUGE_VAL, value);
  return static_cast<double>(static_cast<float>(value));
}

//! Higher score first, equal scores by lower index. Both scores are ranked values.
inline bool precedes(double score_a, std::size_t index_a, double score_b, std::size_t index_b) {
  if (score_a != score_b) return score_a > score_b;
  return index_a < index_b;
}

//! All choosable indices of `scores`, best first.
inline std::vector<std::size_t> choosable_in_order(const std::vector<double>& scores, double largest_finite = FLT_MAX) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < scores.size(); ++i)
    if (choosable(scores[i])) order.push_back(i);
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return precedes(ranked_value(scores[a], largest_finite), a, ranked_value(scores[b], largest_finite), b);
  });
  return order;
}

}  // namespace reference
