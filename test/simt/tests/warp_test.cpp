// SPDX-License-Identifier: Apache-2.0
//! \file
//! Warp operations, against what the PTX manual says of shfl, vote and bar.warp.
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <simt/environment.hpp>
#include <simt/simt.hpp>
#include <vector>

namespace {

constexpr unsigned all_lanes = 0xffffffffu;
enum which { idx, up, down, bfly };

template <class T>
__global__ void shuffle_once(which op, int operand, int width, T* out) {
  const T value = static_cast<T>(threadIdx.x + 100);
  T got{};
  switch (op) {
    case idx: got = __shfl_sync(all_lanes, value, operand, width); break;
    case up: got = __shfl_up_sync(all_lanes, value, static_cast<unsigned>(operand), width); break;
    case down: got = __shfl_down_sync(all_lanes, value, static_cast<unsigned>(operand), width); break;
    case bfly: got = __shfl_xor_sync(all_lanes, value, operand, width); break;
  }
  out[threadIdx.x] = got;
}

//! Written from the tables of the manual, not from the executor: a lane reads within its segment of `width` lanes, its
//! own value where there is no such lane; xor may reach an earlier segment.
int expected_lane(which op, int lane, int operand, int width) {
  const int segment = lane / width * width;
  switch (op) {
    case idx: return segment + (operand % width + width) % width;
    case up: return lane - operand < segment ? lane : lane - operand;
    case down: return lane + operand >= segment + width ? lane : lane + operand;
    case bfly: return (lane ^ operand) >= segment + width ? lane : lane ^ operand;
  }
  return -1;
}

template <class T>
void check_shuffles() {
  for (const which op : {idx, up, down, bfly}) {
    for (int width = 1; width <= 32; width *= 2) {
      for (int operand = 0; operand < 32; ++operand) {
        std::array<T, 32> out{};
        ASSERT_EQ(simt::launch(shuffle_once<T>, dim3(1), dim3(32), 0, nullptr, op, operand, width, out.data()),
                  cudaSuccess);
        for (int lane = 0; lane < 32; ++lane)
          ASSERT_EQ(out[static_cast<std::size_t>(lane)], static_cast<T>(expected_lane(op, lane, operand, width) + 100))
              << "op " << op << " width " << width << " operand " << operand << " lane " << lane;
      }
    }
  }
}

TEST(Warp, ShufflesWithWidths) { check_shuffles<int>(); }
TEST(Warp, ShufflesOfOtherSizes) {
  check_shuffles<std::uint64_t>();
  check_shuffles<float>();
  check_shuffles<std::uint8_t>();
}

TEST(Warp, IndexShuffleTakesTheOperandModuloTheWidth) {
  std::array<int, 32> out{};
  for (const int operand : {-1, 33, 47}) {
    ASSERT_EQ(simt::launch(shuffle_once<int>, dim3(1), dim3(32), 0, nullptr, idx, operand, 8, out.data()), cudaSuccess);
    for (int lane = 0; lane < 32; ++lane)
      ASSERT_EQ(out[static_cast<std::size_t>(lane)], expected_lane(idx, lane, operand, 8) + 100);
  }
}

__global__ void vote(unsigned* ballots, int* any, int* all) {
  const bool odd = threadIdx.x % 2 != 0;
  ballots[threadIdx.x] = __ballot_sync(all_lanes, odd);
  any[threadIdx.x] = __any_sync(all_lanes, threadIdx.x == 33) * 2 + __any_sync(all_lanes, 0);
  all[threadIdx.x] = __all_sync(all_lanes, threadIdx.x < 32) * 2 + __all_sync(all_lanes, 7);
}

TEST(Warp, Votes) {
  simt::under_every_schedule([] {
    std::vector<unsigned> ballots(64);
    std::vector<int> any(64), all(64);
    ASSERT_EQ(simt::launch(vote, dim3(1), dim3(64), 0, nullptr, ballots.data(), any.data(), all.data()), cudaSuccess);
    for (std::size_t thread = 0; thread < 64; ++thread) {
      EXPECT_EQ(ballots[thread], 0xaaaaaaaau);
      EXPECT_EQ(any[thread], thread < 32 ? 0 : 2);
      EXPECT_EQ(all[thread], thread < 32 ? 3 : 1);
    }
  });
}

//! Halves of a warp do different things a different number of times; the quarters of the lower half, too.
__global__ void tiles_apart(int* out) {
  const unsigned lane = threadIdx.x % 32;
  int value = static_cast<int>(lane);
  if (lane < 16) {
    const unsigned quarter = lane / 4;
    const unsigned mask = 0xfu << (quarter * 4);
    for (unsigned turn = 0; turn <= quarter; ++turn) value += __shfl_xor_sync(mask, value, 1, 4);
  } else {
    value = __popc(__ballot_sync(0xffff0000u, lane % 3 == 0));
  }
  __syncwarp();
  out[threadIdx.x] = __shfl_sync(all_lanes, value, static_cast<int>(31 - lane));
}

TEST(Warp, TilesGoTheirOwnWays) {
  simt::under_every_schedule([] {
    std::vector<int> out(96);
    ASSERT_EQ(simt::launch(tiles_apart, dim3(1), dim3(96), 0, nullptr, out.data()), cudaSuccess);
    for (int thread = 0; thread < 96; ++thread) {
      const int lane = 31 - thread % 32;
      // A pair holds its sum after one turn, and doubles it with every further one. 18, 21, 24, 27, 30 divide by 3.
      const int expected = lane < 16 ? (lane / 2 * 4 + 1) << (lane / 4) : 5;
      EXPECT_EQ(out[static_cast<std::size_t>(thread)], expected) << thread;
    }
  });
}

//! Each lane writes, then reads its neighbour's value: right only if __syncwarp waits for all.
__global__ void exchange_in_warp(int* out) {
  SIMT_SHARED_ARRAY(int, slots, 64);
  const unsigned first = threadIdx.x / 32 * 32;
  for (int turn = 0; turn < 3; ++turn) {
    slots[threadIdx.x] = static_cast<int>(threadIdx.x) * 10 + turn;
    __syncwarp();
    out[threadIdx.x * 3 + static_cast<unsigned>(turn)] = slots[first + (threadIdx.x + 1) % 32];
    __syncwarp();
  }
}

TEST(Warp, SyncwarpOrdersSharedMemory) {
  simt::under_every_schedule([] {
    std::vector<int> out(64 * 3);
    ASSERT_EQ(simt::launch(exchange_in_warp, dim3(1), dim3(64), 0, nullptr, out.data()), cudaSuccess);
    for (int thread = 0; thread < 64; ++thread)
      for (int turn = 0; turn < 3; ++turn)
        EXPECT_EQ(out[static_cast<std::size_t>(thread * 3 + turn)], (thread / 32 * 32 + (thread + 1) % 32) * 10 + turn);
  });
}

//! A tile is still busy with itself when the other lanes reach the meeting of all; for the thread sanitizer, too, they
//! meet there.
__global__ void tile_comes_late(int* out) {
  SIMT_SHARED_ARRAY(int, slots, 32);
  slots[threadIdx.x] = static_cast<int>(threadIdx.x);
  if (threadIdx.x < 4) {
    __syncwarp(0xfu);
    for (int turn = 0; turn < 3; ++turn) {
      __syncwarp(0xfu);
      if (threadIdx.x == 0) slots[turn] += slots[turn + 1];
      __syncwarp(0xfu);
    }
  }
  __syncwarp();
  out[threadIdx.x] = slots[31 - threadIdx.x];
}

TEST(Warp, TilesMeetTheOthersLate) {
  simt::under_every_schedule([] {
    std::vector<int> out(32);
    ASSERT_EQ(simt::launch(tile_comes_late, dim3(1), dim3(32), 0, nullptr, out.data()), cudaSuccess);
    for (int lane = 0; lane < 32; ++lane)
      EXPECT_EQ(out[static_cast<std::size_t>(31 - lane)], lane < 3 ? 2 * lane + 1 : lane);
  });
}

TEST(Warp, BitIntrinsics) {
  EXPECT_EQ(__popc(0xf0f0u), 8);
  EXPECT_EQ(__popcll(0xf0f0f0f0f0f0ull), 24);
  EXPECT_EQ(__ffs(0), 0);
  EXPECT_EQ(__ffs(0x40), 7);
  EXPECT_EQ(__ffsll(1ll << 40), 41);
  EXPECT_EQ(__clz(0), 32);
  EXPECT_EQ(__clz(1), 31);
  EXPECT_EQ(__clzll(0), 64);
  EXPECT_EQ(__clzll(-1), 0);
  EXPECT_EQ(__brev(1u), 0x80000000u);
  EXPECT_EQ(__brev(0x0000ff05u), 0xa0ff0000u);
}

}  // namespace
