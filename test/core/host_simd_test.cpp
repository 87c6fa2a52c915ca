// SPDX-License-Identifier: Apache-2.0
// Whether the processor's wider instructions change a bit is tested over whole stages in
// token_choice/host_widest_test.cpp, and over sums in ordered_sum_test.cpp.
#include <resonance/core/host_simd.hpp>

#include <gtest/gtest.h>

namespace {

TEST(RunWidest, CallsTheBodyOnce) {
  int calls = 0;
  resonance::detail::run_widest([&]() RESONANCE_INLINE_LAMBDA { ++calls; });
  EXPECT_EQ(calls, 1);
}

#if RESONANCE_DETAIL_X86_64_V3
TEST(RunWidest, AsksForEveryFeatureThatTheBodyIsCompiledFor) {
  if (!resonance::detail::has_x86_64_v3()) GTEST_SKIP() << "this processor has no x86-64-v3";
  EXPECT_TRUE(__builtin_cpu_supports("avx2"));
  EXPECT_TRUE(__builtin_cpu_supports("fma"));
  EXPECT_TRUE(__builtin_cpu_supports("bmi"));
  EXPECT_TRUE(__builtin_cpu_supports("bmi2"));
  EXPECT_TRUE(__builtin_cpu_supports("popcnt"));
  int calls = 0;
  resonance::detail::run_x86_64_v3([&]() RESONANCE_INLINE_LAMBDA { ++calls; });
  EXPECT_EQ(calls, 1);
}
#endif

}  // namespace
