// SPDX-License-Identifier: Apache-2.0
//! \file
//! Ends a smoke program that cannot go on, with the reason.
#ifndef RESONANCE_TEST_CUDA_SMOKE_REQUIRE_HPP
#define RESONANCE_TEST_CUDA_SMOKE_REQUIRE_HPP

#include <cstdio>
#include <cstdlib>

#include <resonance/core/launch.cuh>
#include <resonance/core/status.hpp>

namespace smoke {

inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "failed: %s\n", what);
  std::exit(1);
}

inline void require(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "failed: %s: %s\n", what, cudaGetErrorString(error));
  std::exit(1);
}

inline void require(const resonance::status& status, const char* what) {
  if (status.ok()) return;
  std::fprintf(stderr, "failed: %s: %s %s\n", what, status.argument, status.message());
  std::exit(1);
}

}  // namespace smoke

#endif
