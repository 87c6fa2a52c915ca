// SPDX-License-Identifier: Apache-2.0
// launch: kernel_place_slots dynamic_shared=18944
// low occupancy: kernel_place_slots: a block of 1024 threads holds its slots in 64 registers, one block per multiprocessor
// low occupancy: kernel_plan_by_affinity: keys of one expert are ranked in shared memory; one block per expert seldom fills the card
#include <resonance/core/kernel_group.cuh>
#include <resonance/plan/kernel_plan.cuh>

#include "built.hpp"

namespace detail = resonance::detail;

RESONANCE_BUILT(detail::kernel_place_slots<detail::group_threads, detail::rows_by_slot<std::int32_t>>);
RESONANCE_BUILT(detail::kernel_place_slots<detail::place_threads<unsigned long long>, detail::rows_by_slot<std::int64_t>>);
RESONANCE_BUILT(detail::kernel_place_slots<detail::group_threads, detail::rows_by_affinity<std::int32_t>>);
RESONANCE_BUILT(detail::kernel_plan_by_affinity<512, std::int32_t>);
