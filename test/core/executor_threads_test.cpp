// SPDX-License-Identifier: Apache-2.0
#include <resonance/core/executor_threads.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace {

TEST(ThreadPool, CountsTheCallerAmongItsWorkers) {
  for (int threads : {-1, 0, 1}) EXPECT_EQ(resonance::thread_pool(threads).workers(), 1) << threads;
  EXPECT_EQ(resonance::thread_pool(3).workers(), 3);
}

TEST(ThreadPool, OfOneRunsInTheCallingThread) {
  const resonance::thread_pool pool(1);
  std::set<std::thread::id> threads;
  pool.run(10, [&](int) { threads.insert(std::this_thread::get_id()); });
  EXPECT_EQ(threads, (std::set<std::thread::id>{std::this_thread::get_id()}));
}

TEST(ThreadPool, RunsItsWorkersAtTheSameTime) {
  const resonance::thread_pool pool(4);
  // Each call waits for the other three: a pool with fewer than four threads at work would never return. After the
  // first round the workers are asleep and have to be woken.
  for (int round = 0; round < 50; ++round) {
    std::mutex mutex;
    std::condition_variable all_here;
    int arrived = 0;
    pool.run(4, [&](int) {
      std::unique_lock<std::mutex> lock(mutex);
      if (++arrived == 4) all_here.notify_all();
      all_here.wait(lock, [&] { return arrived == 4; });
    });
    EXPECT_EQ(arrived, 4);
  }
}

// No spinning: every wait is a sleep. A day of it: none is, and the destructor must not wait for its end.
constexpr std::chrono::nanoseconds spins[] = {std::chrono::nanoseconds(0), std::chrono::microseconds(50),
                                              std::chrono::hours(24)};

TEST(ThreadPool, GivesEveryIndexOnceHoweverItsThreadsWait) {
  for (const std::chrono::nanoseconds spin : spins) {
    const resonance::thread_pool pool(3, spin);
    for (int round = 0; round < 300; ++round) {
      const int count = round % 7;
      std::vector<std::atomic<int>> calls(7);
      pool.run(count, [&](int i) { ++calls.at(static_cast<size_t>(i)); });
      for (int i = 0; i < 7; ++i) ASSERT_EQ(calls[static_cast<size_t>(i)], i < count ? 1 : 0) << spin.count();
      // Now and then long enough for the threads to fall asleep.
      if (round % 100 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
}

TEST(ThreadPool, MakesWritesVisibleToTheCaller) {
  const resonance::thread_pool pool(8);
  for (int round = 0; round < 500; ++round) {
    std::vector<int> values(64, 0);
    pool.run(64, [&](int i) { values[static_cast<size_t>(i)] = i + round; });
    for (int i = 0; i < 64; ++i) ASSERT_EQ(values[static_cast<size_t>(i)], i + round);
  }
}

TEST(ThreadPool, LetsSeveralCallersTakeTurns) {
  const resonance::thread_pool pool(4);
  std::atomic<int> total{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c)
    callers.emplace_back([&] {
      for (int round = 0; round < 100; ++round) {
        std::atomic<int> own{0};
        pool.run(16, [&](int) {
          ++own;
          ++total;
        });
        EXPECT_EQ(own, 16);
      }
    });
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(total, 4 * 100 * 16);
}

TEST(ThreadPool, CanBeDestroyedUnusedAndAfterUse) {
  for (int round = 0; round < 50; ++round) {
    const resonance::thread_pool unused(3);
    const resonance::thread_pool used(3);
    std::atomic<int> calls{0};
    used.run(5, [&](int) { ++calls; });
    ASSERT_EQ(calls, 5);
  }
}

}  // namespace
