// SPDX-License-Identifier: Apache-2.0
//! \file
//! Launches: shapes, indices, arguments and error codes.
#include <gtest/gtest.h>

#include <simt/environment.hpp>
#include <simt/simt.hpp>
#include <string>
#include <vector>

namespace {

__global__ void count_threads(unsigned* runs) { atomicAdd(runs, 1u); }

struct launch_case {
  const char* name;
  dim3 grid, block;
  std::size_t shared;
};

TEST(Launch, ImpossibleShapesRunNothing) {
  const launch_case cases[] = {
      {"no blocks", dim3(0), dim3(32), 0},
      {"no threads", dim3(1), dim3(0), 0},
      {"1025 threads", dim3(1), dim3(1025), 0},
      {"2048 threads", dim3(1), dim3(64, 32), 0},
      {"65 deep", dim3(1), dim3(1, 1, 65), 0},
      {"a flat grid of 65536", dim3(1, 65536), dim3(32), 0},
      {"48 KiB and one byte", dim3(1), dim3(32), 48 * 1024 + 1},
      {"a grid of 2^31", dim3(0x80000000u), dim3(32), 0},
  };
  for (const launch_case& c : cases) {
    unsigned runs = 0;
    EXPECT_EQ(simt::launch(count_threads, c.grid, c.block, c.shared, nullptr, &runs), cudaErrorInvalidConfiguration)
        << c.name;
    EXPECT_EQ(runs, 0u) << c.name;
    EXPECT_EQ(cudaPeekAtLastError(), cudaErrorInvalidConfiguration);
    EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidConfiguration);
    EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  }
  unsigned runs = 0;
  EXPECT_EQ(simt::launch(count_threads, dim3(2), dim3(1024), 48 * 1024, nullptr, &runs), cudaSuccess);
  EXPECT_EQ(runs, 2048u);
  EXPECT_EQ(simt::launch(static_cast<void (*)(unsigned*)>(nullptr), dim3(1), dim3(1), 0, nullptr, &runs),
            cudaErrorInvalidDeviceFunction);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidDeviceFunction);
  EXPECT_STREQ(cudaGetErrorName(cudaErrorInvalidConfiguration), "cudaErrorInvalidConfiguration");
}

__global__ void mark(unsigned* out) {
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  out[block * blockDim.x * blockDim.y * blockDim.z + thread] += 1 + threadIdx.x + 10 * threadIdx.y + 100 * threadIdx.z +
                                                                1000 * blockIdx.x + 10000 * blockIdx.y +
                                                                100000 * blockIdx.z;
}

TEST(Launch, IndicesInThreeDimensions) {
  std::vector<unsigned> out(2 * 3 * 2 * 5 * 3 * 2, 0);
  ASSERT_EQ(simt::launch(mark, dim3(2, 3, 2), dim3(5, 3, 2), 0, nullptr, out.data()), cudaSuccess);
  std::size_t at = 0;
  for (unsigned bz = 0; bz < 2; ++bz)
    for (unsigned by = 0; by < 3; ++by)
      for (unsigned bx = 0; bx < 2; ++bx)
        for (unsigned tz = 0; tz < 2; ++tz)
          for (unsigned ty = 0; ty < 3; ++ty)
            for (unsigned tx = 0; tx < 5; ++tx)
              EXPECT_EQ(out[at++], 1 + tx + 10 * ty + 100 * tz + 1000 * bx + 10000 * by + 100000 * bz);
}

struct by_value {
  int numbers[4];
};

//! Each thread gets its own copy of the arguments, converted to the parameters' types.
__global__ void use_arguments(by_value v, long long wide, const float scale, int* out) {
  v.numbers[0] += static_cast<int>(threadIdx.x);
  wide -= threadIdx.x;
  __syncthreads();
  out[threadIdx.x] = v.numbers[0] + v.numbers[3] + static_cast<int>(wide) + static_cast<int>(scale * 4);
}

TEST(Launch, ArgumentsAreConvertedAndCopied) {
  std::vector<int> out(40);
  const by_value v{{1, 2, 3, 4}};
  ASSERT_EQ(simt::launch(use_arguments, dim3(1), dim3(40), 0, nullptr, v, 10, 1.5, out.data()), cudaSuccess);
  EXPECT_EQ(out, std::vector<int>(40, 21));
  EXPECT_EQ(v.numbers[0], 1);
}

//! A frame of 64 KiB: device code of the library has arrays in registers that are arrays on the stack here.
__global__ void deep(int* out) {
  volatile int local[16 * 1024];
  for (int i = 0; i < 16 * 1024; i += 64) local[i] = i + static_cast<int>(threadIdx.x);
  __syncthreads();
  int sum = 0;
  for (int i = 0; i < 16 * 1024; i += 64) sum += local[i] - i;
  out[threadIdx.x] = sum;
}

TEST(Launch, StacksAreDeepEnough) {
  std::vector<int> out(64);
  ASSERT_EQ(simt::launch(deep, dim3(1), dim3(64), 0, nullptr, out.data()), cudaSuccess);
  for (int thread = 0; thread < 64; ++thread) EXPECT_EQ(out[static_cast<std::size_t>(thread)], thread * 256);
}

}  // namespace
