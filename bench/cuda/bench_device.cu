// SPDX-License-Identifier: Apache-2.0
// bench_device [--all_shapes]: what the stages cost on this machine's GPU. Without one it says so, which is no failure.
#include <cstring>

#include "harness.cuh"

namespace {

bool describe(bench::card& card) {
  int devices = 0;
  const cudaError_t error = cudaGetDeviceCount(&devices);
  if (error != cudaSuccess || devices == 0) {
    std::printf("skipped: no CUDA device (%s)\n", cudaGetErrorString(error));
    return false;
  }
  cudaDeviceProp properties{};
  bench::must(cudaGetDeviceProperties(&properties, 0), "cudaGetDeviceProperties");
  const auto attribute = [](cudaDeviceAttr which) {
    int value = 0;
    bench::must(cudaDeviceGetAttribute(&value, which, 0), "cudaDeviceGetAttribute");
    return value;
  };
  int driver = 0, runtime = 0;
  bench::must(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  bench::must(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  std::printf("%s, sm_%d%d, %d SMs, %.1f GiB, L2 %.1f MiB\n", properties.name, properties.major, properties.minor,
              properties.multiProcessorCount, static_cast<double>(properties.totalGlobalMem) / (1 << 30),
              properties.l2CacheSize / 1048576.0);
  std::printf("clock %d MHz, memory clock %d MHz (highest), driver %d, runtime %d\n",
              attribute(cudaDevAttrClockRate) / 1000, attribute(cudaDevAttrMemoryClockRate) / 1000, driver, runtime);
  card.l2_bytes = static_cast<std::size_t>(std::max(properties.l2CacheSize, 32 << 20));
  bench::must(cudaStreamCreateWithFlags(&card.stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  return true;
}

void measure_copy(bench::card& card) {
  const auto bytes = static_cast<std::int64_t>(std::max(8 * card.l2_bytes, std::size_t{512} << 20));
  const bench::device_array<char> source(bytes), target(bytes);
  const bench::stage_timer timer(card);
  const bench::timing copy = timer.time([&](cudaStream_t stream) {
    bench::must(cudaMemcpyAsync(target.data(), source.data(), static_cast<std::size_t>(bytes), cudaMemcpyDeviceToDevice,
                                stream),
                "cudaMemcpyAsync");
    return resonance::status{};
  });
  card.copy_bytes_per_second = 2.0 * static_cast<double>(bytes) / copy.warm_seconds;
  std::printf("copy of %lld MiB: %.1f GB/s read and written\n\n", static_cast<long long>(bytes >> 20),
              card.copy_bytes_per_second * 1e-9);
}

//! Rows before and after, permuted K times, in two bytes each, and some for the rest.
bool fits_memory(const bench::shape& s) {
  std::size_t available = 0, total = 0;
  bench::must(cudaMemGetInfo(&available, &total), "cudaMemGetInfo");
  const double wanted = 2.0 * static_cast<double>(s.tokens) * static_cast<double>(s.hidden) * (s.top_k + 2) +
                        64.0 * static_cast<double>(s.slots()) + 16.0 * static_cast<double>(s.tokens) * s.experts;
  return wanted < 0.9 * static_cast<double>(available);
}

}  // namespace

int main(int count, char** values) {
  const bool all = count > 1 && std::strcmp(values[1], "--all_shapes") == 0;
  if (count > 2 || (count == 2 && !all)) return std::fprintf(stderr, "usage: %s [--all_shapes]\n", values[0]), 2;
  bench::card card;
  if (!describe(card)) return 0;
  measure_copy(card);
  std::printf("GB/s: the fewest bytes that the work must move over its time; share: of the copy\n");
  std::printf("%-28s %-22s  %9s %8s %6s  %9s %8s %6s\n", "stage", "shape", "warm us", "GB/s", "share", "cold us",
              "GB/s", "share");
  const bench::stage_timer timer(card);
  for (const bench::shape& s : bench::shapes(all ? bench::sizes::all : bench::sizes::few, {1, 64, 256, 4096, 16384})) {
    if (s.tokens == 0) continue;  // nothing to time
    if (!fits_memory(s)) {
      std::printf("left out: %s does not fit this card's memory\n", s.name().c_str());
      continue;
    }
    bench::time_choices(card, timer, s);
    bench::time_experts(card, timer, s);
    bench::time_rows(card, timer, s);
    bench::time_routes(card, timer, s);
  }
  return 0;
}
