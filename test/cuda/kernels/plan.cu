// SPDX-License-Identifier: Apache-2.0
// launch: kernel_place_slots dynamic_shared=18944
// low occupancy: kernel_place_slots: 1024 threads hold their slots in 64 registers: one block fits
// low occupancy: kernel_plan_by_affinity: a block per expert, keys ranked in shared memory; seldom fills the card
#include <resonance/core/kernel_group.cuh>
#include <resonance/plan/kernel_plan.cuh>

#include "built.hpp"

namespace detail = resonance::detail;

RESONANCE_BUILT(detail::kernel_place_slots<detail::group_threads, detail::rows_by_slot<std::int32_t>>);
RESONANCE_BUILT(
    detail::kernel_place_slots<detail::place_threads<unsigned long long>, detail::rows_by_slot<std::int64_t>>);
RESONANCE_BUILT(detail::kernel_place_slots<detail::group_threads, detail::rows_by_affinity<std::int32_t>>);
RESONANCE_BUILT(detail::kernel_plan_by_affinity<512, std::int32_t>);
