// SPDX-License-Identifier: Apache-2.0
// The library's order of additions, written down once more from its description and for reading only: 128 lanes over
// chunks of 1024 positions, a tree of neighbours, chunks from left to right.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace naive {

inline float tree_of_neighbours(std::vector<float> values) {
  while (values.size() > 1) {
    std::vector<float> sums;
    for (std::size_t i = 0; i < values.size(); i += 2) sums.push_back(values[i] + values[i + 1]);
    values = sums;
  }
  return values[0];
}

//! Folds step(accumulator, position) over [begin, end).
template <class Step>
float ordered_sum(std::int64_t begin, std::int64_t end, const Step& step) {
  float total = 0.0F;
  for (std::int64_t chunk = begin / 1024; chunk * 1024 < end; ++chunk) {
    std::vector<float> lanes(128, 0.0F);
    for (std::int64_t j = chunk * 1024; j < (chunk + 1) * 1024; ++j)
      if (begin <= j && j < end) {
        float& lane = lanes[static_cast<std::size_t>(j % 128)];
        lane = step(lane, j);
      }
    total = total + tree_of_neighbours(lanes);
  }
  return total;
}

}  // namespace naive
