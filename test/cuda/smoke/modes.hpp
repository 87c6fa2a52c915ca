// SPDX-License-Identifier: Apache-2.0
//! \file
//! How a smoke program runs device functions on a real GPU (test/gpu): RESONANCE_SMOKE_MODE=stream takes a stream of
//! its own, =graph captures the launches and replays them twice. Unset, as for simulators, nothing here calls CUDA.
#ifndef RESONANCE_TEST_CUDA_SMOKE_MODES_HPP
#define RESONANCE_TEST_CUDA_SMOKE_MODES_HPP

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <resonance/core/launch.cuh>

#include "require.hpp"

namespace smoke {

enum class mode { plain, stream, graph };

inline mode chosen_mode() {
  const char* name = std::getenv("RESONANCE_SMOKE_MODE");
  if (name == nullptr) return mode::plain;
  require(std::strcmp(name, "stream") == 0 || std::strcmp(name, "graph") == 0, "RESONANCE_SMOKE_MODE: stream or graph");
  return name[0] == 's' ? mode::stream : mode::graph;
}

//! Where a GPU was asked for and there is none, the program ends, which CTest reports as skipped.
inline void skip_without_device() {
  constexpr int skipped = 77;
  int devices = 0;
  if (chosen_mode() == mode::plain) return;
  const cudaError_t error = cudaGetDeviceCount(&devices);
  if (error == cudaSuccess && devices > 0) return;
  std::printf("skipped: no CUDA device (%s)\n", cudaGetErrorString(error));
  std::exit(skipped);
}

//! Runs launches(stream) -> status as chosen. The second replay finds the workspace and the outputs of the first.
template <class Launches>
void run_in_mode(const char* what, const Launches& launches) {
  resonance::device_stream on;
  if (chosen_mode() == mode::plain) return require(launches(on), what);
  require(cudaStreamCreateWithFlags(&on.stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  if (chosen_mode() == mode::stream) return require(launches(on), what);
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  require(cudaStreamBeginCapture(on.stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  require(launches(on), what);
  require(cudaStreamEndCapture(on.stream, &graph), "cudaStreamEndCapture");
  require(cudaGraphInstantiate(&executable, graph, 0), "cudaGraphInstantiate");
  for (int replay = 0; replay < 2; ++replay) require(cudaGraphLaunch(executable, on.stream), "cudaGraphLaunch");
}

}  // namespace smoke

#endif
