// SPDX-License-Identifier: Apache-2.0
// RESONANCE_BUILT(kernel<arguments>): names an instantiation of a kernel, which makes nvcc and NVRTC build it.
#ifndef RESONANCE_TEST_CUDA_KERNELS_BUILT_HPP
#define RESONANCE_TEST_CUDA_KERNELS_BUILT_HPP

namespace {

template <auto Kernel>
struct built {
  static constexpr bool yes = Kernel != nullptr;
};

}  // namespace

#define RESONANCE_BUILT(...) static_assert(built<&__VA_ARGS__>::yes, "a kernel has an address")

#endif
