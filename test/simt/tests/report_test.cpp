// SPDX-License-Identifier: Apache-2.0
//! \file
//! What the executor reports, and that it goes on after it.
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <simt/environment.hpp>
#include <simt/simt.hpp>
#include <string>
#include <vector>

enum class fault {
  none,
  divergent_barrier,
  different_barriers,
  return_before_barrier,
  return_before_warp_op,
  partial_warp,
  lane_outside_mask,
  source_outside_mask,
  different_ops,
  different_sizes,
  different_masks,
  bad_width,
  warp_against_block,
  too_much_shared,
  write_past_shared
};

//! Named in the reports, so it has a name that the linker keeps.
__global__ void faulty_kernel(fault what, int* outs) {
  int* const out = outs + blockIdx.x * blockDim.x;
  SIMT_SHARED_ARRAY(int, shared, 65);
  const unsigned lane = threadIdx.x % 32;
  const int value = static_cast<int>(threadIdx.x);
  shared[threadIdx.x] = value;
  switch (what) {
    case fault::none: break;
    case fault::divergent_barrier:
      if (threadIdx.x < 32)
        __syncthreads();
      else
        __syncthreads();
      break;
    case fault::different_barriers: {
      const bool low = threadIdx.x < 32;
      // One line, but a plain barrier for some and a vote for others.
      low ? __syncthreads() : static_cast<void>(__syncthreads_or(1));
      break;
    }
    case fault::return_before_barrier:
      if (threadIdx.x == 5) return;
      break;
    case fault::return_before_warp_op:
      if (lane == 7) return;
      out[threadIdx.x] = __shfl_sync(0xffffffffu, value, 0);
      break;
    case fault::partial_warp: out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, value, 1); break;
    case fault::lane_outside_mask: out[threadIdx.x] = __any_sync(0x7fffffffu, value); break;
    case fault::source_outside_mask:
      if (lane < 16) out[threadIdx.x] = __shfl_sync(0x0000ffffu, value, 16);
      break;
    case fault::different_ops:
      out[threadIdx.x] = lane < 9 ? __any_sync(0xffffffffu, value) : __all_sync(0xffffffffu, value);
      break;
    case fault::different_sizes:
      out[threadIdx.x] = lane < 9 ? static_cast<int>(__shfl_sync(0xffffffffu, 1.0, 0))
                                  : static_cast<int>(__shfl_sync(0xffffffffu, 1.0f, 0));
      break;
    case fault::different_masks: out[threadIdx.x] = __any_sync(lane < 9 ? 0xffffffffu : 0xfffffffeu, value); break;
    case fault::bad_width: out[threadIdx.x] = __shfl_sync(0xffffffffu, value, 0, 12); break;
    case fault::warp_against_block:
      if (threadIdx.x == 40) __syncwarp();
      break;
    case fault::too_much_shared: {
      SIMT_SHARED_ARRAY(char, large, 48 * 1024);
      large[lane] = 0;
      break;
    }
    case fault::write_past_shared:
      if (threadIdx.x == 0) static_cast<volatile int*>(&shared[64])[1] = 0;
      break;
  }
  __syncthreads();
  out[threadIdx.x] = value;
}

