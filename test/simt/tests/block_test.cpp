// SPDX-License-Identifier: Apache-2.0
//! \file
//! Barriers, schedules and shared memory.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <set>
#include <simt/environment.hpp>
#include <simt/simt.hpp>
#include <vector>

namespace {

__global__ void sum_of_block(int* out) {
  SIMT_SHARED_ARRAY(int, of_warp, 32);
  int sum = static_cast<int>(threadIdx.x + blockIdx.x);
  for (int distance = 16; distance != 0; distance /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, distance);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x != 0) return;
  int all = 0;
  for (unsigned w = 0; w < blockDim.x / 32; ++w) all += of_warp[w];
  out[blockIdx.x] = all;
}

TEST(Block, SumsAcrossItsWarps) {
  simt::under_every_schedule([] {
    std::vector<int> out(3, -1);
    EXPECT_EQ(simt::launch(sum_of_block, dim3(3), dim3(256), 0, nullptr, out.data()), cudaSuccess);
    EXPECT_EQ(out, (std::vector<int>{32640, 32896, 33152}));
    EXPECT_EQ(simt::launch(sum_of_block, dim3(1), dim3(1024), 0, nullptr, out.data()), cudaSuccess);
    EXPECT_EQ(out[0], 1023 * 512);
  });
}

//! Slow threads still read the result of one vote when fast ones are in the next.
__global__ void vote_in_block(int* out) {
  const int self = static_cast<int>(threadIdx.x);
  int seen = __syncthreads_count(self % 3 == 0);
  seen = seen * 10 + __syncthreads_or(self == 41);
  seen = seen * 10 + __syncthreads_or(0);
  seen = seen * 10 + __syncthreads_and(self < 50);
  seen = seen * 10 + __syncthreads_and(self < 49);
  out[self] = seen;
}

TEST(Block, BarriersVote) {
  simt::under_every_schedule([] {
    std::vector<int> out(50);
    ASSERT_EQ(simt::launch(vote_in_block, dim3(1), dim3(50), 0, nullptr, out.data()), cudaSuccess);
    EXPECT_EQ(out, std::vector<int>(50, 171010));
  });
}

//! Threads take a number at each turn. Which one is up to the schedule; it is why races show in some and not in others.
__global__ void take_numbers(unsigned* next, unsigned* numbers) {
  for (int turn = 0; turn < 4; ++turn) {
    numbers[threadIdx.x * 4 + static_cast<unsigned>(turn)] = atomicAdd(next, 1u);
    __syncwarp();
  }
}

std::vector<unsigned> numbers_under(simt::schedule order, std::uint64_t seed) {
  simt::config().order = order;
  simt::config().seed = seed;
  unsigned next = 0;
  std::vector<unsigned> numbers(64 * 4);
  EXPECT_EQ(simt::launch(take_numbers, dim3(1), dim3(64), 0, nullptr, &next, numbers.data()), cudaSuccess);
  EXPECT_EQ(next, 64u * 4);
  EXPECT_EQ(std::set<unsigned>(numbers.begin(), numbers.end()).size(), numbers.size());
  return numbers;
}

TEST(Schedule, EachIsAnotherOrder) {
  std::set<std::vector<unsigned>> orders;
  for (const simt::schedule order : simt::every_schedule) orders.insert(numbers_under(order, 1));
  orders.insert(numbers_under(simt::schedule::random, 2));
  EXPECT_EQ(orders.size(), 6u);
}

TEST(Schedule, RepeatsExactly) {
  for (const simt::schedule order : simt::every_schedule) {
    const auto numbers = numbers_under(order, 3);
    EXPECT_EQ(numbers_under(order, 3), numbers) << simt::name_of(order);
  }
}

TEST(Schedule, WarpByWarpRunsOneWarpToItsEnd) {
  const auto forward = numbers_under(simt::schedule::warps_forward, 1);
  EXPECT_LT(*std::max_element(forward.begin(), forward.begin() + 128), 128u);
  const auto backward = numbers_under(simt::schedule::warps_backward, 1);
  EXPECT_GE(*std::min_element(backward.begin(), backward.begin() + 128), 128u);
  const auto round_robin = numbers_under(simt::schedule::round_robin, 1);
  EXPECT_EQ(round_robin[0], 0u);
  EXPECT_EQ(round_robin[63 * 4], 63u);
}

__global__ void order_of_blocks(unsigned* next, unsigned* order) {
  if (threadIdx.x == 0) order[atomicAdd(next, 1u)] = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
}

TEST(Schedule, BlocksRunForwardOrBackward) {
  std::vector<unsigned> order(12), expected(12);
  for (unsigned i = 0; i < 12; ++i) expected[i] = i;
  unsigned next = 0;
  ASSERT_EQ(simt::launch(order_of_blocks, dim3(3, 2, 2), dim3(32), 0, nullptr, &next, order.data()), cudaSuccess);
  EXPECT_EQ(order, expected);
  next = 0;
  simt::config().blocks = simt::block_order::backward;
  ASSERT_EQ(simt::launch(order_of_blocks, dim3(3, 2, 2), dim3(32), 0, nullptr, &next, order.data()), cudaSuccess);
  std::reverse(expected.begin(), expected.end());
  EXPECT_EQ(order, expected);
}

template <int Size>
__device__ unsigned char* bytes_of() {
  SIMT_SHARED_ARRAY(unsigned char, bytes, Size);
  static_assert(sizeof(bytes) == Size);
  return bytes;
}

struct addresses {
  const unsigned char *dynamic, *small, *large;
  bool filled, same;
};

__global__ void look_at_shared(addresses* out) {
  SIMT_DYNAMIC_SHARED(dynamic);
  unsigned char* const small = bytes_of<3>();
  unsigned char* const large = bytes_of<4096>();
  if (threadIdx.x != 0) return;
  bool filled = true;
  for (int i = 0; i < 40; ++i) filled = filled && dynamic[i] == 0xA5;
  for (int i = 0; i < 3; ++i) filled = filled && small[i] == 0xA5;
  for (int i = 0; i < 4096; ++i) filled = filled && large[i] == 0xA5;
  small[2] = large[4095] = dynamic[39] = 0;
  out[blockIdx.x] = {dynamic, small, large, filled, small == bytes_of<3>()};
}

TEST(SharedMemory, IsFreshApartAndFilled) {
  std::vector<addresses> seen(3);
  ASSERT_EQ(simt::launch(look_at_shared, dim3(3), dim3(33), 40, nullptr, seen.data()), cudaSuccess);
  std::vector<const unsigned char*> starts;
  for (const addresses& a : seen) {
    EXPECT_TRUE(a.filled);
    EXPECT_TRUE(a.same);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(a.dynamic) % 16, 0u);
    starts.insert(starts.end(), {a.dynamic, a.small, a.large});
  }
  std::sort(starts.begin(), starts.end());
  for (std::size_t i = 1; i < starts.size(); ++i) EXPECT_GE(starts[i] - starts[i - 1], 64 + 3);
}

TEST(SharedMemory, TheArenaIsHandedOutAgain) {
  simt::config().arena_bytes = 1 << 20;
  std::vector<addresses> seen(1000);
  ASSERT_EQ(simt::launch(look_at_shared, dim3(1000), dim3(32), 40, nullptr, seen.data()), cudaSuccess);
  for (const addresses& a : seen) EXPECT_TRUE(a.filled);
  std::set<const unsigned char*> starts;
  for (const addresses& a : seen) starts.insert(a.large);
  EXPECT_LT(starts.size(), 300u);
  EXPECT_GT(starts.size(), 100u);
}

}  // namespace
