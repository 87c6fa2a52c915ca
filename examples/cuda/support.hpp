// SPDX-License-Identifier: Apache-2.0
//! \file
//! What the CUDA examples need around the library: device memory, a launch, a graph. Compiled for the tests' executor
//! (RESONANCE_SIMT) instead of by nvcc, device memory is the host's.
#ifndef RESONANCE_EXAMPLES_CUDA_SUPPORT_HPP
#define RESONANCE_EXAMPLES_CUDA_SUPPORT_HPP

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

#include <resonance/core/launch.cuh>
#include <resonance/core/status.hpp>

namespace example {

inline void must(const resonance::status& s) {
  if (s.ok()) return;
  std::fprintf(stderr, "%s %s\n", s.argument, s.message());
  std::exit(1);
}

inline void must(cudaError_t error) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s\n", cudaGetErrorString(error));
  std::exit(1);
}

//! An array in device memory.
template <class T>
class device_array {
 public:
#if defined(RESONANCE_SIMT)
  explicit device_array(std::size_t count) : memory_(count) {}
  T* data() const { return memory_.data(); }
  std::size_t size() const { return memory_.size(); }
  std::vector<T> to_host() const { return memory_; }
  void assign(const std::vector<T>& values) { memory_ = values; }

 private:
  mutable std::vector<T> memory_;
#else
  explicit device_array(std::size_t count) : size_(count) {
    if (count > 0) must(cudaMalloc(reinterpret_cast<void**>(&data_), count * sizeof(T)));
  }
  ~device_array() { cudaFree(data_); }
  device_array(const device_array&) = delete;
  device_array& operator=(const device_array&) = delete;

  T* data() const { return data_; }
  std::size_t size() const { return size_; }
  std::vector<T> to_host() const {
    std::vector<T> values(size_);
    if (size_ > 0) must(cudaMemcpy(values.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }
  //! `values`: as many as the array has.
  void assign(const std::vector<T>& values) {
    if (size_ > 0) must(cudaMemcpy(data_, values.data(), size_ * sizeof(T), cudaMemcpyHostToDevice));
  }

 private:
  T* data_ = nullptr;
  std::size_t size_;
#endif

 public:
  explicit device_array(const std::vector<T>& values) : device_array(values.size()) { assign(values); }
};

inline void wait() {
#if !defined(RESONANCE_SIMT)
  must(cudaDeviceSynchronize());
#endif
}

//! kernel<<<blocks, threads>>>(arguments...)
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), unsigned blocks, unsigned threads, const Arguments&... arguments) {
#if defined(RESONANCE_SIMT)
  must(simt::launch(kernel, dim3(blocks), dim3(threads), 0, nullptr, arguments...));
#else
  kernel<<<blocks, threads>>>(arguments...);
  must(cudaGetLastError());
#endif
}

//! What a function launches on a stream, captured once. The executor has no graphs: there replay calls the function.
class graph {
 public:
  explicit graph(std::function<void(cudaStream_t)> function) : function_(std::move(function)) {
#if !defined(RESONANCE_SIMT)
    cudaGraph_t captured = nullptr;
    must(cudaStreamCreate(&stream_));
    must(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
    function_(stream_);
    must(cudaStreamEndCapture(stream_, &captured));
    must(cudaGraphInstantiate(&executable_, captured, 0));
    must(cudaGraphDestroy(captured));
#endif
  }
  graph(const graph&) = delete;
  graph& operator=(const graph&) = delete;

#if defined(RESONANCE_SIMT)
  void replay() { function_(nullptr); }
#else
  ~graph() {
    cudaGraphExecDestroy(executable_);
    cudaStreamDestroy(stream_);
  }
  void replay() {
    must(cudaGraphLaunch(executable_, stream_));
    must(cudaStreamSynchronize(stream_));
  }

 private:
  cudaStream_t stream_ = nullptr;
  cudaGraphExec_t executable_ = nullptr;
#endif

 private:
  std::function<void(cudaStream_t)> function_;
};

//! The exit code.
inline int finish(bool right) {
#if defined(RESONANCE_SIMT)
  right = right && simt::errors() == 0;  // races, divergent barriers, ... that the executor saw
#endif
  std::puts(right ? "ok" : "WRONG");
  return right ? 0 : 1;
}

}  // namespace example

#endif
