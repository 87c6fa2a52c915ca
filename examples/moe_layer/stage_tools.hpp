// SPDX-License-Identifier: Apache-2.0
// What a caller of the stages brings along: memory for the workspaces, a clock, and what to do about a bad status.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <resonance/core/status.hpp>
#include <resonance/core/workspace.hpp>

namespace demo {

//! The demo's arguments are its own, so that a refused one is a mistake in it: says which, and ends the program.
inline void must(const char* stage, resonance::status s) {
  if (s.ok()) return;
  std::fprintf(stderr, "moe_layer: %s: %s %s\n", stage, s.argument, s.message());
  std::exit(1);
}

//! One piece of memory that all stages use in turn.
class scratch_memory {
 public:
  resonance::workspace_view of(std::size_t bytes) {
    if (memory_.size() < bytes) memory_.resize(bytes);
    return {memory_.data(), memory_.size()};
  }

 private:
  std::vector<char> memory_;
};

template <class F>
double seconds_of(const F& f) {
  const auto start = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

//! The median time of several calls; f must do the same each time.
template <class F>
double median_seconds(const F& f) {
  std::array<double, 9> seconds{};
  for (double& s : seconds) s = seconds_of(f);
  std::nth_element(seconds.begin(), seconds.begin() + seconds.size() / 2, seconds.end());
  return seconds[seconds.size() / 2];
}

}  // namespace demo
