// SPDX-License-Identifier: Apache-2.0
//! \file
//! The only place that launches kernels, and the handle of the stream they go to.
#ifndef RESONANCE_CORE_LAUNCH_CUH
#define RESONANCE_CORE_LAUNCH_CUH

#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>

#if !defined(RESONANCE_SIMT) && !defined(__CUDACC_RTC__)
#include <cuda_runtime.h>
#endif

RESONANCE_NAMESPACE_BEGIN

#if !defined(__CUDACC_RTC__)
//! Where device functions launch. They allocate nothing, synchronize nothing and can be captured in a graph.
struct device_stream {
  cudaStream_t stream = nullptr;
  //! Programmatic dependent launch (sm_90 and newer): a kernel is set up while the one before it drains. The library's
  //! kernels wait for their inputs; a kernel of the caller's before them must be done or do likewise.
  bool overlap_launches = false;
  //! [1] in device memory: the tokens that there really are, at most the T of the shapes, which then sizes the grids
  //! and the workspace: a captured graph serves changing T. Null: T. Outputs of the missing tokens stay untouched.
  const std::int64_t* num_tokens = nullptr;
};
#endif

//! The tokens to work on: `most`, or what device_stream::num_tokens says.
RESONANCE_DEVICE std::int64_t live_tokens(std::int64_t most, const std::int64_t* num_tokens) {
  if (num_tokens == nullptr) return most;
  const std::int64_t live = load(num_tokens);
  return live < 0 ? 0 : (live < most ? live : most);
}

namespace detail {

struct launch_shape {
  std::int64_t blocks = 0;  //!< 0: nothing is launched
  int threads = 0;
  std::size_t shared_bytes = 0;  //!< dynamic
};

//! Blocks that a grid may have; bodies stride over what is left.
inline constexpr std::int64_t most_blocks = 0x7fffffff;

#if !defined(__CUDACC_RTC__)
inline status launch_status(cudaError_t error) {
  return error == cudaSuccess ? status{} : status{status_code::launch_failed, cudaGetErrorName(error)};
}

//! Launches kernel(arguments...), which are converted to its parameters; the launch's error is the status.
template <class... Parameters, class... Arguments>
status launch(const device_stream& on, const launch_shape& shape, void (*kernel)(Parameters...),
              const Arguments&... arguments) {
  if (shape.blocks == 0) return {};
#if defined(RESONANCE_SIMT)
  return launch_status(simt::launch(kernel, dim3(static_cast<unsigned>(shape.blocks)),
                                    dim3(static_cast<unsigned>(shape.threads)), shape.shared_bytes, on.stream,
                                    static_cast<Parameters>(arguments)...));
#else
  const dim3 grid(static_cast<unsigned>(shape.blocks));
  const dim3 block(static_cast<unsigned>(shape.threads));
  if (on.overlap_launches) {
    cudaLaunchAttribute overlap{};
    overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    overlap.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config{};
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = shape.shared_bytes;
    config.stream = on.stream;
    config.attrs = &overlap;
    config.numAttrs = 1;
    return launch_status(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...));
  }
  kernel<<<grid, block, shape.shared_bytes, on.stream>>>(static_cast<Parameters>(arguments)...);
  return launch_status(cudaGetLastError());
#endif
}
#endif

//! Shared memory that every architecture gives a block without being asked: what the bodies plan for.
inline constexpr std::size_t shared_bytes_per_block = 48 * 1024;

constexpr std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
