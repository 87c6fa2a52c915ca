// SPDX-License-Identifier: Apache-2.0
//! \file
//! Counting of global memory accesses, on patterns whose sectors are known.
#include <gtest/gtest.h>

#include <simt/environment.hpp>
#include <simt/simt.hpp>
#include <string>
#include <vector>

template <class T>
__global__ void copy_strided(const T* from, T* to, int count, int stride) {
  for (int i = static_cast<int>(threadIdx.x + blockDim.x * blockIdx.x); i < count;
       i += static_cast<int>(blockDim.x * gridDim.x)) {
    SIMT_COUNT_LOAD(from + i * stride, sizeof(T), __FILE__, __LINE__);
    const T value = from[i * stride];
    SIMT_COUNT_STORE(to + i, sizeof(T), __FILE__, __LINE__);
    to[i] = value;
  }
}

namespace {

struct alignas(32) line_of_memory {
  unsigned char bytes[32];
};

class Traffic : public testing::Test {
 protected:
  void SetUp() override { simt::config().count_traffic = true; }
  std::vector<line_of_memory> from_ = std::vector<line_of_memory>(4096), to_ = std::vector<line_of_memory>(4096);
  template <class T>
  T* from() {
    return reinterpret_cast<T*>(from_.data());
  }
  template <class T>
  T* to() {
    return reinterpret_cast<T*>(to_.data());
  }
};

TEST_F(Traffic, NeighbouringFloats) {
  simt::under_every_schedule([&] {
    simt::config().count_traffic = true;
    simt::reset_traffic();
    ASSERT_EQ(simt::launch(copy_strided<float>, dim3(2), dim3(64), 0, nullptr, from<float>(), to<float>(), 512, 1),
              cudaSuccess);
    ASSERT_EQ(simt::traffic().launches.size(), 1u);
    for (const simt::access_counts& counts : {simt::traffic().loads(), simt::traffic().stores()}) {
      EXPECT_EQ(counts.bytes, 2048u);
      EXPECT_EQ(counts.thread_accesses, 512u);
      EXPECT_EQ(counts.warp_accesses, 16u);
      EXPECT_EQ(counts.sectors, 64u);
    }
  });
}

TEST_F(Traffic, StridesWasteSectors) {
  ASSERT_EQ(simt::launch(copy_strided<float>, dim3(1), dim3(32), 0, nullptr, from<float>(), to<float>(), 64, 8),
            cudaSuccess);
  EXPECT_EQ(simt::traffic().loads().sectors, 64u);
  EXPECT_EQ(simt::traffic().loads().bytes, 256u);
  EXPECT_EQ(simt::traffic().stores().sectors, 8u);
}

TEST_F(Traffic, BroadcastIsOneSector) {
  ASSERT_EQ(simt::launch(copy_strided<float>, dim3(1), dim3(32), 0, nullptr, from<float>(), to<float>(), 32, 0),
            cudaSuccess);
  EXPECT_EQ(simt::traffic().loads().sectors, 1u);
  EXPECT_EQ(simt::traffic().loads().thread_accesses, 32u);
}

TEST_F(Traffic, WidePacketsAndUnalignedStarts) {
  ASSERT_EQ(simt::launch(copy_strided<uint4>, dim3(1), dim3(32), 0, nullptr, from<uint4>(), to<uint4>(), 32, 1),
            cudaSuccess);
  EXPECT_EQ(simt::traffic().loads().sectors, 16u);
  EXPECT_EQ(simt::traffic().loads().bytes, 512u);
  simt::reset_traffic();
  ASSERT_EQ(simt::launch(copy_strided<float>, dim3(1), dim3(32), 0, nullptr, from<float>() + 1, to<float>(), 32, 1),
            cudaSuccess);
  EXPECT_EQ(simt::traffic().loads().sectors, 5u);
  EXPECT_EQ(simt::traffic().stores().sectors, 4u);
}

//! Lanes that leave a loop early take no part in the later accesses of the warp.
__global__ void triangle(const int* from, int* to) {
  int sum = 0;
  for (unsigned i = 0; i <= threadIdx.x; ++i) {
    SIMT_COUNT_LOAD(from + i * 64 + threadIdx.x, sizeof(int), __FILE__, __LINE__);
    sum += from[i * 64 + threadIdx.x];
  }
  to[threadIdx.x] = sum;
}

TEST_F(Traffic, TheKthPassOfEachLaneIsOneAccess) {
  simt::config().order = simt::schedule::random;
  ASSERT_EQ(simt::launch(triangle, dim3(1), dim3(32), 0, nullptr, from<int>(), to<int>()), cudaSuccess);
  const simt::access_counts loads = simt::traffic().loads();
  EXPECT_EQ(loads.warp_accesses, 32u);
  EXPECT_EQ(loads.thread_accesses, 32u * 33 / 2);
  EXPECT_EQ(loads.sectors, 8u * (1 + 2 + 3 + 4));  // 32, ..., 1 lanes, always up to the warp's last
}

TEST_F(Traffic, LaunchesAreListedByName) {
  ASSERT_EQ(simt::launch(copy_strided<float>, dim3(3), dim3(64), 100, nullptr, from<float>(), to<float>(), 10, 1),
            cudaSuccess);
  ASSERT_EQ(simt::launch(triangle, dim3(1), dim3(32), 0, nullptr, from<int>(), to<int>()), cudaSuccess);
  const auto& launches = simt::traffic().launches;
  ASSERT_EQ(launches.size(), 2u);
  EXPECT_EQ(launches[0].kernel, "copy_strided<float>");
  EXPECT_EQ(launches[0].grid.x, 3u);
  EXPECT_EQ(launches[0].block.x, 64u);
  EXPECT_EQ(launches[0].dynamic_shared_bytes, 100u);
  EXPECT_EQ(launches[0].shared_bytes, 100u);
  EXPECT_EQ(launches[0].loads.bytes, 40u);
  EXPECT_EQ(launches[1].loads.bytes, 32u * 33 / 2 * 4);
}

__global__ void atomics_everywhere(int* global) {
  SIMT_SHARED_ARRAY(int, local, 1);
  if (threadIdx.x == 0) local[0] = 0;
  __syncthreads();
  atomicAdd(&local[0], 1);
  if (threadIdx.x < 3) atomicMax(global, 1);
}

TEST_F(Traffic, AtomicsOnGlobalMemory) {
  ASSERT_EQ(simt::launch(atomics_everywhere, dim3(2), dim3(64), 0, nullptr, from<int>()), cudaSuccess);
  EXPECT_EQ(simt::traffic().launches[0].atomics, 6u);
}

TEST_F(Traffic, NothingIsKeptWhenSwitchedOff) {
  simt::config().count_traffic = false;
  ASSERT_EQ(simt::launch(triangle, dim3(1), dim3(32), 0, nullptr, from<int>(), to<int>()), cudaSuccess);
  EXPECT_TRUE(simt::traffic().launches.empty());
}

}  // namespace
