// SPDX-License-Identifier: Apache-2.0
//! \file
//! What this machine can do at best: the speed of a large copy, against which every stage is held.
#ifndef RESONANCE_BENCH_MACHINE_HPP
#define RESONANCE_BENCH_MACHINE_HPP

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <vector>

#include <resonance/core/executor_threads.hpp>

namespace bench {

//! Bytes read plus bytes written per second by a memcpy that no cache holds: the best of several.
inline double measure_copy_speed(int threads) {
  using clock = std::chrono::steady_clock;
  constexpr std::int64_t bytes = std::int64_t{128} << 20;
  constexpr int repetitions = 7;
  const std::vector<char> source(static_cast<std::size_t>(bytes), 1);
  std::vector<char> target(static_cast<std::size_t>(bytes), 2);
  const resonance::thread_pool pool(threads);
  double best = 0.0;
  for (int i = 0; i < repetitions; ++i) {
    const auto start = clock::now();
    pool.run(threads, [&](int piece) {
      const std::int64_t begin = bytes * piece / threads;
      const std::int64_t end = bytes * (piece + 1) / threads;
      std::memcpy(target.data() + begin, source.data() + begin, static_cast<std::size_t>(end - begin));
    });
    const std::chrono::duration<double> elapsed = clock::now() - start;
    best = std::max(best, 2.0 * static_cast<double>(bytes) / elapsed.count());
  }
  return best;
}

//! The same, measured once per process and number of threads.
inline double copy_speed(int threads) {
  static std::map<int, double> measured;
  const auto found = measured.find(threads);
  return found != measured.end() ? found->second : measured[threads] = measure_copy_speed(threads);
}

}  // namespace bench

#endif
