// SPDX-License-Identifier: Apache-2.0
//! \file
//! A small kernel with what the library's kernels have in them, and the faults that the executor has to catch in it.
//!
//! MUTANT (0: none) picks the fault; mutants.cmake says what each is and which check has to catch it.
#include <cstdio>
#include <simt/simt.hpp>
#include <vector>

#ifndef MUTANT
#define MUTANT 0
#endif

struct results {
  int* counts;        // [bins], what all blocks have found
  int* of_block;      // [blocks], each block's sum
  unsigned* tickets;  // blocks that are done
  int* total;         // written by the last of them
};

namespace {

constexpr bool mutant(int number) { return MUTANT == number; }

constexpr int bins = 40;
constexpr int warps = 2;
constexpr int threads = warps * 32;
constexpr int turns = 3;

//! Largest of the warp's values, in all lanes.
__device__ int warp_max(int value) {
  for (int distance = 16; distance != 0; distance /= 2) {
    const unsigned mask = mutant(6) && distance == 4 ? 0x0fffffffu : 0xffffffffu;
    const int other = __shfl_xor_sync(mask, value, distance);
    value = other > value ? other : value;
  }
  return value;
}

//! The value of the lane before, through shared memory.
__device__ int neighbour(int* slots, int value) {
  slots[threadIdx.x] = value;
  if (!mutant(8)) __syncwarp();
  const int got = slots[threadIdx.x / 32 * 32 + (threadIdx.x + 31) % 32];
  __syncwarp();
  return got;
}

//! Sum of the block: warps leave theirs in shared memory, turn after turn in the same place.
__device__ int block_sum(int* of_warp, int value) {
  for (int distance = 16; distance != 0; distance /= 2) value += __shfl_xor_sync(0xffffffffu, value, distance);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = value;
  __syncthreads();
  int sum = 0;
  for (int w = 0; w < warps; ++w) sum += of_warp[w];
  if (!mutant(9)) __syncthreads();
  return sum;
}

}  // namespace

__global__ void count(const int* values, results out) {
  SIMT_SHARED_ARRAY(int, histogram, bins);
  SIMT_SHARED_ARRAY(int, slots, threads);
  SIMT_SHARED_ARRAY(int, of_warp, warps);
  const int self = static_cast<int>(threadIdx.x);
  const int block = static_cast<int>(blockIdx.x);

  for (int bin = self; bin < bins + (mutant(2) ? 1 : 0); bin += threads) histogram[bin] = 0;
  if (!mutant(1)) __syncthreads();

  int sum = 0;
  for (int turn = 0; turn < turns; ++turn) {
    const int value = neighbour(slots, values[(block * turns + turn) * threads + self]);
    const int most = warp_max(value);
    if (mutant(11) && turn == turns - 1 && self == 63) return;
    if (self % 32 == 0) {
      if (mutant(3))
        histogram[most % bins] += 1;
      else
        atomicAdd(&histogram[most % bins], 1);
    }
    sum += block_sum(of_warp, value);
  }

  if (mutant(4) && self < 32)
    __syncthreads();
  else
    __syncthreads();
  for (int bin = self; bin < bins; bin += threads) {
    if (mutant(5))
      out.counts[bin] += histogram[bin];
    else
      atomicAdd(&out.counts[bin], histogram[bin]);
  }

  if (self != 0) return;
  out.of_block[block] = sum;
  if (mutant(7)) static_cast<volatile int*>(of_warp)[warps + 1] = sum;
  if (!mutant(10)) __threadfence();
  const unsigned ticket = atomicAdd(out.tickets, 1u);
  if (!mutant(12)) __threadfence();
  if (ticket != gridDim.x - 1) return;
  int total = 0;
  for (unsigned b = 0; b < gridDim.x; ++b) total += out.of_block[b];
  *out.total = total;
}

namespace {

bool run(const char* schedule) {
  constexpr int blocks = 5;
  std::vector<int> values(blocks * turns * threads);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<int>(i * 7919 % 1009 / 50);
  std::vector<int> counts(bins, 0), expected(bins, 0), of_block(blocks, 0);
  unsigned tickets = 0;
  int total = 0, expected_total = 0;
  for (std::size_t w = 0; w < values.size() / 32; ++w) {
    int most = 0;
    for (std::size_t lane = 0; lane < 32; ++lane) {
      most = values[w * 32 + lane] > most ? values[w * 32 + lane] : most;
      expected_total += values[w * 32 + lane];
    }
    ++expected[static_cast<std::size_t>(most % bins)];
  }
  const results out{counts.data(), of_block.data(), &tickets, &total};
  const cudaError_t error = simt::launch(count, dim3(blocks), dim3(threads), 0, nullptr, values.data(), out);
  const bool right = error == cudaSuccess && counts == expected && total == expected_total;
  if (!right) std::printf("wrong result, schedule %s: %s\n", schedule, cudaGetErrorName(error));
  return right && simt::errors() == 0;
}

}  // namespace

int main() {
  bool right = true;
  for (const simt::schedule order : simt::every_schedule) {
    simt::config().order = order;
    right = run(simt::name_of(order)) && right;
  }
  return right ? 0 : 1;
}
