// SPDX-License-Identifier: Apache-2.0
//! \file
//! The executor concept: whose threads the host stages run on.
//!
//! An executor is any type with
//! - `int workers() const`                 how many calls of f may be under way at once, at least 1;
//! - `void run(int count, F&& f) const`    calls f(0) ... f(count - 1), each once, in any order and on any threads, and
//!                                         returns when all have returned; what they wrote is then visible to the
//!                                         caller. f does not throw and never calls run again.
//! The library calls run with at most workers() indices, each of which takes its share of the work as it goes: a thread
//! that comes late finds less to do, or nothing, and no result depends on which did what. Adapters: serial_executor
//! (here), openmp_executor (executor_openmp.hpp), thread_pool (executor_threads.hpp).
#ifndef RESONANCE_CORE_EXECUTOR_HPP
#define RESONANCE_CORE_EXECUTOR_HPP

#include <atomic>
#include <cstdint>
#include <type_traits>
#include <utility>

#include <resonance/config.hpp>

RESONANCE_NAMESPACE_BEGIN

//! Runs everything in the calling thread.
struct serial_executor {
  int workers() const { return 1; }
  template <class F>
  void run(int count, F&& f) const {
    for (int i = 0; i < count; ++i) f(i);
  }
};

namespace detail {

template <class Executor>
int worker_count(const Executor& executor) {
  const int workers = executor.workers();
  return workers < 1 ? 1 : workers;
}

//! How many workers take part in `count` items: all of them, but none for less than `grain` items where that can be
//! avoided, so that little work wakes no thread.
template <class Executor>
int piece_count(const Executor& executor, std::int64_t count, std::int64_t grain) {
  const std::int64_t by_grain = count / grain;
  const std::int64_t workers = worker_count(executor);
  const std::int64_t pieces = by_grain < workers ? by_grain : workers;
  return static_cast<int>(pieces < 1 ? 1 : pieces);
}

//! The grain of groups (experts, say) that share `items`, for pieces of at least `least` items on average.
inline std::int64_t grain_of_groups(std::int64_t groups, std::int64_t items, std::int64_t least) {
  const std::int64_t pieces = items / least;
  return pieces <= 1 ? groups + 1 : (groups + pieces - 1) / pieces;
}

//! Does a row source say how many steps of work a token takes? One of the caller's own need not.
template <class Source, class = void>
inline constexpr bool counts_steps = false;
template <class Source>
inline constexpr bool counts_steps<Source, std::void_t<decltype(std::declval<const Source&>().steps_per_token())>> =
    true;

//! The grain of a row source's tokens that wakes no thread for some 10 microseconds; without steps, one per expert.
//! Whole blocks, and whole batches of 16 tokens where blocks allow it.
template <class Source>
std::int64_t token_grain(const Source& source) {
  std::int64_t steps = source.experts();
  if constexpr (counts_steps<Source>) steps = source.steps_per_token();
  constexpr std::int64_t least_steps = 32768;
  constexpr std::int64_t batch = 16;
  constexpr std::int64_t unit = Source::block < batch ? batch / Source::block * Source::block : Source::block;
  const std::int64_t units = least_steps / (steps > 0 ? steps : 1) / unit;
  return (units > 0 ? units : 1) * unit;
}

//! First item of piece `index` of `pieces` equal pieces of [0, count).
inline std::int64_t piece_begin(std::int64_t count, int pieces, int index) {
  const std::int64_t whole = count / pieces;
  const std::int64_t rest = count % pieces;
  return whole * index + (index < rest ? index : rest);
}

//! Calls body(begin, end, piece) once for each of piece_count equal pieces of [0, count): for work whose passes must
//! see the same pieces.
template <class Executor, class Body>
void for_pieces(const Executor& executor, std::int64_t count, std::int64_t grain, const Body& body) {
  if (count <= 0) return;
  const int pieces = piece_count(executor, count, grain);
  if (pieces == 1) {
    body(std::int64_t{0}, count, 0);
    return;
  }
  executor.run(pieces, [&](int piece) {
    body(piece_begin(count, pieces, piece), piece_begin(count, pieces, piece + 1), piece);
  });
}

//! Calls body(begin, end, worker) for ranges that cover [0, count) once, several per worker: each takes the next when
//! it is done with one, so that a thread that woke late or was interrupted is hardly waited for. Ranges begin at
//! multiples of grain; worker < workers() may index scratch memory, which a worker's next range finds as it was left.
template <class Executor, class Body>
void for_ranges(const Executor& executor, std::int64_t count, std::int64_t grain, const Body& body) {
  if (count <= 0) return;
  const int workers = piece_count(executor, count, grain);
  if (workers == 1) {
    body(std::int64_t{0}, count, 0);
    return;
  }
  constexpr std::int64_t ranges_per_worker = 8;
  const std::int64_t ranges = ranges_per_worker * workers;
  const std::int64_t step = (count / ranges / grain + 1) * grain;
  std::atomic<std::int64_t> next{0};
  executor.run(workers, [&](int worker) {
    for (std::int64_t begin = next.fetch_add(step); begin < count; begin = next.fetch_add(step))
      body(begin, count - begin < step ? count : begin + step, worker);
  });
}

}  // namespace detail

RESONANCE_NAMESPACE_END

#endif
