// SPDX-License-Identifier: Apache-2.0
// low occupancy: kernel_unpermute: 80 KiB of rows per multiprocessor are in flight in registers
// low occupancy: kernel_unpermute_in_place: as kernel_unpermute, and the kinds of experts
#include <resonance/core/row_type.hpp>
#include <resonance/permute/kernel_permute.cuh>
#include <resonance/permute/kernel_unpermute.cuh>

#include "built.hpp"

namespace detail = resonance::detail;

RESONANCE_BUILT(detail::kernel_permute<256, 16, std::int32_t>);
RESONANCE_BUILT(detail::kernel_permute<256, 16, std::int64_t>);
RESONANCE_BUILT(detail::kernel_permute<256, 2, std::int32_t>);
RESONANCE_BUILT(detail::kernel_unpermute<256, 4, float, std::int32_t>);
RESONANCE_BUILT(detail::kernel_unpermute<256, 8, resonance::bfloat16, std::int32_t>);
RESONANCE_BUILT(detail::kernel_unpermute<256, 8, resonance::float16, std::int64_t>);
RESONANCE_BUILT(detail::kernel_unpermute<256, 1, resonance::bfloat16, std::int32_t>);
RESONANCE_BUILT(detail::kernel_unpermute_in_place<256, 4, float, std::int32_t>);
RESONANCE_BUILT(detail::kernel_unpermute_in_place<256, 8, resonance::bfloat16, std::int32_t>);
RESONANCE_BUILT(detail::kernel_unpermute_in_place<256, 1, resonance::float16, std::int64_t>);
