// SPDX-License-Identifier: Apache-2.0
//! \file
//! Atomics, and the fence that hands data from the last but one block to the last.
#include <gtest/gtest.h>

#include <cfloat>
#include <climits>
#include <simt/environment.hpp>
#include <simt/simt.hpp>
#include <vector>

namespace {

template <class T>
struct totals {
  T sum, most, least, ored, anded, xored, swaps;
};

template <class T>
__global__ void update(totals<T>* to) {
  const T value = static_cast<T>(threadIdx.x + blockDim.x * blockIdx.x + 1);
  atomicAdd(&to->sum, value);
  atomicMax(&to->most, value);
  atomicMin(&to->least, value);
  atomicOr(&to->ored, value);
  atomicAnd(&to->anded, static_cast<T>(value | T{1024}));
  atomicXor(&to->xored, value);
  T seen = atomicCAS(&to->swaps, T{0}, T{0});  // a plain read would race
  for (T expected = atomicCAS(&to->swaps, seen, static_cast<T>(seen + 2)); expected != seen;
       expected = atomicCAS(&to->swaps, seen, static_cast<T>(seen + 2)))
    seen = expected;
}

template <class T>
void check_integer() {
  totals<T> t{0, 0, 1000, 0, static_cast<T>(2047), 0, 0};
  ASSERT_EQ(simt::launch(update<T>, dim3(2), dim3(64), 0, nullptr, &t), cudaSuccess);
  EXPECT_EQ(t.sum, static_cast<T>(128 * 129 / 2));
  EXPECT_EQ(t.most, static_cast<T>(128));
  EXPECT_EQ(t.least, static_cast<T>(1));
  EXPECT_EQ(t.ored, static_cast<T>(255));
  EXPECT_EQ(t.anded, static_cast<T>(1024));
  EXPECT_EQ(t.xored, static_cast<T>(128));
  EXPECT_EQ(t.swaps, static_cast<T>(256));
  T place = 7;
  EXPECT_EQ(atomicExch(&place, static_cast<T>(9)), static_cast<T>(7));
  EXPECT_EQ(atomicCAS(&place, static_cast<T>(8), static_cast<T>(1)), static_cast<T>(9));
  EXPECT_EQ(atomicCAS(&place, static_cast<T>(9), static_cast<T>(1)), static_cast<T>(9));
  EXPECT_EQ(atomicXor(&place, static_cast<T>(3)), static_cast<T>(1));
  EXPECT_EQ(place, static_cast<T>(2));
}

TEST(Atomics, Integers) {
  check_integer<int>();
  check_integer<unsigned>();
  check_integer<unsigned long long>();
}

TEST(Atomics, IntAndUnsignedOrderDifferently) {
  int signed_place = -5;
  EXPECT_EQ(atomicMax(&signed_place, 3), -5);
  EXPECT_EQ(signed_place, 3);
  EXPECT_EQ(atomicMin(&signed_place, INT_MIN), 3);
  EXPECT_EQ(signed_place, INT_MIN);
  unsigned place = 3;
  EXPECT_EQ(atomicMax(&place, 0xfffffffbu), 3u);
  EXPECT_EQ(place, 0xfffffffbu);
}

TEST(Atomics, FloatingPoint) {
  float f = 0.5f;
  EXPECT_EQ(atomicAdd(&f, 1.25f), 0.5f);
  EXPECT_EQ(atomicExch(&f, FLT_MAX), 1.75f);
  EXPECT_EQ(f, FLT_MAX);
  double d = 0.5;
  EXPECT_EQ(atomicAdd(&d, 0.25), 0.5);
  EXPECT_EQ(d, 0.75);
}

//! Every block writes plainly; the last to finish, by an atomic ticket between fences, adds up what all wrote.
__global__ void last_block_adds(int* of_block, unsigned* tickets, int* total) {
  if (threadIdx.x != 0) return;
  of_block[blockIdx.x] = static_cast<int>(blockIdx.x) + 1;
  __threadfence();
  const unsigned ticket = atomicAdd(tickets, 1u);
  __threadfence();
  if (ticket != gridDim.x - 1) return;
  int sum = 0;
  for (unsigned b = 0; b < gridDim.x; ++b) sum += of_block[b];
  *total = sum;
}

TEST(Atomics, FencesOrderBlocks) {
  simt::under_every_schedule([] {
    std::vector<int> of_block(10, 0);
    unsigned tickets = 0;
    int total = 0;
    ASSERT_EQ(simt::launch(last_block_adds, dim3(10), dim3(32), 0, nullptr, of_block.data(), &tickets, &total),
              cudaSuccess);
    EXPECT_EQ(total, 55);
  });
}

}  // namespace
