// SPDX-License-Identifier: Apache-2.0
// Recorded traces as transition counts, and what is known of placements by trying them all.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <resonance/offline/transition_trace.hpp>

#include "support/assignments.hpp"
#include "support/random.hpp"

namespace trace_test {

using placement = std::vector<std::int32_t>;  // [L,E]

struct recorded {
  std::int32_t layers, experts;
  std::vector<std::int64_t> counts;

  recorded(std::int32_t l, std::int32_t e)
      : layers(l), experts(e), counts(static_cast<std::size_t>((l - 1) * e * e), 0) {}
  resonance::offline::transition_trace view() const { return {counts.data(), layers, experts}; }
  std::int64_t& at(std::size_t l, std::size_t a, std::size_t b) {
    const auto e = static_cast<std::size_t>(experts);
    return counts[(l * e + a) * e + b];
  }
};

//! Tokens that follow a hidden successor of their expert with the given chance, else go anywhere.
inline recorded follow(support::random_source& random, std::int32_t layers, std::int32_t experts, int tokens,
                       double chance) {
  recorded trace(layers, experts);
  const auto e = static_cast<std::size_t>(experts);
  std::vector<std::vector<std::size_t>> successor;
  for (std::int32_t l = 0; l + 1 < layers; ++l) {
    std::vector<std::size_t> order(e);
    for (std::size_t i = 0; i < e; ++i) order[i] = i;
    for (std::size_t i = e; i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
    successor.push_back(order);
  }
  for (int t = 0; t < tokens; ++t) {
    std::size_t at = random.below(e);
    for (std::size_t l = 0; l < successor.size(); ++l) {
      const std::size_t next = random.coin(chance) ? successor[l][at] : random.below(e);
      ++trace.at(l, at, next);
      at = next;
    }
  }
  return trace;
}

inline std::int64_t crossings(const recorded& trace, const placement& p) {
  const auto e = static_cast<std::size_t>(trace.experts);
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < trace.counts.size(); ++i) {
    const std::size_t l = i / (e * e), a = i / e % e, b = i % e;
    if (p[l * e + a] != p[(l + 1) * e + b]) sum += trace.counts[i];
  }
  return sum;
}

inline bool balanced(const recorded& trace, const placement& p, std::int32_t devices) {
  const auto e = static_cast<std::size_t>(trace.experts);
  for (std::size_t l = 0; l < static_cast<std::size_t>(trace.layers); ++l)
    for (std::int32_t d = 0; d < devices; ++d)
      if (std::count(p.begin() + static_cast<std::ptrdiff_t>(l * e),
                     p.begin() + static_cast<std::ptrdiff_t>((l + 1) * e), d) *
              devices !=
          trace.experts)
        return false;
  return true;
}

//! The fewest crossings of all balanced placements, by trying every device for every expert of every layer.
inline std::int64_t fewest_crossings(const recorded& trace, std::int32_t devices) {
  placement p(static_cast<std::size_t>(trace.layers * trace.experts), 0);
  std::int64_t fewest = -1;
  for (;;) {
    if (balanced(trace, p, devices)) {
      const std::int64_t found = crossings(trace, p);
      if (fewest < 0 || found < fewest) fewest = found;
    }
    std::size_t digit = 0;
    while (digit < p.size() && ++p[digit] == devices) p[digit++] = 0;
    if (digit == p.size()) return fewest;
  }
}

inline placement random_placement(support::random_source& random, const recorded& trace, std::int32_t devices) {
  placement p;
  for (std::int32_t l = 0; l < trace.layers; ++l) {
    placement layer;
    for (std::int32_t e = 0; e < trace.experts; ++e) layer.push_back(e % devices);
    for (std::size_t i = layer.size(); i > 1; --i) std::swap(layer[i - 1], layer[random.below(i)]);
    p.insert(p.end(), layer.begin(), layer.end());
  }
  return p;
}

}  // namespace trace_test
