// SPDX-License-Identifier: Apache-2.0
// What the smoke programs share: their shape from the command line, device arrays, inputs, and the comparison with the
// host backend. Plain cudaMalloc, cudaMemcpy and cudaDeviceSynchronize only, which every simulator has; modes.hpp adds
// what real GPUs are asked for (test/gpu). Compiled for the CPU executor (RESONANCE_SIMT), device memory is the host's.
#ifndef RESONANCE_TEST_CUDA_SMOKE_SUPPORT_HPP
#define RESONANCE_TEST_CUDA_SMOKE_SUPPORT_HPP

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "require.hpp"

#if defined(RESONANCE_SIMT)
inline cudaError_t cudaMalloc(void** data, std::size_t bytes) {
  *data = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  return *data != nullptr ? cudaSuccess : cudaErrorInvalidValue;
}
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost };
inline cudaError_t cudaMemcpy(void* target, const void* source, std::size_t bytes, cudaMemcpyKind) {
  std::memcpy(target, source, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }
#else
#include "modes.hpp"
#endif

namespace smoke {

//! T E K [H], as on the command line.
struct shape {
  std::int64_t tokens;
  std::int32_t experts;
  std::int32_t top_k;
  std::int64_t hidden;
};

//! The arguments that are given replace the defaults, from the left.
inline shape parse(int count, char** values, shape defaults) {
#if !defined(RESONANCE_SIMT)
  skip_without_device();
#endif
  std::int64_t numbers[4] = {defaults.tokens, defaults.experts, defaults.top_k, defaults.hidden};
  require(count <= 5, "usage: T E K H");
  for (int i = 1; i < count; ++i) {
    char* end = nullptr;
    numbers[i - 1] = std::strtoll(values[i], &end, 10);
    require(end != values[i] && *end == '\0' && numbers[i - 1] >= 0 && numbers[i - 1] <= 0x7fffffff,
            "T E K H are numbers from 0 to 2^31 - 1");
  }
  return {numbers[0], static_cast<std::int32_t>(numbers[1]), static_cast<std::int32_t>(numbers[2]), numbers[3]};
}

//! The same numbers on every machine (SplitMix64).
class generator {
 public:
  std::uint64_t bits() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  //! In [-4, 4), in steps of 2^-12, so that equal values come up, too.
  float value() { return static_cast<float>(static_cast<int>(bits() >> 49)) / 4096.0f - 4.0f; }
  std::int64_t below(std::int64_t end) { return static_cast<std::int64_t>(bits() >> 1) % end; }

 private:
  std::uint64_t state_ = 20250307;
};

inline std::vector<float> random_values(generator& numbers, std::int64_t count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = numbers.value();
  return values;
}

//! An array in device memory, there for the time of the program, since not every simulator can free. Outputs start
//! poisoned, so that what is not written shows.
template <class T>
class device_array {
 public:
  explicit device_array(std::size_t count) : device_array(poisoned(count)) {}
  explicit device_array(const std::vector<T>& values) : count_(values.size()) {
    if (count_ == 0) return;
    require(cudaMalloc(reinterpret_cast<void**>(&data_), count_ * sizeof(T)), "cudaMalloc");
    require(cudaMemcpy(data_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice), "cudaMemcpy to the device");
  }
#if defined(RESONANCE_SIMT)
  ~device_array() { std::free(data_); }
#endif
  device_array(const device_array&) = delete;
  device_array& operator=(const device_array&) = delete;

  T* data() const { return data_; }
  std::vector<T> to_host() const {
    std::vector<T> values(count_);
    if (count_ != 0)
      require(cudaMemcpy(values.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost), "cudaMemcpy to the host");
    return values;
  }

 private:
  static std::vector<T> poisoned(std::size_t count) {
    std::vector<T> values(count);
    if (count > 0) std::memset(static_cast<void*>(values.data()), 0xa5, values.size() * sizeof(T));
    return values;
  }
  T* data_ = nullptr;
  std::size_t count_;
};

//! Counts what differs from the host backend; its result is the exit code.
class comparison {
 public:
  explicit comparison(const char* stage) : stage_(stage) {}

  //! Runs launches(stream), which returns its status, and waits for the kernels.
  template <class Launches>
  void run(const char* what, const Launches& launches) {
#if defined(RESONANCE_SIMT)
    require(launches(resonance::device_stream{}), what);
#else
    run_in_mode(what, launches);
#endif
    require(cudaGetLastError(), what);
    require(cudaDeviceSynchronize(), what);
  }

  //! The same bits in the first `count` elements.
  template <class T>
  void same(const char* what, const std::vector<T>& expected, const std::vector<T>& found, std::size_t count) {
    require(expected.size() >= count && found.size() >= count, what);
    ++compared_;
    for (std::size_t i = 0; i < count; ++i) {
      if (std::memcmp(&expected[i], &found[i], sizeof(T)) == 0) continue;
      if (++wrong_ <= 8)
        std::fprintf(stderr, "%s[%zu]: expected %.9g, found %.9g\n", what, i, static_cast<double>(expected[i]),
                     static_cast<double>(found[i]));
    }
  }
  template <class T>
  void same(const char* what, const std::vector<T>& expected, const std::vector<T>& found) {
    same(what, expected, found, expected.size() > found.size() ? expected.size() : found.size());
  }

  int finish() const {
    bool right = wrong_ == 0 && compared_ > 0;
#if defined(RESONANCE_SIMT)
    right = right && simt::errors() == 0;
#endif
    if (right)
      std::printf("ok %s\n", stage_);
    else
      std::printf("FAILED %s: %zu values differ in %zu arrays\n", stage_, wrong_, compared_);
    return right ? 0 : 1;
  }

 private:
  const char* stage_;
  std::size_t wrong_ = 0;
  std::size_t compared_ = 0;
};

}  // namespace smoke

#endif
