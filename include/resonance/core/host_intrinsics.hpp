// SPDX-License-Identifier: Apache-2.0
//! \file
//! <immintrin.h> for the kernels written for one instruction set, without the compiler's warnings of it.
#ifndef RESONANCE_CORE_HOST_INTRINSICS_HPP
#define RESONANCE_CORE_HOST_INTRINSICS_HPP

#include <resonance/core/host_simd.hpp>

#if RESONANCE_DETAIL_AVX512 || RESONANCE_DETAIL_AVX2
// gcc 12 warns of the undefined vectors of its own intrinsics (GCC bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
#endif

#endif
