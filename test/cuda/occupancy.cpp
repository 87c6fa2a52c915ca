// SPDX-License-Identifier: Apache-2.0
// Occupancy of kernels from their resources, by the toolkit's own calculator, which needs neither GPU nor driver.
// Reads lines "ARCH REGISTERS STATIC_SHARED THREADS DYNAMIC_SHARED" (ARCH as in sm_75: 75), prints for each the
// percentage of a multiprocessor's threads that can be resident.
#include <cuda_occupancy.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdio>

namespace {

struct multiprocessor {
  int arch;
  int threads;
  std::size_t shared;
  std::size_t shared_of_block;  // at most, when the kernel asks for it
  std::size_t shared_reserved;  // of each block, by the driver
};

// CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".
constexpr std::size_t kib = 1024;
constexpr multiprocessor known[] = {
    {75, 1024, 64 * kib, 64 * kib, 0},     {80, 2048, 164 * kib, 163 * kib, kib},
    {90, 2048, 228 * kib, 227 * kib, kib}, {100, 2048, 228 * kib, 227 * kib, kib},
    {120, 1536, 100 * kib, 99 * kib, kib},
};

cudaOccDeviceProp properties_of(const multiprocessor& m) {
  cudaOccDeviceProp p;
  p.computeMajor = m.arch / 10;
  p.computeMinor = m.arch % 10;
  p.maxThreadsPerBlock = 1024;
  p.maxThreadsPerMultiprocessor = m.threads;
  p.regsPerBlock = 65536;
  p.regsPerMultiprocessor = 65536;
  p.warpSize = 32;
  p.sharedMemPerBlock = 48 * kib;
  p.sharedMemPerMultiprocessor = m.shared;
  p.numSms = 1;
  p.sharedMemPerBlockOptin = m.shared_of_block;
  p.reservedSharedMemPerBlock = m.shared_reserved;
  return p;
}

int percent(const multiprocessor& m, int registers, std::size_t static_shared, int threads,
            std::size_t dynamic_shared) {
  const cudaOccDeviceProp properties = properties_of(m);
  cudaOccFuncAttributes kernel;
  kernel.maxThreadsPerBlock = threads;
  kernel.numRegs = registers;
  kernel.sharedSizeBytes = static_shared;
  kernel.partitionedGCConfig = PARTITIONED_GC_OFF;
  kernel.shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN;
  kernel.maxDynamicSharedSizeBytes = m.shared_of_block - static_shared;
  kernel.numBlockBarriers = 1;
  const cudaOccDeviceState state;
  cudaOccResult result;
  if (cudaOccMaxActiveBlocksPerMultiprocessor(&result, &properties, &kernel, &state, threads, dynamic_shared) !=
      CUDA_OCC_SUCCESS)
    return -1;
  return 100 * result.activeBlocksPerMultiprocessor * threads / m.threads;
}

}  // namespace

int main() {
  int arch = 0, registers = 0, threads = 0;
  std::size_t static_shared = 0, dynamic_shared = 0;
  while (std::scanf("%d %d %zu %d %zu", &arch, &registers, &static_shared, &threads, &dynamic_shared) == 5) {
    int result = -1;
    for (const multiprocessor& m : known)
      if (m.arch == arch) result = percent(m, registers, static_shared, threads, dynamic_shared);
    if (result < 0) {
      std::fprintf(stderr, "occupancy: no answer for sm_%d with %d threads\n", arch, threads);
      return 1;
    }
    std::printf("%d\n", result);
  }
  return 0;
}
