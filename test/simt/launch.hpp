// SPDX-License-Identifier: Apache-2.0
//! \file
//! simt::launch runs a kernel to completion; with it the names of the CUDA runtime that a launch needs.
#ifndef RESONANCE_TEST_SIMT_LAUNCH_HPP
#define RESONANCE_TEST_SIMT_LAUNCH_HPP

#include <cstddef>
#include <tuple>
#include <type_traits>

#include <simt/language.hpp>

struct CUstream_st;
using cudaStream_t = CUstream_st*;

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInvalidDeviceFunction = 98,
  cudaErrorNotSupported = 801,
  cudaErrorLaunchFailure = 719
};

//! The last launch's error, which the first forgets.
cudaError_t cudaGetLastError();
cudaError_t cudaPeekAtLastError();
const char* cudaGetErrorName(cudaError_t error);
const char* cudaGetErrorString(cudaError_t error);

namespace simt {

//! What every architecture gives a block, static and dynamic together.
inline constexpr std::size_t shared_bytes_per_block = 48 * 1024;
inline constexpr unsigned threads_per_block = 1024;
inline constexpr std::size_t parameter_bytes = 4096;

namespace detail {

using any_function = void (*)();

//! Runs call(parameters) once per thread of the grid.
cudaError_t launch(any_function kernel, dim3 grid, dim3 block, std::size_t dynamic_shared_bytes,
                   void (*call)(any_function, const void*), const void* parameters);

template <class... Parameters>
void call_kernel(any_function kernel, const void* parameters) {
  std::apply(reinterpret_cast<void (*)(Parameters...)>(kernel),
             *static_cast<const std::tuple<std::remove_cv_t<Parameters>...>*>(parameters));
}

}  // namespace detail

//! Converts the arguments to the kernel's parameters, runs the kernel to completion and returns its error, which
//! cudaGetLastError() also reports. An impossible shape is cudaErrorInvalidConfiguration, and nothing has run; after a
//! report that ends the launch it is cudaErrorLaunchFailure. One launch at a time, from one thread of the host.
template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t dynamic_shared_bytes, cudaStream_t,
                   const Arguments&... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments), "simt: the kernel takes another number of arguments");
  static_assert((!std::is_reference_v<Parameters> && ...), "simt: a kernel's parameters are passed by value");
  static_assert((std::is_trivially_copyable_v<Parameters> && ...), "simt: a kernel's parameters are copied as bytes");
  static_assert((sizeof(Parameters) + ... + 0) <= parameter_bytes, "simt: too many bytes of parameters");
  const std::tuple<std::remove_cv_t<Parameters>...> parameters(static_cast<std::remove_cv_t<Parameters>>(arguments)...);
  return detail::launch(reinterpret_cast<detail::any_function>(kernel), grid, block, dynamic_shared_bytes,
                        &detail::call_kernel<Parameters...>, &parameters);
}

}  // namespace simt

#endif