namespace {

//! Runs the kernel with a fault under every schedule; each must report it (and say so), and a launch after it is clean.
void expect_report(fault what, cudaError_t result, const std::string& says, unsigned threads = 64) {
  simt::under_every_schedule([&] {
    std::vector<int> out(2 * threads, -1), clean(2 * 64);
    EXPECT_EQ(simt::launch(faulty_kernel, dim3(2), dim3(threads), 0, nullptr, what, out.data()), result);
    EXPECT_EQ(cudaGetLastError(), result);
    EXPECT_GE(simt::errors(), 1u);
    std::string texts;
    for (const std::string& text : simt::take_reports()) texts += text + "\n";
    EXPECT_NE(texts.find(says), std::string::npos) << "wanted: " << says << "\ngot: " << texts;
    EXPECT_NE(texts.find(" faulty_kernel block ("), std::string::npos) << texts;
    EXPECT_EQ(simt::launch(faulty_kernel, dim3(2), dim3(64), 0, nullptr, fault::none, clean.data()), cudaSuccess);
    EXPECT_EQ(simt::errors(), 0u);
  });
}

TEST(Report, NothingWhereNothingIsWrong) {
  std::vector<int> out(128, -1);
  EXPECT_EQ(simt::launch(faulty_kernel, dim3(2), dim3(64), 0, nullptr, fault::none, out.data()), cudaSuccess);
  EXPECT_EQ(simt::errors(), 0u);
  for (int thread = 0; thread < 128; ++thread) EXPECT_EQ(out[static_cast<std::size_t>(thread)], thread % 64);
}

TEST(Report, DivergentBarrier) {
  expect_report(fault::divergent_barrier, cudaErrorLaunchFailure, "divergent barrier");
  expect_report(fault::different_barriers, cudaErrorLaunchFailure, "divergent barrier");
}
TEST(Report, ReturnWhileOthersWaitInTheBarrier) {
  // Who comes first, the thread that returns or one that waits, is up to the schedule.
  expect_report(fault::return_before_barrier, cudaSuccess, "threads");
}
TEST(Report, ReturnBeforeAWarpOperation) {
  expect_report(fault::return_before_warp_op, cudaErrorLaunchFailure, "return");
}
TEST(Report, MaskOfLanesThatNeverWere) {
  expect_report(fault::partial_warp, cudaErrorLaunchFailure, "the mask names lanes that have returned or never were",
                40);
}
TEST(Report, LaneOutsideItsMask) {
  expect_report(fault::lane_outside_mask, cudaErrorLaunchFailure, "a lane outside its own mask: __any_sync");
}
TEST(Report, SourceOutsideTheMask) {
  expect_report(fault::source_outside_mask, cudaSuccess, "reads lane 16, which is not in the mask 0000ffff");
}
TEST(Report, DifferentOperationsMeet) {
  expect_report(fault::different_ops, cudaErrorLaunchFailure, "different warp operations meet: __a");
  expect_report(fault::different_sizes, cudaErrorLaunchFailure, "different warp operations meet: __shfl_sync of");
  expect_report(fault::different_masks, cudaErrorLaunchFailure, "mask");
}
TEST(Report, Width) { expect_report(fault::bad_width, cudaErrorLaunchFailure, "a shuffle of width 12"); }
TEST(Report, DeadlockSaysWhoWaitsWhere) {
  expect_report(fault::warp_against_block, cudaErrorLaunchFailure, "deadlock: 64 of 64 threads never go on");
  expect_report(fault::warp_against_block, cudaErrorLaunchFailure, "threads 40 to 40 wait in __syncwarp at ");
  expect_report(fault::warp_against_block, cudaErrorLaunchFailure, "threads 0 to 39 wait in the barrier at ");
}
TEST(Report, SharedMemoryOfABlock) {
  expect_report(fault::too_much_shared, cudaErrorLaunchFailure, "a block has 49152 bytes");
}

#if !defined(__SANITIZE_ADDRESS__)
// The address sanitizer stops at the write; see the mutants.
TEST(Report, WritesNextToSharedMemory) {
  expect_report(fault::write_past_shared, cudaSuccess, "writes outside shared memory");
}
#endif

TEST(Report, FailsTheTestThatDoesNotTakeIt) {
  simt::config().order = simt::schedule::lifo;
  std::vector<int> out(64);
  EXPECT_EQ(simt::launch(faulty_kernel, dim3(1), dim3(64), 0, nullptr, fault::lane_outside_mask, out.data()),
            cudaErrorLaunchFailure);
  simt::report_listener listener;
  EXPECT_NONFATAL_FAILURE(listener.OnTestEnd(*testing::UnitTest::GetInstance()->current_test_info()),
                          "a lane outside its own mask");
  EXPECT_EQ(cudaGetLastError(), cudaErrorLaunchFailure);
}

}  // namespace
