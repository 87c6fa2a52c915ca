// SPDX-License-Identifier: Apache-2.0
// Stable grouping of slots: the counts, and the placement of plain lists.
// launch: kernel_count_slots threads=1024 dynamic_shared=1024
// launch: kernel_place_slots threads=1024 dynamic_shared=18944
// low occupancy: kernel_count_slots: one block of 1024 threads fits where 1536 threads do
// low occupancy: kernel_place_slots: 1024 threads hold their slots in 64 registers: one block fits
#include <resonance/core/kernel_group.cuh>

#include "built.hpp"
#if !defined(__CUDACC_RTC__)
#include <resonance/core/device_group.cuh>
#endif

namespace detail = resonance::detail;

RESONANCE_BUILT(detail::kernel_count_slots<detail::group_threads>);
#if !defined(__CUDACC_RTC__)
RESONANCE_BUILT(detail::kernel_place_slots<detail::group_threads, detail::list_placement>);
#endif
