// SPDX-License-Identifier: Apache-2.0
// The nearest-rank quantile by sorting in double precision.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

namespace quantile_reference {

//! rank: from the least, 1-based, as the test counts it out; 0 values give -inf.
inline double quantile(const std::vector<float>& values, double q) {
  std::vector<double> there;
  for (const float value : values)
    if (value > -std::numeric_limits<float>::infinity())
      there.push_back(std::min(static_cast<double>(value), static_cast<double>(std::numeric_limits<float>::max())));
  if (there.empty()) return -std::numeric_limits<double>::infinity();
  std::sort(there.begin(), there.end());
  std::size_t rank = 1;
  while (static_cast<double>(rank) < q * static_cast<double>(there.size())) ++rank;
  return there[rank - 1];
}

}  // namespace quantile_reference
