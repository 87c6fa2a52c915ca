// SPDX-License-Identifier: Apache-2.0
//! \file
//! Runs a piece of host code compiled for a wider instruction set where the processor has it.
//!
//! The same source is compiled twice, for the translation unit's own target and for x86-64-v3 (AVX2, FMA, F16C), and
//! the processor is asked which one to run: no flags, no runtime library. Results do not depend on the choice, because
//! sums have a written order (ordered_sum.hpp) and products that meet sums are explicit fused multiply-adds.
#ifndef RESONANCE_CORE_HOST_SIMD_HPP
#define RESONANCE_CORE_HOST_SIMD_HPP

#include <resonance/config.hpp>

#if !defined(RESONANCE_HOST_BASELINE) && defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__)) && \
    !defined(__CUDACC__) && !defined(__AVX512F__)
#define RESONANCE_DETAIL_X86_64_V3 1
#else
#define RESONANCE_DETAIL_X86_64_V3 0
#endif

// gcc 12 turns few loops into vectors at the -O2 that users build with. All of -O3 is best for choosing from a row, but
// costs the long sums a third of their speed (bench/NOTES.md): two ways to compile a body. A division under a condition
// becomes vectors only where it may raise a flag for nothing: a third one.
#if defined(__OPTIMIZE__) && defined(__GNUC__) && !defined(__clang__)
#define RESONANCE_DETAIL_VECTORIZED __attribute__((optimize("tree-vectorize")))
#define RESONANCE_DETAIL_AT_O3 __attribute__((optimize("O3")))
#define RESONANCE_DETAIL_AT_O3_UNTRAPPED __attribute__((optimize("O3", "no-trapping-math")))
#else
#define RESONANCE_DETAIL_VECTORIZED
#define RESONANCE_DETAIL_AT_O3
#define RESONANCE_DETAIL_AT_O3_UNTRAPPED
#endif

// Kernels written for AVX2: of the unit's own target, or chosen at run time.
#if RESONANCE_DETAIL_X86_64_V3
#define RESONANCE_DETAIL_TARGET_V3 __attribute__((target("avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")))
#define RESONANCE_DETAIL_AVX2 1
#elif defined(__AVX2__) && defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__)) && !defined(__CUDACC__)
#define RESONANCE_DETAIL_TARGET_V3
#define RESONANCE_DETAIL_AVX2 1
#else
#define RESONANCE_DETAIL_AVX2 0
#endif

// Kernels written for AVX-512, as of Ice Lake and Zen 4; gcc and clang compile them whatever the unit's own target is.
#if (!defined(RESONANCE_HOST_BASELINE) || defined(__AVX512VBMI2__)) && !defined(RESONANCE_HOST_NO_AVX512) && \
    defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__)) && !defined(__CUDACC__)
#define RESONANCE_DETAIL_AVX512 1
#define RESONANCE_DETAIL_TARGET_AVX512 \
  __attribute__((                      \
      target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")))
#define RESONANCE_DETAIL_INLINE_AVX512 RESONANCE_FORCE_INLINE RESONANCE_DETAIL_TARGET_AVX512
#else
#define RESONANCE_DETAIL_AVX512 0
#endif

RESONANCE_NAMESPACE_BEGIN
namespace detail {

#if RESONANCE_DETAIL_X86_64_V3
template <class Body>
RESONANCE_DETAIL_VECTORIZED RESONANCE_DETAIL_TARGET_V3 void run_x86_64_v3(const Body& body) {
  body();
}
template <class Body>
RESONANCE_DETAIL_AT_O3 RESONANCE_DETAIL_TARGET_V3 void run_x86_64_v3_at_o3(const Body& body) {
  body();
}

inline bool has_x86_64_v3() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
}
#elif RESONANCE_DETAIL_AVX2
constexpr bool has_x86_64_v3() { return true; }
#endif

#if RESONANCE_DETAIL_AVX512
inline bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2") &&
         __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
}
#endif

//! Calls body(), whose operator() must be always_inline (RESONANCE_INLINE_LAMBDA) to be compiled for the wider set.
template <class Body>
void run_widest(const Body& body) {
#if RESONANCE_DETAIL_X86_64_V3
  if (has_x86_64_v3()) {
    run_x86_64_v3(body);
    return;
  }
#endif
  body();
}

//! The same for bodies that choose rather than add up.
template <class Body>
void run_widest_at_o3(const Body& body) {
#if RESONANCE_DETAIL_X86_64_V3
  if (has_x86_64_v3()) {
    run_x86_64_v3_at_o3(body);
    return;
  }
#endif
  body();
}

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
