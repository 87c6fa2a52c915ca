// SPDX-License-Identifier: Apache-2.0
//! \file
//! A small pool of std::threads as an executor, for programs that have no pool of their own.
#ifndef RESONANCE_CORE_EXECUTOR_THREADS_HPP
#define RESONANCE_CORE_EXECUTOR_THREADS_HPP

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

#include <resonance/config.hpp>

RESONANCE_NAMESPACE_BEGIN

//! `threads` workers, the calling thread among them; the others sleep between calls.
//!
//! A thread without work looks for more for `spin` before it sleeps, and run waits as long for the last of its calls
//! before it does: the stages of a route follow one another faster than a thread wakes (5 to 50 microseconds). 0 sleeps
//! at once, which is kinder to a machine with more threads at work than cores.
//!
//! The constructor allocates and starts the threads (and throws what std::thread throws); run does neither. Calls of
//! run from several threads take turns. f must not call run of the same pool.
class thread_pool {
 public:
  explicit thread_pool(int threads, std::chrono::nanoseconds spin = std::chrono::microseconds(50)) : spin_(spin) {
    const int extra = threads > 1 ? threads - 1 : 0;
    threads_.reserve(static_cast<std::size_t>(extra));
    for (int i = 0; i < extra; ++i) threads_.emplace_back([this] { serve(); });
  }

  thread_pool(const thread_pool&) = delete;
  thread_pool& operator=(const thread_pool&) = delete;

  ~thread_pool() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
    }
    work_arrived_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  int workers() const { return static_cast<int>(threads_.size()) + 1; }

  template <class F>
  void run(int count, F&& f) const {
    if (threads_.empty() || count <= 1) {
      for (int i = 0; i < count; ++i) f(i);
      return;
    }
    std::lock_guard<std::mutex> turn(turn_);
    job_ =
        job{[](const void* function, int index) { (*static_cast<const std::remove_reference_t<F>*>(function))(index); },
            &f, count};
    unfinished_ = count;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      untaken_ = count;
    }
    work_arrived_.notify_all();
    work();
    const auto done = [this] { return unfinished_ == 0; };
    if (spin_until(done)) return;
    std::unique_lock<std::mutex> lock(mutex_);
    work_done_.wait(lock, done);
  }

 private:
  struct job {
    void (*call)(const void*, int) = nullptr;
    const void* function = nullptr;
    int count = 0;
  };

  void serve() const {
    const auto wanted = [this] { return stopping_ || untaken_ > 0; };
    while (!stopping_) {
      if (!spin_until(wanted)) {
        std::unique_lock<std::mutex> lock(mutex_);
        work_arrived_.wait(lock, wanted);
      }
      work();
    }
  }

  //! Takes indices until none is left. The job stays what it is while an index of it is taken and not finished.
  void work() const {
    int left = untaken_;
    while (left > 0) {
      if (!untaken_.compare_exchange_weak(left, left - 1)) continue;
      job_.call(job_.function, job_.count - left);
      if (--unfinished_ == 0) {
        std::lock_guard<std::mutex> lock(mutex_);
        work_done_.notify_all();
      }
      left = untaken_;
    }
  }

  //! Whether the condition came true within the time to spin.
  template <class Condition>
  bool spin_until(const Condition& condition) const {
    constexpr int looks_per_clock = 32;
    const auto start = std::chrono::steady_clock::now();
    do {
      for (int i = 0; i < looks_per_clock; ++i) {
        if (condition()) return true;
        pause();
      }
    } while (std::chrono::steady_clock::now() - start < spin_);
    return false;
  }

  //! Leaves the core's resources to its other hardware thread for a moment.
  static void pause() {
#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
    __builtin_ia32_pause();
#elif defined(__GNUC__) && defined(__aarch64__)
    __asm__ volatile("yield");
#endif
  }

  const std::chrono::nanoseconds spin_;
  mutable std::mutex turn_;
  mutable std::mutex mutex_;
  mutable std::condition_variable work_arrived_;
  mutable std::condition_variable work_done_;
  mutable job job_;
  mutable std::atomic<int> untaken_{0};
  mutable std::atomic<int> unfinished_{0};
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> threads_;
};

RESONANCE_NAMESPACE_END

#endif
