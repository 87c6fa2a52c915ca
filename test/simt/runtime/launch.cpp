// SPDX-License-Identifier: Apache-2.0
//! \file
//! A launch from its checks to its error code, and the indices of the running thread.
#include <cstdio>
#include <cstdlib>

#include "state.hpp"

namespace {

cudaError_t last_error = cudaSuccess;

bool possible(const dim3& grid, const dim3& block, std::size_t dynamic_bytes) {
  const auto within = [](unsigned value, unsigned most) { return value >= 1 && value <= most; };
  return within(grid.x, 0x7fffffff) && within(grid.y, 65535) && within(grid.z, 65535) &&
         within(block.x, simt::threads_per_block) && within(block.y, simt::threads_per_block) && within(block.z, 64) &&
         std::size_t{block.x} * block.y * block.z <= simt::threads_per_block &&
         dynamic_bytes <= simt::shared_bytes_per_block;
}

cudaError_t set_last(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

}  // namespace

cudaError_t cudaGetLastError() {
  const cudaError_t error = last_error;
  last_error = cudaSuccess;
  return error;
}

cudaError_t cudaPeekAtLastError() { return last_error; }

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "cudaSuccess";
    case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
    case cudaErrorInvalidConfiguration: return "cudaErrorInvalidConfiguration";
    case cudaErrorInvalidDeviceFunction: return "cudaErrorInvalidDeviceFunction";
    case cudaErrorNotSupported: return "cudaErrorNotSupported";
    case cudaErrorLaunchFailure: return "cudaErrorLaunchFailure";
  }
  return "unrecognized error code";
}

const char* cudaGetErrorString(cudaError_t error) { return cudaGetErrorName(error); }

namespace simt {

configuration& config() {
  static configuration settings;
  return settings;
}

const char* name_of(schedule order) {
  switch (order) {
    case schedule::round_robin: return "round_robin";
    case schedule::random: return "random";
    case schedule::lifo: return "lifo";
    case schedule::warps_forward: return "warps_forward";
    case schedule::warps_backward: return "warps_backward";
  }
  return "unknown";
}

namespace detail {

uint3 thread_index() { return running->index; }
uint3 block_index() { return current_block.index; }
dim3 block_dimensions() { return current_launch.block; }
dim3 grid_dimensions() { return current_launch.grid; }
unsigned lane() { return running->linear % lanes_per_warp; }

cudaError_t launch(any_function kernel, dim3 grid, dim3 block, std::size_t dynamic_shared_bytes,
                   void (*call)(any_function, const void*), const void* parameters) {
  if (current_launch.running) {
    std::fputs("simt: a launch inside a launch, or from a second thread of the host\n", stderr);
    std::abort();
  }
  if (kernel == nullptr) return set_last(cudaErrorInvalidDeviceFunction);
  if (!possible(grid, block, dynamic_shared_bytes)) return set_last(cudaErrorInvalidConfiguration);
  launch_slot& now = current_launch;
  now = launch_slot{kernel, call, parameters, grid, block, config(), now.number + 1, true, false};
  open_arena();
  open_launch_traffic(dynamic_shared_bytes);
  atomics_observed = counting_traffic || under_tsan;
  begin_threads();
  const std::uint64_t blocks = std::uint64_t{grid.x} * grid.y * grid.z;
  for (std::uint64_t number = 0; number < blocks && !now.abandoned; ++number) {
    const std::uint64_t linear = now.settings.blocks == block_order::forward ? number : blocks - 1 - number;
    const uint3 index{static_cast<unsigned>(linear % grid.x), static_cast<unsigned>(linear / grid.x % grid.y),
                      static_cast<unsigned>(linear / grid.x / grid.y)};
    run_block(index, number, dynamic_shared_bytes);
  }
  finish_threads();
  now.running = false;
  return now.abandoned ? set_last(cudaErrorLaunchFailure) : cudaSuccess;
}

}  // namespace detail
}  // namespace simt
