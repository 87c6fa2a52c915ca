// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#ifdef _OPENMP
#include <resonance/core/executor_openmp.hpp>

#include <mutex>
#include <set>
#include <vector>

namespace {

TEST(OpenmpExecutor, TakesItsWorkersFromTheCallerOrFromOpenmp) {
  EXPECT_EQ(resonance::openmp_executor(3).workers(), 3);
  EXPECT_EQ(resonance::openmp_executor().workers(), omp_get_max_threads());
  EXPECT_EQ(resonance::openmp_executor(-2).workers(), omp_get_max_threads());
}

TEST(OpenmpExecutor, CallsEachIndexOnceOnItsOwnThreadsAtMost) {
  const resonance::openmp_executor executor(3);
  std::vector<int> calls(100, 0);
  std::set<int> threads;
  std::mutex mutex;
  executor.run(100, [&](int i) {
    ++calls[static_cast<size_t>(i)];
    const std::lock_guard<std::mutex> lock(mutex);
    threads.insert(omp_get_thread_num());
  });
  EXPECT_EQ(calls, std::vector<int>(100, 1));
  EXPECT_LE(threads.size(), 3U);
  executor.run(0, [](int) { ADD_FAILURE() << "nothing to call"; });
}

}  // namespace
#else
TEST(OpenmpExecutor, NeedsOpenmp) { GTEST_SKIP() << "compiled without OpenMP"; }
#endif
