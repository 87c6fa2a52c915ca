// SPDX-License-Identifier: Apache-2.0
//! \file
//! A small pool of std::threads as an executor, for programs that have no pool of their own.
#ifndef RESONANCE_CORE_EXECUTOR_THREADS_HPP
#define RESONANCE_CORE_EXECUTOR_THREADS_HPP

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
//! The constructor allocates and starts the threads (and throws what std::thread throws); run does neither. Calls of
//! run from several threads take turns. f must not call run of the same pool.
class thread_pool {
 public:
  explicit thread_pool(int threads) {
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
    std::lock_guard<std::mutex> turn(turn_);
    std::unique_lock<std::mutex> lock(mutex_);
    job_ =
        job{[](const void* function, int index) { (*static_cast<const std::remove_reference_t<F>*>(function))(index); },
            &f, count};
    next_ = 0;
    unfinished_ = count;
    if (count > 1) work_arrived_.notify_all();
    work(lock);
    work_done_.wait(lock, [this] { return unfinished_ == 0; });
  }

 private:
  struct job {
    void (*call)(const void*, int) = nullptr;
    const void* function = nullptr;
    int count = 0;
  };

  void serve() const {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      work_arrived_.wait(lock, [this] { return stopping_ || next_ < job_.count; });
      if (stopping_) return;
      work(lock);
    }
  }

  //! Takes indices until none is left; holds the lock on entry and exit.
  void work(std::unique_lock<std::mutex>& lock) const {
    while (next_ < job_.count) {
      const int index = next_++;
      const job current = job_;
      lock.unlock();
      current.call(current.function, index);
      lock.lock();
      if (--unfinished_ == 0) work_done_.notify_all();
    }
  }

  mutable std::mutex turn_;
  mutable std::mutex mutex_;
  mutable std::condition_variable work_arrived_;
  mutable std::condition_variable work_done_;
  mutable job job_;
  mutable int next_ = 0;
  mutable int unfinished_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

RESONANCE_NAMESPACE_END

#endif
