// SPDX-License-Identifier: Apache-2.0
//! \file
//! Every macro of the library that a user may set, and the few that it defines for itself.
//!
//! Set by the user, before the first include or on the command line:
//! - RESONANCE_WRAP_NAMESPACE=name  puts everything into name::resonance, so that two vendored copies can't collide;
//! - RESONANCE_HOST_BASELINE        host code never looks for a wider instruction set at run time (same results,
//! slower);
//! - RESONANCE_HOST_NO_AVX512       host code leaves AVX-512 alone;
//! - RESONANCE_SIMT=HEADER           device headers take CUDA's names from this header instead of from nvcc: how the
//!                                   tests run device code on the CPU (test/simt);
//! - RESONANCE_ALLOW_FAST_MATH      accepts -ffast-math; NaN, infinities and bit-identity are then the user's business.
#ifndef RESONANCE_CONFIG_HPP
#define RESONANCE_CONFIG_HPP

#include <resonance/version.hpp>

#if defined(__FAST_MATH__) && !defined(RESONANCE_ALLOW_FAST_MATH)
#error "resonance: -ffast-math breaks the contract on NaN and bits; RESONANCE_ALLOW_FAST_MATH accepts that"
#endif

#define RESONANCE_DETAIL_PASTE(a, b, c) v##a##_##b##_##c
#define RESONANCE_DETAIL_VERSION_NAME(a, b, c) RESONANCE_DETAIL_PASTE(a, b, c)
#define RESONANCE_ABI_NAMESPACE \
  RESONANCE_DETAIL_VERSION_NAME(RESONANCE_VERSION_MAJOR, RESONANCE_VERSION_MINOR, RESONANCE_VERSION_PATCH)

#if defined(RESONANCE_WRAP_NAMESPACE)
#define RESONANCE_NAMESPACE_BEGIN      \
  namespace RESONANCE_WRAP_NAMESPACE { \
  namespace resonance {                \
  inline namespace RESONANCE_ABI_NAMESPACE {
#define RESONANCE_NAMESPACE_END \
  }                             \
  }                             \
  }
#else
#define RESONANCE_NAMESPACE_BEGIN \
  namespace resonance {           \
  inline namespace RESONANCE_ABI_NAMESPACE {
#define RESONANCE_NAMESPACE_END \
  }                             \
  }
#endif

// Kernels, and whatever launches them, are other functions for another list of architectures, since the linker keeps
// one of each name, and that one may hold no code for the device at hand. They stand inside their stage's namespace
// between these two. Views, options and status do not: plain C++ units pass them to CUDA units.
#if defined(__CUDACC__) && defined(__CUDA_ARCH_LIST__)
#define RESONANCE_DETAIL_ARCH_PASTE(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ...) \
  sm##a##b##c##d##e##f##g##h##i##j##k##l##m##n##o##p
#define RESONANCE_DETAIL_ARCH_NAME(...) RESONANCE_DETAIL_ARCH_PASTE(__VA_ARGS__)
#define RESONANCE_ARCH_NAMESPACE_BEGIN \
  inline namespace RESONANCE_DETAIL_ARCH_NAME(__CUDA_ARCH_LIST__, , , , , , , , , , , , , , , , ) {
#define RESONANCE_ARCH_NAMESPACE_END }
#else
#define RESONANCE_ARCH_NAMESPACE_BEGIN
#define RESONANCE_ARCH_NAMESPACE_END
#endif

#if defined(__CUDACC__)
#define RESONANCE_HOST_DEVICE __host__ __device__
#define RESONANCE_NO_EXEC_CHECK _Pragma("nv_exec_check_disable")
#else
#define RESONANCE_HOST_DEVICE
#define RESONANCE_NO_EXEC_CHECK
#endif

#if defined(__CUDACC__)
#define RESONANCE_DEVICE __device__ __forceinline__
#else
#define RESONANCE_DEVICE inline
#endif

// In functions of host and device, too: the host's compiler does not know these.
#if defined(__CUDA_ARCH__)
#define RESONANCE_UNROLL _Pragma("unroll")
#define RESONANCE_NO_UNROLL _Pragma("unroll 1")
#else
#define RESONANCE_UNROLL
#define RESONANCE_NO_UNROLL
#endif

#if defined(__GNUC__) || defined(__clang__)
#define RESONANCE_FORCE_INLINE inline __attribute__((always_inline))
#define RESONANCE_INLINE_LAMBDA __attribute__((always_inline))
#define RESONANCE_RESTRICT __restrict__
#else
#define RESONANCE_FORCE_INLINE inline
#define RESONANCE_INLINE_LAMBDA
#define RESONANCE_RESTRICT
#endif

#endif
