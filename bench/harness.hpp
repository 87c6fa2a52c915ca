// SPDX-License-Identifier: Apache-2.0
//! \file
//! Runs one stage and its naive twin over shapes, and reports bytes per second and the share of the copy speed.
//!
//! A case is a class with
//! - `static std::string name()`                       stage/variant/element type
//! - `static double fewest_bytes(const shape&)`        what the stage must read and write at least
//! - `explicit Case(const shape&)`                     makes its inputs
//! - `std::size_t workspace_bytes(const pool&) const`, `status run(const pool&)`   the library's stage
//! - `void naive()`                                    the same in plain C++, on one thread
//! - `bool agrees() const`                             whether the last run and the last naive gave the same
//! and a member `std::vector<char> workspace`.
#ifndef RESONANCE_BENCH_HARNESS_HPP
#define RESONANCE_BENCH_HARNESS_HPP

#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <typeindex>
#include <vector>

#include <machine.hpp>
#include <resonance/resonance.hpp>
#include <shapes.hpp>

namespace bench {

using pool = resonance::thread_pool;

//! The inputs of the case that ran last stay alive: naive and every thread count of a shape share them.
template <class Case>
Case& prepared(const shape& s) {
  static std::string held_name;
  static std::shared_ptr<void> held;
  struct holder {
    static std::shared_ptr<void>& of_any_case() {
      static std::shared_ptr<void>* last = nullptr;
      if (last != nullptr && last != &held) last->reset();
      last = &held;
      return held;
    }
  };
  if (holder::of_any_case() == nullptr || held_name != s.name()) {
    held.reset();
    held = std::make_shared<Case>(s);
    held_name = s.name();
  }
  return *static_cast<Case*>(held.get());
}

inline void report(benchmark::State& state, double bytes, int threads) {
  const double iterations = static_cast<double>(state.iterations());
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes * iterations));
  state.counters["share_of_copy"] =
      benchmark::Counter(bytes * iterations / copy_speed(threads), benchmark::Counter::kIsRate);
}
