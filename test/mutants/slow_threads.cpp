// SPDX-License-Identifier: Apache-2.0
//! \file
//! Races that hide behind a meeting: one thread writes between two meetings, another reads there, too, but only after
//! the writer has reached the second. What the writer has released there must not order the reader, who comes from the
//! first. Only one schedule, so that no other order of the two gives the race away.
#include <cstdio>
#include <simt/simt.hpp>

#ifndef MUTANT
#define MUTANT 0
#endif

__global__ void at_barrier(int* out) {
  SIMT_SHARED_ARRAY(int, word, 1);
  __syncthreads();
  if (threadIdx.x == 0) word[0] = 5;
  if (MUTANT != 1) __syncthreads();
  const int got = threadIdx.x == 63 ? word[0] : 0;
  __syncthreads();
  if (threadIdx.x == 63) *out = got;
}

__global__ void at_syncwarp(int* out) {
  SIMT_SHARED_ARRAY(int, word, 1);
  __syncwarp();
  if (threadIdx.x == 0) word[0] = 5;
  if (MUTANT != 2) __syncwarp();
  const int got = threadIdx.x == 31 ? word[0] : 0;
  __syncwarp();
  if (threadIdx.x == 31) *out = got;
}

int main() {
  simt::config().order = simt::schedule::warps_forward;
  int of_block = 0;
  int of_warp = 0;
  simt::launch(at_barrier, dim3(1), dim3(64), 0, nullptr, &of_block);
  simt::launch(at_syncwarp, dim3(1), dim3(32), 0, nullptr, &of_warp);
  const bool right = of_block == 5 && of_warp == 5 && simt::errors() == 0;
  if (!right) std::puts("wrong result");
  return right ? 0 : 1;
}
