// SPDX-License-Identifier: Apache-2.0
//! \file
//! Runs one stage and its naive twin over shapes, and reports bytes per second and the share of the copy speed.
//!
//! A case is a class with
//! - `static std::string name()`                   stage/variant/element type, unique
//! - `static double fewest_bytes(const shape&)`    what the stage must read and write at least
//! - `explicit Case(const shape&)`                 makes its inputs
//! - `std::size_t workspace_bytes(const pool&)`    the library's stage: what it needs,
//!   `status run(const pool&, workspace_view)`     and a call
//! - `void naive()`                                the same in plain C++, on one thread
//! - `bool agrees()`                               whether the last run and the last naive gave the same
#ifndef RESONANCE_BENCH_HARNESS_HPP
#define RESONANCE_BENCH_HARNESS_HPP

#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <resonance/core/executor_threads.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/workspace.hpp>
#include "machine.hpp"
#include "shapes.hpp"

namespace bench {

using pool = resonance::thread_pool;

//! The inputs of the case that ran last: naive and every thread count of a shape share them.
struct latest_case {
  std::string name;
  std::shared_ptr<void> inputs;
};

inline latest_case& latest() {
  static latest_case instance;
  return instance;
}

template <class Case>
Case& prepare(const shape& s) {
  const std::string name = Case::name() + "/" + s.name();
  if (latest().name != name) {
    latest().inputs.reset();
    latest() = {name, std::make_shared<Case>(s)};
  }
  return *static_cast<Case*>(latest().inputs.get());
}

//! Times call() and reports bytes per second and, as a plain number, their share of the copy speed.
template <class Case, class Call>
void time_calls(benchmark::State& state, const shape& s, int threads, const Call& call) {
  using clock = std::chrono::steady_clock;
  const auto start = clock::now();
  for (auto _ : state) {
    call();
    benchmark::ClobberMemory();
  }
  const std::chrono::duration<double> elapsed = clock::now() - start;
  const double bytes = Case::fewest_bytes(s) * static_cast<double>(state.iterations());
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes));
  state.counters["share_of_copy"] = bytes / elapsed.count() / copy_speed(threads);
}

template <class Case>
void run_naive(benchmark::State& state, const shape& s) {
  Case& c = prepare<Case>(s);
  time_calls<Case>(state, s, 1, [&] { c.naive(); });
}

//! Checks the stage against its naive twin once, then times it.
template <class Case>
void run_stage(benchmark::State& state, const shape& s, int threads) {
  Case& c = prepare<Case>(s);
  const pool workers(threads);
  std::vector<char> memory(c.workspace_bytes(workers));
  const resonance::workspace_view workspace{memory.data(), memory.size()};
  const resonance::status status = c.run(workers, workspace);
  if (!status.ok()) {
    state.SkipWithError((std::string(status.argument) + " " + status.message()).c_str());
    return;
  }
  c.naive();
  if (!c.agrees()) {
    state.SkipWithError("the stage and its naive twin disagree");
    return;
  }
  bool ok = true;
  time_calls<Case>(state, s, threads, [&] { ok = c.run(workers, workspace).ok() && ok; });
  if (!ok) state.SkipWithError("a later call failed");
}

//! Registers naive_NAME/MODEL/T:n and NAME/MODEL/T:n/threads:m for every shape.
template <class Case>
void add(const std::vector<shape>& shapes) {
  constexpr double most_bytes = 2.0 * (1 << 30);
  for (const shape& s : shapes) {
    const std::string name = Case::name() + "/" + s.name();
    if (Case::fewest_bytes(s) > most_bytes) {
      std::fprintf(stderr, "left out, moves more than 2 GiB: %s\n", name.c_str());
      continue;
    }
    benchmark::RegisterBenchmark(("naive_" + name).c_str(), [s](benchmark::State& state) {
      run_naive<Case>(state, s);
    })->UseRealTime();
    for (const int threads : thread_counts) {
      benchmark::RegisterBenchmark((name + "/threads:" + std::to_string(threads)).c_str(),
                                   [s, threads](benchmark::State& state) { run_stage<Case>(state, s, threads); })
          ->UseRealTime();
    }
  }
}

//! Takes --all_shapes out of the arguments.
inline sizes read_sizes(int& argc, char** argv) {
  sizes which = sizes::few;
  int kept = 0;
  for (int i = 0; i < argc; ++i) {
    if (std::strcmp(argv[i], "--all_shapes") == 0) {
      which = sizes::all;
    } else {
      argv[kept++] = argv[i];
    }
  }
  argc = kept;
  return which;
}

inline int run_all(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  for (const int threads : thread_counts) {
    benchmark::AddCustomContext("copy_bytes_per_second_threads_" + std::to_string(threads),
                                std::to_string(copy_speed(threads)));
  }
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  latest() = {};
  return 0;
}

}  // namespace bench

#endif
