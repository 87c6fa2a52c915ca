// SPDX-License-Identifier: Apache-2.0
//! \file
//! Times of device functions: by replay of captured graphs, with the L2 cache warm and cold, and the card's own copy.
#ifndef RESONANCE_BENCH_CUDA_HARNESS_CUH
#define RESONANCE_BENCH_CUDA_HARNESS_CUH

#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <resonance/core/collectives.cuh>
#include <resonance/core/launch.cuh>
#include <resonance/core/row_type.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/vector_io.cuh>

#include "../shapes.hpp"

namespace bench {

inline void must(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(error));
  std::exit(1);
}

inline void must(const resonance::status& s, const char* what) {
  if (s.ok()) return;
  std::fprintf(stderr, "%s: %s %s\n", what, s.argument, s.message());
  std::exit(1);
}

template <class T>
class device_array {
 public:
  explicit device_array(std::int64_t count) {
    if (count > 0)
      must(cudaMalloc(reinterpret_cast<void**>(&data_), static_cast<std::size_t>(count) * sizeof(T)), "cudaMalloc");
  }
  explicit device_array(const std::vector<T>& values) : device_array(static_cast<std::int64_t>(values.size())) {
    must(cudaMemcpy(data_, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice), "cudaMemcpy");
  }
  ~device_array() { cudaFree(data_); }
  device_array(const device_array&) = delete;
  device_array& operator=(const device_array&) = delete;
  T* data() const { return data_; }

 private:
  T* data_ = nullptr;
};

//! Numbers in [-4, 4) that look random.
template <class T>
__global__ void fill_values(T* values, std::int64_t count, std::uint32_t seed) {
  const std::int64_t step = resonance::block_count() * resonance::block_threads();
  for (std::int64_t i = resonance::block_index() * resonance::block_threads() + resonance::block_thread(); i < count;
       i += step) {
    std::uint32_t h = (static_cast<std::uint32_t>(i) ^ seed) * 0x9e3779b9u;
    h = (h ^ (h >> 15)) * 0x85ebca6bu;
    h = (h ^ (h >> 13)) * 0xc2b2ae35u;
    const float value = static_cast<float>((h >> 8) & 0x7fffu) / 4096.0f - 4.0f;
    resonance::store(values + i, resonance::row_traits<T>::narrow(value));
  }
}

template <class T>
void fill(const device_array<T>& values, std::int64_t count, std::uint32_t seed) {
  if (count > 0)
    must(resonance::detail::launch({}, {1024, 256, 0}, fill_values<T>, values.data(), count, seed), "fill_values");
}

//! The card, and what it copies from its memory to its memory.
struct card {
  cudaStream_t stream = nullptr;
  std::size_t l2_bytes = 0;
  double copy_bytes_per_second = 0.0;  // read plus written
};

//! One figure of the table. `bytes`: the fewest that the work must move.
struct timing {
  double warm_seconds, cold_seconds;
};

//! Times what launches(stream) -> status launches. Warm: replays of a graph of several launches in a row. Cold: a graph
//! that also writes a buffer larger than the L2 cache before each, less a graph that only writes that buffer.
class stage_timer {
 public:
  explicit stage_timer(const card& of)
      : card_(of), flush_bytes_(2 * of.l2_bytes), flush_(static_cast<std::int64_t>(flush_bytes_)) {}

  template <class Launches>
  timing time(const Launches& launches) const {
    const auto run = [&] { must(launches(card_.stream), "launch"); };
    const auto flush = [&] { must(cudaMemsetAsync(flush_.data(), 1, flush_bytes_, card_.stream), "cudaMemsetAsync"); };
    const double warm = seconds_of(run);
    const double both = seconds_of([&] {
      flush();
      run();
    });
    return {warm, std::max(both - seconds_of(flush), 0.0)};
  }

 private:
  static constexpr int launches_per_graph = 20;
  static constexpr int replays = 9;

  //! The median time of one call of f.
  template <class F>
  double seconds_of(const F& f) const {
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    must(cudaStreamBeginCapture(card_.stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    for (int i = 0; i < launches_per_graph; ++i) f();
    must(cudaStreamEndCapture(card_.stream, &graph), "cudaStreamEndCapture");
    must(cudaGraphInstantiate(&executable, graph, 0), "cudaGraphInstantiate");
    cudaEvent_t start = nullptr, stop = nullptr;
    must(cudaEventCreate(&start), "cudaEventCreate");
    must(cudaEventCreate(&stop), "cudaEventCreate");
    must(cudaGraphLaunch(executable, card_.stream), "cudaGraphLaunch");  // not measured
    std::vector<float> milliseconds(replays);
    for (float& one : milliseconds) {
      must(cudaEventRecord(start, card_.stream), "cudaEventRecord");
      must(cudaGraphLaunch(executable, card_.stream), "cudaGraphLaunch");
      must(cudaEventRecord(stop, card_.stream), "cudaEventRecord");
      must(cudaEventSynchronize(stop), "cudaEventSynchronize");
      must(cudaEventElapsedTime(&one, start, stop), "cudaEventElapsedTime");
    }
    cudaEventDestroy(start);
    cudaEventDestroy(stop);
    cudaGraphExecDestroy(executable);
    cudaGraphDestroy(graph);
    std::nth_element(milliseconds.begin(), milliseconds.begin() + replays / 2, milliseconds.end());
    return milliseconds[replays / 2] * 1e-3 / launches_per_graph;
  }

  const card& card_;
  std::size_t flush_bytes_;
  device_array<unsigned char> flush_;
};

//! Writes a line: microseconds, GB/s of the fewest bytes, and that as a share of the card's copy.
inline void print_timing(const card& of, const char* stage, const shape& s, double bytes, const timing& t) {
  const auto print = [&](double seconds) {
    if (seconds <= 0.0) return void(std::printf("  %9s %8s %6s", "-", "-", "-"));
    const double speed = bytes / seconds;
    std::printf("  %9.2f %8.1f %5.1f%%", seconds * 1e6, speed * 1e-9, 100.0 * speed / of.copy_bytes_per_second);
  };
  std::printf("%-28s %-22s", stage, s.name().c_str());
  print(t.warm_seconds);
  print(t.cold_seconds);
  std::printf("\n");
}

void time_choices(const card&, const stage_timer&, const shape&);
void time_experts(const card&, const stage_timer&, const shape&);
void time_rows(const card&, const stage_timer&, const shape&);
void time_routes(const card&, const stage_timer&, const shape&);

}  // namespace bench

#endif
