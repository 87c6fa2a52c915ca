// SPDX-License-Identifier: Apache-2.0
//! \file
//! The standard headers that host and device code share: fixed-width integers, sizes, memcpy, elementary functions,
//! type traits, limits.
//!
//! NVRTC has no standard library. There the toolkit's libcu++ stands in, with its names visible in std; a stand-in that
//! the user's own program put into std wins. NVRTC is called with -default-device, --std=c++17 and the toolkit's
//! include folder (before CUDA 13; since then also its folder cccl) on the include path.
#ifndef RESONANCE_CORE_STD_HPP
#define RESONANCE_CORE_STD_HPP

#if defined(__CUDACC_RTC__)

#include <cuda/std/climits>
#include <cuda/std/cmath>
#include <cuda/std/cstddef>
#include <cuda/std/cstdint>
#include <cuda/std/cstring>
#include <cuda/std/limits>
#include <cuda/std/type_traits>

namespace std {
using namespace ::cuda::std;
using ::fma;  // built into NVRTC; not in every libcu++
}  // namespace std

#ifndef HUGE_VAL
#define HUGE_VAL (::cuda::std::numeric_limits<double>::infinity())
#endif

#else

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#endif

#endif
